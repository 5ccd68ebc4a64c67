"""What the Train page may ask for: the truth of the files, and nothing of other people's."""

import asyncio
import base64
import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gan import control, rendering
from gan.device import Device
from gan.errors import LabError
from gan.recipe import Recipe
from gan.rendering import Renderer
from gan.runs import RunDirectory
from gan.system import this_process
from gan.ui import train_files, train_server, train_uploads
from gan.workshop import Limits, TrainRequest, Workshop
from gan.workshop.queue import write_json
from gan.workshop.records import About, owner_hash
from tests.asking import idle_workshop
from tests.tiny import tiny_model

ME, OTHER = "a" * 32, "b" * 32


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    for name in ("SPACE_ID", "LATENT_LAB_PUBLIC", "LATENT_LAB_TRAINING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    with idle_workshop(tmp_path / "runs", monkeypatch) as made:
        yield made


def ask(name: str, /, **asked: Any) -> Any:
    """A server function's answer, which must be plain JSON."""
    (function,) = (each for each in train_server.FUNCTIONS if each.__name__ == name)
    answer = asyncio.run(asyncio.wait_for(function(asked), 30))
    return json.loads(json.dumps(answer, allow_nan=False))


def made_run(shop: Workshop, *, token: str = ME, state: str = "stopped", **status: Any) -> str:
    """A run with three reports, an evaluation and two pictures, as a training leaves it."""
    folder = shop.root / f"run-{len(list(shop.root.glob('run-*'))):016x}"
    (folder / "samples").mkdir(parents=True)
    About("mine", owner_hash(token), 100.0, TrainRequest("digits", images=900)).write(folder)
    process = this_process()
    told = {"state": state, "pid": process.pid, "started": process.started, "images": 900}
    (folder / "status.json").write_text(json.dumps(told | {"images_seen": 96} | status))
    lines = [report(seen) for seen in (32, 64, 96)]
    lines[1]["quality"] = {"q": 0.123456, "q_low": 0.1, "q_high": 0.2, "kid": 3.0, "floor": None}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    for name in ("samples/000000000", "samples/000000064", "reals"):
        Image.new("RGB", (8, 8), (9, 8, 7)).save(folder / f"{name}.png")
    return folder.name


def report(seen: int) -> dict[str, Any]:
    histogram = {"edges": [0, 1, 2], "real": [seen, 1], "fake": [1, 2]}
    losses = {"loss_g": 0.7 + seen, "loss_d": 1.2}
    return {"images_seen": seen, "losses": losses, "images_per_second": 40.0} | {
        "histogram": histogram
    }


# What the page begins with


def test_the_facts_are_plain_and_offer_what_there_is() -> None:
    facts = json.loads(json.dumps(train_server.facts()))
    assert facts["enabled"]
    assert [each["name"] for each in facts["datasets"]] == ["digits", "digits-tiny", "avatars"]
    assert {each["name"]: each["penalties"] for each in facts["losses"]}["relativistic"] == [
        "r1",
        "r2",
    ]
    assert facts["lessons"][0] == {
        "name": "collapse",
        "loss": "nonsaturating",
        "penalties": [],
    }
    assert facts["goals"][0] == {"name": "demo", "minutes": 1, "preset": "quick"}


def test_goals_keep_the_hosts_limit(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Workshop(shop.root, Limits(minutes=30.0))
    monkeypatch.setattr("gan.workshop.workshop._shared", [strict])
    assert {goal["minutes"] for goal in train_server.facts()["goals"]} == {1, 30.0}


def test_a_data_set_is_shown_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.training.data.load_dataset", lambda *_: pytest.fail("for a tile"))
    image = ask("sight", data="digits-tiny")["image"]
    picture = Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2])))
    assert picture.size == (4 * 8, 2 * 8)
    assert ask("sight", data="../../etc")["error"]["code"] == "bad_request"


# Starting


