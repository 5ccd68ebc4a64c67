"""A training on a rented machine, as a run among the others: its process here only follows it.

That process is `python -m gan jobs …`; the person's token reaches it on its standard input and is
nowhere else. A run of this kind is known by "job" in its status; it never waits for the device.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.publish import repo_name
from gan.system import Process, start_detached
from gan.workshop.queue import environment
from gan.workshop.records import now, read_status, write_json
from gan.workshop.requests import TrainRequest

MOST_HOURS = 72.0


@dataclass(frozen=True)
class Rental:
    """What is rented for a training: the machine, for how long, and where everything is kept."""

    repo: str  # "owner/name"
    hardware: str = "cpu-basic"
    hours: float = 1.0
    private: bool = True

    @classmethod
    def from_json(cls, given: Any) -> Rental:
        """One that came from outside; LabError names what is wrong with it."""
        if not isinstance(given, dict) or given.keys() - cls.__dataclass_fields__.keys():
            raise LabError("bad_request", reason="rental")
        kinds = {"repo": str, "hardware": str, "hours": (int, float), "private": bool}
        for name, value in given.items():
            if not isinstance(value, kinds[name]):
                raise LabError("bad_request", reason=name)
        rental = cls(**given)
        repo_name(rental.repo)
        if not (math.isfinite(rental.hours) and 0.1 <= rental.hours <= MOST_HOURS):
            raise LabError("job_hours", value=rental.hours, most=MOST_HOURS)
        return rental


def is_rented(status: dict[str, Any]) -> bool:
    """Whether a run with this status trains somewhere else."""
    return bool(status.get("job"))


def check_here(status: dict[str, Any]) -> None:
    """LabError for an order that a rented machine doesn't hear."""
    if is_rented(status):
        raise LabError("job_only_stops")


def note(run: Path, rental: Rental) -> None:
    """The status of a run that is about to be started there."""
    write_json(run / "status.json", {"state": "stopped", "job": asdict(rental)})


def launch(run: Path, request: TrainRequest, rental: Rental, token: str) -> None:
    """Starts the job, and follows it, in a process that survives us."""
    flags = ["--hardware", rental.hardware, "--hours", str(rental.hours), "--yes", "--follow"]
    public = [] if rental.private else ["--public"]
    _go(run, ["start", rental.repo, *flags, *public, *request.command(run)[1:]], token)


def follow(run: Path, token: str) -> None:
    """Follows a job whose follower is gone. LabError where none was started."""
    if not (run / "job.json").is_file():
        raise LabError("job_unknown", path=run.name)
    _go(run, ["follow", str(run)], token)


def _go(run: Path, words: list[str], token: str) -> None:
    command = [sys.executable, "-m", "gan", "jobs", *words, "--token-stdin"]
    (run / "log.txt").unlink(missing_ok=True)  # the job's log is heard from its beginning
    (run / "control.json").unlink(missing_ok=True)
    status = read_status(run) | {"state": "starting", "stopping": False, "message": None}

    def note(process: Process) -> None:
        told = {"pid": process.pid, "started": process.started, "heartbeat": now()}
        write_json(run / "status.json", status | told)

    start_detached(command, run / "log.txt", environment(), token, note)
