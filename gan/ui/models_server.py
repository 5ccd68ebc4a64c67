"""What the page may ask for to find and open models: plain JSON in, plain JSON out.

What the host allows is `gan.loading.policy`; the opening itself goes on in `gan.openings`, and the
page asks how far it is. Refusals are answers here too (`explore_server.answering`).

A "token" is the person's own for the Hub. It goes on to the one question or opening that it came
with; no answer, no log and no file holds it.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gradio.utils import get_upload_folder

from gan import rendering
from gan.errors import LabError
from gan.loading import here, hub, hub_cache, hub_client, look_up
from gan.loading.catalogue import Entry, catalogue
from gan.loading.hub_names import HubFile
from gan.loading.policy import CATALOGUE, MEGABYTE, Policy
from gan.openings import FILES, Dropped, Openings, Source
from gan.recipe import Recipe
from gan.ui import model_files
from gan.ui.explore_server import Json, answering, describe

Result = TypeVar("Result")

LONGEST_NAME = 1000  # characters of a path or a Hub name
REACHABLE_FOR = 60.0  # seconds that an answer about the network counts
_MOST_QUESTIONS = 16  # to the Hub, that wait for one of the threads


@answering
async def picker(asked: Json) -> Json:
    """{} → {"models", "catalogue", "allowed": what the host lets in, "online"}: what can be chosen
    from. An entry of the catalogue that can't be had has a "reason", the key of a text."""
    online = await _beside(_is_online)
    policy = rendering.shared().policy
    return {
        "models": [describe(info) for info in rendering.shared().models()],
        "catalogue": [
            entry.to_json() | {"reason": _reason(entry, policy, online)} for entry in catalogue()
        ],
        "allowed": allowed(policy),
        "online": online,
    }


def allowed(policy: Policy) -> Json:
    """What the page needs to know of what the host allows."""
    return {
        "hub": policy.hub,
        "paths": policy.paths,
        "tokens": policy.hub and set(policy.hub_allow) != {CATALOGUE},  # which is public
        "uploads": model_files.PATH,
        "upload_megabytes": policy.upload_most_bytes // MEGABYTE,
    }


def _reason(entry: Entry, policy: Policy, online: bool) -> str | None:
    if not policy.hub:
        return "error.hub_off"
    if not policy.allows(entry.repo, True):
        return "models.not_allowed"
    if not online and not hub_cache.is_in_cache(entry.name):
        return "models.offline"
    return None


@answering
async def look(asked: Json) -> Json:
    """{"name": a Hub name, a link or a path, "revision"?: first digits of the weights' hash,
    "token"?} → {"found"}: what it is, before anything is downloaded."""
    name, digest = _text(asked, "name"), asked.get("revision", "")
    if not isinstance(digest, str) or len(digest) > 64:
        raise LabError("bad_request", reason="revision")
    policy = rendering.shared().policy
    if name.startswith(f"{FILES}/"):
        raise LabError("drop_it_again", name=name.partition("/")[2])
    path = await _beside(partial(here, name)) if policy.paths else None
    if path is not None:
        return {"found": {"kind": "path", "name": str(path), "title": path.name}}
    if policy.paths and _is_written_as_path(name):
        raise LabError("no_such_path", path=name)
    found = await _beside(partial(look_up, name, policy, digest=digest, token=_token(asked)))
    return {"found": _told(found, policy)}


def _is_written_as_path(name: str) -> bool:
    """Can this be nothing but a path?"""
    return re.match(r"[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]", name) is not None


def _told(found: HubFile, policy: Policy) -> Json:
    size = found.size_bytes
    return {
        "kind": "hub",
        "name": found.source,
        "title": found.repo,
        "commit": found.commit,
        "file": found.file,
        "others": list(found.others[:100]),
        "size": size,
        "licence": found.licence,
        "private": found.is_private,
        "cached": found.is_cached,
        "offline": found.was_offline,
        "too_large": size is not None and size > policy.hub_most_bytes,
        "most_megabytes": policy.hub_most_bytes // MEGABYTE,
    }