def test_what_is_asked_for_is_what_runs(shop: Workshop) -> None:
    request = TrainRequest("digits-tiny", minutes=1, loss="hinge", penalties="r1").to_json()
    command = ask("command", request=request)["command"]
    assert command.startswith("python -m gan train --data digits-tiny --out RUN")
    run = ask("start", token=ME, request=request)["run"]
    shown = ask("look", token=ME, run=run)["snapshot"]
    assert shown["command"] == command.replace("RUN", str(shop.root / run))
    assert (shown["state"], shown["place"], shown["mine"]) == ("queued", 1, True)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"data": "digits", "minutes": 1, "batch": 100_000}, "bad_setting"),
        ({"data": "digits", "minutes": 1, "loss": "magic"}, "unknown_loss"),
        ({"data": "digits"}, "no_budget"),
        ({"data": "digits", "minutes": 1, "shell": "rm"}, "bad_training_field"),
        ([], "bad_training_field"),
        (None, "bad_training_field"),
    ],
)
def test_a_bad_request_is_refused_in_words(request_: Any, code: str, shop: Workshop) -> None:
    assert ask("start", token=ME, request=request_)["error"]["code"] == code
    assert shop.list(ME) == []


@pytest.mark.parametrize("token", [None, "", "short", 7, "x" * 5000, "../../../etc/passwd/xx"])
def test_without_a_token_nothing_is_started(token: Any, shop: Workshop) -> None:
    request = {"data": "digits", "minutes": 1}
    assert "error" in ask("start", token=token, request=request)
    assert list(shop.root.glob("run-*")) == []


def test_where_training_is_off_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENT_LAB_TRAINING", "off")
    assert train_server.facts()["enabled"] is False
    asked = {"token": ME, "request": {"data": "digits", "minutes": 1}}
    assert ask("start", **asked)["error"]["code"] == "training_is_off"
    assert ask("estimate", **asked)["error"]["code"] == "training_is_off"
    files = [upload(tmp_path, "a.png")]
    assert ask("gather", token=ME, files=files)["error"]["code"] == "training_is_off"


# Watching


def test_a_look_tells_what_the_files_say(shop: Workshop) -> None:
    shown = ask("look", token=ME, run=made_run(shop))["snapshot"]
    assert (shown["state"], shown["images_seen"], shown["images"]) == ("stopped", 96, 900)
    assert shown["samples"] == [0, 64]
    assert shown["pictures"] == ["reals"]
    facts = train_server.facts()
    loss = facts["columns"].index("loss_g")
    assert [(row[0], row[loss]) for row in shown["points"]] == [(32, 32.7), (64, 64.7), (96, 96.7)]
    (quality,) = (dict(zip(facts["qualities"], row, strict=True)) for row in shown["qualities"])
    assert quality["q"] == 0.1235, "four digits are enough"
    assert quality["floor"] is None
    assert shown["histogram"]["real"] == [96, 1], "the newest"


def test_what_is_trained_with_is_told_and_not_what_was_asked_for(shop: Workshop) -> None:
    run = made_run(shop)
    shown = ask("look", token=ME, run=run)["snapshot"]
    assert (shown["settings"], shown["request"]["loss"]) == (None, "relativistic")
    lesson = {"loss": "nonsaturating", "penalties": [], "batch": 8, "seed": 0}
    (shop.root / run / "config.json").write_text(json.dumps({"training": lesson}))
    shop.snapshots.forget(shop.root / run)
    told = ask("look", token=ME, run=run)["snapshot"]["settings"]
    assert told == {"loss": "nonsaturating", "penalties": [], "batch": 8}


