"""A person's own token for the Hub: it opens what is private, for them and nobody else, and is
found nowhere afterwards."""

import json
import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from gan import openings, rendering
from gan.device import Device
from gan.errors import LabError
from gan.loading import hub, hub_transfer
from gan.loading.policy import Policy
from gan.openings import portable
from gan.recipe import Recipe
from gan.rendering import Renderer
from gan.ui import models_server
from tests.hub_server import TOKEN, Fault, HubServer, sha256
from tests.test_openings import ask, opened
from tests.tiny import tiny_model

NAME = re.compile(r"_private\.o/secret-[0-9a-f]{16}")


@pytest.fixture
def renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    monkeypatch.setenv("LATENT_LAB_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    own = Renderer(Device("cpu", "float32", 2), Policy(public=True, hub_token=False))
    monkeypatch.setattr(rendering, "_shared", [own])
    monkeypatch.setattr(models_server, "_network", [])
    yield own
    models_server.openings().close()
    own.close()


@pytest.fixture
def server(
    renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """A Hub with the private model "o/secret"; a public page whose host has no token."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(hub_transfer, "_pause", lambda failures: None)
    with HubServer() as own:
        monkeypatch.setenv("HF_ENDPOINT", own.url)
        tiny_model(tmp_path / "made", seed=7)
        files = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
        own.commit("o/secret", files, private=True)
        yield own


@pytest.fixture
def weights(server: HubServer) -> bytes:
    return server.repos["o/secret"].commits[0][1]["model.safetensors"]


def find_and_open(name: str = "o/secret", token: str = TOKEN) -> dict[str, Any]:
    found = ask("look", {"name": name, "token": token})["found"]
    return opened({"kind": "hub", "name": found["name"], "token": token})


def holders(folder: Path, content: bytes) -> list[Path]:
    """The files below `folder` that hold `content`."""
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_the_token_opens_the_model_for_whoever_gave_it(server: HubServer, weights: bytes):
    assert ask("look", {"name": "o/secret"})["error"]["code"] == "hub_no_repo"
    found = ask("look", {"name": "o/secret", "token": f" {TOKEN}\n"})["found"]
    assert found["private"]
    assert not found["cached"]
    told = opened({"kind": "hub", "name": found["name"], "token": TOKEN})
    assert told["stage"] == "done"
    model = told["model"]
    assert NAME.fullmatch(model["name"])
    assert (model["hash"], model["title"]["en"]) == (sha256(weights), "Tiny made")
    recipe = {"model": model["name"], "revision": model["revision"], "seed": 2}
    assert "image" in ask("draw", {"id": 1, "recipe": recipe, "quality": "exact"})
    assert find_and_open()["model"]["name"] == model["name"], "the same person, another name"
    assert "Authorization" not in server.asked("GET", "cdn")[-1], "it went to another host"


def test_nobody_else_gets_it(server: HubServer, weights: bytes, tmp_path: Path):
    model = find_and_open()["model"]
    for name in ("models", "picker"):
        assert "secret" not in json.dumps(ask(name, {})["models"])
    revision = sha256(weights)[:12]  # known to whoever was shown a picture's recipe
    for asked in ({}, {"revision": revision}):
        recipe = {"model": "o/secret", "seed": 2} | asked
        assert ask("draw", {"id": 1, "recipe": recipe})["error"]["code"] == "model_not_open"
        assert ask("facts", {"model": "o/secret"} | asked)["error"]["code"] == "model_not_open"
        assert ask("look", {"name": "o/secret"} | asked)["error"]["code"] == "hub_no_repo"
    guess = model["name"][:-16] + "0" * 16
    recipe = {"model": guess, "revision": revision}
    assert ask("draw", {"id": 1, "recipe": recipe})["error"]["code"] == "model_not_open"
    answer = ask("open_model", {"kind": "hub", "name": model["source"]})
    assert answer["error"]["code"] == "hub_no_repo"
    assert holders(tmp_path / "hub-cache", weights) == []
    assert holders(tmp_path / "temporary", b"") == []


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_the_cache_has_nothing_of_it_to_tell(
    server: HubServer, weights: bytes, monkeypatch: pytest.MonkeyPatch, offline: bool
):
    source = find_and_open()["model"]["source"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there
    for asked in ({"name": "o/secret"}, {"name": "o/secret", "revision": sha256(weights)[:12]}):
        assert ask("look", asked)["error"]["code"] == "hub_unreachable"
    answer = ask("open_model", {"kind": "hub", "name": source})
    assert answer["error"]["code"] == "hub_unreachable"


def test_a_gated_models_hash_is_public_and_opens_nothing(
    server: HubServer, weights: bytes, tmp_path: Path
):
    """Everybody may look at a gated model, its hash included; only the download is guarded."""
    files = server.repos["o/secret"].commits[0][1]
    server.commit("o/gated", files, gated=True)
    model = find_and_open("o/gated")["model"]
    found = ask("look", {"name": "o/gated"})["found"]
    told = opened({"kind": "hub", "name": found["name"]})
    assert (told["stage"], told["failure"]["code"]) == ("failed", "hub_gated")
    recipe = {"model": "o/gated", "revision": model["revision"]}
    assert ask("draw", {"id": 1, "recipe": recipe})["error"]["code"] == "model_not_open"
    assert holders(tmp_path / "hub-cache", weights) == []


def test_nobody_joins_an_opening_without_its_token(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
):
    server.commit("o/gated", {"G.pkl": bytes(3_000_000)}, gated=True)
    reached, go_on = threading.Event(), threading.Event()
    stream = hub_transfer._stream

    def slowly(*args: Any) -> Iterator[int]:
        for here in stream(*args):
            yield here
            reached.set()
            go_on.wait(20)

    monkeypatch.setattr(hub_transfer, "_stream", slowly)
    begun, opening = [], openings._Opening
    monkeypatch.setattr(openings, "_Opening", lambda *of: begun.append(opening(*of)) or begun[-1])
    asked = {"kind": "hub", "name": "o/gated"}
    ask("open_model", asked | {"token": TOKEN})
    assert reached.wait(20)
    ask("open_model", asked)
    assert len(begun) == 2
    ask("open_model", asked | {"token": TOKEN})
    assert len(begun) == 2
    go_on.set()


def test_the_token_is_found_nowhere(
    server: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    """In no answer, log, output, file or object that stays; whether it goes well or not."""
    caplog.set_level(logging.DEBUG)
    server.repos["o/secret"].commits.append(("f" * 40, {"G.pkl": b"no model" * 99}))
    wrong = "hf_wrong-but-secret"
    answers = [
        ask("look", {"name": "o/secret", "token": TOKEN}),
        ask("look", {"name": "o/secret", "token": wrong}),
        ask("look", {"name": "o/nobody", "token": TOKEN}),
        ask("open_model", {"kind": "hub", "name": "o/secret", "token": wrong}),
        find_and_open(f"o/secret@{server.repos['o/secret'].commits[0][0]}"),
        find_and_open(),  # fails: no model
    ]
    server.faults["G.pkl"] = Fault(content=b"<html>")
    answers.append(find_and_open())
    monkeypatch.setattr(openings.Renderer, "add", lambda *_, **given: 1 / 0)
    answers.append(find_and_open())
    codes = [(each.get("error") or each.get("failure") or {}).get("code") for each in answers]
    assert codes == [
        *(None, "hub_token_refused", "hub_no_repo", "hub_token_refused", None),
        *("unknown_format", "hub_html_page", "opening_failed"),
    ]
    printed = capfd.readouterr()
    logged = caplog.text + printed.out + printed.err
    assert "opening failed" in logged, "nothing was listened to"
    for secret in (TOKEN, wrong):
        assert secret not in json.dumps(answers) + logged
        assert holders(tmp_path, secret.encode()) == []
    kept = models_server.openings()._all.values()
    assert {each.token for each in kept} == {""}
    errors = [each.state.error for each in kept if each.state.error]
    assert [error for error in errors if error.__traceback__ or error.__cause__] == []


@pytest.mark.parametrize(
    "strange", ["two words", "new\nline: x", "hf_中文", "x" * 5000, "hf_\0", 5]
)
def test_what_is_no_token_is_refused_without_an_echo(server: HubServer, strange: Any):
    for asked in ({"name": "o/secret"}, {"name": "o/secret", "kind": "hub"}):
        function = "open_model" if "kind" in asked else "look"
        error = ask(function, asked | {"token": strange})["error"]
        assert error == {"code": "hub_token_form", "values": {}}
    assert server.requests == []


def test_a_public_model_stays_public(server: HubServer, tmp_path: Path):
    """Who gives a token for a model that everybody may have opens it for everybody."""
    server.commit("o/open", server.repos["o/secret"].commits[0][1])
    told = find_and_open("o/open")
    assert told["model"]["name"] == "o/open"
    assert "o/open" in [each["name"] for each in ask("models", {})["models"]]
    assert [heads.get("Authorization") for heads in server.asked("GET", "resolve")] == [None] * len(
        server.asked("GET", "resolve")
    )
    assert ask("look", {"name": "o/open"})["found"]["cached"]


def test_a_stopped_download_leaves_nothing(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = hub.look_up("o/secret", Policy(), token=TOKEN)

    def stop(here: int, size: int | None) -> None:
        raise LabError("busy", waiting=1)

    with pytest.raises(LabError), hub.fetched(found, Policy(), progress=stop, token=TOKEN):
        pass
    assert holders(tmp_path / "temporary", b"") == []
    assert not (tmp_path / "hub-cache").exists()


def test_pictures_and_programs_name_it_as_the_hub_does(server: HubServer):
    model = find_and_open()["model"]
    recipe = {"model": model["name"], "revision": model["revision"], "seed": 2}
    export = ask("export", {"recipe": recipe, "scale": 1})
    assert export["filename"] == "o-secret-2.png"
    hubs = recipe | {"model": "o/secret"}
    assert ask("read", {"data": export["data"]})["recipe"] == hubs
    assert model["name"] not in ask("snippet", {"recipe": recipe})["code"]
    assert portable(Recipe.from_json(recipe)) == Recipe.from_json(hubs)
    for name in ("o/n", "avatars", "_file/mine", "_private.o/n-short"):
        assert portable(Recipe(name)).model == name


def test_the_page_asks_for_a_token_where_one_could_help(renderer: Renderer):
    for allow, helps in ((("*",), True), (("catalogue", "me/*"), True), (("catalogue",), False)):
        renderer.policy = Policy(hub_allow=allow)
        assert models_server.allowed(renderer.policy)["tokens"] is helps
    assert models_server.allowed(Policy(hub=False))["tokens"] is False