@answering
async def open_model(asked: Json) -> Json:
    """{"kind": "hub" | "path" | "file", "name", "label"? (of a file), "recipe"?, "token"?} →
    {"id"}: begins to open what `look` found, or a file that was uploaded to the place "name"."""
    given = asked.get("recipe")
    recipe = None if given is None else Recipe.from_json(given)
    source = await _beside(partial(_source, asked))
    return {"id": openings().start(source, recipe, _token(asked) or "")}


def _source(asked: Json) -> Source:
    kind, name = asked.get("kind"), _text(asked, "name")
    policy = rendering.shared().policy
    if kind == "hub":
        return hub.look_up(name, policy, token=_token(asked))
    if kind == "path":
        if not policy.paths:
            raise LabError("paths_off")
        path = here(name)
        if path is None:
            raise LabError("no_such_path", path=name)
        return path
    if kind == "file":
        return Dropped(_uploaded(name, policy), _text(asked, "label"))
    raise LabError("bad_request", reason=f"kind {kind!r}")


def _uploaded(name: str, policy: Policy) -> Path:
    """A file in the folder that uploads come into, and nowhere else."""
    folder, path = Path(get_upload_folder()).resolve(), Path(name).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise LabError("bad_request", reason="no such upload")
    if path.stat().st_size > policy.upload_most_bytes:
        path.unlink()
        raise LabError("upload_too_large", most=policy.upload_most_bytes // MEGABYTE)
    return path


@answering
async def opening(asked: Json) -> Json:
    """{"id"} → {"stage", "here", "size", "seconds"}, at its end with "model" or "error"."""
    state = openings().state(_text(asked, "id"))
    told: Json = {
        "stage": state.stage,
        "here": state.here,
        "size": state.size,
        "seconds": round(time.monotonic() - state.since, 1),
    }
    if state.info:
        told["model"] = describe(state.info, state.cost)
    if state.error:
        told["failure"] = state.error.to_json()
    return told


@answering
async def stop_opening(asked: Json) -> Json:
    """{"id"} → {}: this page no longer wants it."""
    openings().stop(_text(asked, "id"))
    return {}


@answering
async def facts(asked: Json) -> Json:
    """{"model", "revision"?} → {"model"}: what is known of a model that is open or has a name."""
    recipe = Recipe(asked.get("model", ""), revision=asked.get("revision", ""))
    renderer = rendering.shared()
    info = await renderer.info(recipe.model, recipe.revision)
    if recipe.revision and info.revision != recipe.revision:
        asked_for = {"model": info.name, "asked": recipe.revision, "here": info.revision}
        raise LabError("other_revision", **asked_for)
    return {"model": describe(info, await renderer.cost(info.name, info.revision))}


def openings() -> Openings:
    """This process's openings, of the shared renderer."""
    renderer = rendering.shared()
    with _lock:
        if not _openings or _openings[0].renderer is not renderer:
            for old in _openings:
                old.close()
            _openings[:] = [Openings(renderer)]
        return _openings[0]


def _is_online() -> bool:
    """Asked once a minute, for everybody."""
    at, answer = _network[0] if _network else (-REACHABLE_FOR, False)
    if time.monotonic() - at > REACHABLE_FOR:
        answer = rendering.shared().policy.hub and hub_client.is_reachable()
        _network[:] = [(time.monotonic(), answer)]
    return answer


async def _beside(function: Callable[[], Result]) -> Result:
    """Runs what waits for disks or the network beside the event loop."""
    if not _questions.acquire(blocking=False):
        raise LabError("busy", waiting=_MOST_QUESTIONS)
    try:
        return await asyncio.get_running_loop().run_in_executor(_askers, function)
    finally:
        _questions.release()


def _text(asked: Json, key: str) -> str:
    value: Any = asked.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or "\0" in value:
        raise LabError("bad_request", reason=key)
    return value


def _token(asked: Json) -> str | None:
    """The person's own token, where they gave one; `hub` checks what it looks like."""
    given = asked.get("token")
    if not isinstance(given, str | None):
        raise LabError("hub_token_form")
    return (given or "").strip() or None


_askers = ThreadPoolExecutor(4, thread_name_prefix="ask-hub")
_questions = threading.BoundedSemaphore(_MOST_QUESTIONS)
_lock = threading.Lock()
_openings: list[Openings] = []
_network: list[tuple[float, bool]] = []

FUNCTIONS = (picker, look, open_model, opening, stop_opening, facts)
