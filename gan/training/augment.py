"""Differentiable augmentation: what lets a discriminator learn from few pictures.

Both players see real *and* generated pictures through the same random changes, so the
discriminator can't learn the training set by heart, and the generator still gets its gradient
through them (Zhao 2020, "Differentiable Augmentation for Data-Efficient GAN Training"). With
many pictures it hurts. Owns the changes and their schedule; mirroring belongs to the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan.errors import LabError

LARGEST_SHIFT = 1 / 8  # of the picture's side, each way
HOLE = 1 / 2  # of the picture's side


@dataclass(frozen=True)
class AugmentConfig:
    """Which changes, and how the probability p of each goes over the training.

    A cosine from `p_start` to `p_end` over the budgeted images (Huang 2024 does so: the
    discriminator begins to memorise late). p stays under .8: beyond that the generator starts
    to draw the augmentations themselves (Karras 2020, "ADA", figure 3).
    """

    policy: tuple[str, ...] = ()
    p_start: float = 0.0
    p_end: float = 0.0

    def p_at(self, progress: float) -> float:
        """p when `progress` (0 … 1) of the budget is done."""
        part = 0.5 - 0.5 * math.cos(math.pi * min(max(progress, 0.0), 1.0))
        return self.p_start + part * (self.p_end - self.p_start)

    def at(self, progress: float) -> DiffAugment:
        """The augmentation when `progress` (0 … 1) of the budget is done."""
        return DiffAugment(self.policy, self.p_at(progress))


@dataclass(frozen=True)
class DiffAugment:
    """`augment(images, rng)`: each change of `policy` (of POLICIES) with probability p,
    for each picture by itself."""

    policy: tuple[str, ...]
    p: float

    def __post_init__(self) -> None:
        if unknown := [name for name in self.policy if name not in POLICIES]:
            raise LabError("unknown_policy", value=", ".join(unknown), known=", ".join(POLICIES))
        assert 0.0 <= self.p <= 1.0, f"a probability, not {self.p}"

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """images [N, C, H, W], about [−1, 1], any float format → the same shape and format.

        Differentiable (twice). What happens is determined by `rng`'s state, which moves on;
        p = 0 or no policy returns `images` itself and leaves `rng` alone. Brightness and
        contrast may leave [−1, 1]: clamping would cut the gradient off.
        """
        if self.p == 0.0:
            return images
        with torch.autocast(images.device.type, enabled=False):  # keeps the format as it is
            for name in self.policy:
                chosen = _uniform(len(images), rng) < self.p  # [N]
                images = POLICIES[name](images, chosen, rng)
        return images


def color(images: Tensor, chosen: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness ±.5, then saturation ×[0, 2], then contrast ×[.5, 1.5] about the mean.

    All three are affine in the pixel x. With its grey g = (1 ⋯ 1)·x / C and the picture's mean m,
    y = m + brightness + contrast · (g − m + saturation · (x − g)) = A·x + offset: one C × C
    matrix a picture, in a single pass. With one channel, saturation cancels out of A.
    """
    n, channels, _, _ = images.shape
    draws = torch.stack([_uniform(n, rng) for _ in range(3)])
    draws = torch.where(chosen, draws, 0.5).to(images)[:, :, None, None]  # .5: no change
    brightness, saturation, contrast = draws[0] - 0.5, 2 * draws[1], draws[2] + 0.5  # [N, 1, 1]
    identity = torch.eye(channels, device=images.device, dtype=images.dtype)
    matrix = contrast * (saturation * identity + (1 - saturation) / channels)  # [N, C, C]
    mean = images.mean(dim=(1, 2, 3))[:, None, None]
    offset = (1 - contrast) * mean + brightness
    return torch.baddbmm(offset, matrix, images.flatten(2)).view(images.shape)


def translation(images: Tensor, chosen: Tensor, rng: torch.Generator) -> Tensor:
    """Moves whole pixels, up to LARGEST_SHIFT of the side each way; what comes in is 0."""
    n, _, height, width = images.shape
    down = _integers(n, rng, int(height * LARGEST_SHIFT)) * chosen
    right = _integers(n, rng, int(width * LARGEST_SHIFT)) * chosen
    return _Shift.apply(images, down.tolist(), right.tolist())


def cutout(images: Tensor, chosen: Tensor, rng: torch.Generator) -> Tensor:
    """A square hole of 0, HOLE of the side, its centre anywhere: part of it may lie outside."""
    n, _, height, width = images.shape
    rows = _stripe(n, height, rng) & chosen[:, None]  # [N, H]
    columns = _stripe(n, width, rng)  # [N, W]
    kept = ~(rows[:, None, :, None] & columns[:, None, None, :])  # [N, 1, H, W]
    return images * kept.to(images)


POLICIES: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}

AUGMENTATIONS: dict[str, AugmentConfig] = {
    "none": AugmentConfig(),
    "digits": AugmentConfig(("translation",), 0.0, 0.3),
    "some": AugmentConfig(("color", "translation", "cutout"), 0.0, 0.3),
    "few": AugmentConfig(("color", "translation", "cutout"), 0.3, 0.7),
}


def augmentation_for(images: int, digits: bool = False) -> AugmentConfig:
    """The preset for a data set of so many pictures: all changes under 2,000, mild ones under
    10,000, none above. A digit's colours and its missing half say what it is: only moved."""
    if digits:
        return AUGMENTATIONS["digits"]
    return AUGMENTATIONS["few" if images < 2_000 else "some" if images < 10_000 else "none"]


class _Shift(torch.autograd.Function):
    """Moves picture i down by down[i] and right by right[i] pixels; zeros come in.

    Its gradient is the opposite move, which autograd would compute as a slow scattered sum.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: list[int], right: list[int]) -> Tensor:
        ctx.shift = down, right
        moved = torch.zeros_like(images)
        for source, target, dy, dx in zip(images, moved, down, right, strict=True):
            _inner(target, dy, dx).copy_(_inner(source, -dy, -dx))
        return moved

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.shift
        back = _Shift.apply(gradient, [-dy for dy in down], [-dx for dx in right])
        return back, None, None


def _inner(picture: Tensor, dy: int, dx: int) -> Tensor:
    """The part of picture [C, H, W] that a move by (dy, dx) fills from its own pixels."""
    _, height, width = picture.shape
    return picture[:, max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]


def _stripe(n: int, size: int, rng: torch.Generator) -> Tensor:
    """[N, size] bool: True within HOLE · size pixels about a centre anywhere in the picture."""
    hole = round(size * HOLE)
    first = (_uniform(n, rng) * size).floor() - hole // 2  # [N]
    position = torch.arange(size, device=rng.device) - first[:, None]
    return (position >= 0) & (position < hole)


def _integers(n: int, rng: torch.Generator, largest: int) -> Tensor:
    """[N] whole numbers, −largest … largest, equally likely."""
    return torch.randint(-largest, largest + 1, (n,), generator=rng, device=rng.device)


def _uniform(n: int, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng, device=rng.device)
