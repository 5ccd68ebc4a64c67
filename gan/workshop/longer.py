"""More minutes for a run that has ended, as the budget in images that its process is asked for.

Every schedule of a training runs over its budget, so what counts is how long the whole of it takes:
at the speed that was measured last, with what is still ahead at its own cost. A minute more of
`digits` after its first one was 55 s of steps with the "quick" preset and 51 s with its own; with
evaluations and saving 62 s each (processor time, which other programs don't change).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.workshop.records import read_status, read_training
from gan.workshop.snapshot import Metrics

MEASURED_SECONDS = 60.0  # of training, whose speed is the present one


def longer(run: Path, minutes: float) -> dict[str, Any]:
    """What changes in the request of a run so that it goes on for `minutes` more. A target that
    has ended it is taken away."""
    status, rate = read_status(run), images_per_second(run)
    seen = status.get("images_seen") or 0
    if not seen or rate is None:  # it never got so far: these are its first minutes
        return {"minutes": minutes}
    return {"images": _images(run, seen, rate, minutes)} | (
        {"target_quality": 0.0} if status.get("finished") in ("quality", "plateau") else {}
    )


def _images(run: Path, seen: int, rate: float, minutes: float) -> int:
    from gan.training.budget import images_in
    from gan.training.config import TrainConfig

    try:
        return images_in(TrainConfig.from_json(read_training(run)), seen, rate, minutes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise LabError("damaged_run", path=run.name, reason=str(error)) from error


def images_per_second(run: Path) -> float | None:
    """The speed of the last minute of training, at one resolution; None where it isn't known."""
    lines = [line for line in Metrics(run / "metrics.jsonl").lines() if "seconds" in line]
    if not lines:
        return None
    last = lines[-1]
    near = [
        line
        for line in lines
        if line.get("resolution") == last.get("resolution")
        and last["seconds"] - line["seconds"] <= MEASURED_SECONDS
    ]
    seconds = last["seconds"] - near[0]["seconds"]
    if seconds > 0:
        return (last["images_seen"] - near[0]["images_seen"]) / seconds or None
    return last.get("images_per_second") or None
