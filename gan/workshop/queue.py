"""Who trains now and who is next, told from the files alone: a server that starts knows as much
as the one that was killed.

Only one process at a time may decide here; `Workshop` holds the lock around every call.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan import control
from gan.errors import LabError
from gan.files import sweep_temporaries
from gan.system import start_detached
from gan.workshop.records import (
    ALIVE,
    PUBLICATION,
    RUN_ID,
    About,
    now,
    read_status,
    state_of,
    write_json,
)

TURN = 0.001  # seconds, the least between two places in the queue
_PROJECT = Path(__file__).parents[2]


class Queue:
    """The runs in a folder, by what they are doing."""

    def __init__(self, root: Path):
        self.root = root
        self._seen: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}

    def runs(self) -> list[Path]:
        """Every run that people started, deleted ones too."""
        if not self.root.is_dir():
            return []
        return [path for path in self.root.iterdir() if RUN_ID.fullmatch(path.name)]

    def at_work(self) -> list[Path]:
        """Those that train on this machine: starting, training or paused."""
        statuses = [(run, self.status(run)) for run in self.runs()]
        return [run for run, told in statuses if not told.get("job") and state_of(told) in ALIVE]

    def waiting(self) -> list[Path]:
        """The queue, who is next first."""
        runs = [run for run in self.runs() if self.status(run).get("state") == "queued"]
        return sorted(runs, key=lambda run: (self.status(run).get("queued", 0.0), run.name))

    def status(self, run: Path) -> dict[str, Any]:
        """status.json; read again only when it has changed."""
        try:
            about = (run / "status.json").stat()
        except OSError:
            self._seen.pop(run, None)
            return {}
        identity = about.st_ino, about.st_mtime_ns
        if self._seen.get(run, ((0, 0), {}))[0] != identity:
            self._seen[run] = identity, read_status(run)
        return self._seen[run][1]


def enqueue(run: Path, **about: Any) -> None:
    """Puts a run at the end of the queue, also where the clock was set back since the others came;
    what it has reached stays known, but for `about`."""
    others = [read_status(each) for each in Queue(run.parent).waiting() if each != run]
    turn = max([now(), *(other.get("queued", 0.0) + TURN for other in others)])
    status = read_status(run) | {"state": "queued", "queued": turn, "message": None}
    write_json(run / "status.json", status | about)


def launch(run: Path) -> None:
    """Starts the training of a run as a process that survives us."""
    about = About.read(run)
    if about is None:
        return
    (run / control.FILE).unlink(missing_ok=True)
    sweep(run)
    status = read_status(run) | {"stopping": False, "message": None, "alarms": []}
    try:
        process = start_detached(command(run, about), run / "log.txt", environment())
    except OSError as error:
        message = LabError("run_unwritable", path=run, reason=error.strerror).to_json()
        write_json(run / "status.json", status | {"state": "failed", "message": message})
        return
    status |= {"state": "starting", "pid": process.pid, "started": process.started}
    write_json(run / "status.json", status | {"heartbeat": now()})


def sweep(run: Path) -> None:
    """Removes what a training that was killed had half written; a run that trains no longer may be
    on its way to the Hub."""
    sweep_temporaries(run, older_than_seconds=0.0, spare=PUBLICATION)


def command(run: Path, about: About) -> list[str]:
    """What is executed: the command that the page shows, by this very Python."""
    return [sys.executable, "-m", "gan", *about.request.command(run)]


def environment() -> dict[str, str]:
    """That of a training: threads that wait asleep leave the page its core, and `gan` is found
    from any folder."""
    path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
    ours = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return os.environ | ours


def answer_of(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Runs `python -m gan …` to its end, and nothing of it in this process; None where that takes
    longer than `seconds`."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            [sys.executable, "-m", "gan", *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=seconds,
            check=False,
        )
    return None


def last_words(stderr: str) -> str:
    """Why a command failed, by the last line that it wrote."""
    return (stderr.strip().splitlines() or ["?"])[-1]


def give_order(run: Path, **what: Any) -> int | None:
    """Leaves an order for the process of a run, behind those that it hasn't noted yet; → its
    number, None where no process lives."""
    status = read_status(run)
    if state_of(status) not in ALIVE:
        return None
    given, noted = control.read(run), status.get("acknowledged") or 0
    number = max([noted, *(order.id for order in given)]) + 1
    open_ones = [order for order in given if order.pid == status["pid"] and order.id > noted]
    control.give(run, *open_ones, control.Order(id=number, pid=status["pid"], **what))
    return number
