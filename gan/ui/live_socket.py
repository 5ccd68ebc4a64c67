"""The live canvas's fast line: the same `draw` as the server function, over one open WebSocket.

A call over HTTP costs the server 0.8 ms of processor time, a message here 0.1 ms
(`benchmarks/many_people.py`), and the picture travels as bytes, not as text. A page that can't open
the line goes on with the server functions: nothing else depends on it.

    page → server   text: the JSON object that `draw` takes
    server → page   binary: the JSON that `draw` answers, without "image" and with "type"
                    (image/jpeg or image/png), a line feed, the picture's bytes.
                    A refusal has no picture: {"id", "error": {"code", "values"}}

Answers come in the order of the questions, one at a time.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gan.errors import LabError
from gan.ui import explore_server

PATH = "/live"
LONGEST_MESSAGE = 32 * 1024  # characters
MOST_SOCKETS = 500
_REFUSED, _TOO_BIG, _TRY_LATER = 1008, 1009, 1013  # close codes of RFC 6455

_log = logging.getLogger(__name__)
_open: set[WebSocket] = set()


def routes() -> list[WebSocketRoute]:
    """For the app that serves the page."""
    return [WebSocketRoute(PATH, live)]


def without_compression(server: Any) -> None:
    """Pictures don't shrink twice: switches off what a uvicorn server would try with each of them.
    `server` is `demo.server` after the launch."""
    server.config.ws_per_message_deflate = False


async def live(socket: WebSocket) -> None:
    """Serves one page until it leaves."""
    if not may_connect(socket):
        await socket.close(_REFUSED)
        return
    if len(_open) >= MOST_SOCKETS:
        await socket.close(_TRY_LATER)
        return
    await socket.accept()
    _open.add(socket)
    try:
        while True:
            message = await socket.receive_text()
            if len(message) > LONGEST_MESSAGE:
                await socket.close(_TOO_BIG)
                return
            await socket.send_bytes(await answer(message))
    except (WebSocketDisconnect, KeyError, RuntimeError):
        pass  # it has left, sends no text, or left while we answered
    finally:
        _open.discard(socket)


async def answer(message: str) -> bytes:
    """One question → one answer, as bytes; never raises."""
    number = None
    try:
        asked = json.loads(message)
        if not isinstance(asked, dict):
            raise LabError("bad_request", reason="no JSON object")
        number = asked["id"] if isinstance(asked.get("id"), int) else None
        head, content, kind = await explore_server.drawn(asked)
        head["type"] = kind
    except LabError as error:
        head, content = {"id": number, "error": error.to_json()}, b""
    except (ValueError, RecursionError):
        error = LabError("bad_request", reason="no JSON")
        head, content = {"id": number, "error": error.to_json()}, b""
    except Exception:  # noqa: BLE001 (the line must not break)
        _log.exception("the live line failed")
        head, content = {"id": number, "error": LabError("drawing_failed").to_json()}, b""
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + content


def may_connect(socket: WebSocket) -> bool:
    """A browser sends cookies with other sites' WebSockets too, so the site is checked; and who has
    to log in to the page has to have done so."""
    origin = socket.headers.get("origin")
    hosts = {socket.headers.get("host"), socket.headers.get("x-forwarded-host")}
    if origin is not None and urlsplit(origin).netloc not in hosts:
        return False
    return is_welcome(socket)


def is_welcome(connection: HTTPConnection) -> bool:
    """Whether the page asks nobody to log in, or this browser has."""
    app = connection.app
    if app.auth is None and app.auth_dependency is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    tokens = (connection.cookies.get(name) for name in names)
    return any(token in app.tokens for token in tokens if token)
