"""What is known of a picture (its class, its attributes), as the two networks are told it.

The discriminator is shown it beside the picture. The generator gets classes beside z; attributes
become categorical codes *in* z (`gan.generators.codes`), so that its users need know nothing of
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.codes import Codes
from gan.generators.stylegan2 import StyleGAN2Config
from gan.training.data import Dataset


@dataclass(frozen=True)
class About:
    """What is known of N pictures."""

    classes: Tensor | None  # [N, classes] one-hot
    codes: Tensor | None  # int64 [N, codes]
    told: Tensor | None  # [N, classes + values of all codes]: what the discriminator is shown


def shares_of(dataset: Dataset) -> tuple[tuple[float, ...], ...]:
    """How frequent each value of each attribute is: the generator's codes. A value that no
    picture has can't be learned, and counts as one that a single picture has."""
    counts = [
        np.bincount(each.indices, minlength=len(each.values)).clip(min=1)
        for each in dataset.attributes.values()
    ]
    return tuple(tuple(np.round(each / each.sum(), 6).tolist()) for each in counts)


class Conditions:
    """What is known of the pictures of a data set, for networks of this configuration."""

    def __init__(self, dataset: Dataset, config: StyleGAN2Config, where: torch.device):
        self.where, self.z_dim = where, config.z_dim
        self.num_classes = dataset.num_classes
        self.labels = None if dataset.labels is None else torch.from_numpy(dataset.labels)
        self.codes = self.values = None
        if config.codes:
            self.codes = Codes(config.codes, config.z_dim)
            columns = [each.indices.astype(np.int64) for each in dataset.attributes.values()]
            self.values = torch.from_numpy(np.stack(columns, axis=1))  # [pictures, codes]

    def of(self, picks: np.ndarray) -> About:
        """Of the pictures with these indices [N]."""
        rows, classes, codes = torch.from_numpy(picks), None, None
        told: list[Tensor] = []
        if self.num_classes and self.labels is not None:
            told.append(F.one_hot(self.labels[rows], self.num_classes).float())
            classes = told[0].to(self.where)
        if self.codes is not None and self.values is not None:
            codes = self.values[rows]
            told.append(self.codes.multi_hot(codes))
        return About(classes, codes, torch.cat(told, dim=1).to(self.where) if told else None)

    def latents(self, count: int, about: About, rng: torch.Generator) -> Tensor:
        """Random z [count, z_dim] for pictures that show what `about` says."""
        z = torch.randn(count, self.z_dim, generator=rng)
        if self.codes is not None and about.codes is not None:
            z = self.codes.write(z, about.codes, rng)
        return z.to(self.where)
