"""The real app in its own process, and a real Chromium, for the tests of the page.

The models are two small ones of random weights, made here: what a test expects never depends on
what was trained. A page fails its test if it reports an error or asks another host for anything.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import waiting

PROJECT = Path(__file__).parents[2]
FLAGS = [
    *("--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"),
    "--disable-features=LocalNetworkAccessChecks",  # a made-up Space page frames 127.0.0.1
]
SPACE = "someone/latent-lab"
START_SECONDS = 300  # a machine that is busy with other things is slow to import


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and puts them last: while Playwright is there, its event
    loop runs in this thread, where no other test could start one of its own."""
    for item in items:
        if is_here(item):
            item.add_marker(pytest.mark.browser)
    items.sort(key=is_here)


def is_here(item: pytest.Item) -> bool:
    return Path(__file__).parent in item.path.parents


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with "tiny" (32 px, in colour) and "tiny-classes" (grey, three classes)."""
    import torch

    from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
    from gan.loading import save_model

    folder = tmp_path_factory.mktemp("models")
    small = StyleGAN2Config(32, z_dim=32, w_dim=32, channel_base=512, channel_max=32)
    torch.manual_seed(5)
    colour = StyleGAN2(small)
    classes = StyleGAN2(replace(small, c_dim=3, img_channels=1))
    title = {"en": "Tiny colours", "zh": "小小色彩"}
    save_model(folder / "tiny", colour, name="tiny", title=title)
    save_model(folder / "tiny-classes", classes, name="tiny-classes", classes=["ant", "bee", "cat"])
    return folder


@pytest.fixture(scope="session")
def space() -> str:
    """The Space that the app believes to run in."""
    return SPACE


@pytest.fixture(scope="session")
def app(models: Path) -> Iterator[str]:
    """The address of the app, started as a person starts it."""
    command = ["app.py", "--model", "tiny", "--port"]
    with serving(command, LATENT_LAB_MODELS=str(models)) as url:
        yield url


EMPTY = """
import sys
from gan import rendering
from gan.ui.build import build_app, serve
rendering.list_models = lambda: []
serve(build_app({"recipe": None, "models": [], "image": ""}), server_port=int(sys.argv[1]))
"""


@pytest.fixture(scope="session")
def empty_app() -> Iterator[str]:
    """The address of an app that has no model at all. What is dropped there is its person's own."""
    with serving(["-c", EMPTY]) as url:
        yield url


@contextlib.contextmanager
def serving(command: list[str], **environment: str) -> Iterator[str]:
    """Runs Python with `command` and a port, until the block ends; gives the address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=PROJECT,
        env=os.environ | {"SPACE_ID": SPACE} | environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """None that a system gives to connections (Linux from 32768): the program that asks for it is
    still loading for seconds, in which another test may open hundreds."""
    while True:
        port = random.randrange(20_000, 32_768)
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            return port


def wait_until_up(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"app.py ended with code {process.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    pytest.fail(f"app.py did not answer within {START_SECONDS} seconds")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on this machine; CHROMIUM can name one")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


def wait_until(page: Any, condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits while the page, and what this test does for it, goes on."""
    waiting.wait_until(condition, seconds, pause=lambda: page.wait_for_timeout(20))


def asks(request: Any, function: str) -> bool:
    """Whether the page asks the server for this function."""
    return f'"fn_name":"{function}"' in (request.post_data or "")


class Held:
    """The page's questions of one kind: each waits until it is let go."""

    def __init__(self, page: Any, function: str):
        self.page, self.function, self.routes = page, function, []
        page.route(re.compile("component_server"), self._asked)

    def _asked(self, route: Any) -> None:
        if asks(route.request, self.function):
            self.routes.append(route)
        else:
            route.continue_()

    def wait(self, count: int) -> None:
        """Until so many have been asked."""
        wait_until(self.page, lambda: len(self.routes) >= count)

    def let_go(self, number: int) -> None:
        """Until the page has the answer."""
        with self.page.expect_response(lambda answer: asks(answer.request, self.function)):
            self.routes[number].continue_()


REMEMBER_TOASTS = """
window.saidInPassing = [];
new MutationObserver((records) => {
  for (const node of records.flatMap(({ addedNodes }) => [...addedNodes])) {
    if (node.matches?.(".toast")) saidInPassing.push(node.textContent);
  }
}).observe(document, { childList: true, subtree: true });
"""


