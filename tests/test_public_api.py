"""The real app's doors: five public verbs and no more, the live line, the server functions."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import SHUT_RDWR
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from gan import images, rendering
from gan.device import Device
from gan.recipe import Recipe
from gan.rendering import Renderer
from gan.ui import explore_server, live_socket, public_api
from tests.tiny import TINY_CLASSES, tiny_model
from tests.waiting import wait_until

SIGNATURES = {
    "/generate": {
        "model": "avatars",
        "seed": 0,
        "psi": 0.7,
        "label": None,
        "cutoff": None,
        "noise": "const",
        "scale": 1,
    },
    "/interpolate": {
        "model": "avatars",
        "seed": 0,
        "seed2": 1,
        "frames": 8,
        "space": "w",
        "psi": 0.7,
        "label": None,
    },
    "/edit": {
        "model": "avatars",
        "seed": 0,
        "edits": [],
        "psi": 0.7,
        "label": None,
        "scale": 1,
    },
    "/directions": {"model": "avatars", "method": "pca"},
    "/models": {},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A served page with our component, verbs and line: `.url`, `.client`, `.component`."""
    home = tmp_path_factory.mktemp("models")
    tiny_model(home / "one")
    tiny_model(home / "two", TINY_CLASSES)
    own = Renderer(Device("cpu", "float32", 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENT_LAB_MODELS", str(home))
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        patch.setattr(rendering, "_shared", [own])
        with gr.Blocks() as demo:
            component = gr.HTML("", server_functions=list(explore_server.FUNCTIONS))
            public_api.attach(demo)
        demo.launch(
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            app_kwargs={"routes": live_socket.routes()},
        )
        live_socket.without_compression(demo.server)
        assert demo.local_url
        client = Client(
            demo.local_url, verbose=False, download_files=str(tmp_path_factory.mktemp("got"))
        )
        yield SimpleNamespace(
            url=demo.local_url.rstrip("/"), client=client, component=component._id, demo=demo
        )
        client.close()
        demo.close(verbose=False)
        own.close()


def picture(path: str) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def exact(recipe: Recipe) -> np.ndarray:
    return np.asarray(rendering.render(recipe))


# The verbs


def test_these_five_verbs_are_public_and_no_more(app: SimpleNamespace):
    api = app.client.view_api(return_format="dict", print_info=False)
    assert api["unnamed_endpoints"] == {}
    found = {
        name: {each["parameter_name"]: each["parameter_default"] for each in verb["parameters"]}
        for name, verb in api["named_endpoints"].items()
    }
    assert found == SIGNATURES
    for name, verb in api["named_endpoints"].items():
        assert len(verb["description"]) > 50, name
        assert all(each["type"] for each in [*verb["parameters"], *verb["returns"]]), name
        assert len(verb["returns"]) == 1


def test_generate_gives_a_labelled_file_with_its_recipe(app: SimpleNamespace):
    path = app.client.predict("one", 5, psi=0.5, noise="7", api_name="/generate")
    recipe = images.read_recipe(Path(path).read_bytes())
    assert (recipe.seed, recipe.psi, recipe.noise) == (5, 0.5, 7)
    assert len(recipe.revision) == 12
    with Image.open(path) as opened:
        assert "AIGC" in opened.info
    assert Path(path).name == "one-5.png"
    assert np.array_equal(picture(path), exact(recipe))


def test_generate_takes_a_class_and_a_scale(app: SimpleNamespace):
    path = app.client.predict(model="two", label=2, scale=4, api_name="/generate")
    assert images.read_recipe(Path(path).read_bytes()).label == 2
    assert picture(path).shape == (32, 32, 3)


def test_interpolate_goes_from_one_seed_to_the_other(app: SimpleNamespace):
    paths = app.client.predict(
        model="one", seed=3, seed2=4, frames=5, space="z", api_name="/interpolate"
    )
    assert [Path(path).name for path in paths] == [f"one-3-to-4-{n:02d}.png" for n in range(5)]
    assert np.array_equal(picture(paths[0]), exact(Recipe("one", seed=3)))
    assert np.abs(picture(paths[4]).astype(int) - exact(Recipe("one", seed=4))).max() <= 1
    recipes = [images.read_recipe(Path(path).read_bytes()) for path in paths]
    assert [recipe.blend for recipe in recipes] == [0, 0.25, 0.5, 0.75, 1]
    assert recipes[2].blend_space == "z"


def test_edit_pulls_directions_that_directions_lists(app: SimpleNamespace):
    (first, *_) = app.client.predict("one", api_name="/directions")
    assert {"name", "sigma", "explained"} == first.keys()
    edits = [{"direction": first["name"], "strength": 2, "start": 1}]
    path = app.client.predict(model="one", seed=8, edits=edits, api_name="/edit")
    recipe = images.read_recipe(Path(path).read_bytes())
    assert recipe.to_json()["edits"] == edits
    assert np.array_equal(picture(path), exact(recipe))
    assert not np.array_equal(picture(path), exact(Recipe("one", seed=8)))


def test_edit_takes_closed_form_directions_beside_the_others(app: SimpleNamespace):
    found = app.client.predict("one", "sefa", api_name="/directions")
    assert [each["name"] for each in found][:2] == ["sefa0", "sefa1"]
    edits = [{"direction": "sefa0", "strength": 2}, {"direction": "pca1", "strength": -1, "end": 3}]
    path = app.client.predict(model="one", seed=8, edits=edits, api_name="/edit")
    recipe = images.read_recipe(Path(path).read_bytes())
    assert recipe.to_json()["edits"] == edits
    assert np.array_equal(picture(path), exact(recipe))
    with pytest.raises(Exception, match="magic"):
        app.client.predict("one", "magic", api_name="/directions")


def test_models_lists_what_can_be_drawn(app: SimpleNamespace):
    found = {model["name"]: model for model in app.client.predict(api_name="/models")}
    assert found["one"]["resolution"] == 16
    assert found["two"]["classes"] == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    ("verb", "given", "words"),
    [
        ("/generate", {"model": "nobody"}, "no model “nobody”"),
        ("/generate", {"model": "../../etc/passwd"}, "no model’s name"),
        ("/generate", {"model": "one", "seed": -1}, "no seed"),
        ("/generate", {"model": "one", "psi": 9}, "truncation"),
        ("/generate", {"model": "one", "noise": "loud"}, "noise"),
        ("/generate", {"model": "one", "scale": 1000}, "no size of a download"),
        ("/interpolate", {"model": "one", "frames": 65}, "from 2 to 64"),
        ("/interpolate", {"model": "one", "frames": 10**9}, "from 2 to 64"),
        ("/interpolate", {"model": "one", "frames": 1}, "from 2 to 64"),
        ("/interpolate", {"model": "one", "space": "x"}, "blend"),
        ("/edit", {"model": "one", "edits": [{"direction": "pca0"}]}, "edit"),
        ("/edit", {"model": "one", "edits": "pca0"}, "edits"),
        ("/directions", {"model": "nobody"}, "no model “nobody”"),
    ],
)
def test_refusals_say_what_is_wrong(app: SimpleNamespace, verb: str, given: Any, words: str):
    with pytest.raises(AppError) as caught:
        app.client.predict(**given, api_name=verb)
    assert words in str(caught.value)


# The server functions, as the page calls them


def call(app: SimpleNamespace, name: str, asked: Any) -> Any:
    body = {"data": asked, "component_id": app.component, "fn_name": name, "session_hash": "s"}
    request = urllib.request.Request(
        f"{app.url}/gradio_api/component_server",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_page_reaches_every_server_function(app: SimpleNamespace):
    recipe = {"model": "one", "seed": 3}
    assert call(app, "draw", {"id": 1, "recipe": recipe})["recipe"] == recipe
    assert len(call(app, "models", {})["models"]) >= 2
    assert len(call(app, "directions", {"model": "one"})["directions"]) == 10
    assert len(call(app, "strip", {"recipe": recipe, "direction": "pca0"})["images"]) == 5
    data = call(app, "export", {"recipe": recipe, "scale": 1})["data"]
    assert call(app, "read", {"data": data})["recipe"]["seed"] == 3
    assert "gan.render" in call(app, "snippet", {"recipe": recipe})["code"]
    assert call(app, "draw", {"recipe": {}})["error"]["code"] == "bad_model"


@pytest.mark.parametrize("name", ["drawn", "stamped", "__init__", "first_picture", "launch"])
def test_the_page_reaches_nothing_else(app: SimpleNamespace, name: str):
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(app, name, {})
    caught.value.close()
    assert caught.value.code == 404


# The live line


def line(app: SimpleNamespace, **options: Any) -> ClientConnection:
    return connect(app.url.replace("http", "ws") + live_socket.PATH, **options)


def asked(number: int, **recipe: Any) -> str:
    return json.dumps({"id": number, "recipe": {"model": "one", "seed": number, **recipe}})


def head_of(answer: str | bytes) -> dict[str, Any]:
    assert isinstance(answer, bytes)
    return json.loads(answer.partition(b"\n")[0])


def test_everybody_gets_the_own_picture_in_order(app: SimpleNamespace):
    def drag(person: int) -> None:
        with line(app) as socket:
            for turn in range(10):
                socket.send(asked(1000 * person + 2 * turn))
                socket.send(asked(1000 * person + 2 * turn + 1))
                for number in (1000 * person + 2 * turn, 1000 * person + 2 * turn + 1):
                    head = head_of(socket.recv(timeout=20))
                    assert (head["id"], head["recipe"]["seed"]) == (number, number)
                    assert head["type"] == "image/jpeg"

    with ThreadPoolExecutor(8) as crowd:
        for result in [crowd.submit(drag, person) for person in range(8)]:
            result.result()


def test_the_line_lives_on_after_a_refusal(app: SimpleNamespace):
    with line(app) as socket:
        socket.send(asked(1, psi=99))
        assert head_of(socket.recv(timeout=20))["error"]["code"] == "bad_psi"
        socket.send("{")
        assert head_of(socket.recv(timeout=20))["error"]["code"] == "bad_request"
        socket.send(asked(2))
        assert head_of(socket.recv(timeout=20))["id"] == 2


def test_pictures_are_not_compressed_again(app: SimpleNamespace):
    with line(app, compression="deflate") as socket:
        assert socket.protocol.extensions == []


def test_who_sends_too_much_is_cut_off(app: SimpleNamespace):
    with line(app) as socket:
        socket.send("x" * (live_socket.LONGEST_MESSAGE + 1))
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=20)
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 1009


def test_bytes_instead_of_text_close_the_line(app: SimpleNamespace):
    with line(app) as socket:
        socket.send(b"\0\1")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)


