"""The workshop: whose runs they are, who is next, what is allowed; no network is trained here."""

import dataclasses
import functools
import itertools
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan import control
from gan.errors import LabError
from gan.system import process_alive, this_process
from gan.workshop import Limits, Person, TrainRequest, Workshop
from gan.workshop import queue as queueing
from gan.workshop.limits import PUBLIC, limits_here, training_is_on
from gan.workshop.records import About, read_status
from gan.workshop.snapshot import MOST_EVALUATIONS, MOST_POINTS, Metrics
from gan.workshop.upkeep import PURGED_AFTER
from tests import waiting
from tests.waiting import end_trainings

ME, OTHER = "my-browsers-random-token", "another-browsers-random-token"
ENDLESS = TrainRequest(data="digits-tiny", images=10**9, name="endless")
SHORT = TrainRequest(data="digits-tiny", images=320, name="short")
TRAINER = Path(__file__).with_name("fake_trainer.py")


@pytest.fixture(autouse=True)
def _fake_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(run: Path, about: About) -> list[str]:
        return [sys.executable, str(TRAINER), *about.request.command(run)]

    monkeypatch.setattr(queueing, "command", command)
    monkeypatch.setattr("gan.workshop.snapshot.FRESH_SECONDS", 0.0)
    monkeypatch.setattr("gan.workshop.workshop.TICK_SECONDS", 0.1)
    for name in ("SPACE_ID", "LATENT_LAB_PUBLIC", "LATENT_LAB_TRAINING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path / "runs", Limits(free_gib=0.0))
    yield made
    clear(made)


def clear(shop: Workshop) -> None:
    """Ends what a test left, while no thread of a workshop starts whoever is next."""
    with shop._alone():
        for run in shop.queue.waiting():
            queueing.write_json(run / "status.json", {"state": "stopped"})
        end_trainings(shop)


def refusal(code: str, act: Callable[[], Any]) -> LabError:
    with pytest.raises(LabError) as caught:
        act()
    assert caught.value.code == code
    assert caught.value.message("zh") != caught.value.message("en")
    return caught.value


wait_until = functools.partial(waiting.wait_until, seconds=60.0)


def wait_for(shop: Workshop, run_id: str, state: str) -> None:
    wait_until(lambda: shop.snapshot(run_id).state == state)


def training(shop: Workshop, request: TrainRequest = ENDLESS, owner: str = ME) -> str:
    """A run that has begun to learn."""
    run_id = shop.start(request, owner)
    wait_until(lambda: shop.snapshot(run_id).metrics)
    return run_id


def states(shop: Workshop, owner: str = ME) -> dict[str, str]:
    return {each.name: each.state for each in shop.list(owner)}


# Starting, stopping, going on


def test_a_run_from_start_to_end(shop: Workshop) -> None:
    run_id = shop.start(SHORT, ME)
    wait_for(shop, run_id, "finished")
    snapshot = shop.snapshot(run_id)
    assert [line["images_seen"] for line in snapshot.metrics] == list(range(32, 321, 32))
    assert json.loads(json.dumps(snapshot.to_json()))["name"] == "short"
    assert snapshot.log_end is None
    shown = shlex.split(snapshot.command)
    assert shown[:4] == ["python", "-m", "gan", "train"]
    assert read_status(shop.path(run_id))["argv"] == shown[3:], "what is shown is what ran"


def test_stop_is_acknowledged_and_resume_goes_on(shop: Workshop) -> None:
    run_id = training(shop)
    shop.stop(run_id, ME)
    wait_for(shop, run_id, "stopped")
    status = read_status(shop.path(run_id))
    assert (status["acknowledged"], status["stopping"]) == (1, True)
    shop.stop(run_id, ME)  # once more does nothing
    seen = status["images_seen"]
    shop.resume(run_id, ME)
    wait_until(lambda: shop.snapshot(run_id).status.get("images_seen", 0) > seen)
    assert not shop.snapshot(run_id).stopping


def test_a_run_that_is_still_starting_stops_too(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "late")
    run_id = shop.start(ENDLESS, ME)
    status = read_status(shop.path(run_id))
    assert status["state"] == "starting"
    assert shop.snapshot(run_id).state == "training"
    half_written = shop.path(run_id) / ".status.json.0123.partial"
    uploads = shop.path(run_id) / ".publish.json.4567.partial"
    half_written.touch()
    uploads.touch()
    shop.stop(run_id, ME)
    assert shop.snapshot(run_id).state == "stopped"
    assert not process_alive(status["pid"], status["started"]), "it could write after us"
    assert not half_written.exists()
    assert uploads.exists(), "an upload may be writing it just now"


def test_a_deaf_process_is_ended(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "deaf")
    monkeypatch.setattr("gan.workshop.workshop.ASKED_AGAIN", 0.2)
    monkeypatch.setattr("gan.workshop.workshop.ENDED", 0.4)
    run_id = training(shop)
    shop.stop(run_id, ME)
    wait_for(shop, run_id, "dead")
    monkeypatch.delenv("FAKE_TRAINER")
    half_written = shop.path(run_id) / ".status.json.0123.partial"
    half_written.touch()
    shop.resume(run_id, ME)
    wait_for(shop, run_id, "training")
    assert not half_written.exists()


def test_pause_and_resume(shop: Workshop) -> None:
    run_id = training(shop)
    shop.pause(run_id, ME)
    wait_for(shop, run_id, "paused")
    pid, seen = (read_status(shop.path(run_id))[name] for name in ("pid", "images_seen"))
    shop.resume(run_id, ME)
    wait_until(lambda: shop.snapshot(run_id).status["images_seen"] > seen)
    assert read_status(shop.path(run_id))["pid"] == pid, "the same process"


def test_orders_in_a_row_are_all_obeyed(shop: Workshop) -> None:
    """The file holds one order; what wasn't noted yet goes along with the next."""
    run_id = training(shop)
    shop.change(run_id, ME, images=10**8)
    shop.pause(run_id, ME)
    shop.change(run_id, ME, target_quality=0.5)
    wait_for(shop, run_id, "paused")
    assert shop.snapshot(run_id).status["images"] == 10**8


def test_no_order_takes_the_place_of_one_that_was_not_noted(tmp_path: Path) -> None:
    process = this_process()
    status = {"state": "paused", "pid": process.pid, "started": process.started}

    def told() -> list[tuple[int, str | None]]:
        return [(order.id, order.action) for order in control.read(tmp_path)]

    queueing.write_json(tmp_path / "status.json", status)
    assert [queueing.give_order(tmp_path, action=each) for each in ("save", "resume")] == [1, 2]
    assert told() == [(1, "save"), (2, "resume")]
    queueing.write_json(tmp_path / "status.json", status | {"acknowledged": 1})
    queueing.give_order(tmp_path, images=64)
    assert told() == [(2, "resume"), (3, None)]
    queueing.write_json(tmp_path / "status.json", status | {"pid": os.getppid(), "started": 0.0})
    assert queueing.give_order(tmp_path, action="stop") is None
    later = {"state": "starting", "acknowledged": 7}  # the next process, under the same number
    queueing.write_json(tmp_path / "status.json", status | later)
    queueing.give_order(tmp_path, action="stop")
    assert told() == [(8, "stop")]


def test_save_now(shop: Workshop) -> None:
    run_id = training(shop)
    shop.save_now(run_id, ME)
    wait_until(lambda: read_status(shop.path(run_id)).get("saved"))
    shop.stop(run_id, ME)
    wait_for(shop, run_id, "stopped")
    refusal("run_is_not_training", lambda: shop.save_now(run_id, ME))


def test_another_budget_holds_now_and_after_a_resume(shop: Workshop) -> None:
    run_id = training(shop)
    shop.change(run_id, ME, images=5 * 10**8)
    wait_until(lambda: shop.snapshot(run_id).status["images"] == 5 * 10**8)
    assert shlex.split(shop.snapshot(run_id).command)[-1] == "500000000"
    refusal("bad_setting", lambda: shop.change(run_id, ME, target_quality=7.0))


def test_a_run_that_has_ended_goes_on_for_some_minutes(shop: Workshop) -> None:
    run_id = shop.start(dataclasses.replace(SHORT, target_quality=0.9), ME)
    refusal("run_is_not_over", lambda: shop.go_on(run_id, ME, 1.0))
    wait_for(shop, run_id, "finished")
    run = shop.path(run_id)
    config = {"data": "digits-tiny", "images": 320, "batch": 32, "grow": [[8, 0.5], [16, 1.0]]}
    stored = config | {"evaluation_share": 0.05, "minutes": 1.0}
    (run / "config.json").write_text(json.dumps({"training": stored}))
    rows = [{"images_seen": 32 * n, "seconds": 2.0 * n, "resolution": 16} for n in range(1, 11)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = read_status(run)
    queueing.write_json(run / "status.json", status | {"finished": "quality", "seconds": 20.0})
    strict = Workshop(shop.root, dataclasses.replace(shop.limits, minutes=2.0))
    assert refusal("run_too_long", lambda: strict.go_on(run_id, ME, 1.9)).values["most"] == 2.0
    refusal("bad_setting", lambda: shop.go_on(run_id, ME, -3.0))
    refusal("not_your_run", lambda: shop.go_on(run_id, OTHER, 1.0))
    shop.go_on(run_id, ME, 2.0)
    about = About.read(run)
    assert about is not None
    # 16 images/s for two minutes less the evaluations' share, on top of what it has seen.
    assert about.request.images == pytest.approx(320 + 16 * 120 * 0.95, abs=32)
    assert (about.request.minutes, about.request.target_quality) == (None, 0.0)
    assert read_status(run).get("finished") is None
    wait_for(shop, run_id, "finished")
    assert read_status(run)["images_seen"] >= 2000


def test_a_run_that_never_saw_a_picture_gets_its_minutes(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "fail")
    run_id = shop.start(ENDLESS, ME)
    wait_for(shop, run_id, "dead")
    shop.go_on(run_id, ME, 3.0)
    about = About.read(shop.path(run_id))
    assert about is not None
    assert (about.request.minutes, about.request.images) == (3.0, None)
    wait_for(shop, run_id, "dead")


def test_a_dead_child_is_shown_dead_with_the_end_of_its_log(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRAINER", "fail")
    run_id = shop.start(ENDLESS, ME)
    wait_for(shop, run_id, "dead")
    assert shop.snapshot(run_id).log_end == "it can't be done"
    monkeypatch.delenv("FAKE_TRAINER")
    shop.resume(run_id, ME)
    wait_until(lambda: shop.snapshot(run_id).metrics)


# The queue


def test_one_trains_at_a_time_and_the_next_follows_by_itself(shop: Workshop) -> None:
    first = training(shop, dataclasses.replace(ENDLESS, name="first"))
    second = shop.start(dataclasses.replace(ENDLESS, name="second"), ME)
    third = shop.start(dataclasses.replace(ENDLESS, name="third"), OTHER)
    assert (shop.snapshot(second).place, shop.snapshot(third).place) == (1, 2)
    assert states(shop) == {"first": "training", "second": "queued"}
    shop.stop(second, ME)  # leaves the queue
    assert shop.snapshot(third).place == 1
    shop.stop(first, ME)
    # Nobody looks through this workshop; its own thread sees to the queue.
    wait_until(lambda: read_status(shop.path(third))["state"] == "training")
    assert len(shop.queue.at_work()) == 1


def test_two_at_once_where_the_host_allows_it(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, Limits(free_gib=0.0, at_once=2))
    try:
        for name in "abc":
            shop.start(dataclasses.replace(ENDLESS, name=name), ME)
        assert sorted(states(shop).values()) == ["queued", "training", "training"]
    finally:
        clear(shop)


def test_another_server_goes_on_with_the_queue(shop: Workshop) -> None:
    """All that is known is on disk: a server that starts finds it, and two don't start it twice."""
    first = training(shop)
    second = shop.start(SHORT, ME)
    later = [Workshop(shop.root, shop.limits) for _ in range(2)]
    assert states(later[0]) == {"endless": "training", "short": "queued"}
    later[1].stop(first, ME)
    wait_for(later[0], second, "finished")
    starts = (shop.root / second / "metrics.jsonl").read_text().count('"images_seen": 32,')
    assert starts == 1


def test_a_paused_run_gives_way_to_those_who_wait(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = training(shop)
    shop.pause(first, ME)
    wait_for(shop, first, "paused")
    second = shop.start(SHORT, OTHER)
    wait_for(shop, second, "finished")
    snapshot = shop.snapshot(first)
    assert snapshot.state == "stopped"
    assert snapshot.message == {"code": "run_put_away", "values": {}}
    shop.resume(first, ME)
    wait_until(lambda: shop.snapshot(first).state == "training")
    assert shop.snapshot(first).message is None


# Whose they are


def test_people_cant_touch_each_others_runs(shop: Workshop) -> None:
    run_id = training(shop)
    for act in (shop.pause, shop.save_now, shop.stop, shop.resume, shop.delete, shop.undelete):
        refusal("not_your_run", lambda act=act: act(run_id, OTHER))
    for act in (
        lambda: shop.rename(run_id, OTHER, "mine"),
        lambda: shop.change(run_id, OTHER, images=64),
        lambda: shop.clone(run_id, OTHER),
        lambda: shop.fork(run_id, OTHER, 0),
        lambda: shop.start(dataclasses.replace(SHORT, warm_start=run_id), OTHER),
    ):
        refusal("not_your_run", act)
    assert shop.list(OTHER) == []
    assert shop.snapshot(run_id).state == "training", "watching needs only the link"


def test_only_a_hash_of_the_owner_is_stored(shop: Workshop) -> None:
    run_id = training(shop)
    shop.stop(run_id, ME)
    wait_for(shop, run_id, "stopped")
    for path in shop.root.rglob("*"):
        if path.is_file():
            assert ME.encode() not in path.read_bytes()
    assert ME not in json.dumps(shop.snapshot(run_id).to_json())


def test_a_person_has_what_their_user_and_their_browser_have(shop: Workshop) -> None:
    run_id = shop.start(SHORT, Person("ada", ME))
    assert [each.run_id for each in shop.list(Person("ada", OTHER))] == [run_id]
    assert shop.list(ME) == shop.list(Person("bob", ME)) == []
    refusal("bad_owner", lambda: shop.list(Person("../x", ME)))
    refusal("bad_owner", lambda: shop.list(Person("ada", "short")))


def test_pictures_that_a_browser_has_brought_serve_who_signs_in_there(shop: Workshop) -> None:
    pictures = shop.data_folder(ME) / "set"
    pictures.mkdir()
    shop.limits = dataclasses.replace(shop.limits, own_paths=False)
    request = dataclasses.replace(SHORT, data=str(pictures))
    refusal("not_your_data", lambda: shop.start(request, Person("ada", OTHER)))
    assert shop.start(request, Person("ada", ME))


@pytest.mark.parametrize("owner", ["", "short", "a" * 200, "hub:", "a/../b" * 4, "x" * 16 + "\n"])
def test_what_is_no_owner_is_refused(shop: Workshop, owner: str) -> None:
    refusal("bad_owner", lambda: shop.start(SHORT, owner))
    refusal("bad_owner", lambda: shop.list(owner))


@pytest.mark.parametrize(
    "run_id",
    [
        *("", ".", "..", "../run-0123456789abcdef", "run-0123456789abcdef/..", "/etc", "data"),
        *("run-0123456789abcdef\n", "run-0123456789ABCDEF", "run-0123456789abcdeg", ".lock"),
    ],
)
def test_no_other_folder_is_reached(shop: Workshop, run_id: str) -> None:
    shop.start(SHORT, ME)
    for act in (
        lambda: shop.snapshot(run_id),
        lambda: shop.path(run_id),
        lambda: shop.file(run_id, "log.txt"),
        lambda: shop.stop(run_id, ME),
    ):
        refusal("no_such_run", act)


def test_only_what_may_be_shown_is_handed_out(shop: Workshop) -> None:
    run_id = training(shop)
    assert shop.file(run_id, "metrics.jsonl").is_file()
    for name in ("about.json", "../x", "samples/../about.json", "samples/1.png", "", "log.txt\n"):
        refusal("no_such_file", lambda name=name: shop.file(run_id, name))


# What is kept, changed, thrown away


def test_rename_keeps_to_one_short_line(shop: Workshop) -> None:
    run_id = shop.start(SHORT, ME)
    shop.rename(run_id, ME, "  猫 and\n dogs " + "x" * 100)
    name = shop.snapshot(run_id).name
    assert name.startswith("猫 and dogs xxx")
    assert len(name) == 80
    shop.rename(run_id, ME, "  ")
    assert shop.snapshot(run_id).name == "digits-tiny"


def test_a_clone_is_a_request_to_be_started(shop: Workshop) -> None:
    run_id = shop.start(SHORT, ME)
    asked = shop.clone(run_id, ME, loss="hinge", minutes=2.0)
    assert (asked.loss, asked.minutes, asked.images) == ("hinge", 2.0, None)
    refusal("bad_training_field", lambda: shop.clone(run_id, ME, colour="red"))


def test_a_deletion_can_be_taken_back_for_a_day(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = training(shop)
    shop.delete(run_id, ME)
    wait_for(shop, run_id, "stopped")
    assert [each.deleted for each in shop.list(ME)] == [True]
    shop.undelete(run_id, ME)
    assert [each.deleted for each in shop.list(ME)] == [False]
    shop.delete(run_id, ME)
    again = Workshop(shop.root, shop.limits)
    again.tick(at_once=True)
    assert again.list(ME), "not yet"
    about = About.read(shop.path(run_id))
    assert about is not None
    assert about.deleted is not None
    dataclasses.replace(about, deleted=about.deleted - PURGED_AFTER - 1).write(shop.path(run_id))
    again = Workshop(shop.root, shop.limits)
    again.tick(at_once=True)
    assert again.list(ME) == []
    assert sorted(path.name for path in shop.root.iterdir()) == [".lock"]


def test_what_a_killed_server_left_half_made_is_swept(shop: Workshop) -> None:
    half = shop.root / ".new-0123456789abcdef"
    half.mkdir(parents=True)
    shop.tick(at_once=True)
    assert half.exists(), "it may be in the making"
    os.utime(half, (1, 1))
    Workshop(shop.root, shop.limits).tick(at_once=True)
    assert not list(shop.root.glob(".[no]*"))


def test_pictures_that_no_run_names_are_purged_after_a_day(shop: Workshop) -> None:
    home = shop.data_folder(ME)
    named, fresh, unused = (home / name for name in ("named", "fresh", "unused"))
    for folder in (named, fresh, unused):
        folder.mkdir()
        (folder / "pictures.zip").write_bytes(b"zip")
    run_id = training(shop)
    about = About.read(shop.path(run_id))
    assert about is not None
    request = dataclasses.replace(about.request, data=str(named / "pictures.zip"))
    dataclasses.replace(about, request=request).write(shop.path(run_id))
    for folder in (named, unused):
        os.utime(folder, (1, 1))
    Workshop(shop.root, shop.limits).tick(at_once=True)
    assert sorted(path.name for path in home.iterdir()) == ["fresh", "named"]
    assert not list(shop.root.glob(".old-*"))


# A clock that is set


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on the machine's clock is wrong by so much."""
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + seconds)


@pytest.mark.parametrize("days", [-30, 30])
def test_a_clock_that_is_set_purges_nothing_before_its_day(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    before, pictures = training(shop), shop.data_folder(ME) / "just-uploaded"
    shop.delete(before, ME)
    wait_for(shop, before, "stopped")
    pictures.mkdir()
    set_clock(monkeypatch, days * 24 * 3600.0)
    after = training(shop)
    shop.delete(after, ME)
    wait_for(shop, after, "stopped")
    shop._tidied = 0.0
    shop.tick(at_once=True)
    assert {run.run_id for run in shop.list(ME) if run.deleted} == {before, after}
    assert pictures.is_dir()
    shop.undelete(before, ME)
    # Nor is anything kept for ever: the day of what a wrong clock has stamped begins anew.
    if days < 0:
        about = About.read(shop.path(after))
        assert about is not None
        dataclasses.replace(about, deleted=time.time() + 1e9).write(shop.path(after))
        os.utime(pictures, (time.time() + 1e9, time.time() + 1e9))
        shop._tidied = 0.0
        shop.tick(at_once=True)
        again = About.read(shop.path(after))
        assert again is not None
        assert again.deleted == pytest.approx(time.time(), abs=600)
        assert pictures.stat().st_mtime < time.time() + 1e8


def test_a_clock_that_is_set_back_lets_nobody_jump_the_queue(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = training(shop)
    second = shop.start(SHORT, ME)
    set_clock(monkeypatch, -3600.0)
    third = shop.start(SHORT, OTHER)
    set_clock(monkeypatch, 7200.0)
    fourth = shop.start(SHORT, OTHER)
    places = [shop.snapshot(run).place for run in (second, third, fourth)]
    assert places == [1, 2, 3]
    shop.stop(first, ME)


# Forks


def kept_run(shop: Workshop) -> str:
    """A stopped run with a checkpoint at 64 images and moments at 32 and 64."""
    run_id = shop.start(SHORT, ME)
    wait_for(shop, run_id, "finished")
    run = shop.path(run_id)
    training = {"loss": "relativistic", "penalties": ["r1", "r2"], "images": 320, "minutes": None}
    stored = {"training": training | {"batch": 32, "warm_start": None}, "device": {}}
    (run / "config.json").write_text(json.dumps(stored))
    files = [run / "checkpoints" / f"{64:012d}.safetensors", run / "samples" / f"{32:09d}.png"]
    files += [run / "samples" / f"{96:09d}.png"]
    for images in (32, 64):
        folder = run / "moments" / f"{images:09d}"
        files += [folder / "model.safetensors", folder / "discriminator.safetensors"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return run_id


def test_a_fork_from_a_checkpoint_goes_on_with_one_thing_changed(shop: Workshop) -> None:
    run_id = kept_run(shop)
    forked = shop.fork(run_id, ME, 64, loss="hinge", name="with hinge")
    wait_for(shop, forked, "finished")
    run = shop.path(forked)
    stored = json.loads((run / "config.json").read_text())["training"]
    assert (stored["loss"], stored["penalties"]) == ("hinge", [])
    assert (run / "checkpoints" / f"{64:012d}.safetensors").is_file()
    assert [path.stem for path in (run / "samples").iterdir()] == [f"{32:09d}"]
    snapshot = shop.snapshot(forked)
    assert snapshot.metrics[1]["images_seen"] == 64
    origin = {"run": run_id, "name": shop.snapshot(run_id).name, "images_seen": 64}
    assert snapshot.forked_from == origin | {"kind": "checkpoint"}
    assert "--loss hinge" in snapshot.command
    assert shop.clone(run_id, ME).loss == "relativistic", "the old run is as it was"


def test_a_fork_from_a_moment_is_a_warm_start_of_its_own(shop: Workshop) -> None:
    run_id = kept_run(shop)
    forked = shop.fork(run_id, ME, 32, batch=16)
    run = shop.path(forked)
    assert (run / "origin" / "discriminator.safetensors").is_file()
    assert f"--warm-start {run / 'origin'}" in shop.snapshot(forked).command
    about = About.read(run)
    assert about is not None
    assert about.forked_from is not None
    assert about.forked_from["kind"] == "moment"


def test_a_fork_calls_its_origin_as_that_is_called_today(shop: Workshop) -> None:
    run_id = kept_run(shop)
    forked = shop.fork(run_id, ME, 32, warm_start="anything")  # which the moment is instead

    def origin() -> tuple[str, str | None]:
        shop.snapshots.forget(shop.path(forked))
        known = shop.snapshot(forked).forked_from
        assert known is not None
        return known["name"], known["run"]

    shop.rename(run_id, ME, "the first")
    assert origin() == ("the first", run_id)
    before = About.read(shop.path(forked))
    shop.delete(run_id, ME)
    assert before is not None
    assert before.forked_from is not None
    assert origin() == (before.forked_from["name"], None), "nothing leads to what is gone"


def test_a_fork_that_makes_no_sense_is_refused_and_leaves_nothing(shop: Workshop) -> None:
    run_id = kept_run(shop)
    before = sorted(shop.root.iterdir())
    refusal("no_such_moment", lambda: shop.fork(run_id, ME, 96))
    refusal("no_such_moment", lambda: shop.fork(run_id, ME, -1))
    assert refusal("fork_keeps", lambda: shop.fork(run_id, ME, 64, seed=1)).values["name"] == "seed"
    refusal("fork_without_budget", lambda: shop.fork(run_id, ME, 64, images=64))
    refusal("unknown_loss", lambda: shop.fork(run_id, ME, 64, loss="kindness"))
    assert sorted(shop.root.iterdir()) == before


# What a host allows


def test_training_is_off_on_public_hosts_until_it_is_turned_on(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = training(shop)
    assert shop.enabled
    monkeypatch.setenv("SPACE_ID", "ada/lab")
    assert not shop.enabled
    refusal("training_is_off", lambda: shop.start(SHORT, ME))
    refusal("training_is_off", lambda: shop.resume(run_id, ME))
    refusal("training_is_off", lambda: shop.estimate(SHORT, ME))
    refusal("training_is_off", lambda: shop.check_upload(1))
    assert shop.snapshot(run_id).state == "training"
    shop.stop(run_id, ME)
    monkeypatch.setenv("LATENT_LAB_TRAINING", "on")
    assert training_is_on()
    assert limits_here() == PUBLIC
    monkeypatch.setenv("LATENT_LAB_LIMIT_MINUTES", "5")
    monkeypatch.setenv("LATENT_LAB_LIMIT_OWN_PATHS", "on")
    assert (limits_here().minutes, limits_here().own_paths) == (5.0, True)
    monkeypatch.setenv("LATENT_LAB_LIMIT_RUNS", "many")
    refusal("bad_limit", limits_here)
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.setenv("LATENT_LAB_TRAINING", "off")
    assert not training_is_on()


@pytest.mark.parametrize(
    ("flags", "on"),
    [
        ([], True),
        (["--host", "127.0.0.1"], True),
        (["--host", "0.0.0.0"], False),
        (["--share"], False),
        (["--share", "--training", "on"], True),
        (["--training", "off"], False),
    ],
)
def test_the_apps_flags_say_whether_people_may_train(
    flags: list[str], on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import app

    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(sys, "argv", ["app.py", *flags])
    app.note_host(app.parse())
    assert training_is_on() is on


def test_a_queue_waits_while_training_is_off(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = training(shop), shop.start(SHORT, ME)
    monkeypatch.setenv("LATENT_LAB_TRAINING", "off")
    shop.stop(first, ME)
    wait_for(shop, first, "stopped")
    shop.tick(at_once=True)
    assert shop.snapshot(second).state == "queued"


def test_limits_on_number(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, Limits(free_gib=0.0, runs_each=3, runs=4, waiting_each=1))
    try:
        first = training(shop)
        shop.start(ENDLESS, ME)
        refusal("too_many_waiting", lambda: shop.start(ENDLESS, ME))
        shop.start(ENDLESS, OTHER)
        shop.stop(shop.list(ME)[0].run_id, ME)
        shop.start(ENDLESS, ME)
        assert refusal("too_many_runs", lambda: shop.start(ENDLESS, ME)).values == {"most": 3}
        shop.delete(first, ME)
        refusal("host_is_full", lambda: shop.start(ENDLESS, "a-third-browsers-token"))
    finally:
        clear(shop)


def test_limits_on_disk(tmp_path: Path) -> None:
    full = Workshop(tmp_path / "a", Limits(free_gib=10.0**9))
    refusal("disk_nearly_full", lambda: full.start(SHORT, ME))
    used = Workshop(tmp_path / "b", Limits(free_gib=0.0, disk_gib=1e-9))
    (tmp_path / "b").mkdir(exist_ok=True)
    (tmp_path / "b" / "something").write_bytes(b"12345")
    refusal("runs_fill_the_disk", lambda: used.start(SHORT, ME))
    roomy = Workshop(tmp_path / "b", Limits(free_gib=0.0, disk_gib=1.0))
    roomy.check_upload(1000)
    refusal("runs_fill_the_disk", lambda: roomy.check_upload(2**30))
    assert not list(tmp_path.glob("*/run-*"))


def test_a_run_that_is_over_its_time_is_stopped_and_says_why(shop: Workshop) -> None:
    run_id = training(shop)
    status = read_status(shop.path(run_id))
    strict = Workshop(shop.root, dataclasses.replace(shop.limits, minutes=1.0))
    strict.queue.status = lambda run: status | {"seconds": 61.0}
    strict._keep_bounds([shop.path(run_id)])
    wait_for(shop, run_id, "stopped")
    message = shop.snapshot(run_id).message
    assert message == {"code": "run_time_is_up", "values": {"most": 1.0}}


def test_a_full_disk_stops_what_trains(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, Limits(free_gib=0.0))
    run_id = training(shop)
    strict = Workshop(tmp_path, Limits(free_gib=10.0**9))
    strict.tick(at_once=True)
    wait_for(shop, run_id, "stopped")
    message = shop.snapshot(run_id).message
    assert message is not None
    assert message["code"] == "disk_nearly_full"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"images": None}, "no_budget"),
        ({"minutes": 60.0}, "run_too_long"),
        ({"resolution": 128}, "bad_resolution"),
        ({"batch": 128}, "bad_setting"),
        ({"seed": -1}, "bad_setting"),
        ({"loss": "kindness"}, "unknown_loss"),
        ({"penalties": "r3"}, "unknown_penalty"),
        ({"preset": "huge"}, "unknown_preset"),
        ({"lesson": "--out"}, "bad_training_field"),
        ({"data": "/"}, "not_your_data"),
        ({"data": "../.."}, "not_your_data"),
        ({"warm_start": "somewhere/else"}, "not_your_model"),
    ],
)
def test_a_public_host_refuses(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    shop = Workshop(tmp_path, dataclasses.replace(PUBLIC, free_gib=0.0))
    refusal(code, lambda: shop.start(dataclasses.replace(SHORT, **changes), ME))
    assert not list(tmp_path.glob("run-*"))


def test_a_public_host_takes_what_its_owner_uploaded(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, dataclasses.replace(PUBLIC, free_gib=0.0))
    mine = shop.data_folder(ME) / "cats"
    mine.mkdir()
    asked = dataclasses.replace(SHORT, data=str(mine))
    refusal("not_your_data", lambda: shop.start(asked, OTHER))
    run_id = shop.start(asked, ME)
    shown = shop.snapshot(run_id).command
    assert f"--data {mine}" in shown
    assert "--resolution 64" in shown, "no larger than the host allows"
    gone = dataclasses.replace(SHORT, data=str(mine / "no"))
    refusal("data_missing", lambda: shop.start(gone, ME))
    # One's own run is a warm start too, here and in what follows from it.
    second = shop.start(dataclasses.replace(SHORT, warm_start=run_id), ME)
    assert f"--warm-start {shop.path(run_id)}" in shop.snapshot(second).command
    shop.change(second, ME, images=640)
    clear(shop)


@pytest.mark.parametrize(
    "given",
    [
        *(None, [], "digits", {"data": 7}, {"images": "many"}, {"images": True}, {"size": 3}),
        *({"minutes": float("nan")}, {"name": "x" * 5000}, {"batch": "8"}),
    ],
)
def test_a_request_from_outside_is_checked(given: Any) -> None:
    refusal("bad_training_field", lambda: TrainRequest.from_json(given))


def test_a_request_is_its_command_line() -> None:
    from gan import cli
    from gan.cli import training

    asked = TrainRequest(
        data="digits", preset="small", resolution=16, minutes=2.5, loss="hinge", penalties="r1,r2",
        target_quality=0.9, batch=16, seed=7,
    )  # fmt: skip
    options = cli.parser().parse_args(asked.command("somewhere"))
    config = training.train_config(options)
    assert (config.loss, config.penalties, config.minutes) == ("hinge", ("r1", "r2"), 2.5)
    assert (config.batch, config.seed, config.target_quality) == (16, 7, 0.9)
    assert (options.preset, options.resolution, str(options.out)) == ("small", 16, "somewhere")
    assert TrainRequest(images=64).command("r") == [
        *("train", "--data", "digits", "--out", "r", "--images", "64")
    ]


# Metrics, thinned


def report(images: int, **more: Any) -> str:
    return json.dumps({"images_seen": images, "histogram": {"fake": [images]}} | more) + "\n"


def test_metrics_stay_under_500_and_keep_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics, seen = Metrics(path), 0
    assert metrics.lines() == []
    for _ in range(7):
        with path.open("a") as file:
            for _ in range(700):
                seen += 1
                file.write(report(seen, quality={"q": 0.5} if seen % 3 == 0 else None))
        images = [line["images_seen"] for line in metrics.lines()]
        assert images == sorted(set(images))
        assert (images[0], images[-1]) == (1, seen)
        assert 200 < len(images) <= MOST_POINTS + MOST_EVALUATIONS + 2 < 500
    lines = metrics.lines()
    assert [line["histogram"] for line in lines if "histogram" in line] == [{"fake": [seen]}]
    qualities = [line["images_seen"] for line in lines if line["quality"]]
    steps = {b - a for a, b in itertools.pairwise(qualities[:-1])}
    assert len(steps) == 1, "evenly thinned"


def test_metrics_are_read_on_and_a_cut_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(report(32) + '{"images_se')
    metrics = Metrics(path)
    assert [line["images_seen"] for line in metrics.lines()] == [32]
    with path.open("a") as file:
        file.write('en": 64}\nnonsense\n[]\n')
    assert [line["images_seen"] for line in metrics.lines()] == [32, 64]


def test_metrics_that_a_resume_rewrote_are_read_anew(tmp_path: Path) -> None:
    from gan.files import write_atomic

    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(report(n) for n in (32, 64, 96)))
    metrics = Metrics(path)
    assert len(metrics.lines()) == 3
    write_atomic(path, (report(32) + report(48) + report(64) + report(80)).encode())
    assert [line["images_seen"] for line in metrics.lines()] == [32, 48, 64, 80]
    path.unlink()
    assert metrics.lines() == []


def test_a_snapshot_is_taken_once_a_second_for_everybody(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = shop.start(SHORT, ME)
    wait_for(shop, run_id, "finished")
    monkeypatch.setattr("gan.workshop.snapshot.FRESH_SECONDS", 60.0)
    first = shop.snapshot(run_id)
    assert shop.snapshot(run_id) is first
    assert [line["images_seen"] for line in shop.snapshot(run_id, since=256).metrics] == [288, 320]
    shop.rename(run_id, ME, "another")
    assert shop.snapshot(run_id).name == "another", "a change is seen at once"


# Estimates


def test_an_estimate_is_measured_once_and_scaled(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[TrainRequest] = []

    def measure(request: TrainRequest) -> dict[str, Any]:
        measured.append(request)
        return {
            "seconds_per_image": {"8": 0.01}, "images": 1000, "minutes": 0.2, "device": {},
            "memory_bytes": 5, "checkpoint_bytes": 100, "export_bytes": 10, "moment_bytes": 1,
        }  # fmt: skip

    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gan.workshop.estimate.measure", measure)
    found = shop.estimate(SHORT, ME)
    assert (found.images_per_second, found.images, found.minutes) == ({"8": 100.0}, 320, 0.06)
    assert found.disk_bytes == 4 * 100 + 2 * 10 + 24
    ten = Workshop(shop.root).estimate(dataclasses.replace(SHORT, images=None, minutes=10.0), ME)
    assert (ten.images, ten.minutes) == (50_000, 10.0)
    assert len(measured) == 1, "another server knows it too"
    shop.estimate(dataclasses.replace(SHORT, loss="hinge"), ME)
    assert len(measured) == 2
    refusal("no_budget", lambda: shop.estimate(TrainRequest(), ME))
    beside = training(shop)
    slower = dataclasses.replace(SHORT, batch=16)
    for minutes in (1.0, 2.0):  # slower than it will be: known while something trains
        assert shop.estimate(slower.changed(minutes=minutes), ME).busy
    assert len(measured) == 3
    shop.stop(beside, ME)
    wait_for(shop, beside, "stopped")
    assert not shop.estimate(slower, ME).busy
    assert len(measured) == 4, "and measured again when nothing does"
    warm = dataclasses.replace(SHORT, warm_start=beside)
    assert not Workshop(shop.root).estimate(warm, ME).busy
    assert measured[-1].warm_start == str(shop.path(beside)), "a warm start costs what it costs"
    refusal("not_your_run", lambda: shop.estimate(warm, OTHER))


# Nothing is left behind


@pytest.mark.slow
def test_a_hundred_starts_and_stops_leave_nothing(shop: Workshop) -> None:
    def handles() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0

    run_id = shop.start(ENDLESS, ME)
    processes, before = [], handles()
    for number in range(100):
        wait_until(lambda: read_status(shop.path(run_id)).get("state") in ("starting", "training"))
        if number % 10 == 0:
            wait_for(shop, run_id, "training")
        status = read_status(shop.path(run_id))
        processes.append((status["pid"], status["started"]))
        shop.stop(run_id, ME)
        wait_until(lambda: shop.snapshot(run_id).state in ("stopped", "dead"))
        wait_until(lambda: not process_alive(*processes[-1]))
        shop.resume(run_id, ME)
    shop.stop(run_id, ME)
    wait_until(lambda: not shop.queue.at_work())
    assert not [pid for pid in processes if process_alive(*pid)]
    wait_until(lambda: handles() <= before)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("wait-")])
    assert not list(shop.root.rglob("*.partial"))
