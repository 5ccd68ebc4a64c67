"""Categorical latent codes: what is either so or so, read off the latent z itself.

A face has a beard or none; a normal z knows no such steps, and a network that must learn them
from it draws everything that lies between two kinds. InfoGAN (Chen 2016) gives the generator
categorical codes beside its noise. Here z holds them: code i is the sector in which the point
(z₂ᵢ, z₂ᵢ₊₁) lies, and each value has a sector as wide as its share. z stays standard normal, so a
seed is still all that a picture needs, and who doesn't care about codes needn't know of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


class Codes:
    """Categorical codes in the first planes of z. `shares` holds for each code how probable each
    of its values is, up to a factor. ValueError where that can't be."""

    def __init__(self, shares: Sequence[Sequence[float]], z_dim: int):
        if 2 * len(shares) > z_dim:
            raise ValueError(f"{len(shares)} codes need {2 * len(shares)} numbers, z has {z_dim}")
        if any(not each or min(each) <= 0 for each in shares):
            raise ValueError("codes need values, each with a share above 0")
        self.sizes = [len(each) for each in shares]
        self.ends = [torch.tensor(each).double().cumsum(0) / math.fsum(each) for each in shares]

    @property
    def width(self) -> int:
        """How many values all codes have together."""
        return sum(self.sizes)

    def read(self, z: Tensor) -> Tensor:
        """z [N, z_dim] → the value of each code, int64 [N, codes]."""
        turns = [self._turn(z, index) for index in range(len(self.sizes))]
        found = [
            torch.bucketize(turn, ends[:-1].to(z.device), right=True)
            for turn, ends in zip(turns, self.ends, strict=True)
        ]
        return torch.stack(found, dim=1)

    def write(self, z: Tensor, values: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """z [N, z_dim] with the points turned to somewhere inside the sectors of `values`, int64
        [N, codes]: normal again, if z is and the values are as frequent as their shares."""
        z = z.clone()
        for index, ends in enumerate(self.ends):
            starts = F.pad(ends[:-1], (1, 0))
            chosen = values[:, index].cpu()
            place = torch.rand(len(z), generator=rng, dtype=torch.float64)
            turn = torch.lerp(starts[chosen], ends[chosen], 0.001 + 0.998 * place).to(z.device)
            plane = z[:, 2 * index : 2 * index + 2]
            angle = (2 * math.pi * turn).to(z.dtype)
            point = torch.stack([angle.cos(), angle.sin()], dim=1)
            plane.copy_(point * plane.norm(dim=1, keepdim=True))
        return z

    def multi_hot(self, values: Tensor) -> Tensor:
        """values int64 [N, codes] → [N, width] float32: a one for each code."""
        parts = [F.one_hot(column, size) for column, size in zip(values.T, self.sizes, strict=True)]
        return torch.cat(parts, dim=1).float()

    def _turn(self, z: Tensor, index: int) -> Tensor:
        """The angle of the code's point in its plane, in turns: [N], 0 … 1."""
        x, y = z[:, 2 * index].double(), z[:, 2 * index + 1].double()
        return (torch.atan2(y, x) / (2 * math.pi)).remainder(1.0)
