"""The pictures that a generator learns from, as one array, and the order in which it sees them.

Three data sets come with the program (`assets/datasets`, with their licences); a person's own
folders and zip files are read by `folders`, data sets on the Hugging Face Hub by `hub_data`.
Nothing here augments, flips or scales to [−1, 1].
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gan.errors import LabError
from gan.training import folders, picture_cache
from gan.training.hub_names import HubData, is_hub_data

BUNDLED = ("digits", "digits-tiny", "avatars")
SMALLEST, LARGEST = 8, 1024  # px: a resolution is a power of two from … to …

_FOLDER = Path(__file__).parents[2] / "assets" / "datasets"
_TILE = 8  # px, side of the tiles that the avatars' archive consists of


@dataclass(frozen=True)
class Attribute:
    """What is known of every picture in one respect, such as its hair colour."""

    values: tuple[str, ...]
    indices: np.ndarray  # uint8 [N], into `values`


@dataclass(frozen=True)
class Dataset:
    """Pictures with what is known about them. `images` may be a map of a file."""

    name: str
    images: np.ndarray  # uint8 [N, H, W, C], H = W, C = 1 (grey) or 3 (RGB)
    licence: str
    attribution: str
    fingerprint: str  # sha256 of the pixels, hex
    labels: np.ndarray | None = None  # int64 [N], into `classes`
    classes: tuple[str, ...] | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    skipped: tuple[tuple[str, str], ...] = ()  # (file, key of the text that says why)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> int:
        """Side of the square pictures, px."""
        return self.images.shape[1]

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.images.shape[3]

    @property
    def num_classes(self) -> int:
        """0 where the pictures have no classes."""
        return len(self.classes or ())


def load_dataset(
    source: str | Path,
    resolution: int | None = None,
    cache: Path | None = None,
    progress: folders.Progress | None = None,
) -> Dataset:
    """ "digits", "digits-tiny", "avatars", a folder, a zip file or "hub:owner/name" (see
    `hub_names`) → its pictures.

    `resolution`: a power of two, 8 … 1024; the bundled sets go down from their own only. None is
    the bundled set's own, or what `folders.natural_resolution` says. A person's pictures are
    prepared once and kept in `cache` (default: the user's cache folder). `progress(done, total)`
    is called while they are. Raises LabError for anything that can't be used.
    """
    if resolution is not None:
        _check_resolution(resolution)
    if source in BUNDLED:
        return _bundled(str(source), resolution)
    if is_hub_data(source):
        return _from_hub(HubData.parse(str(source)), resolution, cache, progress)
    own = folders.read(Path(source).expanduser(), resolution, cache, progress)
    return Dataset(
        name=Path(source).stem,
        images=own.images,
        licence="",
        attribution="",
        fingerprint=own.fingerprint,
        labels=own.labels,
        classes=own.classes,
        skipped=own.skipped,
    )


def located(source: str) -> str:
    """The same source, so that it is found from any folder."""
    if source in BUNDLED:
        return source
    if is_hub_data(source):
        return str(HubData.parse(source))
    return str(Path(source).expanduser().resolve())


def short_name(source: str) -> str:
    """What a source is called where only its name is of interest, and no place."""
    if is_hub_data(source):
        return HubData.parse(source).repo
    return source if source in BUNDLED else Path(source).stem


def load_stand_in(source: str, resolution: int | None = None) -> Dataset:
    """What costs as much to train on. That is the data set itself, but of one on the Hub only the
    first pictures are fetched, and repeated up to the number that would be."""
    from gan.training import hub_data

    if not is_hub_data(source):
        return load_dataset(source, resolution)
    whole = hub_data.settled(HubData.parse(source))
    known, most = hub_data.facts(whole), whole.most or hub_data.DEFAULT_MOST
    resolution = resolution or known.resolution
    few = _from_hub(replace(whole, most=min(hub_data.EXCERPT, most)), resolution, None, None)
    again = np.arange(min(most, known.rows or most)) % len(few)
    labels = None if few.labels is None else few.labels[again]
    return replace(few, images=few.images[again], labels=labels)


def split(dataset: Dataset, holdout: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Indices (int64, ascending) of the pictures to train on, and of those kept back.

    Always the same ones for the same number of pictures; at least one on either side.
    """
    if not 0 < holdout < 1:
        raise LabError("bad_holdout", value=holdout)
    count = len(dataset)
    kept_back = min(max(round(count * holdout), 1), count - 1)
    order = np.random.RandomState(0).permutation(count).astype(np.int64)
    return np.sort(order[kept_back:]), np.sort(order[:kept_back])


class Batches:
    """The order of training: every picture once an epoch, shuffled by (seed, epoch) alone.

    With `kinds`, each `group` pictures in a row are of one kind, as far as there are enough; up
    to `group` − 1 pictures, others in each epoch, are then left out.
    """

    def __init__(
        self,
        indices: int | np.ndarray,
        seed: int = 0,
        kinds: np.ndarray | None = None,
        group: int = 1,
    ) -> None:
        """`indices`: the pictures to draw from, or how many there are; `seed`: 0 … 2³² − 1;
        `kinds` [number of indices]: what each of them shows."""
        self.indices = np.arange(indices) if isinstance(indices, int) else np.asarray(indices)
        self.kinds, self.group = kinds, group
        if not len(self.indices):
            raise ValueError("there is nothing to draw from")
        self.seed, self.epoch, self.cursor = seed, 0, 0
        self._order = self._shuffled()

    def next(self, batch_size: int) -> np.ndarray:
        """The next pictures, int64 [batch_size]; a batch runs on into the next epoch."""
        parts, missing = [], batch_size
        while missing > 0:
            if self.cursor == len(self._order):
                self.epoch, self.cursor = self.epoch + 1, 0
                self._order = self._shuffled()
            part = self._order[self.cursor : self.cursor + missing]
            self.cursor += len(part)
            missing -= len(part)
            parts.append(part)
        return np.concatenate(parts) if parts else self._order[:0]

    def state_dict(self) -> dict[str, int]:
        """Plain integers; `load_state_dict` goes on at exactly the next picture."""
        count = len(self.indices)
        return {"seed": self.seed, "epoch": self.epoch, "cursor": self.cursor, "count": count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on where `state` was taken. Raises LabError if the data has another size now."""
        if state["count"] != len(self.indices):
            raise LabError("data_changed", before=state["count"], now=len(self.indices))
        self.seed, self.epoch, self.cursor = state["seed"], state["epoch"], state["cursor"]
        self._order = self._shuffled()

    def _shuffled(self) -> np.ndarray:
        # RandomState's streams are frozen for good, the newer generators' are not.
        rng = np.random.RandomState([self.seed, self.epoch])
        order = rng.permutation(len(self.indices))
        if self.kinds is not None and len(order) >= self.group:
            groups = _in_groups(order, self.kinds[order], self.group)
            order = groups[rng.permutation(len(groups))].reshape(-1)
        return self.indices[order].astype(np.int64)


def _in_groups(order: np.ndarray, kinds: np.ndarray, size: int) -> np.ndarray:
    """order [N], kinds [N] of the same pictures → [groups, size], each of one kind; the last ones
    of what is left."""
    groups, left = [], []
    for kind in np.unique(kinds):
        own = order[kinds == kind]
        whole = len(own) - len(own) % size
        groups.append(own[:whole].reshape(-1, size))
        left.append(own[whole:])
    rest = np.concatenate(left)
    rest = rest[: len(rest) - len(rest) % size].reshape(-1, size)
    return np.concatenate([*groups, rest])


# Data sets on the Hub


def _from_hub(
    asked: HubData,
    resolution: int | None,
    cache: Path | None,
    progress: folders.Progress | None,
) -> Dataset:
    from gan.training import hub_data

    source = hub_data.settled(asked)
    found = hub_data.read(source, resolution, cache, progress)
    return Dataset(
        name=source.repo,
        images=found.images,
        licence=hub_data.facts(source, cache).licence,
        attribution=hub_data.attribution(source),
        fingerprint=found.fingerprint,
        labels=found.labels,
        classes=found.classes,
        skipped=found.skipped,
    )


# The data sets that come with the program


def bundled_card(name: str) -> dict[str, Any]:
    """What is known of a bundled data set: name, resolution, count, licence, attribution …"""
    return json.loads((_FOLDER / name / "card.json").read_text(encoding="utf-8"))


def bundled_tile(name: str) -> bytes:
    """A PNG of some of its pictures, drawn beforehand: to read the data takes seconds and hundreds
    of megabytes."""
    return (_FOLDER / name / "tile.png").read_bytes()


def _bundled(name: str, resolution: int | None) -> Dataset:
    card = bundled_card(name)
    if resolution is not None and resolution > card["resolution"]:
        raise LabError("resolution_too_high", value=resolution, name=name, most=card["resolution"])
    dataset = _READERS[name](
        name=name,
        licence=card["licence"],
        attribution=card["attribution"],
        fingerprint=card["sha256"],
    )
    return _reduce(dataset, resolution or dataset.resolution)


def _digits(**about: Any) -> Dataset:
    with np.load(_FOLDER / "digits" / "data.npz") as data:
        images, labels = data["images"], data["labels"].astype(np.int64)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))[..., None]  # 28 → 32 px
    return Dataset(images=images, labels=labels, classes=_TEN, **about)


def _digits_tiny(**about: Any) -> Dataset:
    from sklearn.datasets import load_digits

    pixels, labels = map(np.asarray, load_digits(return_X_y=True))  # [N, 64], 0 … 16
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return Dataset(images=images, labels=labels.astype(np.int64), classes=_TEN, **about)


def _avatars(**about: Any) -> Dataset:
    """Each of the 8 × 8 places in the picture has its own set of tiles that occur there."""
    with np.load(_FOLDER / "avatars" / "data.npz") as data:
        tiles, starts, indices = data["tiles"], data["starts"], data["indices"]
        values, rows = json.loads(str(data["values"])), data["attributes"]
    count, places = indices.shape
    across = round(places**0.5)
    images = np.empty((count, across * _TILE, across * _TILE, 3), np.uint8)
    for place in range(places):
        top, left = _TILE * (place // across), _TILE * (place % across)
        drawn = tiles[int(starts[place]) + indices[:, place].astype(np.int64)]
        images[:, top : top + _TILE, left : left + _TILE] = drawn
    attributes = {name: Attribute(tuple(values[name]), rows[:, i]) for i, name in enumerate(values)}
    return Dataset(images=images, attributes=MappingProxyType(attributes), **about)


_TEN = tuple("0123456789")
_READERS = {"digits": _digits, "digits-tiny": _digits_tiny, "avatars": _avatars}


def _check_resolution(value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not SMALLEST <= value <= LARGEST or value & (value - 1):
        raise LabError("bad_resolution", value=value, least=SMALLEST, most=LARGEST)


def _reduce(dataset: Dataset, resolution: int) -> Dataset:
    """Averages boxes of pixels; another picture, so another fingerprint."""
    factor = dataset.resolution // resolution
    if factor == 1:
        return dataset
    first, *rest = (
        dataset.images[:, y::factor, x::factor] for y in range(factor) for x in range(factor)
    )
    total = first.astype(np.uint16) + factor * factor // 2  # so that the division rounds
    for pixels in rest:
        total += pixels
    images = (total // (factor * factor)).astype(np.uint8)
    return replace(dataset, images=images, fingerprint=picture_cache.fingerprint(images))
