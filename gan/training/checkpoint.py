"""Complete training states as single files, written whole or not at all.

A checkpoint is one safetensors file: every tensor of the state under a dotted name, everything
else as JSON in the file's metadata. Nothing in it can run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from gan.errors import LabError
from gan.files import sweep_temporaries, write_atomic

KEEP = 2  # the newest so many stay


def flatten(state: Any, prefix: str = "") -> tuple[dict[str, Tensor], Any]:
    """A nested state → its tensors by dotted name, and the rest as JSON with their places kept."""
    tensors: dict[str, Tensor] = {}
    if isinstance(state, Tensor):
        tensors[prefix] = state.detach().contiguous()
        return tensors, {"__tensor__": prefix}
    if isinstance(state, dict):
        rest: Any = {}
        for key, value in state.items():
            found, rest[str(key)] = flatten(value, f"{prefix}.{key}" if prefix else str(key))
            tensors |= found
        return tensors, rest
    if isinstance(state, list | tuple):
        rest = []
        for i, value in enumerate(state):
            found, plain = flatten(value, f"{prefix}.{i}")
            tensors |= found
            rest.append(plain)
        return tensors, rest
    return tensors, state


def unflatten(tensors: dict[str, Tensor], rest: Any) -> Any:
    """The inverse of `flatten` (tuples come back as lists, keys as strings)."""
    if isinstance(rest, dict):
        if set(rest) == {"__tensor__"}:
            return tensors[rest["__tensor__"]]
        return {key: unflatten(tensors, value) for key, value in rest.items()}
    if isinstance(rest, list):
        return [unflatten(tensors, value) for value in rest]
    return rest


def path_of(folder: Path, images_seen: int) -> Path:
    return folder / f"{images_seen:012d}.safetensors"


def write(folder: Path, images_seen: int, state: dict[str, Any], best: int | None = None) -> Path:
    """Writes the state atomically, then removes all but the newest `KEEP` and the one that was
    written at `best` images; and those of a later time, which were passed over as damaged: counted
    among the newest, they would take the places of the good ones."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    tensors, rest = flatten(state)
    path = path_of(folder, images_seen)
    write_atomic(path, save(tensors, metadata={"state": json.dumps(rest)}))
    there = every(folder)
    until = there.index(path) + 1
    for other in there[: max(0, until - KEEP)] + there[until:]:
        if best is None or other != path_of(folder, best):
            other.unlink(missing_ok=True)
    return path


def every(folder: Path) -> list[Path]:
    """All checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint; LabError if the file is damaged."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            rest = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return unflatten(tensors, rest)
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise LabError("damaged_checkpoint", path=path.name, reason=str(error)) from error


def read_newest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest state that can be read and has only finite numbers, and the names of damaged
    files passed over.

    None where there is no checkpoint at all; LabError where there are only damaged ones.
    """
    damaged: list[str] = []
    for path in reversed(every(folder)):
        try:
            state = read(path)
            if is_finite(state):
                return state, damaged
        except LabError:
            pass
        damaged.append(path.name)
    if damaged:
        raise LabError("no_good_checkpoint", folder=str(folder), damaged=", ".join(damaged))
    return None, damaged


def is_finite(state: dict[str, Any]) -> bool:
    """Whether no tensor holds an infinity or NaN: a training can go on from here."""
    tensors, _ = flatten(state)
    return all(bool(torch.isfinite(values).all()) for values in tensors.values())


def digest(state: dict[str, Any]) -> str:
    """sha256 over all tensors and values: equal if and only if two states are the same."""
    tensors, rest = flatten(state)
    total = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
