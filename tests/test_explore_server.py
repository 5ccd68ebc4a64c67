"""What the page may ask for: right answers, every refusal an answer, and nothing raw."""

import asyncio
import base64
import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan import images, rendering
from gan.device import Device
from gan.recipe import Edit, Recipe
from gan.rendering import Renderer
from gan.ui import explore_server, live_socket
from tests.tiny import TINY_CLASSES, tiny_model

PULLED = {"model": "one", "seed": 3, "edits": [{"direction": "pca0", "strength": 1.5}]}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENT_LAB_MODELS", str(tmp_path / "models"))
    tiny_model(tmp_path / "models" / "one")
    tiny_model(tmp_path / "models" / "two", TINY_CLASSES)
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def renderer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    own = Renderer(Device("cpu", "float32", 2))
    monkeypatch.setattr(rendering, "_shared", [own])
    yield own
    own.close()


def ask(name: str, asked: Any) -> Any:
    """A server function's answer, which must be plain JSON."""
    (function,) = (each for each in explore_server.FUNCTIONS if each.__name__ == name)
    answer = asyncio.run(asyncio.wait_for(function(asked), 30))
    return json.loads(json.dumps(answer, allow_nan=False))


def opened(data_url: str) -> tuple[str, np.ndarray]:
    """A data URL's type and picture."""
    head, _, text = data_url.partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    return head.removeprefix("data:"), np.asarray(picture.convert("RGB"))


def exact(recipe: dict[str, Any]) -> np.ndarray:
    return np.asarray(rendering.render(Recipe.from_json(recipe)))


# draw


def test_a_preview_is_a_jpeg_of_the_picture():
    answer = ask("draw", {"id": 7, "recipe": PULLED, "quality": "preview"})
    assert (answer["id"], answer["recipe"]) == (7, PULLED)
    assert answer["ms"] > 0
    kind, picture = opened(answer["image"])
    assert kind == "image/jpeg"
    assert np.abs(picture.astype(int) - exact(PULLED)).mean() < 6
    assert np.abs(picture.astype(int) - exact({"model": "one", "seed": 4})).mean() > 12


def test_an_exact_picture_is_a_png_to_the_pixel():
    kind, picture = opened(ask("draw", {"id": 1, "recipe": PULLED, "quality": "exact"})["image"])
    assert kind == "image/png"
    assert np.array_equal(picture, exact(PULLED))


def test_the_original_is_without_edits_but_answers_for_the_recipe():
    asked = {"id": 1, "recipe": PULLED, "quality": "exact", "original": True}
    answer = ask("draw", asked)
    assert answer["recipe"] == PULLED
    assert np.array_equal(opened(answer["image"])[1], exact({"model": "one", "seed": 3}))


def test_the_answer_has_the_canonical_recipe():
    recipe = {"model": "one", "seed": 3.0, "psi": 0.70001, "edits": [], "noise": "const"}
    assert ask("draw", {"id": 1, "recipe": recipe})["recipe"] == {"model": "one", "seed": 3}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (None, "bad_request"),
        ([], "bad_request"),
        ("draw", "bad_request"),
        ({}, "bad_recipe"),
        ({"recipe": {"model": "one", "seed": -1}}, "bad_seed"),
        ({"recipe": {"model": "../../etc/passwd"}}, "bad_model"),
        ({"recipe": {"model": "nobody"}}, "unknown_model"),
        ({"recipe": {"model": "one", "label": 1}}, "label_without_classes"),
        ({"recipe": PULLED, "quality": "best"}, "bad_request"),
        ({"recipe": PULLED, "quality": ["exact"]}, "bad_request"),
        ({"recipe": PULLED, "id": {"a": 1}}, "bad_request"),
        ({"recipe": PULLED, "client": 5}, "bad_request"),
    ],
)
def test_what_draw_refuses(asked: Any, code: str):
    error = ask("draw", asked)["error"]
    assert error["code"] == code
    assert isinstance(error["values"], dict)
    socket_answer = asyncio.run(live_socket.answer(json.dumps(asked))).split(b"\n")
    assert json.loads(socket_answer[0])["error"]["code"] == code
    assert socket_answer[1:] == [b""]


