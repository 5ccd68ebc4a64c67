"""What a page shows of a run, read once for everybody who watches it.

A metrics file is read on from where it ended the last time, and thinned as it grows: a run of a
week costs no more to watch than one of an hour.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan.workshop.records import About, images_of, read_settings, read_status, state_of

FRESH_SECONDS = 1.0
MOST_POINTS, MOST_EVALUATIONS = 340, 150  # together under 500
LOG_BYTES = 4096
WATCHED = 64  # runs that are remembered


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. Places of files are relative to its directory.

    `forked_from`, {"run", "name", "images_seen", "kind"}, is another run's "checkpoint" or
    "moment", by its name of today; its "run" is None where that one is gone.
    `request` is what was asked for, `settings` what is trained with, None while that isn't known.
    `metrics`: reports in order, evaluations among them; the histogram only in the newest that
    has one. `alarms` are those that are active now. `message` says why it failed or was stopped,
    as a LabError's JSON; `log_end` is the end of log.txt where it failed, its process is gone, or
    it trains on a rented machine.
    """

    run_id: str
    name: str
    state: str
    stopping: bool
    created: float
    command: str
    request: dict[str, Any]
    settings: dict[str, Any] | None
    forked_from: dict[str, Any] | None
    place: int | None
    status: dict[str, Any]
    metrics: list[dict[str, Any]]
    samples: list[int]
    moments: list[int]
    checkpoints: list[int]
    pictures: list[str]
    alarms: list[dict[str, Any]]
    message: dict[str, Any] | None
    log_end: str | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def since(self, images_seen: int | None) -> Snapshot:
        """The same with only the reports after `images_seen`."""
        if images_seen is None:
            return self
        newer = [line for line in self.metrics if line["images_seen"] > images_seen]
        return dataclasses.replace(self, metrics=newer)


@dataclass
class Thinned:
    """Every 2ᵏ-th of what is added, k as small as `most` allows; and always the newest."""

    most: int
    kept: list[dict[str, Any]] = field(default_factory=list)
    newest: dict[str, Any] | None = None
    stride: int = 1
    count: int = 0

    def add(self, line: dict[str, Any]) -> None:
        if self.count % self.stride == 0:
            self.kept.append(line)
            if len(self.kept) > self.most:
                self.kept, self.stride = self.kept[::2], self.stride * 2
        self.newest, self.count = line, self.count + 1

    def lines(self) -> list[dict[str, Any]]:
        if self.newest is None or self.kept[-1] is self.newest:
            return self.kept
        return [*self.kept, self.newest]


class Metrics:
    """metrics.jsonl, read as it grows; from the start when a resumed run has rewritten it."""

    def __init__(self, path: Path):
        self.path = path
        self._start_again((0, 0))

    def _start_again(self, file: tuple[int, int]) -> None:
        self.file, self.read = file, 0
        self.reports, self.evaluations = Thinned(MOST_POINTS), Thinned(MOST_EVALUATIONS)
        self.histogram: dict[str, Any] | None = None

    def lines(self) -> list[dict[str, Any]]:
        """At most `MOST_POINTS + MOST_EVALUATIONS + 2`, in order."""
        self._read_on()
        lines = [*self.reports.lines(), *self.evaluations.lines()]
        lines.sort(key=lambda line: line["images_seen"])
        if lines and self.histogram is not None:
            lines[-1] = lines[-1] | {"histogram": self.histogram}
        return lines

    def _read_on(self) -> None:
        try:
            with self.path.open("rb") as file:
                about = self.path.stat()
                identity = (about.st_dev, about.st_ino)
                if identity != self.file or about.st_size < self.read:
                    self._start_again(identity)
                file.seek(self.read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            self._start_again((0, 0))
            return
        self.read += len(whole) + len(newline)
        for line in whole.splitlines():
            self._add(line)

    def _add(self, text: bytes) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            return
        if not isinstance(line, dict) or not isinstance(line.get("images_seen"), int):
            return  # not a report
        self.histogram = line.pop("histogram", None) or self.histogram
        (self.evaluations if line.get("quality") else self.reports).add(line)


class Snapshots:
    """Takes snapshots, at most one a second of each run, whoever asks."""

    def __init__(self, place: Callable[[str], int | None]):
        self._place = place
        self._lock = threading.Lock()
        self._metrics: OrderedDict[Path, Metrics] = OrderedDict()
        self._taken: dict[Path, tuple[float, Snapshot]] = {}

    def take(self, run: Path, about: About) -> Snapshot:
        with self._lock:
            at, snapshot = self._taken.get(run, (0.0, None))
            if snapshot is None or time.monotonic() - at >= FRESH_SECONDS:
                snapshot = self._look(run, about)
                self._taken[run] = time.monotonic(), snapshot
            return snapshot

    def forget(self, run: Path) -> None:
        """The next one is taken anew: somebody has changed something."""
        with self._lock:
            self._taken.pop(run, None)

    def _look(self, run: Path, about: About) -> Snapshot:
        status = read_status(run)
        state = state_of(status)
        return Snapshot(
            run_id=run.name,
            name=about.name,
            state=state,
            stopping=state in ("training", "paused") and bool(status.get("stopping")),
            created=about.created,
            command=about.request.command_line(run),
            request=about.request.to_json(),
            settings=read_settings(run),
            forked_from=origin_of(run, about),
            place=self._place(run.name) if state == "queued" else None,
            status=status,
            metrics=self._metrics_of(run).lines(),
            samples=images_of(run),
            moments=images_of(run, "moments"),
            checkpoints=images_of(run, "checkpoints"),
            pictures=[name for name in ("reals", "neighbours") if (run / f"{name}.png").is_file()]
            + sorted(path.stem for path in (run / "samples").glob("*-*.png")),
            alarms=status.get("alarms") or [],
            message=status.get("message") or about.message,
            log_end=log_end(run) if state in ("dead", "failed") or status.get("job") else None,
        )

    def _metrics_of(self, run: Path) -> Metrics:
        self._metrics.setdefault(run, Metrics(run / "metrics.jsonl"))
        self._metrics.move_to_end(run)
        while len(self._metrics) > WATCHED:
            old, _ = self._metrics.popitem(last=False)
            self._taken.pop(old, None)
        return self._metrics[run]


def origin_of(run: Path, about: About) -> dict[str, Any] | None:
    """Where a run was forked from, as it is now."""
    if about.forked_from is None:
        return None
    parent = About.read(run.parent / about.forked_from["run"])
    if parent is None or parent.deleted is not None:
        return about.forked_from | {"run": None}
    return about.forked_from | {"name": parent.name}


def log_end(run: Path) -> str:
    """The last lines of log.txt."""
    try:
        with (run / "log.txt").open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.strip() if size <= LOG_BYTES else text.partition("\n")[2].strip()
