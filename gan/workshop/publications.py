"""A run on its way to the Hub: a child process of its own, watched through one file.

`publish.json` in the run directory says how far it is; the child writes it. So a reloaded page and
a restarted server find the upload again. The person's token goes to the child on its standard
input and is nowhere else: in no file, no argument, no environment, no log. How a model gets to the
Hub is `gan.publish`'s.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.system import Process, process_alive, start_detached, this_process
from gan.workshop.queue import environment
from gan.workshop.records import PUBLICATION as FILE
from gan.workshop.records import write_json

LOG = "publish.log"
ALIVE = ("starting", "checking", "measuring", "uploading")
TOLD_EVERY = 0.3  # seconds, of one and the same step
_TOKEN = re.compile(r"[!-~]{4,512}")


@dataclass(frozen=True)
class Publication:
    """How far an upload is. `state`: one of ALIVE, "done", "failed", "stopped", or "cut": its
    process is gone without a word. Bytes are known while it uploads."""

    repo: str
    private: bool
    state: str
    pid: int = 0
    started: float = 0.0
    sent: int = 0
    total: int = 0
    url: str = ""
    commit: str = ""
    message: dict[str, Any] | None = None  # why it failed: a LabError as JSON

    @property
    def is_alive(self) -> bool:
        return self.state in ALIVE

    def to_json(self) -> dict[str, Any]:
        """What the page shows of it."""
        shown = ("repo", "private", "state", "sent", "total", "url", "commit", "message")
        return {name: getattr(self, name) for name in shown} | {"alive": self.is_alive}


def read(run: Path) -> Publication | None:
    """The newest upload of a run as it really is; None where there was none."""
    try:
        told = Publication(**json.loads((run / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if told.is_alive and not process_alive(told.pid, told.started):
        return replace(told, state="cut")
    return told


def check_token(token: str) -> str:
    """The token without the blanks around it; LabError, which doesn't repeat it, for none."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise LabError("publish_token_form")
    return token


def start(run: Path, repo: str, private: bool, token: str, samples: int) -> None:
    """Begins to publish a run, in a process that survives us; its card is measured on `samples`
    pictures. LabError where it already is."""
    before = read(run)
    if before is not None and before.is_alive:
        raise LabError("publish_busy", repo=before.repo)
    (run / LOG).unlink(missing_ok=True)
    first = Publication(repo, private, "starting")
    words = command(run, repo, private, samples)

    def note(process: Process) -> None:
        _write(run / FILE, replace(first, pid=process.pid, started=process.started))

    start_detached(words, run / LOG, environment(), token, note)


def process_of(run: Path) -> Process | None:
    """The process that uploads a run; None where none does."""
    told = read(run)
    return Process(told.pid, told.started) if told and told.is_alive else None


def command(run: Path, repo: str, private: bool, samples: int) -> list[str]:
    """What is executed: the command that a person would type."""
    flags = ["--samples", str(samples), *(["--private"] if private else [])]
    told = ["--token-stdin", "--progress", str(run / FILE)]
    return [sys.executable, "-m", "gan", "publish", str(run), repo, *flags, *told]


@contextlib.contextmanager
def telling(path: Path, repo: str, private: bool) -> Iterator[Teller]:
    """For the child: keeps `path` true from the first step to the end, whichever it is. SIGTERM
    ends it as Ctrl-C does, so that what it made on the way is put away."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    teller = Teller(path, repo, private)
    try:
        yield teller
    except LabError as error:
        teller.write(state="failed", message=error.to_json())
        raise
    except KeyboardInterrupt:
        teller.write(state="stopped")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class Teller:
    """Writes down how far an upload is."""

    def __init__(self, path: Path, repo: str, private: bool):
        process = this_process()
        self.path, self._at = path, 0.0
        self._now = Publication(repo, private, "starting", process.pid, process.started)
        self.write()

    def __call__(self, state: str, sent: int, total: int) -> None:
        is_new = state != self._now.state or sent == total
        if is_new or time.monotonic() - self._at >= TOLD_EVERY:
            self.write(state=state, sent=sent, total=total)

    def done(self, url: str, commit: str) -> None:
        self.write(state="done", url=url, commit=commit)

    def write(self, **changes: Any) -> None:
        self._now, self._at = replace(self._now, **changes), time.monotonic()
        _write(self.path, self._now)


def _write(path: Path, told: Publication) -> None:
    write_json(path, asdict(told))
