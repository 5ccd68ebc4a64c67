"""Model files that people drop on the page, over plain HTTP beside it.

    POST /model-file?name=…      the file as the body → {"path": what `open_model` takes}

Gradio's own upload keeps the half of a file whose sender has stopped, hundreds of megabytes of it.
Here nothing stays of what doesn't arrive whole, or is larger than the host lets in, or isn't opened
within an hour. What the bytes mean is found out, with care, by `gan.loading`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from gradio.utils import get_upload_folder
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gan.loading.policy import Policy
from gan.ui.live_socket import is_welcome

PATH = "/model-file"
KEPT_SECONDS = 3600.0
_LONGEST_SUFFIX = 12


def routes() -> list[Route]:
    """For the app that serves the page."""
    return [Route(PATH, receive, methods=["POST"])]


async def receive(request: Request) -> Response:
    """Writes the body into the folder of uploads, under a name that can't be guessed."""
    if not is_welcome(request):
        return PlainTextResponse("", 404)
    folder = Path(get_upload_folder())
    await asyncio.to_thread(_sweep, folder)
    suffix = Path(request.query_params.get("name", "")).suffix
    suffix = suffix if suffix[1:].isalnum() and len(suffix) <= _LONGEST_SUFFIX else ""
    path = folder / f"model-{secrets.token_hex(16)}{suffix.lower()}"
    is_whole = False
    try:
        is_whole = await _write(request, path, Policy.from_environment().upload_most_bytes)
    except ClientDisconnect:
        return PlainTextResponse("", 400)  # which nobody hears
    finally:
        if not is_whole:
            path.unlink(missing_ok=True)
    return JSONResponse({"path": str(path)}) if is_whole else PlainTextResponse("", 413)


async def _write(request: Request, path: Path, most: int) -> bool:
    """Was it small enough?"""
    if int(request.headers.get("content-length", 0)) > most:
        return False
    size = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                return False
            await asyncio.to_thread(file.write, chunk)
    return True


def _sweep(folder: Path) -> None:
    """Makes the folder where there is none, and deletes what nobody has opened."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("model-*"):
        if time.time() - path.stat().st_mtime > KEPT_SECONDS:
            path.unlink(missing_ok=True)
