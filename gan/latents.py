"""From a recipe to ws: seeds, classes, truncation, blends and edits, as pure tensor functions.

All of it is float32. What draws the ws is a generator's `synthesis`; what finds directions is
`gan.directions`, which gives them in units of one standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from gan.errors import LabError
from gan.recipe import Edit, Recipe

if TYPE_CHECKING:
    from gan.generators.base import Generator

_PARALLEL = 1e-4  # radians; closer than that, circle and straight line are the same in float32


def seed_to_z(seed: int, z_dim: int) -> Tensor:
    """seed 0 … 2**32 − 1 → z [1, z_dim] float32, standard normal.

    NumPy's legacy generator, as in the official StyleGAN code: a seed means the same picture there.
    """
    return _drawn(seed, z_dim).clone()


@lru_cache(maxsize=4096)  # a slider asks for the same seed at each step
def _drawn(seed: int, z_dim: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim)).float()


def one_hot(labels: Sequence[int], c_dim: int) -> Tensor:
    """Class indices 0 … c_dim − 1 → [N, c_dim] float32."""
    return torch.eye(c_dim)[list(labels)]


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The straight line from a (t = 0) to b (t = 1), both [..., dim] → [..., dim]; exact ends."""
    return torch.lerp(a, b, t)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The great circle from a (t = 0) to b (t = 1), both [N, dim] → [N, dim]; exact ends.

    (sin((1 − t)ω)·a + sin(tω)·b) / sin ω, ω the angle between a and b (Shoemake 1985). Lengths
    that differ are interpolated along. Between (anti)parallel vectors it is the straight line.
    """
    u, v = normalize(a, dim=-1), normalize(b, dim=-1)
    # Kahan's angle: accurate for nearly parallel vectors, where arccos(u·v) is not.
    omega = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    parallel = (omega < _PARALLEL) | (omega > math.pi - _PARALLEL)
    omega = omega.masked_fill(parallel, 1.0)  # any angle: keeps the branch not taken finite
    circle = ((1 - t) * omega).sin() / omega.sin() * a + (t * omega).sin() / omega.sin() * b
    return torch.where(parallel, lerp(a, b, t), circle)


@torch.no_grad()
def recipe_to_ws(generator: Generator, recipe: Recipe, directions: Mapping[str, Tensor]) -> Tensor:
    """One recipe → ws [1, num_ws, w_dim] float32, on the generator's device.

    `directions` are vectors [w_dim] by name, one standard deviation long. Each seed is mapped by
    itself, so the same recipe gives the same bits whatever else is asked for.
    Raises LabError where the recipe asks for what this generator or `directions` don't have.
    """
    check(generator, recipe, directions)
    ends = [_map(generator, z[None], [recipe]) for z in _zs(recipe, generator.z_dim)]
    return _edited(_blended(torch.cat(ends), recipe), recipe.edits, directions)


@torch.no_grad()
def recipes_to_ws(
    generator: Generator, recipes: Sequence[Recipe], directions: Mapping[str, Tensor]
) -> Tensor:
    """N recipes of one generator → ws [N, num_ws, w_dim] float32, for previews.

    Each row is that of `recipe_to_ws` up to float32's rounding, not to the bit: recipes of one
    truncation are mapped in one batch, which sums in another order (measured: rows of pairs were
    equal, of larger batches within 2.2e-6 for values up to 5). Raises LabError for the first recipe
    that can't be drawn.
    """
    for recipe in recipes:
        check(generator, recipe, directions)
    rows: dict[int, Tensor] = {}
    for indices in _same_truncation(recipes):
        zs = [_zs(recipes[index], generator.z_dim) for index in indices]
        owners = [recipes[index] for index, z in zip(indices, zs, strict=True) for _ in z]
        mapped = _map(generator, torch.cat(zs), owners).split([len(z) for z in zs])
        for index, ends in zip(indices, mapped, strict=True):
            recipe = recipes[index]
            rows[index] = _edited(_blended(ends, recipe), recipe.edits, directions)
    return torch.cat([rows[index] for index in range(len(recipes))])


def check(generator: Generator, recipe: Recipe, directions: Mapping[str, Tensor]) -> None:
    """Raises LabError unless this generator, with these directions, can draw the recipe."""
    _check_label(recipe.label, generator.c_dim)
    if recipe.cutoff is not None and recipe.cutoff > generator.num_ws:
        raise LabError("cutoff_outside", value=recipe.cutoff, rows=generator.num_ws)
    for edit in recipe.edits:
        _check_edit(edit, generator, directions)


def _check_label(label: int | None, c_dim: int) -> None:
    if label is not None and c_dim == 0:
        raise LabError("label_without_classes", value=label)
    if label is not None and label >= c_dim:
        raise LabError("label_outside", value=label, last=c_dim - 1)


def _check_edit(edit: Edit, generator: Generator, directions: Mapping[str, Tensor]) -> None:
    if edit.direction not in directions:
        known = ", ".join(directions) or "–"
        raise LabError("unknown_direction", name=edit.direction, known=known)
    shape = tuple(directions[edit.direction].shape)
    if shape != (generator.w_dim,):
        size = "×".join(map(str, shape))
        raise LabError("direction_size", name=edit.direction, size=size, wanted=generator.w_dim)
    if edit.start >= generator.num_ws or (edit.end or 0) > generator.num_ws:
        layers = f"{edit.start}-{'' if edit.end is None else edit.end}"
        raise LabError("layers_outside", value=layers, rows=generator.num_ws)


def _zs(recipe: Recipe, z_dim: int) -> Tensor:
    """The one latent to map, or the two whose ws are blended: [1 or 2, z_dim]."""
    first = seed_to_z(recipe.seed, z_dim)
    if recipe.seed2 is None or recipe.blend == 0:
        return first
    second = seed_to_z(recipe.seed2, z_dim)
    if recipe.blend_space == "z":
        return slerp(first, second, recipe.blend)
    return torch.cat([first, second])


def _map(generator: Generator, zs: Tensor, owners: Sequence[Recipe]) -> Tensor:
    """zs [N, z_dim], each with its recipe, all of one truncation → ws [N, num_ws, w_dim]."""
    device = next(generator.parameters()).device
    c = None
    if generator.c_dim:
        c = one_hot([recipe.label or 0 for recipe in owners], generator.c_dim).to(device)
    return generator.mapping(zs.to(device), c, psi=owners[0].psi, cutoff=owners[0].cutoff)


def _same_truncation(recipes: Sequence[Recipe]) -> list[list[int]]:
    groups: dict[tuple[float, int | None], list[int]] = {}
    for index, recipe in enumerate(recipes):
        groups.setdefault((recipe.psi, recipe.cutoff), []).append(index)
    return list(groups.values())


def _blended(ends: Tensor, recipe: Recipe) -> Tensor:
    """ws of the one or two ends [1 or 2, num_ws, w_dim] → [1, num_ws, w_dim]."""
    return ends if len(ends) == 1 else lerp(ends[:1], ends[1:], recipe.blend)


def _edited(ws: Tensor, edits: Sequence[Edit], directions: Mapping[str, Tensor]) -> Tensor:
    if edits:
        ws = ws.clone()
    for edit in edits:
        ws[:, edit.start : edit.end] += edit.strength * directions[edit.direction].to(ws)
    return ws