def test_another_model_draws_the_recipe_beside(home: Path):
    tiny_model(home / "later", seed=8)
    asked = {"id": 4, "recipe": PULLED, "quality": "exact", "by": {"model": "later"}}
    answer = ask("draw", asked)
    assert (answer["id"], answer["recipe"]) == (4, PULLED), "it answers for the first's recipe"
    first, second = rendering.shared().model("one"), rendering.shared().model("later")
    recipe = Recipe.from_json(PULLED)
    expected = rendering.draw_exact(second.generator, recipe, first.directions().vectors)
    assert np.array_equal(opened(answer["image"])[1], expected)
    plain = opened(ask("draw", asked | {"original": True})["image"])[1]
    assert np.array_equal(plain, exact({"model": "later", "seed": 3}))


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ("two", "bad_request"),
        ({}, "bad_model"),
        ({"model": "one", "revision": "zz"}, "bad_revision"),
        ({"model": "two"}, "beside_latents"),
    ],
)
def test_what_cannot_draw_beside(by: Any, code: str):
    assert ask("draw", {"id": 1, "recipe": PULLED, "by": by})["error"]["code"] == code


def test_our_own_faults_are_logged_but_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_: Any) -> None:
        raise RuntimeError("secret path /etc/x")

    monkeypatch.setattr(rendering.Model, "draw_exact", broken)
    with caplog.at_level(logging.ERROR):
        answer = ask("draw", {"id": 1, "recipe": PULLED, "quality": "exact"})
    assert answer == {"error": {"code": "drawing_failed", "values": {}}}
    assert "secret path" in caplog.text


# The line of its own


def test_the_line_answers_as_the_function_does():
    asked = {"id": 9, "recipe": PULLED, "quality": "exact"}
    head, _, picture = asyncio.run(live_socket.answer(json.dumps(asked))).partition(b"\n")
    answer = json.loads(head)
    assert (answer["id"], answer["recipe"], answer["type"]) == (9, PULLED, "image/png")
    expected = opened(ask("draw", asked)["image"])[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")), expected)


@pytest.mark.parametrize("message", ["", "{", "[" * 100_000, "null", '"draw"', '{"id": 3}'])
def test_the_line_survives_any_text(message: str):
    head, _, picture = asyncio.run(live_socket.answer(message)).partition(b"\n")
    answer = json.loads(head)
    assert answer["error"]["code"] in ("bad_request", "bad_recipe")
    assert answer["id"] == (3 if "id" in message else None)
    assert picture == b""


# The others


def test_models_say_what_the_page_needs(home: Path):
    answer = ask("models", {})
    two = next(model for model in answer["models"] if model["name"] == "two")
    assert two == {
        "name": "two",
        "title": {"en": "Tiny two", "zh": "微型 two"},
        "revision": two["revision"],
        "resolution": 8,
        "num_ws": 4,
        "layers": [4, 8, 8, 8],
        "classes": ["class 0", "class 1", "class 2"],
        "licence": "none needed",
        "family": "stylegan2",
        "latent_space": "w",
        "methods": ["pca", "sefa"],
        "latents": ["w", 10, 11, 3],
        "is_named": True,
        "source": "",
        "hash": two["hash"],
        "cost": None,
    }
    assert two["hash"].startswith(two["revision"])
    assert len(two["revision"]) == 12
    assert Recipe.from_json(answer["default"]).model in [m["name"] for m in answer["models"]]


def test_the_first_picture_is_that_of_the_default_recipe(monkeypatch: pytest.MonkeyPatch):
    known = [info for info in rendering.shared().models() if info.name in ("one", "two")]
    monkeypatch.setattr(Renderer, "models", lambda _: known)
    first = explore_server.first_picture()
    assert first["recipe"]["model"] == "one"
    assert [model["name"] for model in first["models"]] == ["one", "two"]
    assert np.array_equal(opened(first["image"])[1], exact(first["recipe"]))


def test_without_models_the_page_still_starts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Renderer, "models", lambda _: [])
    assert explore_server.first_picture() == {"recipe": None, "models": [], "image": ""}
    assert ask("models", {}) == {"models": [], "default": None}


