"""Open models, shared by everybody within a memory limit: the least recently used leaves first.

One that is drawing never leaves. A model is known by its name and its revision (the hash of its
weights), so two people may have different weights under one name. What isn't listed, a file that
somebody dropped, is only found by who knows its revision. How models are opened is not known here.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from gan.errors import LabError
from gan.loading import ModelInfo
from gan.loading.policy import MEGABYTE


class IsOpen(Protocol):
    """What a pool keeps."""

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it takes of the memory."""
        ...


Model = TypeVar("Model", bound=IsOpen)


@dataclass(frozen=True)
class _Place(Generic[Model]):
    model: Model
    is_listed: bool
    is_named: bool  # can be opened again by its name alone


@dataclass(eq=False)
class Reservation:
    """Memory for a model that is being read."""

    size_bytes: int = 0


class Pool(Generic[Model]):
    """Open models by name and revision."""

    def __init__(self, most_bytes: int, is_busy: Callable[[Model], bool]):
        self.most_bytes = most_bytes
        self._is_busy = is_busy
        self._places: OrderedDict[tuple[str, str], _Place[Model]] = OrderedDict()
        self._reservations: list[Reservation] = []
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """What all open models take."""
        return sum(place.model.size_bytes for place in list(self._places.values()))

    def find(self, name: str, revision: str = "") -> Model | None:
        """The open model that a recipe means, which counts as a use of it.

        With a revision that isn't open, the one that has this name of its own: whoever asks learns
        that it is another. Without a revision never one that isn't listed.
        """
        with self._lock:
            key = (name, revision)
            if key not in self._places:
                named = [(k, p) for k, p in self._places.items() if k[0] == name and p.is_listed]
                own = [k for k, place in named if place.is_named]
                others = [] if revision else [k for k, _ in named]
                if not own and not others:
                    return None
                key = (own or others)[-1]
            self._places.move_to_end(key)
            return self._places[key].model

    @contextlib.contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """None of the memory yet (`reserve`); given back when the block ends."""
        reservation = Reservation()
        with self._lock:
            self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            self._release(reservation)

    def reserve(self, reservation: Reservation, name: str, size_bytes: int) -> None:
        """Makes room for a model before it takes the memory. LabError where that can't be."""
        with self._lock:
            self._make_room(name, size_bytes)
            reservation.size_bytes = size_bytes

    def _release(self, reservation: Reservation | None) -> None:
        with contextlib.suppress(ValueError):  # released before
            self._reservations.remove(reservation)  # pyright: ignore[reportArgumentType]

    def put(
        self,
        model: Model,
        *,
        is_listed: bool = True,
        is_named: bool = False,
        reservation: Reservation | None = None,
    ) -> Model:
        """Keeps a model, in the place of its reservation → it, or the same one where that was open
        already. LabError where there is no room for it, and none can be made."""
        key = (model.info.name, model.info.revision)
        with self._lock:
            self._release(reservation)
            if (known := self._places.get(key)) is not None:
                model = known.model
                is_listed, is_named = known.is_listed or is_listed, known.is_named or is_named
            else:
                self._make_room(model.info.name, model.size_bytes)
            self._places[key] = _Place(model, is_listed, is_named)
            self._places.move_to_end(key)
        return model

    def listed(self) -> list[ModelInfo]:
        """What everybody may know of."""
        with self._lock:
            return [place.model.info for place in self._places.values() if place.is_listed]

    def _make_room(self, name: str, size_bytes: int) -> None:
        reserved = sum(each.size_bytes for each in self._reservations)
        needed = self.size_bytes + reserved + size_bytes - self.most_bytes
        leaving = []
        for key, place in self._places.items():  # the least recently used first
            if needed <= 0:
                break
            if not self._is_busy(place.model):
                leaving.append(key)
                needed -= place.model.size_bytes
        if needed > 0:
            raise LabError(
                "no_room",
                name=name,
                megabytes=round(size_bytes / MEGABYTE),
                most=self.most_bytes // MEGABYTE,
            )
        for key in leaving:
            del self._places[key]
