"""What directions are called, so that a recipe can name one: "pca0", "pca1", … "sefa0", "sefa1", …

The word is the method that finds them, the number their place, most important first. The page's
twin is `live/directions.js`; both are tested on `tests/data/directions.json`. How directions are
found is not known here: see `methods.py`.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Method = Literal["pca", "sefa"]

PCA: Final = "pca"  # principal components
CLOSED_FORM: Final = "sefa"  # eigenvectors of the weights
METHODS: Final = (PCA, CLOSED_FORM)

_NAME = re.compile(rf"({'|'.join(METHODS)})(0|[1-9][0-9]{{0,3}})")


def direction_name(method: str, number: int) -> str:
    """The name of a method's direction 0, 1, …"""
    return f"{method}{number}"


def method_of(name: str) -> str | None:
    """Which method finds the direction that is called so; None for a name of another kind."""
    found = _NAME.fullmatch(name)
    return found[1] if found else None