def test_a_training_that_says_nothing_for_long_is_told(shop: Workshop) -> None:
    def silent(**status: Any) -> int | None:
        run = made_run(shop, beat=time.monotonic() - 40, **status)
        return ask("look", token=ME, run=run)["snapshot"]["silent"]

    assert silent(state="training") in range(40, 60)
    for state in ("starting", "paused", "queued", "finished"):
        assert silent(state=state) is None
    assert silent(state="training", job={"repo": "me/x"}) is None


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_makes_no_training_silent(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    run = made_run(shop, state="training")
    real = time.time
    status = dict(json.loads((shop.root / run / "status.json").read_text()))
    RunDirectory(shop.root / run).write_status("training", images_seen=status["images_seen"])
    monkeypatch.setattr("time.time", lambda: real() + 3600 * hours)
    assert ask("look", token=ME, run=run)["snapshot"]["silent"] < 30


def test_the_newest_generator_is_the_furthest_whatever_the_clock_said(shop: Workshop) -> None:
    run = shop.root / made_run(shop)
    for name, seen, written in (("model", 500, 2e9), ("latest", 900, 1e9)):
        tiny_model(run / name)
        config = json.loads((run / name / "config.json").read_text())
        config |= {"training": {"images_seen": seen}}
        (run / name / "config.json").write_text(json.dumps(config))
        os.utime(run / name / "model.safetensors", (written, written))
    assert train_server.newest(run, shop.snapshot(run.name)) == run / "latest"


def test_what_was_damaged_is_told(shop: Workshop) -> None:
    run = made_run(shop, damaged=["000000000064.safetensors"])
    (shop.root / run / "checkpoints").mkdir()
    (shop.root / run / "checkpoints" / "000000000032.safetensors").write_bytes(b"")
    shown = ask("look", token=ME, run=run)["snapshot"]
    assert shown["damaged"] == ["000000000064.safetensors"]
    assert shown["checkpoints"] == [32]


def test_a_quality_says_at_which_resolution_it_was_measured(shop: Workshop) -> None:
    run = made_run(shop)
    lines = [
        report(seen) | {"resolution": size, "quality": {"q": 0.5}}
        for seen, size in ((32, 16), (64, 32))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (shop.root / run / "metrics.jsonl").write_text(text)
    at = train_server.facts()["qualities"].index("resolution")
    rows = ask("look", token=ME, run=run)["snapshot"]["qualities"]
    assert [row[at] for row in rows] == [16, 32]


def test_only_news_travels_and_a_run_that_went_back_comes_whole(shop: Workshop) -> None:
    run = made_run(shop)
    news = ask("look", token=ME, run=run, since=64)["snapshot"]
    assert not news["restart"]
    assert [row[0] for row in news["points"]] == [96]
    assert news["qualities"] == []
    nothing = ask("look", token=ME, run=run, since=96)["snapshot"]
    assert (nothing["points"], nothing["histogram"], nothing["restart"]) == ([], None, False)
    back = ask("look", token=ME, run=run, since=5000)["snapshot"]
    assert back["restart"]
    assert [row[0] for row in back["points"]] == [32, 64, 96]


def test_a_child_that_was_killed_is_shown_as_dead(shop: Workshop) -> None:
    run = made_run(shop, state="training", pid=2**22 + 1)
    (shop.root / run / "log.txt").write_text("the last words\n")
    shown = ask("look", token=ME, run=run)["snapshot"]
    assert (shown["state"], shown["log"]) == ("dead", "the last words")


def test_a_list_holds_ones_own_and_a_link_only_shows(shop: Workshop) -> None:
    mine, theirs = made_run(shop), made_run(shop, token=OTHER)
    assert [each["run_id"] for each in ask("look", token=ME, runs=True)["runs"]] == [mine]
    shown = ask("look", token=ME, run=theirs)["snapshot"]
    assert shown["mine"] is False
    assert owner_hash(OTHER) not in json.dumps(shown)
    for action in train_server.ACTIONS:
        asked = {"token": ME, "run": theirs, "action": action, "name": "x", "minutes": 1}
        assert ask("act", **asked)["error"]["code"] == "not_your_run"
    assert ask("clone", token=ME, run=theirs)["error"]["code"] == "not_your_run"


def test_a_link_tells_nobody_where_things_lie(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "class 5b"
    path = f"{tmp_path}/class 5b/x.png"
    error = LabError("hub_disk", reason=f"owner/name: '{path}'")
    run = made_run(shop, state="failed", message=error.to_json())
    about = About.read(shop.path(run))
    assert about is not None
    asked = TrainRequest(str(pictures), images=900, warm_start=str(tmp_path / "model"))
    replace(about, request=asked).write(shop.path(run))
    (shop.path(run) / "log.txt").write_text(f"File {tmp_path}/gan/loop.py\n")
    shown = ask("look", token=OTHER, run=run)["snapshot"]
    assert str(tmp_path) not in json.dumps(shown)
    assert shown["message"]["values"] == {"reason": "owner/name: 'x.png'"}
    assert (shown["request"]["data"], shown["request"]["warm_start"]) == ("class 5b", "model")
    assert shown["command"].startswith("python -m gan train --data 'class 5b' --out RUN")
    own = ask("look", token=ME, run=run)["snapshot"]
    assert own["request"] == asked.to_json()
    assert own["message"] == error.to_json()
    assert own["command"] == asked.command_line(shop.path(run))
    monkeypatch.setattr(shop, "limits", replace(shop.limits, own_paths=False))
    assert str(tmp_path) not in ask("look", token=ME, run=run)["snapshot"]["command"]


def test_a_forks_link_leads_a_stranger_to_no_other_run(shop: Workshop) -> None:
    mine, fork = made_run(shop), made_run(shop)
    about = About.read(shop.path(fork))
    assert about is not None
    origin = {"run": mine, "name": "mine", "images_seen": 64, "kind": "checkpoint"}
    replace(about, forked_from=origin).write(shop.path(fork))
    assert ask("look", token=ME, run=fork)["snapshot"]["forked_from"] == origin
    shown = ask("look", token=OTHER, run=fork)["snapshot"]
    assert shown["forked_from"] == origin | {"run": None}
    assert mine not in json.dumps(shown)


def test_a_training_begins_with_what_was_opened_since(
    shop: Workshop, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered() -> list[str]:
        return [each["name"] for each in ask("look", token=ME, starts=True)["starts"]]

    before = offered()
    assert "starts" not in ask("look", token=ME)
    folder = tmp_path / "later"
    tiny_model(folder)
    renderer.add(folder)
    assert offered() == before, "half of it isn't there"
    (folder / "discriminator.safetensors").touch()
    assert offered() == [*before, str(folder)]
    monkeypatch.setattr(shop, "limits", replace(shop.limits, own_paths=False))
    assert offered() == before, "a public host tells no places"
    monkeypatch.setenv("LATENT_LAB_MODELS", str(tmp_path))
    assert offered() == [*before, "later"]


@pytest.mark.parametrize("run", ["", "..", "run-0", "../run-" + "0" * 16, None, 7, ["run"]])
def test_what_is_no_run_is_not_there(run: Any, shop: Workshop) -> None:
    made_run(shop)
    asked = {"token": ME, "run": run, "action": "stop"}
    assert ask("act", **asked)["error"]["code"] == "no_such_run"
    if run is not None:
        assert ask("look", token=ME, run=run)["error"]["code"] == "no_such_run"


# Steering


def test_rename_delete_and_bring_back(shop: Workshop) -> None:
    run = made_run(shop)
    assert ask("act", token=ME, run=run, action="rename", name=" A  better one ") == {}
    assert ask("look", token=ME, run=run)["snapshot"]["name"] == "A better one"
    assert ask("act", token=ME, run=run, action="delete") == {}
    gone = ask("look", token=ME, runs=True)
    assert (gone["runs"], [each["run_id"] for each in gone["deleted"]]) == ([], [run])
    assert ask("act", token=ME, run=run, action="undelete") == {}
    back = ask("look", token=ME, runs=True)
    assert (len(back["runs"]), back["deleted"]) == (1, [])


def test_resume_and_stop(shop: Workshop) -> None:
    run = made_run(shop)
    assert ask("act", token=ME, run=run, action="resume") == {}
    assert ask("look", token=ME, run=run)["snapshot"]["state"] == "queued"
    assert ask("act", token=ME, run=run, action="stop") == {}
    assert ask("look", token=ME, run=run)["snapshot"]["state"] == "stopped"
    assert ask("act", token=ME, run=run, action="explode")["error"]["code"] == "bad_request"


def test_an_ended_run_goes_on(shop: Workshop) -> None:
    run = made_run(shop, images_seen=0)
    asked = {"token": ME, "run": run, "action": "go_on"}
    assert ask("act", **asked, minutes="5")["error"]["code"] == "bad_request"
    assert ask("act", **asked, minutes=True)["error"]["code"] == "bad_training_field"
    assert ask("act", **asked, minutes=5) == {}
    assert ask("look", token=ME, run=run)["snapshot"]["state"] == "queued"


def test_a_clone_is_the_same_request(shop: Workshop) -> None:
    request = ask("clone", token=ME, run=made_run(shop))["request"]
    assert TrainRequest.from_json(request) == TrainRequest("digits", images=900, name="mine")


# Into Explore


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    own = Renderer(Device("cpu", "float32", 1))
    monkeypatch.setattr(rendering, "_shared", [own])
    yield own
    own.close()


def test_the_newest_generator_opens_in_explore_also_while_it_trains(
    shop: Workshop, renderer: Renderer
) -> None:
    run = made_run(shop, state="training")
    assert ask("explore", run=run)["error"]["code"] == "nothing_to_open"
    tiny_model(shop.root / run / "model", seed=1)
    tiny_model(shop.root / run / "latest", seed=2)
    os.utime(shop.root / run / "model" / "model.safetensors", (1, 1))
    first = ask("explore", run=run)
    assert first["recipe"]["model"] == first["model"]["name"] == run
    assert set(first["model"]["title"].values()) == {"mine"}
    tiny_model(shop.root / run / "latest", seed=3)
    second = ask("explore", run=run)
    drawn = [renderer.model(run, each["model"]["revision"]) for each in (first, second)]
    before, after = (
        each.draw_exact(Recipe.from_json(asked["recipe"]))
        for each, asked in zip(drawn, (first, second), strict=True)
    )
    assert np.abs(before.astype(int) - after).max() > 0
    assert run not in {info.name for info in renderer.models()}, "a run is its owner's business"


def test_a_class_that_watches_tries_out_what_was_learned_and_takes_nothing_home(
    shop: Workshop, renderer: Renderer, client: TestClient
) -> None:
    run = made_run(shop, state="training")
    tiny_model(shop.root / run / "latest")
    tiny_model(shop.root / run / "moments" / "000000064")
    for asked in ({}, {"token": OTHER}, {"images_seen": 64}):
        assert "model" in ask("explore", run=run, **asked)
    assert control.read(shop.root / run) == [], "not even a saving is ordered"
    for name in ("fork", "clone"):
        request = TrainRequest("digits", images=9).to_json()
        answer = ask(name, token=OTHER, run=run, images_seen=64, request=request)
        assert answer["error"]["code"] == "not_your_run"
    for name in ("model.safetensors", "run.zip"):
        assert client.post(f"/runs/{run}/{name}", data={"token": OTHER}).status_code == 403


def test_the_owner_opens_what_is_saved_for_it(
    shop: Workshop, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made_run(shop, state="training")
    folder = shop.root / run
    tiny_model(folder / "latest", seed=2)
    before = ask("explore", run=run)["model"]["revision"]
    orders = []

    def obey(order: control.Order) -> None:
        orders.append(order.action)
        tiny_model(folder / "latest", seed=3)
        status = json.loads((folder / "status.json").read_text())
        write_json(folder / "status.json", status | {"obeyed": order.id})

    monkeypatch.setattr(control, "LOOK_SECONDS", 0.01)
    with control.Listener(folder, obey):
        assert ask("explore", run=run, token=OTHER)["model"]["revision"] == before
        assert ask("explore", run=run, token=ME)["model"]["revision"] != before
    assert orders == ["export"]
    monkeypatch.setattr(train_server, "SAVED_SECONDS", 0.2)
    assert "model" in ask("explore", run=run, token=ME), "nobody obeys: the one before"


def test_moments_open_beside_each_other(shop: Workshop, renderer: Renderer) -> None:
    run = made_run(shop)
    for seen in (500, 600):
        tiny_model(shop.root / run / "moments" / f"{seen:09d}", seed=seen)
    opened = [ask("explore", run=run, images_seen=seen)["model"] for seen in (500, 600)]
    assert [each["moment"] for each in opened] == [500, 600]
    assert {(each["run"], *each["moments"]) for each in opened} == {(run, 500, 600)}
    assert opened[0]["revision"] != opened[1]["revision"]
    for each in opened:
        assert renderer.model(run, each["revision"]).info.revision == each["revision"]
    assert ask("explore", run=run, images_seen=501)["error"]["code"] == "no_such_moment"


def test_a_link_finds_the_generator_with_its_weights_again(
    shop: Workshop, renderer: Renderer
) -> None:
    run = made_run(shop)
    for seen in (500, 600):
        tiny_model(shop.root / run / "moments" / f"{seen:09d}", seed=seen)
    tiny_model(shop.root / run / "latest", seed=2)
    (shop.root / run / "latest" / "config.json").write_text('{"training": {"images_seen": 640}}')
    first = ask("explore", run=run, images_seen=500)["model"]
    again = ask("explore", run=run, revision=first["revision"])["model"]
    assert again == first
    newest = ask("explore", run=run)["model"]
    assert (newest["images_seen"], newest["run_name"]) == (640, "mine")
    tiny_model(shop.root / run / "latest", seed=3)
    kept = ask("explore", run=run, revision=newest["revision"])["model"]
    assert kept["revision"] == newest["revision"], "it is open as long as somebody looks at it"
    assert kept["images_seen"] is None
    gone = ask("explore", run=run, revision="0" * 12)["error"]
    assert gone == {"code": "run_went_on", "values": {"revision": "0" * 12}}
    assert ask("explore", run=run, revision=7)["error"]["code"] == "bad_request"


def test_only_ones_own_runs_that_draw_are_offered(shop: Workshop) -> None:
    mine = made_run(shop)
    made_run(shop, token=OTHER)
    made_run(shop, images_seen=0)
    assert ask("own_runs", token=ME) == {"runs": [{"run": mine, "name": "mine"}]}
    assert ask("own_runs")["error"]["code"] == "bad_request"


# Pictures and downloads


@pytest.fixture
def client() -> TestClient:
    """A browser, of an app without a login."""
    app: Any = Starlette(routes=train_files.routes())
    app.auth = app.auth_dependency = None
    app.cookie_id, app.tokens = "x", {}
    return TestClient(app)


def test_pictures_are_served_and_nothing_else_is(shop: Workshop, client: TestClient) -> None:
    run = made_run(shop)
    found = client.get(f"/runs/{run}/000000064.png")
    assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
    assert "immutable" in found.headers["cache-control"]
    assert "immutable" not in client.get(f"/runs/{run}/reals.png").headers["cache-control"]
    for path in (
        *(f"/runs/{run}/000000065.png", f"/runs/{run}/neighbours.png", f"/runs/{run}/about.json"),
        *("/runs/run-ffffffffffffffff/000000064.png", f"/runs/{run}/..%2Freals.png"),
        *(f"/runs/..%2Fruns%2F{run}/reals.png", f"/runs/{run}/status.json"),
    ):
        assert client.get(path).status_code in (404, 405), path


def test_who_has_to_log_in_sees_nothing_before(shop: Workshop, client: TestClient) -> None:
    run = made_run(shop)
    app: Any = client.app
    app.auth, app.tokens = [("me", "secret")], {"t": "me"}
    assert client.get(f"/runs/{run}/reals.png").status_code == 404
    client.cookies.set("access-token-x", "t")
    assert client.get(f"/runs/{run}/reals.png").status_code == 200


def test_a_run_goes_home_whole_and_without_whose_it_is(shop: Workshop, client: TestClient) -> None:
    run = made_run(shop)
    got = client.post(f"/runs/{run}/run.zip", data={"token": ME})
    assert got.headers["content-disposition"] == f'attachment; filename="{run}.zip"'
    archive = zipfile.ZipFile(io.BytesIO(got.content))
    names = {path.relative_to(shop.root).as_posix() for path in (shop.root / run).rglob("*.*")}
    assert set(archive.namelist()) == names
    assert owner_hash(ME).encode() not in b"".join(map(archive.read, archive.namelist()))
    assert json.loads(archive.read(f"{run}/about.json"))["name"] == "mine"


def test_a_zip_that_fails_leaves_nothing(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_about: object) -> None:
        raise OSError("no space left")

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(train_files, "add", full)
    with pytest.raises(OSError, match="no space"):
        train_files.run_zip(shop.root / made_run(shop))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_model_goes_home(shop: Workshop, client: TestClient) -> None:
    run = made_run(shop)
    assert client.post(f"/runs/{run}/model.safetensors", data={"token": ME}).status_code == 403
    tiny_model(shop.root / run / "latest")
    got = client.post(f"/runs/{run}/model.safetensors", data={"token": ME})
    assert got.content == (shop.root / run / "latest" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("data", [{}, {"token": OTHER}, {"token": "x" * 10_000}])
def test_only_the_owner_takes_a_run_home(
    shop: Workshop, client: TestClient, data: dict[str, str]
) -> None:
    run = made_run(shop)
    for what in ("run.zip", "model.safetensors"):
        assert client.post(f"/runs/{run}/{what}", data=data).status_code == 403


# Uploads


def upload(tmp_path: Path, name: str, content: bytes = b"pixels") -> dict[str, str]:
    """A file as Gradio leaves it: in a folder of a random name."""
    place = tmp_path / "uploads" / f"{len(name)}{name[:3]}" / "blob"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return {"path": str(place), "name": name}


def test_pictures_become_a_persons_own_data(tmp_path: Path, shop: Workshop) -> None:
    files = [upload(tmp_path, name) for name in ("a.png", "holiday.JPG", "notes.txt")]
    got = ask("gather", token=ME, files=files)
    assert (got["name"], got["count"]) == ("a.png", 2)
    place = Path(got["source"])
    assert sorted(path.name for path in place.iterdir()) == ["00000.png", "00001.jpg"]
    assert place.is_relative_to(shop.data_folder(ME))
    assert not place.is_relative_to(shop.data_folder(OTHER))


def test_a_zip_is_taken_as_it_is(tmp_path: Path) -> None:
    got = ask("gather", token=ME, files=[upload(tmp_path, "..\\evil/../cats.zip")])
    assert (got["name"], got["count"]) == ("cats.zip", None)
    assert Path(got["source"]).name == "pictures.zip"


def test_only_uploads_are_moved(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"mine")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "link.png").symlink_to(secret)
    for path in (secret, tmp_path / "uploads" / ".." / "secret.png", tmp_path / "uploads/link.png"):
        got = ask("gather", token=ME, files=[{"path": str(path), "name": "a.png"}])
        assert got["error"]["code"] == "not_uploaded"
    assert secret.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "files", [None, [], [None], [{"path": 1, "name": "a.png"}], [{"path": "/x"}], "a.png"]
)
def test_nonsense_is_refused(files: Any) -> None:
    assert "error" in ask("gather", token=ME, files=files)


def test_uploads_have_limits(
    tmp_path: Path, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_uploads, "MOST_BYTES", 10)
    assert "error" not in ask("gather", token=ME, files=[upload(tmp_path, "a.png")])
    more = ask("gather", token=ME, files=[upload(tmp_path, "bb.png")])
    assert more["error"]["code"] == "data_too_large"
    assert "error" not in ask("gather", token=OTHER, files=[upload(tmp_path, "ccc.png")])
    full = Workshop(shop.root, Limits(disk_gib=1e-9))
    with monkeypatch.context() as full_disk:
        full_disk.setattr("gan.workshop.workshop._shared", [full])
        more = ask("gather", token="d" * 32, files=[upload(tmp_path, "e.png")])
    assert more["error"]["code"] == "runs_fill_the_disk"
    monkeypatch.setattr(train_uploads, "MOST_FILES", 1)
    both = [upload(tmp_path, "d.png"), upload(tmp_path, "ee.png")]
    assert ask("gather", token=ME, files=both)["error"]["code"] == "too_many_files"
    monkeypatch.undo()


def test_what_holds_no_picture_leaves_nothing(tmp_path: Path, shop: Workshop) -> None:
    got = ask("gather", token=ME, files=[upload(tmp_path, "notes.txt")])
    assert got["error"]["code"] == "no_pictures_uploaded"
    assert list(shop.data_folder(ME).iterdir()) == []
