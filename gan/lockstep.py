"""One recipe, drawn by a second model beside its own: when that can be, and what it means there.

The same seed is literally the same z, a class the same number, and an edit literally the same
vector: the direction of the first model, added to the w (or z) of the second. Truncation pulls each
picture towards its own model's average, and fixed noise is each model's own. Nothing promises that
a vector still means the same: w drifts while a network trains, and two that were trained apart
share nothing but the number of dimensions. That is for the eye to see, not for us to hide.

What is drawn, and by whom, is `gan.rendering`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gan.errors import LabError
from gan.recipe import Edit, Recipe

if TYPE_CHECKING:
    from gan.generators.base import Generator


def check(first: Generator, second: Generator) -> None:
    """Raises LabError unless seeds, classes and edits mean the same to both."""
    ours, theirs = _latents(first), _latents(second)
    if ours != theirs:
        raise LabError("beside_latents", ours=ours, theirs=theirs)
    if first.c_dim != second.c_dim:
        raise LabError("beside_classes", ours=first.c_dim, theirs=second.c_dim)


def _latents(generator: Generator) -> str:
    """ "z 128, w 128", or "z 100" where there is no w."""
    sizes = f"z {generator.z_dim}"
    return sizes if generator.latent_space == "z" else f"{sizes}, w {generator.w_dim}"


def fitted(recipe: Recipe, num_ws: int, name: str, revision: str) -> Recipe:
    """The recipe as the second model, which has `num_ws` rows of w, is asked for it.

    Rows count from the coarsest layer; those that the second doesn't have are left out.
    """
    edits = tuple(_fitted(edit, num_ws) for edit in recipe.edits if edit.start < num_ws)
    cutoff = None if recipe.cutoff is None else min(recipe.cutoff, num_ws)
    return replace(recipe, model=name, revision=revision, cutoff=cutoff, edits=edits)


def _fitted(edit: Edit, num_ws: int) -> Edit:
    return replace(edit, end=None) if edit.end is not None and edit.end >= num_ws else edit
