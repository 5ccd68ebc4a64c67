"""A Chromium for measurements, and the servers that it looks at.

Playwright listens to all that a page does, every message on its WebSocket included, and a mouse
that reports 125 times a second by way of it took a quarter of a core from the page measured.
This one only evaluates expressions and moves the mouse (Chrome DevTools Protocol).
"""

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

PROJECT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
WIDTH, HEIGHT = 1280, 800
LOOK_AGAIN = 0.05  # seconds
PATIENCE = 60.0

BOX = """(() => {{
  const box = document.querySelector({selector}).getBoundingClientRect();
  return [box.x, box.y, box.width, box.height];
}})()"""


class Page:
    """One page. What its mouse is told isn't waited for, as a real one doesn't wait."""

    def __init__(self, socket: ClientConnection):
        self._socket, self._numbers = socket, itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        told = await self._ask("Runtime.evaluate", options)
        if "exceptionDetails" in told:
            raise RuntimeError(f"{told['exceptionDetails']}: {expression[:200]}")
        return told["result"].get("value")

    async def open(self, url: str, until: str) -> None:
        """Goes to `url`, and waits until the expression `until` is true there."""
        told = await self._ask("Page.navigate", {"url": url})
        if "errorText" in told:
            raise ConnectionError(f"{told['errorText']}: {url}")
        place = json.dumps(url.partition("?")[0])  # a page may write what comes after it anew
        await self.wait_for(f"location.href.startsWith({place}) && ({until})")

    async def wait_for(self, expression: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > deadline:
                raise TimeoutError(expression)
            await asyncio.sleep(LOOK_AGAIN)

    async def box(self, selector: str) -> tuple[float, float, float, float]:
        """x, y, width and height of an element, in CSS pixels."""
        return tuple(await self.evaluate(BOX.format(selector=json.dumps(selector))))

    async def mouse(self, kind: str, x: float, y: float) -> None:
        """ "mousePressed", "mouseMoved" or "mouseReleased", with the left button."""
        where = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
        await self._send("Input.dispatchMouseEvent", where)

    async def _send(self, method: str, options: dict[str, Any]) -> int:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": options}))
        return number

    async def _ask(self, method: str, options: dict[str, Any]) -> Any:
        number = await self._send(method, options)
        self._asked[number] = asyncio.get_running_loop().create_future()
        return await self._asked[number]

    async def listen(self) -> None:
        """Hands answers to those who asked, until the browser is gone."""
        async for message in self._socket:
            answer = json.loads(message)
            waiting = self._asked.pop(answer.get("id"), None)
            if waiting is not None and "error" in answer:
                waiting.set_exception(RuntimeError(answer["error"]["message"]))
            elif waiting is not None:
                waiting.set_result(answer["result"])


class Browser:
    """A headless Chromium that listens for its debugger at `port`."""

    def __init__(self, port: int):
        self._address = f"http://127.0.0.1:{port}/json"

    @property
    def version(self) -> str:
        return _json(f"{self._address}/version")["Browser"]

    @contextlib.asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """An empty page, closed in the end."""
        about = _json(f"{self._address}/new?about:blank", "PUT")
        async with connect(about["webSocketDebuggerUrl"], compression=None, max_size=None) as line:
            page = Page(line)
            listening = asyncio.ensure_future(page.listen())
            yield page
            listening.cancel()
        urllib.request.urlopen(f"{self._address}/close/{about['id']}", timeout=10).close()


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Runs a browser of its own until the block ends."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [
            *("--headless", "--hide-scrollbars", "--no-first-run", *FLAGS),
            *(f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"),
            f"--remote-debugging-port={port}",
        ]
        async with served([CHROMIUM, *flags], port, place="/json/version"):
            yield Browser(port)


@contextlib.asynccontextmanager
async def served(
    command: list[str], port: int, running: str | None = None, place: str = ""
) -> AsyncIterator[str]:
    """Runs a server in its own process until the block ends; gives its address, or `running`."""
    if running:
        yield running
        return
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "PYTHONPATH": str(PROJECT)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=quiet, stderr=quiet if place else None
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url + place, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(url: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server ended with code {process.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.1)
    raise SystemExit(f"no answer from {url} within a minute")


def _json(url: str, method: str = "GET") -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
