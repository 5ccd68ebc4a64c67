"""What a host does by itself: bounds that are kept while people train, and tidying up."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.workshop.limits import GIB, Limits
from gan.workshop.records import About, now

PURGED_AFTER = 24 * 3600.0  # seconds in which a deletion can be taken back
UNFINISHED_AFTER = 600.0  # seconds after which a folder that was never finished is a leftover
UNUSED_AFTER = 24 * 3600.0  # seconds for which pictures are kept that nobody trains on


def overrun(status: dict[str, Any], limits: Limits) -> LabError | None:
    """Why a run may not train any longer; None if it may."""
    if limits.minutes is not None and status.get("seconds", 0) > limits.minutes * 60:
        return LabError("run_time_is_up", most=limits.minutes)
    return None


def room(root: Path, limits: Limits, coming: int = 0) -> LabError | None:
    """What is wrong with the disk; None if there is room. `coming`: bytes that are to be added."""
    free = shutil.disk_usage(root).free / GIB
    if free < limits.free_gib:
        return LabError("disk_nearly_full", free=round(free, 2), least=limits.free_gib)
    if limits.disk_gib is not None:
        used = (_bytes_in(root) + coming) / GIB
        if used > limits.disk_gib:
            return LabError("runs_fill_the_disk", used=round(used, 1), most=limits.disk_gib)
    return None


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was replaced in between
                total += (Path(place) / name).lstat().st_size
    return total


class Clock:
    """How old things are, by a clock of the machine that somebody may set while we run: then what
    has really passed counts, and nothing is old because the clock was put forward."""

    def __init__(self) -> None:
        self._began, self._steady = time.time(), time.monotonic()

    def age(self, stamp: float) -> float:
        """Seconds since `stamp`, rather too few than too many."""
        passed = self._began + time.monotonic() - self._steady
        return min(time.time(), passed) - stamp


def purge(root: Path, runs: list[Path], at_work: list[Path], clock: Clock) -> None:
    """Removes runs that were deleted a day ago, people's pictures that no run was made of, and
    folders that a killed server left half made."""
    for run in set(runs) - set(at_work):
        about = About.read(run)
        if about is None or about.deleted is None:
            continue
        if about.deleted > time.time() + PURGED_AFTER:  # by a wrong clock: now it begins
            replace(about, deleted=now()).write(run)
        elif clock.age(about.deleted) > PURGED_AFTER:
            run.rename(root / f".old-{run.name}")
    for leftover in root.glob(".new-*"):
        with contextlib.suppress(OSError):
            if clock.age(leftover.stat().st_mtime) > UNFINISHED_AFTER:
                leftover.rename(root / f".old-{leftover.name[5:]}")
    _purge_data(root, runs, clock)
    for old in root.glob(".old-*"):
        shutil.rmtree(old, ignore_errors=True)


def _purge_data(root: Path, runs: Iterable[Path], clock: Clock) -> None:
    """Removes data/<person>/<data set> where no run names it, a day after it came."""
    abouts = [About.read(run) for run in runs]
    named = {Path(about.request.data).resolve() for about in abouts if about is not None}
    for data in root.glob("data/*/*"):
        used = any(data.resolve() in (place, *place.parents) for place in named)
        with contextlib.suppress(OSError):
            came = data.stat().st_mtime
            if came > time.time() + UNUSED_AFTER:
                os.utime(data)
            elif not used and clock.age(came) > UNUSED_AFTER:
                data.rename(root / f".old-{data.parent.name}-{data.name}")