def test_directions_are_listed_with_their_size():
    found = ask("directions", {"model": "one"})["directions"]
    assert [each["name"] for each in found] == [f"pca{number}" for number in range(10)]
    sizes = [each["sigma"] for each in found]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 < sum(each["explained"] for each in found) <= 1
    assert ask("directions", {"model": "nobody"})["error"]["code"] == "unknown_model"
    assert ask("directions", {})["error"]["code"] == "bad_model"


def test_closed_form_directions_are_listed_drawn_and_copied():
    (model,) = (each for each in ask("models", {})["models"] if each["name"] == "one")
    assert model["methods"] == ["pca", "sefa"]
    found = ask("directions", {"model": "one", "method": "sefa"})["directions"]
    assert [each["name"] for each in found][:2] == ["sefa0", "sefa1"]
    shares = [each["explained"] for each in found]
    assert shares == sorted(shares, reverse=True)
    error = ask("directions", {"model": "one", "method": "magic"})["error"]
    assert error == {"code": "bad_method", "values": {"value": "magic", "known": "pca, sefa"}}
    edits = [
        {"direction": "pca0", "strength": 1.5, "end": 4},
        {"direction": "sefa1", "strength": -2},
    ]
    recipe = {"model": "one", "seed": 3, "edits": edits}
    exact = ask("draw", {"id": 1, "recipe": recipe, "quality": "exact"})
    assert exact["recipe"] == recipe
    assert len(ask("strip", {"recipe": recipe, "direction": "sefa1"})["images"]) == 5
    assert "sefa1" in ask("snippet", {"recipe": recipe})["code"]
    data = ask("export", {"recipe": recipe, "scale": 1})["data"]
    assert ask("read", {"data": data})["recipe"]["edits"] == edits


def test_a_strip_shows_a_direction_from_minus_to_plus():
    recipe = {"model": "one", "seed": 3, "edits": [{"direction": "pca1", "strength": 1}]}
    pulled = recipe | {
        "edits": [*recipe["edits"], {"direction": "pca0", "strength": 9, "start": 1, "end": 4}]
    }
    strip = ask("strip", {"recipe": pulled, "direction": "pca0"})["images"]
    assert len(strip) == 5
    for strength, image in zip((-2, -1, 0, 1, 2), strip, strict=True):
        edits = (Edit("pca1", 1), Edit("pca0", strength, 1, 4))
        expected = np.asarray(rendering.render(Recipe("one", seed=3, edits=edits)))
        assert np.abs(opened(image)[1].astype(int) - expected).mean() < 6
    assert np.abs(opened(strip[0])[1].astype(int) - opened(strip[4])[1]).mean() > 8


def test_a_strip_of_nothing_is_refused():
    for direction, code in ((None, "bad_direction"), ("pca77", "unknown_direction")):
        asked = {"recipe": PULLED, "direction": direction}
        assert ask("strip", asked)["error"]["code"] == code


@pytest.mark.parametrize("scale", [1, 4, 8])
def test_a_download_carries_picture_labels_and_recipe(scale: int):
    answer = ask("export", {"recipe": PULLED, "scale": scale})
    assert answer["filename"] == ("one-3.png" if scale == 1 else f"one-3-x{scale}.png")
    content = base64.b64decode(answer["data"], validate=True)
    picture = Image.open(io.BytesIO(content))
    assert picture.width == 16 * scale
    assert {"AIGC", images.RECIPE_KEY} <= picture.info.keys()
    if scale == 1:
        assert np.array_equal(np.asarray(picture.convert("RGB")), exact(PULLED))
    info = asyncio.run(rendering.shared().info("one"))
    assert ask("read", {"data": answer["data"]})["recipe"] == PULLED | {"revision": info.revision}


