"""The ways to find directions, by the word that their names begin with (`naming.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from gan.directions.closed_form import closed_form
from gan.directions.naming import CLOSED_FORM, METHODS, PCA, method_of
from gan.directions.pca import Directions, pca
from gan.errors import LabError
from gan.generators.base import Generator

_FIND = {PCA: pca, CLOSED_FORM: closed_form}


class HasFamily(Protocol):
    """A generator, or the facts of one."""

    @property
    def has_style_weights(self) -> bool: ...


def offered(model: HasFamily) -> tuple[str, ...]:
    """The methods that work for a model."""
    return METHODS if model.has_style_weights else (PCA,)


def needed(names: Iterable[str], model: HasFamily) -> tuple[str, ...]:
    """The methods that find the directions of these names; all that work for the model where a
    name isn't one of theirs, so that whoever is told so learns which there are."""
    wanted, known = {method_of(name) for name in names}, offered(model)
    return tuple(each for each in known if each in wanted) if wanted <= set(known) else known


def find(generator: Generator, method: str) -> Directions:
    """The directions that `method` finds in a generator: seconds for a large one. LabError for a
    method that isn't there or doesn't work for it."""
    check(method, generator)
    return _FIND[method](generator)


def check(method: object, model: HasFamily) -> None:
    """LabError unless `method` works for the model."""
    if method not in offered(model):
        raise LabError("bad_method", value=method, known=", ".join(offered(model)))


def find_vectors(generator: Generator, names: Iterable[str]) -> dict[str, Tensor]:
    """Name → vector [w_dim], for all directions of the methods that these names need."""
    found = [find(generator, method).vectors for method in needed(names, generator)]
    return {name: vector for vectors in found for name, vector in vectors.items()}
