"""Prepared pictures on disk: made once of whatever source, then mapped, never decoded again.

An entry is two files, the pixels and their description. Where pictures come from, and what makes
two entries different, is decided elsewhere: `folders`, `hub_data`.
"""

import hashlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan import files

RECIPE = 1  # of the preparation: another number, another cache entry
LARGEST_BY_ITSELF = 64  # px: what two cores can train; ask for more by name
_CHUNK = 1024


@dataclass(frozen=True)
class OwnPictures:
    """What became of a person's pictures."""

    images: np.ndarray  # uint8 [N, H, W, C], map of the cache's file; C = 1 if all grey
    fingerprint: str  # sha256 of the pixels, hex
    labels: np.ndarray | None  # int64 [N]
    classes: tuple[str, ...] | None
    skipped: tuple[tuple[str, str], ...]  # (file, key of the text that says why)


def folder(cache: Path | None) -> Path:
    """Where entries are kept, made if need be; `cache` None is the user's cache folder."""
    place = (cache or files.user_cache_dir()) / "datasets"
    place.mkdir(parents=True, exist_ok=True)
    return place


def natural_resolution(sides: Sequence[int]) -> int:
    """Shorter sides of pictures, px → the largest power of two that most of them fill, up to
    LARGEST_BY_ITSELF."""
    median = int(statistics.median(sides)) if sides else LARGEST_BY_ITSELF
    return min(1 << (median.bit_length() - 1), LARGEST_BY_ITSELF)


def prepare(
    entry: Path,
    resolution: int,
    squares: Iterable[np.ndarray],
    describe: Callable[[], Mapping[str, Any]],
) -> None:
    """Writes uint8 [resolution, resolution, 3] pictures, of one channel if all are grey.

    `describe` is called when they have all been seen, and returns "classes", "labels" and
    "skipped" as JSON; it may raise instead, and nothing is kept.
    """
    files.sweep_temporaries(entry.parent)
    count, all_grey = 0, True
    with tempfile.TemporaryFile(dir=entry.parent) as colour:
        for square in squares:
            colour.write(square.tobytes())
            count += 1
            all_grey = all_grey and bool((square == square[..., :1]).all())
        about = describe()
        colour.flush()
        images = np.memmap(colour, np.uint8, "r", shape=(count, resolution, resolution, 3))
        _keep(entry, images[..., : 1 if all_grey else 3], about)
        del images  # Windows doesn't delete a file that is mapped


def _keep(entry: Path, images: np.ndarray, about: Mapping[str, Any]) -> None:
    """Pixels first, their description last: an entry without one doesn't exist."""
    digest = hashlib.sha256()
    with files.atomic_file(entry.with_suffix(".u8")) as file:
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK].tobytes()
            file.write(part)
            digest.update(part)
    whole = {"shape": images.shape, "fingerprint": digest.hexdigest(), **about}
    files.write_atomic(entry.with_suffix(".json"), json.dumps(whole).encode())


def kept(entry: Path) -> OwnPictures | None:
    """What is kept there, if it is whole: the pixels are verified."""
    try:
        about = json.loads(entry.with_suffix(".json").read_bytes())
        # "c": torch takes only arrays that can be written; the file stays as it is.
        images = np.memmap(entry.with_suffix(".u8"), np.uint8, "c", shape=tuple(about["shape"]))
        if fingerprint(images) != about["fingerprint"]:
            return None
        labels, classes = about["labels"], about["classes"]
        return OwnPictures(
            images=images,
            fingerprint=about["fingerprint"],
            labels=None if labels is None else np.array(labels, np.int64),
            classes=None if classes is None else tuple(classes),
            skipped=tuple((name, reason) for name, reason in about["skipped"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_back(entry: Path) -> OwnPictures:
    """What was just prepared; OSError where it can't be read."""
    found = kept(entry)
    if found is None:
        raise OSError(f"the cache entry {entry} can't be read back")
    return found


def fingerprint(images: np.ndarray) -> str:
    """sha256 of the pixels, hex; a map of a file is read piece by piece."""
    digest = hashlib.sha256()
    for start in range(0, len(images), _CHUNK):
        digest.update(images[start : start + _CHUNK].tobytes())
    return digest.hexdigest()
