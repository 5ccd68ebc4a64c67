"""What a training will cost on this machine: measured before it starts, and remembered.

The measuring is done by a process of its own (`gan estimate`), which builds the very networks that
would be trained and steps them at every resolution; nothing here touches a tensor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan import __version__, moments
from gan.errors import LabError
from gan.files import user_cache_dir, write_atomic
from gan.system import processor_name, usable_cores
from gan.workshop.queue import answer_of, last_words
from gan.workshop.requests import TrainRequest

METHOD = 2  # of measuring: another number, and what was measured before is forgotten
MOST_REMEMBERED = 100  # measurements beside other trainings
MOST_SECONDS = 240.0  # what takes longer to measure isn't for this machine
CHECKPOINTS = 4  # the newest two, the best, and the one that is being written
EXPORTS = 2  # the best and the newest
REFERENCE_IMAGES = 100_000  # the budget that is measured with: costs don't depend on it


@dataclass(frozen=True)
class Estimate:
    """Measured costs, and what follows from them for a budget."""

    images_per_second: dict[str, float]  # by the resolution that is trained, px
    images: int  # of the budget
    minutes: float  # of the budget, evaluations counted
    memory_bytes: int | None  # of the process at its peak
    disk_bytes: int  # of the run at its largest, samples not counted
    device: dict[str, Any]  # kind, dtype, threads, hardware
    images_per_minute: float  # evaluations counted
    busy: bool = False  # measured while something else trained

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Estimates:
    """Measures one request at a time; what was measured once is known from then on. What was
    measured beside another training is slower than it will be: that holds as long as something
    trains, and is measured again then."""

    def __init__(self, cache: Path | None = None):
        self._cache, self._lock = cache, threading.Lock()
        self._beside: dict[str, dict[str, Any]] = {}

    def of(self, request: TrainRequest, is_busy: Callable[[], bool] = lambda: False) -> Estimate:
        """Takes some seconds where nothing like it was measured before; LabError where it can't.

        `is_busy`: whether something trains on this machine."""
        with self._lock:
            return scaled(self._costs(request, is_busy), request)

    def _costs(self, request: TrainRequest, is_busy: Callable[[], bool]) -> dict[str, Any]:
        name = key(request)
        place = (self._cache or user_cache_dir()) / "estimates" / f"{name}.json"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(place.read_text(encoding="utf-8"))
        busy = is_busy()
        if busy and name in self._beside:
            return self._beside[name]
        costs = measure(request)
        if busy or is_busy():  # it may have begun meanwhile
            while len(self._beside) >= MOST_REMEMBERED:
                self._beside.pop(next(iter(self._beside)))
            self._beside[name] = costs | {"busy": True}
            return self._beside[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, json.dumps(costs).encode())
        return costs


def key(request: TrainRequest) -> str:
    """Equal for requests that cost the same an image on this machine. What a warm start begins with
    is the same to it, but not that it is one: it leaves the coarse pictures out."""
    warm = None if request.warm_start is None else "warm"
    alike = replace(_without_budget(request), seed=0, name="", warm_start=warm).to_json()
    if Path(request.data).exists():  # other pictures under the same name
        alike["changed"] = Path(request.data).stat().st_mtime
    machine = [__version__, METHOD, processor_name(), usable_cores()]
    return hashlib.sha256(json.dumps([alike, machine]).encode()).hexdigest()[:32]


def _without_budget(request: TrainRequest) -> TrainRequest:
    return replace(request, images=REFERENCE_IMAGES, minutes=None, target_quality=None)


def measure(request: TrainRequest) -> dict[str, Any]:
    """Runs `gan estimate` on it, at low priority; → its JSON."""
    train, *flags = _without_budget(request).command("-")
    assert train == "train"
    at = flags.index("--out")
    done = answer_of(["estimate", "--json", *flags[:at], *flags[at + 2 :]], MOST_SECONDS)
    if done is None:
        raise LabError("too_slow_to_measure", seconds=round(MOST_SECONDS))
    if done.returncode != 0:
        raise LabError("not_measured", reason=last_words(done.stderr))
    return json.loads(done.stdout.splitlines()[-1])


def scaled(costs: dict[str, Any], request: TrainRequest) -> Estimate:
    """What was measured, for the budget of `request`."""
    share = (request.minutes or 0) / costs["minutes"]
    images = request.images or round(costs["images"] * share)
    return Estimate(
        images_per_second={
            size: round(1 / seconds, 2) for size, seconds in costs["seconds_per_image"].items()
        },
        images=images,
        minutes=round(costs["minutes"] * images / costs["images"], 2),
        memory_bytes=costs["memory_bytes"],
        disk_bytes=CHECKPOINTS * costs["checkpoint_bytes"]
        + EXPORTS * costs["export_bytes"]
        + moments.MOST * costs["moment_bytes"],
        device=costs["device"],
        images_per_minute=costs["images"] / costs["minutes"],
        busy=costs.get("busy", False),
    )