@pytest.mark.parametrize("scale", [0, 2, "4", True, None, [1], 10**9])
def test_other_sizes_are_refused(scale: Any):
    assert ask("export", {"recipe": PULLED, "scale": scale})["error"]["code"] == "bad_scale"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, "bad_request"),
        ("not base64!", "bad_request"),
        ("A" * (12 * 2**20), "not_a_png"),
        (base64.b64encode(b"GIF89a").decode(), None),
        ("", None),
    ],
)
def test_what_cannot_be_read_is_refused(data: Any, code: str | None):
    error = ask("read", {"data": data})["error"]
    assert code is None or error["code"] == code


def test_the_snippet_draws_the_same_picture(tmp_path: Path, home: Path, project: Path):
    code = ask("snippet", {"recipe": PULLED})["code"]
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project)},
        timeout=120,
    )
    (file,) = tmp_path.glob("*.png")
    assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), exact(PULLED))
    assert images.read_recipe(file.read_bytes()).to_json().items() >= PULLED.items()


def test_a_model_without_a_name_is_opened_by_its_path_where_people_may_name_paths(
    tmp_path: Path, renderer: Renderer, project: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny_model(tmp_path / "mine", seed=4)
    info = renderer.add(tmp_path / "mine", name="mine-alone")
    told = ask("snippet", {"recipe": {"model": info.name, "seed": 3}})
    assert told["runs"] == "here"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", told["code"]],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(project)},
        timeout=120,
    )
    (file,) = tmp_path.glob("*.png")
    drawn = renderer.model(info.name).draw_exact(Recipe(info.name, seed=3))
    assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), drawn)
    monkeypatch.setattr(renderer, "policy", replace(renderer.policy, paths=False))
    told = ask("snippet", {"recipe": {"model": info.name, "seed": 3}})
    assert told["runs"] == "file"
    assert str(tmp_path) not in told["code"]


@pytest.mark.parametrize("name", ["_file/face", "run-0123456789abcdef"])
def test_no_place_on_this_machine_is_told_of_uploads_and_runs(
    tmp_path: Path, renderer: Renderer, name: str
):
    tiny_model(tmp_path / "theirs", seed=5)
    info = renderer.add(tmp_path / "theirs", name=name, is_listed=False)
    told = ask("snippet", {"recipe": {"model": name, "revision": info.revision}})
    assert told["runs"] == "file"
    assert str(tmp_path) not in told["code"]
    assert "PATH OF THE MODEL" in told["code"]


def test_the_beginning_of_a_large_download_is_enough(renderer: Renderer):
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    content = images.png_bytes(noise, Recipe("one", seed=3), scale=4)
    assert len(content) > 8 * 2**20
    for length in (images.RECIPE_WITHIN, len(content)):
        data = base64.b64encode(content[:length]).decode()
        assert ask("read", {"data": data})["recipe"] == {"model": "one", "seed": 3}


def test_a_strangers_text_in_a_recipe_stays_text():
    """A recipe's texts end up in code that people run."""
    for name in ("x'); import os #", 'x"', "x\n", "x\\"):
        asked = {"recipe": {"model": name}}
        assert ask("snippet", asked)["error"]["code"] == "bad_model"


def test_downloads_have_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(explore_server, "_encodings", threading.BoundedSemaphore(1))

    async def crowd() -> list[Any]:
        export = explore_server.FUNCTIONS[4]
        return await asyncio.gather(*(export({"recipe": PULLED, "scale": 8}) for _ in range(6)))

    answers = asyncio.run(crowd())
    refused = [answer["error"]["code"] for answer in answers if "error" in answer]
    assert refused
    assert set(refused) == {"busy"}
    assert len(refused) < 6
    assert "data" in ask("export", {"recipe": PULLED})  # and it recovers
