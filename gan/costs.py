"""What a picture costs: measured for a model on a device, remembered, and told beforehand.

A drag asks for many pictures a second. A model that can't draw them so fast is dragged at a lower
resolution where its family can stop early, and else drawn when the hand lets go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from gan.device import Device
from gan.errors import LabError
from gan.files import user_cache_dir, write_atomic

LIVE_SECONDS = 0.15  # a preview that takes longer doesn't feel attached to the hand
SLOW_SECONDS = 0.5  # from here on a picture waits in the lane of the slow ones
SMALLEST_PREVIEW = 32  # pixels
_SURE_SECONDS = 1.0  # what takes longer is timed once
_VERSION = 2

Drag = Literal["whole", "small", "release"]  # the best first


@dataclass(frozen=True)
class Cost:
    """Seconds for an exact picture and for a preview; `preview_resolution` (pixels) where previews
    are smaller than the picture; `drag` is what is drawn while a hand moves."""

    exact_seconds: float
    preview_seconds: float
    preview_resolution: int | None = None
    drag: Drag = "whole"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the page."""
        return asdict(self)


def measure(
    time_exact: Callable[[], float],
    time_preview: Callable[[int | None], float | None],
    resolutions: Sequence[int],
) -> Cost:
    """Times a model from the cheapest picture up, and stops where it is no longer live.

    `time_exact()` draws one exact picture → seconds; `time_preview(resolution)` a preview, None for
    the whole → seconds, or None where the family can't stop there. `resolutions`: where it might.
    """
    small: tuple[int, float] | None = None
    for side in sorted({each for each in resolutions if each >= SMALLEST_PREVIEW}):
        seconds = _settled(lambda side=side: time_preview(side))
        if seconds is None or seconds > LIVE_SECONDS:
            break
        small = side, seconds
    exact = _settled(time_exact)
    assert exact is not None
    whole = _settled(lambda: time_preview(None)) if exact <= _SURE_SECONDS else exact
    assert whole is not None
    if whole <= LIVE_SECONDS:
        return Cost(exact, whole)
    if small:
        return Cost(exact, small[1], small[0], "small")
    return Cost(exact, whole, None, "release")


def _settled(time_once: Callable[[], float | None]) -> float | None:
    """The first call also builds what later calls use: the better of two, where that is cheap."""
    first = time_once()
    if first is None or first > _SURE_SECONDS:
        return first
    return min(first, time_once() or first)


def less_busy(now: Cost, before: Cost | None) -> Cost:
    """Of two measurements of a model what the less busy machine could do."""
    if before is None:
        return now
    better = min(now, before, key=_rank)
    return replace(better, exact_seconds=min(now.exact_seconds, before.exact_seconds))


def _rank(cost: Cost) -> tuple[int, int, float]:
    """The better drag first, of two small ones the larger, and of two alike the quicker."""
    return get_args(Drag).index(cost.drag), -(cost.preview_resolution or 0), cost.preview_seconds


def remembered(digest: str, device: Device) -> Cost | None:
    """What was measured before, of these weights on this device."""
    try:
        stored = json.loads(_path(digest, device).read_text(encoding="utf-8"))
        cost = Cost(**stored)
    except (LabError, OSError, ValueError, TypeError, RecursionError):
        return None
    numbers = (cost.exact_seconds, cost.preview_seconds)
    is_sound = all(isinstance(n, (int, float)) and math.isfinite(n) and n > 0 for n in numbers)
    side = cost.preview_resolution
    is_sound = is_sound and (side is None or (isinstance(side, int) and side > 0))
    return cost if is_sound and cost.drag in get_args(Drag) else None


def remember(digest: str, device: Device, cost: Cost) -> None:
    """For the next time; a machine that can't be written to measures again."""
    with contextlib.suppress(LabError, OSError):
        path = _path(digest, device)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(cost.to_json()).encode())


def _path(digest: str, device: Device) -> Path:
    machine = json.dumps(device.describe(), sort_keys=True)
    name = hashlib.sha256(f"{_VERSION} {digest} {machine}".encode()).hexdigest()[:32]
    return user_cache_dir() / "costs" / f"{name}.json"
