"""What a training will cost on this machine: measured before it starts, and remembered.

The measuring is done by a process of its own (`gan estimate`), which builds the very networks that
would be trained and steps them at every resolution; nothing here touches a tensor.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan import __version__
from gan.errors import LabError
from gan.system import processor_name, usable_cores, user_cache_dir, write_atomic
from gan.workshop.queue import answer_of, last_words
from gan.workshop.requests import TrainRequest

MOST_SECONDS = 240.0  # what takes longer to measure isn't for this machine
CHECKPOINTS = 4  # the newest two, the best, and the one that is being written
MOMENTS = 24  # kept for the slider, networks in float16
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

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Estimates:
    """Measures one request at a time; what was measured once is known from then on."""

    def __init__(self, cache: Path | None = None):
        self._cache, self._lock = cache, threading.Lock()

    def of(self, request: TrainRequest, keep: bool = True) -> Estimate:
        """Takes some seconds where nothing like it was measured before; LabError where it can't.

        `keep` False: what is measured now, beside another training, is not to be remembered."""
        with self._lock:
            return scaled(self._costs(request, keep), request)

    def _costs(self, request: TrainRequest, keep: bool) -> dict[str, Any]:
        place = (self._cache or user_cache_dir()) / "estimates" / f"{key(request)}.json"
        try:
            return json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            costs = measure(request)
        if keep:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps(costs).encode())
        return costs


def key(request: TrainRequest) -> str:
    """Equal for requests that cost the same an image on this machine."""
    alike = replace(_without_budget(request), seed=0, name="").to_json()
    if Path(request.data).exists():  # other pictures under the same name
        alike["changed"] = Path(request.data).stat().st_mtime
    machine = [__version__, processor_name(), usable_cores()]
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
        + MOMENTS * costs["moment_bytes"],
        device=costs["device"],
    )
