"""gan.workshop.rented: a training on a rented machine is a run among the others."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gan import control
from gan.jobs.launch import Job
from gan.system import Process, this_process
from gan.workshop import Limits, TrainRequest, Workshop, rented
from gan.workshop.queue import write_json
from gan.workshop.records import read_status
from gan.workshop.rented import Rental
from tests.asking import ask_train_hub, refusal

ME, OTHER = "a" * 32, "b" * 32
TOKEN = "hf_a_secret_of_one_job"
TINY = TrainRequest("digits-tiny", images=320)
RENTAL = Rental("me/rented", "a10g-small", 2.0)


@pytest.fixture
def started() -> list[tuple[list[str], str]]:
    """What was started: (command, secret)."""
    return []


@pytest.fixture(autouse=True)
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[list[str], str]]
) -> Iterator[Workshop]:
    """A workshop in which our own process stands for each follower."""

    def start(
        command: Sequence[str], log: Path, env: Any, secret: str, note: Callable[[Process], None]
    ) -> Process:
        assert TOKEN not in str(env)
        note(this_process())
        started.append((list(command), secret))
        log.write_text("hello from afar\n")
        return this_process()

    monkeypatch.setattr(rented, "start_detached", start)
    monkeypatch.setattr("gan.workshop.snapshot.FRESH_SECONDS", 0.0)
    for name in ("SPACE_ID", "LATENT_LAB_PUBLIC", "LATENT_LAB_TRAINING", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    made = Workshop(tmp_path / "runs", Limits(free_gib=0.0, minutes=1.0, own_paths=False))
    monkeypatch.setattr("gan.workshop.workshop._shared", [made])
    yield made
    for run in made.queue.runs():
        write_json(run / "status.json", {"state": "stopped"})


def test_it_is_started_by_the_command_that_a_person_types(
    shop: Workshop, started: list[tuple[list[str], str]]
):
    run = shop.rent(TINY, ME, RENTAL, TOKEN)
    ((command, secret),) = started
    assert secret == TOKEN
    assert TOKEN not in " ".join(command)
    words = " ".join(command[command.index("jobs") :])
    assert words.startswith("jobs start me/rented --hardware a10g-small --hours 2.0 --yes --follow")
    assert f"--data digits-tiny --out {shop.path(run)} --images 320 --token-stdin" in words
    assert "--public" not in words
    shown = shop.snapshot(run)
    assert (shown.state, shown.log_end) == ("training", "hello from afar")
    assert shown.status["job"]["hardware"] == "a10g-small"
    for path in shop.root.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_it_takes_no_device_and_no_limit_of_this_host(shop: Workshop):
    longer = TrainRequest("digits-tiny", minutes=300.0)
    run = shop.rent(longer, ME, RENTAL, TOKEN)
    assert shop.queue.at_work() == []
    assert shop.queue.waiting() == []
    shop.tick(at_once=True)
    assert shop.snapshot(run).state == "training"


def test_it_hears_one_order_alone(shop: Workshop):
    run = shop.rent(TINY, ME, RENTAL, TOKEN)
    for act in (shop.pause, shop.save_now, shop.resume, shop.change):
        assert refusal(lambda act=act: act(run, ME), TOKEN) == "job_only_stops"
    assert refusal(lambda: shop.stop(run, OTHER), TOKEN) == "not_your_run"
    shop.stop(run, ME)
    (order,) = control.read(shop.path(run))
    assert (order.action, order.pid) == ("stop", this_process().pid)


def test_a_job_without_a_follower_is_followed_again(
    shop: Workshop, started: list[tuple[list[str], str]]
):
    run = shop.rent(TINY, ME, RENTAL, TOKEN)
    shop.follow_again(run, ME, TOKEN)
    assert len(started) == 1, "it is followed already"
    dead = read_status(shop.path(run)) | {"pid": 2**30, "started": 1.0, "state": "training"}
    write_json(shop.path(run) / "status.json", dead)
    assert shop.snapshot(run).state == "dead"
    assert refusal(lambda: shop.follow_again(run, ME, TOKEN), TOKEN) == "job_unknown"
    Job("me/rented", "1", "a10g-small", 2.0).write(shop.path(run))
    assert refusal(lambda: shop.follow_again(run, OTHER, TOKEN), TOKEN) == "not_your_run"
    shop.follow_again(run, ME, TOKEN)
    command, secret = started[-1]
    assert command[-4:] == ["jobs", "follow", str(shop.path(run)), "--token-stdin"]
    assert secret == TOKEN
    assert shop.snapshot(run).state == "training"


def test_what_a_rented_machine_cannot_have(shop: Workshop, tmp_path: Path):
    for request in (
        TrainRequest(str(shop.data_folder(ME)), images=64),
        TrainRequest("digits-tiny", images=64, warm_start="avatars"),
    ):
        assert (
            refusal(lambda one=request: shop.rent(one, ME, RENTAL, TOKEN), TOKEN)
            == "job_needs_files"
        )
    assert refusal(lambda: shop.rent(TINY, ME, RENTAL, "no token"), TOKEN) == "publish_token_form"
    assert shop.list(ME) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rental": None}, "bad_request"),
        ({"rental": {"repo": "me/rented", "image": "evil"}}, "bad_request"),
        ({"rental": {"repo": "me/rented", "hours": "1"}}, "bad_request"),
        ({"rental": {"repo": "me/rented", "hours": 1e9}}, "job_hours"),
        ({"rental": {"repo": "me; rm"}}, "hub_bad_name"),
        ({"request": {"data": "digits", "shell": "rm"}}, "bad_training_field"),
        ({"hub_token": ""}, "publish_token_needed"),
        ({"token": 7}, "bad_request"),
    ],
)
def test_a_bad_request_is_refused(shop: Workshop, changes: dict[str, Any], code: str):
    asked = {"token": ME, "request": TINY.to_json(), "rental": {"repo": "me/rented"}}
    answer = ask_train_hub("rent", **asked | {"hub_token": TOKEN} | changes)
    assert answer["error"]["code"] == code
    assert shop.list(ME) == []


def test_the_page_begins_one(shop: Workshop, started: list[tuple[list[str], str]]):
    asked = {"token": ME, "request": TINY.to_json(), "hub_token": TOKEN}
    run = ask_train_hub("rent", **asked, rental={"repo": "me/rented", "private": False})["run"]
    assert "--public" in started[0][0]
    assert [each.run_id for each in shop.list(ME)] == [run]