class Lab:
    """The Explore page in one browser context, as a person sees and handles it."""

    def __init__(self, page: Any, app: str):
        self.page, self.app = page, app
        self.expected: list[str] = []  # parts of complaints that a test causes on purpose

    def open(self, query: str = "", fragment: str = "") -> "Lab":
        self.page.goto(f"{self.app}/{query}{fragment}")
        self.page.wait_for_selector("#lab[data-state=ready]", state="attached")
        self.page.wait_for_selector(".direction .strength", state="attached")
        return self

    def rest(self) -> "Lab":
        """Waits until the exact picture of the settled recipe is on the canvas, and the address
        says so."""
        self.page.wait_for_function(
            """() => {
              const canvas = document.querySelector("#lab-canvas");
              const { recipe } = document.querySelector("#lab").dataset;
              const here = new URLSearchParams(location.search);
              const told = new URLSearchParams(recipe);
              for (const key of ["r", "vs", "__theme"]) here.delete(key), told.delete(key);
              return canvas.dataset.quality === "exact" && canvas.dataset.recipe === recipe
                && here.toString() === told.toString();
            }"""
        )
        return self

    def becomes(self, query: str) -> "Lab":
        """Waits until the address says `query`, then until the picture rests there."""
        asked = "(asked) => decodeURIComponent(location.search).replace(/&r=[^&]*/, '') === asked"
        self.page.wait_for_function(asked, arg=f"?{query}")
        return self.rest()

    @property
    def query(self) -> str:
        """The recipe in the address, without the model's revision."""
        search = self.page.evaluate("location.search")
        return "&".join(part for part in search[1:].split("&") if not part.startswith("r="))

    @property
    def drawn(self) -> str:
        """The recipe of the picture on the canvas."""
        return self.page.evaluate("document.querySelector('#lab-canvas').dataset.recipe")

    def wait_for_pixels(self, expected: bytes, canvas: str = "#lab-canvas") -> None:
        wait_until(self.page, lambda: self.pixels(canvas) == expected)

    def pixels(self, canvas: str = "#lab-canvas") -> bytes:
        """RGB of a canvas at the model's own size (crisp, so that nothing is interpolated)."""
        button = self.page.locator("[data-do=pixels]")
        if button.get_attribute("aria-pressed") == "false":
            button.click()
        rgba = self.page.evaluate(
            """(selector) => {
              const canvas = document.querySelector(selector);
              const { width, height } = canvas;
              const copy = new OffscreenCanvas(width, height);
              const context = copy.getContext("2d", { willReadFrequently: true });
              context.drawImage(canvas, 0, 0);
              return [...context.getImageData(0, 0, width, height).data];
            }""",
            canvas,
        )
        return bytes(value for i, value in enumerate(rgba) if i % 4 != 3)

    def slider(self, number: int, method: str = "pca") -> Any:
        return self.page.locator(f"[data-direction={method}{number - 1}] .strength")

    def drag(self, slider: Any, to: float, steps: int = 12) -> None:
        """Drags a slider's thumb to `to` (0 … 1 of its track), and lets go."""
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        low, high = (float(slider.get_attribute(name)) for name in ("min", "max"))
        now = (float(slider.input_value()) - low) / (high - low)
        x0, width, y = box["x"] + 9, box["width"] - 18, box["y"] + box["height"] / 2
        mouse = self.page.mouse
        mouse.move(x0 + now * width, y)
        mouse.down()
        mouse.move(x0 + (1 - to) * width, y, steps=steps)
        mouse.move(x0 + to * width, y, steps=steps)
        mouse.up()

    def pull(self, slider: Any, moved: str) -> None:
        """Pulls a slider that is in its middle seven times, each time when `moved`, a JavaScript
        function of how often it was pulled, says that pictures have followed. The hand stays."""
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] / 2, y)
        self.page.mouse.down()
        for number in range(1, 8):
            self.page.mouse.move(box["x"] + box["width"] * (0.5 + 0.06 * number), y, steps=4)
            self.page.wait_for_function(moved, arg=number)

    def do(self, name: str) -> None:
        self.page.locator(f"[data-do={name}]").click()

    def toast(self) -> str:
        """What the page has said in passing, last; it may have gone by now."""
        self.page.wait_for_function("saidInPassing.length > 0")
        return self.page.evaluate("saidInPassing.at(-1)")


@pytest.fixture
def new_lab(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    """Makes pages, each in a browser context of its own, of the app where no `url` says another;
    checks at the end that all kept quiet."""
    complaints: list[tuple[Lab, str]] = []
    contexts: list[Any] = []

    def make(width: int = 1280, height: int = 800, url: str = "", **options: Any) -> Lab:
        options = {"locale": "en-US", "color_scheme": "light", "accept_downloads": True} | options
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(60_000)
        context.add_init_script(REMEMBER_TOASTS)
        contexts.append(context)
        lab = Lab(context.new_page(), url or request.getfixturevalue("app"))
        listen(lab.page, lambda told: complaints.append((lab, told)))
        return lab

    yield make
    for context in contexts:
        context.close()
    unexpected = [
        told for lab, told in complaints if not any(part in told for part in lab.expected)
    ]
    assert unexpected == []


def listen(page: Any, complain: Callable[[str], None]) -> None:
    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            complain(f"console {message.type}: {message.text}")

    def request(asked: Any) -> None:
        own = (
            "http://127.0.0.1:",
            "ws://127.0.0.1:",
            "data:",
            "blob:",
            "https://huggingface.co/spaces/",
        )
        if not asked.url.startswith(own):
            complain(f"asked {asked.url}")

    page.on("console", console)
    page.on("pageerror", lambda error: complain(f"page error: {error}"))
    page.on("request", request)


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    """A desktop page in English, open on its first picture."""
    return new_lab().open()


@pytest.fixture(scope="session")
def truth(models: Path) -> Callable[[str], bytes]:
    """query → RGB of the exact picture, drawn here and not by the app."""
    from gan.loading import load_generator
    from gan.recipe import Recipe
    from gan.rendering import render

    generators = {name: load_generator(models / name) for name in ("tiny", "tiny-classes")}

    def draw(query: str) -> bytes:
        recipe = Recipe.from_query(query)
        return render(recipe, generators[recipe.model]).convert("RGB").tobytes()

    return draw