def wait_until_all_have_left() -> None:
    wait_until(lambda: not live_socket._open)


def test_a_line_that_breaks_leaves_nothing_behind(app: SimpleNamespace):
    wait_until_all_have_left()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(line(app)) for _ in range(5)]
        for number, socket in enumerate(sockets):
            socket.send(asked(number))  # nobody reads the answer
        wait_until(lambda: len(live_socket._open) == 5)
        for broken in sockets:
            broken.socket.shutdown(SHUT_RDWR)
        wait_until_all_have_left()


def test_there_is_a_limit_to_lines(app: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    wait_until_all_have_left()
    monkeypatch.setattr(live_socket, "MOST_SOCKETS", 1)
    with line(app) as first:
        wait_until(lambda: live_socket._open)
        with pytest.raises(InvalidStatus), line(app):
            pass
        first.send(asked(1))
        assert head_of(first.recv(timeout=20))["id"] == 1


def test_other_sites_cannot_use_a_visitors_line(app: SimpleNamespace):
    with (
        pytest.raises(InvalidStatus) as caught,
        line(app, origin=Origin("https://elsewhere.example")),
    ):
        pass
    assert caught.value.response.status_code == 403
    with line(app, origin=Origin(app.url)):
        pass


def test_behind_a_login_the_line_asks_for_it(app: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    server = app.demo.app
    monkeypatch.setattr(server, "auth", {"user": "password"})
    with pytest.raises(InvalidStatus), line(app):
        pass
    monkeypatch.setitem(server.tokens, "good", "user")
    cookie = f"access-token-unsecure-{server.cookie_id}"
    with pytest.raises(InvalidStatus), line(app, additional_headers={"Cookie": f"{cookie}=bad"}):
        pass
    with line(app, additional_headers={"Cookie": f"{cookie}=good"}):
        pass
