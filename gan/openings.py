"""Openings: models on their way in, each in a thread of its own, so that nobody else waits.

Whoever starts one gets a ticket and asks by it how far it is; who asks for what is coming already
joins with a ticket of their own, and gives back no other by stopping.
What a model is called for recipes is decided here: "owner/name" from the Hub, its own name from a
path, "_file/…" for a file that somebody dropped. Nobody else sees that one in a list, and the file
itself is deleted as soon as it was read.

So it is with what isn't public on the Hub and comes by a person's own token. To know the hash of
its weights isn't enough to draw with it, because the Hub shows hashes of gated models to everybody:
it is called "_private.owner/name-…", with 16 digits that only whoever opened it is told. Pictures
and programs name it "owner/name" (`portable`), which another person opens with a token of their
own. The token is forgotten when the opening ends, however it ends.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gan.costs import Cost
from gan.errors import LabError
from gan.loading import ModelInfo
from gan.loading.hub_names import HubFile
from gan.recipe import Recipe, model_name
from gan.rendering import Renderer

Stage = Literal["waiting", "downloading", "reading", "measuring", "done", "failed", "stopped"]

AT_ONCE = 2
MOST_WAITING = 8
REMEMBERED = 64  # tickets by which somebody may still ask
FILES = "_file"  # no owner on the Hub is called so
PRIVATE = "_private."  # nor begins like this
FINISHED = ("done", "failed", "stopped")

_PRIVATE_NAME = re.compile(rf"{re.escape(PRIVATE)}([^/]+/.+)-[0-9a-f]{{16}}")

_log = logging.getLogger(__name__)


def portable(recipe: Recipe) -> Recipe:
    """The recipe as others may have it: a model that came by a person's token under the name that
    it has on the Hub."""
    found = _PRIVATE_NAME.fullmatch(recipe.model)
    return replace(recipe, model=found[1]) if found else recipe


@dataclass(frozen=True)
class Dropped:
    """A file that somebody dropped on the page: where it lies until it is read, and its name."""

    path: Path
    label: str


Source = HubFile | Dropped | Path


@dataclass(frozen=True)
class State:
    """How far an opening is: bytes that are here and in all, seconds in this stage."""

    stage: Stage
    here: int = 0
    size: int | None = None
    since: float = field(default_factory=time.monotonic)
    info: ModelInfo | None = None
    cost: Cost | None = None
    error: LabError | None = None


class _StoppedError(Exception):
    """Nobody wants it any more."""


class _Opening:
    def __init__(self, source: Source, recipe: Recipe | None, token: str):
        self.source, self.recipe = source, recipe
        self.token = token  # a person's own; "" as soon as the opening has ended
        self.state = State("waiting")
        self.wanted: set[str] = set()  # the tickets of those who wait for it


class Openings:
    """All openings of a process."""

    def __init__(self, renderer: Renderer):
        self.renderer = renderer
        self._all: OrderedDict[str, _Opening] = OrderedDict()  # by ticket
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="opening")

    def start(self, source: Source, recipe: Recipe | None = None, token: str = "") -> str:
        """Begins to open `source` → a ticket. `recipe` is the picture that will be wanted first:
        its seed and truncation are drawn to measure what a picture costs. `token` is a person's
        own: nobody joins who didn't give the same. Raises LabError where too many wait."""
        ticket = secrets.token_hex(16)
        with self._lock:
            going = {each for each in self._all.values() if each.state.stage not in FINISHED}
            for opening in going:
                if opening.wanted and (opening.source, opening.token) == (source, token):
                    opening.wanted.add(ticket)
                    self._all[ticket] = opening
                    self._forget()
                    return ticket
            if len(going) >= AT_ONCE + MOST_WAITING:
                raise LabError("busy", waiting=len(going))
            opening = _Opening(source, recipe, token)
            opening.wanted.add(ticket)
            self._all[ticket] = opening
            self._forget()
        self._threads.submit(self._run, opening)
        return ticket

    def state(self, ticket: str) -> State:
        """How far an opening is. Raises LabError for a ticket that isn't known."""
        opening = self._all.get(ticket)
        if opening is None:
            raise LabError("no_such_opening")
        return opening.state if ticket in opening.wanted else State("stopped")

    def stop(self, ticket: str) -> None:
        """Whoever has this ticket no longer wants it; the opening ends when nobody does. What has
        been downloaded stays."""
        opening = self._all.get(ticket)
        if opening is not None:
            opening.wanted.discard(ticket)

    def close(self) -> None:
        """Ends the threads and waits until they have: nothing is asked for who has left."""
        for opening in list(self._all.values()):
            opening.wanted.clear()
        self._threads.shutdown(cancel_futures=True)

    def _forget(self) -> None:
        over = [
            ticket
            for ticket, each in self._all.items()
            if each.state.stage in FINISHED or ticket not in each.wanted
        ]
        for ticket in over[: max(0, len(self._all) - REMEMBERED)]:
            del self._all[ticket]

    def _run(self, opening: _Opening) -> None:
        try:
            self._check(opening)
            info = self._read(opening)
            opening.state = State("measuring", info=info)
            cost = self.renderer.measure(_first_recipe(info, opening.recipe)).result()
            opening.state = State("done", info=info, cost=cost)
        except _StoppedError:
            opening.state = State("stopped")
        except LabError as error:
            # Without the frames of its traceback, which would keep the token.
            error.__cause__ = error.__context__ = error.__traceback__ = None
            opening.state = State("failed", error=error)
        except MemoryError:
            opening.state = State("failed", error=LabError("out_of_memory"))
        except Exception:  # noqa: BLE001 (whoever waits for it is told)
            _log.exception("an opening failed")
            opening.state = State("failed", error=LabError("opening_failed"))
        finally:
            opening.token = ""
            if isinstance(opening.source, Dropped):
                opening.source.path.unlink(missing_ok=True)

    def _read(self, opening: _Opening) -> ModelInfo:
        source = opening.source
        if isinstance(source, Dropped):
            opening.state = State("reading")
            title = Path(source.label).stem
            name = f"{FILES}/{model_name(title)}"
            try:
                return self.renderer.add(source.path, name=name, title=title, is_listed=False)
            except LabError as error:
                error.values = _called(error.values, source.path, source.label)
                raise
        if isinstance(source, Path):
            opening.state = State("reading")
            return self.renderer.add(source)
        opening.state = State("downloading", size=source.size_bytes)

        def progress(here: int, size: int | None) -> None:
            self._check(opening)
            opening.state = replace(opening.state, here=here, size=size)
            if here == size:
                opening.state = State("reading", here, size)

        if source.is_cached:
            opening.state = State("reading")
        return self.renderer.add(
            source,
            name=self._private_name(source, opening.token),
            is_listed=not source.is_private,
            progress=progress,
            token=opening.token or None,
        )

    def _private_name(self, source: HubFile, token: str) -> str | None:
        """A name that nobody can guess, the same for the same person while this program runs; None
        for what has its own."""
        if not token or not source.is_private:
            return None
        mark = hmac.new(self._secret, f"{token} {source.source}".encode(), "sha256").hexdigest()
        return f"{PRIVATE}{source.repo[:78]}-{mark[:16]}"

    @staticmethod
    def _check(opening: _Opening) -> None:
        if not opening.wanted:
            raise _StoppedError


def _called(values: dict[str, Any], path: Path, label: str) -> dict[str, Any]:
    """What a refusal of a file says, with the file called as its owner calls it and not by its
    place on this machine."""

    def told(value: Any) -> Any:
        shown = value.replace(str(path), label) if isinstance(value, str) else value
        return label if str(path.parent) in str(shown) else shown  # a long path is cut in errors

    return {key: told(value) for key, value in values.items()}


def _first_recipe(info: ModelInfo, wanted: Recipe | None) -> Recipe:
    """The picture that is drawn first: seed and truncation as the person has them."""
    seed, psi = (wanted.seed, wanted.psi) if wanted else (0, 0.7)
    return Recipe(info.name, revision=info.revision, seed=seed, psi=psi)
