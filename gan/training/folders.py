"""A person's own pictures, a folder or a zip file → one array, prepared once and cached."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from gan.errors import LabError
from gan.training import picture_cache, pictures, sources
from gan.training.picture_cache import OwnPictures

Progress = Callable[[int, int], None]  # (done, total)

FEWEST_PICTURES = 2

_SAMPLED = 200  # pictures whose size decides the natural resolution


def read(
    path: Path, resolution: int | None, cache: Path | None, progress: Progress | None = None
) -> OwnPictures:
    """The pictures in `path`, cropped to their middle square and resized to `resolution`.

    Sub-folders are classes if every usable picture is in one and there are two of them at least;
    a folder around everything doesn't count. Raises LabError.
    """
    with sources.opened(path) as source:
        resolution = resolution or natural_resolution(source)
        entry = picture_cache.folder(cache) / _content_key(source, resolution)
        kept = picture_cache.kept(entry)
        if kept is None:
            _prepare(source, path, resolution, entry, progress)
            kept = picture_cache.read_back(entry)
    return kept


def natural_resolution(source: sources.Source) -> int:
    """The largest power of two that most pictures fill, 8 … 64 px."""
    step = max(1, len(source.names) // _SAMPLED)
    sides = []
    for name in source.names[::step]:
        with contextlib.suppress(pictures.UnusablePicture):
            sides.append(pictures.short_side(source.content(name)))
    return picture_cache.natural_resolution(sides)


# Preparing, once


def _content_key(source: sources.Source, resolution: int) -> str:
    """Depends on the names and bytes of the pictures, and on what is made of them."""
    digest = hashlib.sha256(f"{picture_cache.RECIPE} {resolution}".encode())
    for name in source.names:
        digest.update(f"\0{name}\0".encode("utf-8", "surrogateescape"))
        with contextlib.suppress(pictures.UnusablePicture):
            digest.update(hashlib.sha256(source.content(name)).digest())
    return digest.hexdigest()[:32]


def _prepare(
    source: sources.Source, path: Path, resolution: int, entry: Path, progress: Progress | None
) -> None:
    used: list[str] = []
    skipped: list[tuple[str, str]] = []

    def squares() -> Iterator[np.ndarray]:
        for done, name in enumerate(source.names):
            try:
                yield pictures.square(source.content(name), resolution)
                used.append(name)
            except pictures.UnusablePicture as unusable:
                skipped.append((name, unusable.reason))
            if progress:
                progress(done + 1, len(source.names))

    def describe() -> dict[str, object]:
        if len(used) < FEWEST_PICTURES:
            raise _too_few(path, used, skipped)
        classes, labels = _classes(used)
        return {"classes": classes, "labels": labels, "skipped": skipped}

    picture_cache.prepare(entry, resolution, squares(), describe)


def _classes(names: Sequence[str]) -> tuple[list[str] | None, list[int] | None]:
    """The names of the sub-folders, and each picture's; None where there are no two of them."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    shared = 0  # folders around everything
    while len({folder[: shared + 1] for folder in folders}) == 1 and len(folders[0]) > shared:
        shared += 1
    own = [folder[shared : shared + 1] for folder in folders]
    if not all(own):
        return None, None
    classes = sorted({name for (name,) in own})
    return (classes, [classes.index(name) for (name,) in own]) if len(classes) > 1 else (None, None)


def _too_few(path: Path, used: Sequence[str], skipped: Sequence[tuple[str, str]]) -> LabError:
    if not used and not skipped:
        return LabError("data_empty", source=path)
    counts = {"source": path, "usable": len(used), "least": FEWEST_PICTURES}
    if not skipped:
        return LabError("data_too_few", **counts)
    first, _ = skipped[0]
    return LabError("data_too_few_skipped", skipped=len(skipped), name=first, **counts)
