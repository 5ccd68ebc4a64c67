"""gan.openings and gan.ui.models_server: models come in beside everybody else's pictures."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from gan import costs, loading, rendering
from gan.costs import Cost
from gan.device import Device
from gan.errors import LabError
from gan.loading import catalogue, formats, hub, hub_transfer
from gan.loading.policy import Policy
from gan.recipe import Recipe
from gan.rendering import Renderer
from gan.ui import explore_server, models_server
from tests.hub_server import Fault, HubServer, sha256
from tests.tiny import TINY_CLASSES, tiny_model, tiny_network


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENT_LAB_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    tiny_model(tmp_path / "models" / "one")
    return tmp_path


@pytest.fixture
def renderer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    own = Renderer(Device("cpu", "float32", 2), Policy())
    monkeypatch.setattr(rendering, "_shared", [own])
    monkeypatch.setattr(models_server, "_network", [])
    yield own
    models_server.openings().close()
    own.close()


@pytest.fixture
def server(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(hub_transfer, "_pause", lambda failures: None)
    tiny_model(tmp_path / "made", TINY_CLASSES, seed=7)
    with HubServer() as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
        own.commit("o/n", files, licence="mit")
        yield own


def ask(name: str, asked: Any) -> Any:
    functions = (*explore_server.FUNCTIONS, *models_server.FUNCTIONS)
    (function,) = (each for each in functions if each.__name__ == name)
    answer = asyncio.run(asyncio.wait_for(function(asked), 30))
    return json.loads(json.dumps(answer, allow_nan=False))


def opened(asked: dict[str, Any]) -> dict[str, Any]:
    """Opens a model as the page does, to the end."""
    number = ask("open_model", asked)["id"]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        told = ask("opening", {"id": number})
        if told["stage"] in ("done", "failed", "stopped"):
            return told
        time.sleep(0.01)
    raise TimeoutError


def uploaded(source: Path, name: str = "mine.safetensors") -> Path:
    folder = Path(models_server.get_upload_folder()) / sha256(source.read_bytes())
    folder.mkdir(parents=True)
    return Path(shutil.copy(source / "" if source.is_dir() else source, folder / name))


# The Hub


def test_a_model_from_the_hub_is_looked_at_then_opened_then_drawn(server: HubServer):
    found = ask("look", {"name": "o/n"})["found"]
    assert (found["title"], found["file"], found["licence"]) == ("o/n", "model.safetensors", "mit")
    assert found["size"] > 1000
    assert not found["cached"]
    assert server.asked("GET", "cdn") == []
    told = opened({"kind": "hub", "name": found["name"], "recipe": {"model": "x", "seed": 5}})
    model = told["model"]
    assert (told["stage"], model["name"], model["source"]) == ("done", "o/n", found["name"])
    assert model["hash"].startswith(model["revision"])
    assert model["cost"]["exact_seconds"] > 0
    assert model["classes"] == ["class 0", "class 1", "class 2"]
    recipe = {"model": "o/n", "revision": model["revision"], "seed": 5}
    assert "image" in ask("draw", {"id": 1, "recipe": recipe})
    assert ask("facts", {"model": "o/n", "revision": model["revision"]})["model"] == model
    assert "o/n" in [each["name"] for each in ask("models", {})["models"]]
    assert ask("look", {"name": "o/n"})["found"]["cached"]


def test_a_link_finds_its_weights_again_after_the_repository_moved_on(
    server: HubServer, tmp_path: Path
):
    first = ask("look", {"name": "o/n"})["found"]
    revision = sha256(server.repos["o/n"].commits[0][1]["model.safetensors"])[:12]
    tiny_model(tmp_path / "newer", seed=9)
    server.commit("o/n", {"model.safetensors": (tmp_path / "newer/model.safetensors").read_bytes()})
    assert ask("look", {"name": "o/n"})["found"]["commit"] != first["commit"]
    found = ask("look", {"name": "o/n", "revision": revision})["found"]
    assert found["commit"] == first["commit"]
    not_open = ask("facts", {"model": "o/n", "revision": revision})["error"]
    assert not_open["code"] == "model_not_open"
    assert opened({"kind": "hub", "name": found["name"]})["model"]["revision"] == revision
    newest = ask("look", {"name": "o/n"})["found"]
    assert opened({"kind": "hub", "name": newest["name"]})["model"]["revision"] != revision
    assert ask("facts", {"model": "o/n", "revision": revision})["model"]["revision"] == revision


def test_a_download_shows_progress_and_can_be_stopped(
    server: HubServer, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
):
    content = bytes(3_000_000)
    server.commit("o/large", {"G.pkl": content})
    reached, go_on = threading.Event(), threading.Event()
    stream = hub_transfer._stream

    def slowly(*args: Any) -> Iterator[int]:
        for here in stream(*args):
            yield here
            if here > 1_000_000:
                reached.set()
                go_on.wait(20)

    monkeypatch.setattr(hub_transfer, "_stream", slowly)
    number = ask("open_model", {"kind": "hub", "name": "o/large"})["id"]
    other = ask("open_model", {"kind": "hub", "name": "o/large"})["id"]
    assert other != number, "one ticket for each person"
    assert reached.wait(20)
    for each in (number, other):
        told = ask("opening", {"id": each})
        assert told["stage"] == "downloading"
        assert 1_000_000 < told["here"] < told["size"] == 3_000_000
    assert "image" in ask("draw", {"id": 1, "recipe": {"model": "one"}}), "others had to wait"
    for _ in range(3):  # an impatient hand
        ask("stop_opening", {"id": number})
    assert ask("opening", {"id": number})["stage"] == "stopped", "at once, for whoever stopped"
    assert ask("opening", {"id": other})["stage"] == "downloading", "somebody else wants it"
    ask("stop_opening", {"id": other})
    again = ask("open_model", {"kind": "hub", "name": "o/large"})["id"]
    assert ask("opening", {"id": again})["stage"] != "stopped", "the one that ends was joined"
    ask("stop_opening", {"id": again})
    go_on.set()
    opening = models_server.openings()._all[number]
    until = time.monotonic() + 20
    while opening.state.stage != "stopped":
        assert time.monotonic() < until
        time.sleep(0.01)
    assert len([how for how in server.asked("GET", "cdn") if how]) == 1, "two downloads"


def test_who_stopped_isnt_brought_to_the_model_that_others_wait_for(server: HubServer):
    found = ask("look", {"name": "o/n"})["found"]
    openings = models_server.openings()
    first = openings.start(hub.look_up(found["name"]))
    second = openings.start(hub.look_up(found["name"]))
    openings.stop(first)
    until = time.monotonic() + 30
    while openings.state(second).stage not in ("done", "failed"):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert (openings.state(first).stage, openings.state(second).stage) == ("stopped", "done")


def test_a_failure_is_told_in_words(server: HubServer):
    server.faults["model.safetensors"] = Fault(content=b"<html>Log in</html>")
    told = opened({"kind": "hub", "name": "o/n"})
    assert (told["stage"], told["failure"]["code"]) == ("failed", "hub_html_page")
    assert ask("look", {"name": "o/nobody"})["error"]["code"] == "hub_no_repo"
    assert ask("opening", {"id": "unknown"})["error"]["code"] == "no_such_opening"
    for asked in ({}, {"name": ""}, {"name": 5}, {"name": "x" * 2000}, {"name": "a\0b"}):
        assert ask("look", asked)["error"]["code"] == "bad_request"


def test_a_private_model_is_in_nobodys_list(server: HubServer, monkeypatch: pytest.MonkeyPatch):
    server.repos["o/n"].private = True
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    model = opened({"kind": "hub", "name": "o/n"})["model"]
    assert "o/n" not in [each["name"] for each in ask("models", {})["models"]]
    assert ask("draw", {"id": 1, "recipe": {"model": "o/n"}})["error"]["code"] == "model_not_open"
    assert "image" in ask(
        "draw", {"id": 1, "recipe": {"model": "o/n", "revision": model["revision"]}}
    )


# Files and paths


def test_a_dropped_file_is_ones_own_and_does_not_stay_on_the_disk(renderer: Renderer, home: Path):
    tiny_model(home / "mine", seed=3)
    path = uploaded(home / "mine" / "model.safetensors")
    told = opened({"kind": "file", "name": str(path), "label": "My faces (1).safetensors"})
    model = told["model"]
    assert model["name"] == "_file/My-faces-1"
    assert not path.exists()
    for name in ("models", "picker"):
        assert [each["name"] for each in ask(name, {})["models"]].count(model["name"]) == 0
    assert str(home) not in json.dumps(told)
    recipe = {"model": model["name"], "seed": 2}
    assert ask("draw", {"id": 1, "recipe": recipe})["error"]["code"] == "model_not_open"
    recipe["revision"] = model["revision"]
    assert "image" in ask("draw", {"id": 1, "recipe": recipe, "quality": "exact"})
    assert ask("directions", {"model": model["name"], "revision": model["revision"]})["directions"]
    error = ask("look", {"name": model["name"], "revision": model["revision"]})["error"]
    assert error["code"] == "drop_it_again"


def test_what_is_no_model_is_deleted_too(renderer: Renderer, home: Path):
    (home / "bad").write_bytes(b"no model")
    path = uploaded(home / "bad", "bad.safetensors")
    told = opened({"kind": "file", "name": str(path), "label": "My photos.zip"})
    assert told["stage"] == "failed"
    assert not path.exists()
    assert told["failure"]["values"]["path"] == "My photos.zip"
    assert str(home) not in json.dumps(told), "nobody is told where uploads lie"


def test_only_uploads_can_be_named_as_files(renderer: Renderer, home: Path):
    inside = home / "uploads" / "x"
    for name in (home / "models/one/model.safetensors", inside / "../../models/one/config.json"):
        answer = ask("open_model", {"kind": "file", "name": str(name), "label": "x"})
        assert answer["error"]["code"] == "bad_request"
    (home / "uploads" / "link").symlink_to(home / "models" / "one" / "model.safetensors")
    name = str(home / "uploads" / "link")
    answer = ask("open_model", {"kind": "file", "name": name, "label": "x"})
    assert answer["error"]["code"] == "bad_request"
    assert (home / "models/one/model.safetensors").exists()


def test_a_path_is_for_the_owner_of_the_machine(
    renderer: Renderer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny_model(home / "elsewhere", seed=3)
    path = str(home / "elsewhere")
    assert ask("look", {"name": path})["found"]["kind"] == "path"
    assert opened({"kind": "path", "name": path})["model"]["name"] == "elsewhere"
    missing = ask("open_model", {"kind": "path", "name": str(home / "nothing")})
    assert missing["error"]["code"] == "no_such_path"
    renderer.policy = Policy(public=True, paths=False)
    assert ask("open_model", {"kind": "path", "name": path})["error"]["code"] == "paths_off"
    assert ask("look", {"name": path})["error"]["code"] == "hub_bad_name"
    renderer.policy = Policy(upload_most_bytes=10)
    large = uploaded(home / "elsewhere" / "model.safetensors")
    answer = ask("open_model", {"kind": "file", "name": str(large), "label": "x"})
    assert answer["error"]["code"] == "upload_too_large"
    assert not large.exists()


def test_typed_paths_are_told_from_names(renderer: Renderer, home: Path):
    tiny_model(home / "elsewhere", seed=3)
    for name in ("/nonexistent/x.pkl", "./x", "~nobody-here/x", "C:\\models\\x.pkl"):
        assert ask("look", {"name": name})["error"]["code"] == "no_such_path", name
    answer = ask("open_model", {"kind": "path", "name": "~nobody-here/x"})
    assert answer["error"]["code"] == "no_such_path"
    assert ask("look", {"name": "/" + "x" * 300})["error"]["code"] == "no_such_path"
    assert ask("look", {"name": "x" * 300})["error"]["code"] == "hub_bad_name"
    answer = ask("look", {"name": "huggingface.co/spaces/o/n"})
    assert answer["error"]["code"] == "hub_link_to_space"


# The picker


def test_what_was_downloaded_stays_open_to_all_without_a_network(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    entry = catalogue.catalogue()[0]
    files = {entry.file or "G.pkl": server.repos["o/n"].commits[0][1]["model.safetensors"]}
    server.commit(entry.repo, files)
    found = ask("look", {"name": entry.name})["found"]
    opened({"kind": "hub", "name": found["name"]})
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(models_server, "_network", [])
    told = {each["name"]: each["reason"] for each in ask("picker", {})["catalogue"]}
    assert [name for name, reason in told.items() if reason is None] == [entry.name]
    assert ask("look", {"name": entry.name})["found"]["cached"]


def test_the_picker_greys_out_with_a_reason(renderer: Renderer):
    told = ask("picker", {})
    assert told["online"] is False, "the tests are offline"
    assert {entry["reason"] for entry in told["catalogue"]} == {"models.offline"}
    assert [each["name"] for each in told["models"]][-1] == "one"
    renderer.policy = Policy(hub=False)
    assert {entry["reason"] for entry in ask("picker", {})["catalogue"]} == {"error.hub_off"}
    renderer.policy = Policy(hub_allow=("huggan/*",))
    told = ask("picker", {})
    assert {
        e["repo"].split("/")[0] for e in told["catalogue"] if e["reason"] == "models.offline"
    } == {"huggan"}


def test_with_a_network_all_can_be_had(server: HubServer):
    told = ask("picker", {})
    assert told["online"] is True
    assert {entry["reason"] for entry in told["catalogue"]} == {None}
    allowed = {"hub": True, "paths": True, "tokens": True}
    allowed |= {"uploads": "/model-file", "upload_megabytes": 2048}
    assert told["allowed"] == allowed


# Memory and slowness


def test_models_leave_when_memory_is_short_and_come_back_by_name(
    renderer: Renderer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    for number in range(4):
        tiny_model(home / "models" / f"m{number}", seed=number)
    size = renderer.model("m0").size_bytes
    renderer._pool.most_bytes = 2 * size
    expected = renderer.model("m0").draw_exact(Recipe("m0", seed=1))
    for number in (1, 2, 3):
        renderer.model(f"m{number}")
    assert renderer._pool.size_bytes <= 2 * size
    assert renderer._pool.find("m0") is None
    assert np.array_equal(renderer.model("m0").draw_exact(Recipe("m0", seed=1)), expected)
    renderer._pool.most_bytes = size // 2
    with pytest.raises(LabError) as caught:
        renderer.model("m1")
    assert caught.value.code == "no_room"


def test_what_doesnt_fit_isnt_even_read(
    renderer: Renderer, home: Path, server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    tiny_model(home / "mine", seed=3)
    torch.save(tiny_network().state_dict(), home / "theirs.pt")
    busy = renderer.model("one")
    monkeypatch.setattr(renderer._pool, "_is_busy", lambda model: model is busy)
    renderer._pool.most_bytes = int(1.1 * busy.size_bytes)
    for module, reader in ((loading, "read_model"), (formats, "generator_from")):
        monkeypatch.setattr(module, reader, None)  # it isn't built
    (home / "models" / "two").mkdir()
    shutil.copy(home / "mine" / "model.safetensors", home / "models" / "two")
    found = hub.look_up("o/n")
    for add in (
        lambda: renderer.add(home / "mine"),
        lambda: renderer.add(home / "theirs.pt"),
        lambda: renderer.add(found),
        lambda: renderer.model("two"),
    ):
        with pytest.raises(LabError) as caught:
            add()
        assert caught.value.code == "no_room"
    assert renderer._pool.find("one") is busy


def test_the_size_told_beforehand_is_the_one_it_has(
    renderer: Renderer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    told = []
    reserve = renderer._pool.reserve
    monkeypatch.setattr(renderer._pool, "reserve", lambda *a: (told.append(a[2]), reserve(*a)))
    torch.save(tiny_network().state_dict(), home / "theirs.pt")
    size = renderer.model("one").size_bytes
    renderer.add(home / "theirs.pt")
    assert told == [size, pytest.approx(size, rel=0.01)]
    assert renderer._pool._reservations == []


def test_a_model_that_is_being_measured_doesnt_leave(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
):
    model, gate = renderer.model("one"), threading.Event()
    monkeypatch.setattr(type(model), "measure", lambda *_: gate.wait(20))
    measuring = renderer.measure(Recipe("one"))
    assert renderer._is_busy_with(model)
    gate.set()
    measuring.result(20)
    until = time.monotonic() + 20
    while renderer._is_busy_with(model):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_slow_pictures_wait_in_a_lane_of_their_own(
    renderer: Renderer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three people want a picture that takes for ever; a fourth drags a small model."""
    tiny_model(home / "models" / "slow", seed=2)
    slow = renderer.model("slow")
    gate = threading.Event()
    draw = type(slow).draw_exact

    def gated(model: Any, recipe: Recipe, *lent: Any) -> Any:
        assert model is not slow or gate.wait(20)
        return draw(model, recipe, *lent)

    monkeypatch.setattr(type(slow), "draw_exact", gated)
    slow.cost = Cost(30.0, 30.0, None, "release")

    async def crowd() -> None:
        wishes = [
            asyncio.ensure_future(renderer.draw(Recipe("slow", seed=seed), "exact"))
            for seed in range(3)
        ]
        for seed in range(20):
            drawn = await renderer.draw(Recipe("one", seed=seed), "exact")
            assert drawn.recipe.seed == seed
        assert not any(wish.done() for wish in wishes)
        assert renderer._is_busy_with(slow)
        gate.set()
        await asyncio.gather(*wishes)
        while renderer._is_busy_with(slow):  # it may still be measured
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(crowd(), 30))


