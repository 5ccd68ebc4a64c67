"""Pictures and downloads of runs, over plain HTTP beside the page.

    GET  /runs/<run>/<picture>.png        samples by images seen, raw-…, between-…, reals, …
    POST /runs/<run>/<download>           token=… in the form → model.safetensors, or run.zip

Who has a run's id may look at it; what may be taken home is for its owner. A route of ours passes
by Gradio's login: so who has to log in is asked here too.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from gan import workshop
from gan.errors import LabError
from gan.ui import sign_in
from gan.ui.live_socket import is_welcome
from gan.workshop.records import About, Owner, owns

PATH = "/runs"
WEIGHTS = "model.safetensors"
SAMPLES = re.compile(r"(?:raw-|between-)?\d{9}")
LATEST = ("reals", "neighbours")
LONGEST_FORM = 4096  # bytes
FOREVER = "private, max-age=31536000, immutable"  # the samples of a moment never change
STALE = "private, no-cache"
LEFT_OUT = (".partial", ".lock")


def routes() -> list[Route]:
    """For the app that serves the page."""
    return [
        Route(PATH + "/{run}/{name}.png", picture, methods=["GET"]),
        Route(PATH + "/{run}/{what}", download, methods=["POST"]),
    ]


async def picture(request: Request) -> Response:
    """One picture of a run, as it lies on disk."""
    run, name = request.path_params["run"], request.path_params["name"]
    if not is_welcome(request) or not (SAMPLES.fullmatch(name) or name in LATEST):
        return refusal()
    place = f"{name}.png" if name in LATEST else f"samples/{name}.png"
    try:
        path = await asyncio.to_thread(workshop.shared().file, run, place)
    except LabError:
        return refusal()
    kept = FOREVER if name.isdecimal() else STALE
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": kept})


async def download(request: Request) -> Response:
    """The newest or best model of a run, or all of it, for its owner."""
    run, what = request.path_params["run"], request.path_params["what"]
    if not is_welcome(request) or what not in ("model.safetensors", "run.zip"):
        return refusal()
    body = await request.body() if int(request.headers.get("content-length", 0)) else b""
    token = parse_qs(body[:LONGEST_FORM].decode("ascii", "replace")).get("token", [""])[0]
    try:
        owner = sign_in.owner(token, request)
        folder = await asyncio.to_thread(folder_of, run, owner)
        if what == "run.zip":
            return await asyncio.to_thread(run_zip, folder)
        return model_file(folder)
    except LabError as error:
        return PlainTextResponse(error.message(), 403)


def folder_of(run: str, owner: Owner) -> Path:
    """Where a run is. LabError where there is none, or where it isn't the owner's."""
    folder = workshop.shared().path(run)
    if not is_own(folder, owner):
        raise LabError("not_your_run")
    return folder


def is_own(folder: Path, owner: Owner) -> bool:
    """Whether the run in a folder is this owner's."""
    about = About.read(folder)
    return about is not None and owns(owner, about)


def model_file(folder: Path) -> Response:
    """The best generator so far, or else the newest."""
    for export in exports(folder):
        return FileResponse(folder / export / WEIGHTS, filename=f"{folder.name}.safetensors")
    raise LabError("nothing_to_open")


def exports(folder: Path) -> list[str]:
    """The model folders that a run has written: "model", the best so far, and "latest"."""
    return [name for name in ("model", "latest") if (folder / name / WEIGHTS).is_file()]


def run_zip(folder: Path) -> Response:
    """The whole run as a zip file, without whose it is."""
    with tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as file:
        made = Path(file.name)
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for path in sorted(folder.rglob("*")):
                    if path.is_file() and path.suffix not in LEFT_OUT:
                        add(archive, path, path.relative_to(folder.parent).as_posix())
        except BaseException:  # a full disk must not get fuller
            file.close()
            made.unlink()
            raise
    done = BackgroundTask(made.unlink, missing_ok=True)
    return FileResponse(made, filename=f"{folder.name}.zip", background=done)


def add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    """One file, whole even while the training replaces it; gone ones are left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if path.name == "about.json":
        content = json.dumps(without_owner(json.loads(content)), indent=1).encode()
    archive.writestr(name, content)


def without_owner(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name != "owner"}


def refusal() -> Response:
    """The same for what is missing and for what is closed: an id can't be guessed by trying."""
    return PlainTextResponse("", 404)
