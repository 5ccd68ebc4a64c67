"""What the files of a run say to those who watch: whose it is, and how it really is.

`about.json` is written by the page's side alone, `status.json` by the training while it lives;
so neither ever overwrites what the other one knew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.files import write_atomic
from gan.system import process_alive
from gan.workshop.requests import TrainRequest

ABOUT = "about.json"
PUBLICATION = "publish.json"  # in a run: how far its upload is (see publications)
RUN_ID = re.compile(r"run-[0-9a-f]{16}")  # a folder's name that nobody guesses
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")  # what a browser keeps
_USER = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
ALIVE = ("training", "paused")


@dataclass(frozen=True)
class Person:
    """Somebody signed in on the Hub, by their user's id there, with the token of the browser that
    they use now. What they start is the user's; what the browser started before is theirs too."""

    user: str
    token: str


Owner = str | Person  # a str is a browser's token, and never a user


def owner_keys(owner: Owner) -> tuple[str, ...]:
    """sha256 of what somebody is known by, which is all that is ever stored; what is new gets the
    first. LabError for what is no owner."""
    token = owner.token if isinstance(owner, Person) else owner
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise LabError("bad_owner")
    known = [token]
    if isinstance(owner, Person):
        if not _USER.fullmatch(owner.user):
            raise LabError("bad_owner")
        known.insert(0, f"hub:{owner.user}")  # which is no token
    return tuple(hashlib.sha256(one.encode()).hexdigest() for one in known)


def owner_hash(owner: Owner) -> str:
    """What a new run of this owner says of whose it is."""
    return owner_keys(owner)[0]


def owns(owner: Owner, about: About) -> bool:
    """Whether a run is this owner's."""
    return any(secrets.compare_digest(about.owner, key) for key in owner_keys(owner))


@dataclass(frozen=True)
class About:
    """Whose run it is, what was asked for, and what people did with it."""

    name: str
    owner: str  # sha256, hex
    created: float  # seconds since 1970
    request: TrainRequest
    forked_from: dict[str, Any] | None = None  # {"run", "name", "images_seen", "kind"}
    queued: float | None = None  # when it took its place in the queue
    deleted: float | None = None  # when; it can be taken back until it is purged
    message: dict[str, Any] | None = None  # why the host stopped it: a LabError as JSON

    @classmethod
    def read(cls, run: Path) -> About | None:
        """None where there is no run, or none that people started."""
        try:
            stored = json.loads((run / ABOUT).read_text(encoding="utf-8"))
            stored["request"] = TrainRequest.from_json(stored["request"])
            return cls(**stored)
        except (OSError, ValueError, TypeError, KeyError, LabError):
            return None

    def write(self, run: Path) -> None:
        write_json(run / ABOUT, dataclasses.asdict(self))


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_status(run: Path) -> dict[str, Any]:
    """status.json as it was last written; {} where there is none that can be read."""
    try:
        status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def read_training(run: Path) -> dict[str, Any]:
    """What config.json says of the training. Raises OSError, ValueError, KeyError or TypeError
    where that can't be read."""
    return json.loads((run / "config.json").read_text(encoding="utf-8"))["training"]


def read_settings(run: Path) -> dict[str, Any] | None:
    """What is really trained with, of config.json: {"loss", "penalties", "batch"}; a lesson has its
    own whatever was asked for. None before it is known."""
    try:
        training = read_training(run)
        return {name: training[name] for name in ("loss", "penalties", "batch")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state_of(status: dict[str, Any]) -> str:
    """queued, training, paused, stopped, failed, finished; or dead: it says that it trains, and
    its process is gone. A process that is still starting counts as training."""
    state = status.get("state", "dead")
    if state in ("starting", *ALIVE):
        alive = process_alive(status.get("pid", 0), status.get("started", 0.0))
        return ("training" if state == "starting" else state) if alive else "dead"
    return state


def images_of(run: Path, folder: str = "samples") -> list[int]:
    """The images seen at which there is something in `samples` or `moments`, ascending."""
    try:
        names = [path.name.partition(".")[0] for path in (run / folder).iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdecimal())


@dataclass(frozen=True)
class RunSummary:
    """A line in somebody's list of runs."""

    run_id: str
    name: str
    state: str
    created: float
    images_seen: int
    images: int  # the budget; 0 while minutes haven't become images yet
    seconds_left: float | None
    place: int | None  # in the queue: 1 is next
    newest_sample: int | None  # samples/<nine digits>.png
    data: str
    alarms: list[dict[str, Any]]
    deleted: bool

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summarise(run: Path, about: About, place: int | None = None) -> RunSummary:
    status, samples = read_status(run), images_of(run)
    return RunSummary(
        run_id=run.name,
        name=about.name,
        state=state_of(status),
        created=about.created,
        images_seen=status.get("images_seen", 0),
        images=status.get("images") or about.request.images or 0,
        seconds_left=status.get("seconds_left"),
        place=place,
        newest_sample=samples[-1] if samples else None,
        data=about.request.data,
        alarms=status.get("alarms") or [],
        deleted=about.deleted is not None,
    )


def now() -> float:
    """Seconds since 1970, for what people read and for the order of a queue; never for waiting."""
    return round(time.time(), 3)
