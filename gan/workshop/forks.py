"""Rewind and fork: a new run that begins at a kept moment of another one, with something changed.

From a checkpoint everything goes on exactly (networks, optimisers, order of the data), and the
curves begin with the old run's; from a kept moment the two networks are a warm start.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.files import write_atomic
from gan.workshop.records import write_json
from gan.workshop.requests import TrainRequest

CHANGEABLE = ("name", "images", "minutes", "target_quality", "loss", "penalties", "batch")


def kind_at(run: Path, images_seen: int) -> str:
    """ "checkpoint" where everything goes on, "moment" where the two networks do. LabError where
    nothing was kept."""
    if checkpoint_at(run, images_seen) is not None:
        return "checkpoint"
    if moment_at(run, images_seen) is not None:
        return "moment"
    raise LabError("no_such_moment", images=images_seen)


def checkpoint_at(run: Path, images_seen: int) -> Path | None:
    path = run / "checkpoints" / f"{images_seen:012d}.safetensors"
    return path if path.is_file() else None


def moment_at(run: Path, images_seen: int) -> Path | None:
    """A kept moment that has both networks."""
    path = run / "moments" / f"{images_seen:09d}"
    whole = all((path / f"{name}.safetensors").is_file() for name in ("model", "discriminator"))
    return path if whole else None


def fork(
    run: Path,
    made: Path,
    home: Path,
    request: TrainRequest,
    images_seen: int,
    changes: dict[str, Any],
) -> TrainRequest:
    """Fills the folder `made`, which will be called `home`; → what its training is asked.

    LabError where nothing was kept at `images_seen`, or where a change doesn't fit what was.
    """
    checkpoint, moment = checkpoint_at(run, images_seen), moment_at(run, images_seen)
    if checkpoint is not None:
        for name in changes:
            if name not in CHANGEABLE:
                raise LabError("fork_keeps", name=name, known=", ".join(CHANGEABLE))
        return _go_on(run, made, request.changed(**changes), checkpoint, images_seen)
    if moment is not None:
        shutil.copytree(moment, made / "origin")
        return request.changed(**changes | {"warm_start": str(home / "origin")})
    raise LabError("no_such_moment", images=images_seen)


def _go_on(
    run: Path, made: Path, request: TrainRequest, checkpoint: Path, images_seen: int
) -> TrainRequest:
    from gan.training.losses import LOSSES

    stored = json.loads((run / "config.json").read_text(encoding="utf-8"))
    training = stored["training"]
    images = request.images or training["images"]
    if request.minutes and training["minutes"]:
        images = round(training["images"] * request.minutes / training["minutes"])
    if images <= images_seen:
        raise LabError("fork_without_budget", images=images, seen=images_seen)
    if request.lesson is None:  # a lesson keeps its own loss and penalties
        if request.loss != training["loss"]:
            training["penalties"] = LOSSES[request.loss].penalties
        if request.penalties is not None:
            training["penalties"] = [p for p in request.penalties.split(",") if p != "none"]
        training["loss"] = request.loss
    training |= {"batch": request.batch or training["batch"], "warm_start": None}
    write_json(made / "config.json", stored)
    write_json(made / "status.json", {"images_seen": images_seen, "images": images})
    _link(checkpoint, made / "checkpoints" / checkpoint.name)
    _copy_curves(run, made, images_seen)
    return request.changed(warm_start=None)


def _copy_curves(run: Path, made: Path, images_seen: int) -> None:
    """What the old run had reported and drawn until then."""
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").split("\n")[:-1] if metrics.is_file() else []
    kept = [line + "\n" for line in lines if json.loads(line)["images_seen"] <= images_seen]
    write_atomic(made / "metrics.jsonl", "".join(kept).encode())
    for picture in (run / "samples").glob("[0-9]*.png"):
        if int(picture.stem) <= images_seen:
            _link(picture, made / "samples" / picture.name)


def _link(source: Path, target: Path) -> None:
    """A second name for a file that is only ever replaced as a whole, or else a copy."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