def test_a_slow_model_is_dragged_small(renderer: Renderer):
    model = renderer.model("one")
    model.cost = Cost(2.0, 0.1, 8, "small")
    whole, small = (
        model.draw_exact(Recipe("one", seed=1)),
        model.draw_previews([Recipe("one", seed=1)]),
    )
    assert (whole.shape[0], small.shape[1]) == (16, 8)


def test_measuring_keeps_the_picture_it_drew(renderer: Renderer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gan.costs.LIVE_SECONDS", 60.0)  # whatever else this machine does
    model = renderer.model("one")
    recipe = Recipe("one", revision=model.info.revision, seed=8)
    cost = renderer.measure(recipe).result(30)
    assert cost.drag == "whole"
    assert cost.exact_seconds > 0
    expected = rendering.draw_exact(model.generator, recipe)
    monkeypatch.setattr(rendering, "draw_exact", None)  # it isn't drawn again
    assert np.array_equal(model.draw_exact(recipe), expected)
    assert np.array_equal(model.draw_exact(Recipe("one", seed=8)), expected)


def test_a_time_taken_on_a_busy_machine_is_not_for_good(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gan.costs.LIVE_SECONDS", 60.0)
    digest = renderer.model("one").info.hash
    costs.remember(digest, renderer.device, Cost(300.0, 300.0, None, "release"))
    model = rendering.Model(loading.load_generator("one"), renderer.device)
    assert model.cost is not None
    assert model.cost.drag == "release", "until it is measured again"
    cost = model.measure(Recipe("one"))
    assert cost.drag == "whole"
    assert costs.remembered(digest, renderer.device) == cost
    monkeypatch.setattr(rendering, "measure", None)  # once is enough
    assert model.measure(Recipe("one")) == cost


def test_while_a_time_is_not_sure_the_page_is_told_none(renderer: Renderer):
    model = renderer.model("one")
    model.cost = Cost(300.0, 300.0, None, "release")
    assert asyncio.run(renderer.cost("one")) is None
    model.measure(Recipe("one"))
    assert asyncio.run(renderer.cost("one")) == model.cost
