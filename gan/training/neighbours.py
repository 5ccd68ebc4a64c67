"""Is it copying? The nearest training pictures of samples, cheaply enough for every evaluation.

Owns the search by pixels, on pictures averaged down to 16 px. The thorough audit of a finished
model, by perceptual features too, is `evaluation.neighbour_audit`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 16  # px at which pictures are compared
CHUNK = 4096  # training pictures searched at once
MOST = 50_000  # training pictures searched: of more, a fixed random choice
MOST_HELD_OUT = 512  # pictures kept back that say what is ordinary
COPY_QUANTILE = 0.01  # of the kept-back pictures' distances …
COPY_SHARE = 0.5  # … but at most this share of their median: a mean picture is near to everything


@dataclass(frozen=True)
class Neighbours:
    """For each sample: its distance to the nearest training picture, and which that is."""

    distance: Tensor  # [M] float32, root of summed squared pixel differences, pixels in [−1, 1]
    index: np.ndarray  # [M] int64, into the data set
    copies: float  # share of the samples that are as good as a training picture


class NeighbourSearch:
    """Searches the pictures trained on; knows from pictures kept back what is ordinary.

    A sample is a copy if it is nearer to a training picture than all but 1 % of the kept-back
    pictures are, and than half their median: blurred pictures of an early training are near to
    everything, but not so near (the mean of a cloud is 1/√2 as far from its points as they are
    from each other). Memory: a byte a value, 18 MB for 24,000 colour pictures.
    """

    def __init__(self, images: np.ndarray, trained_on: np.ndarray, kept_back: np.ndarray):
        """images uint8 [N, H, H, C]; indices of those trained on, and of those kept back."""
        self.side = min(images.shape[1], SIDE)
        rng = np.random.RandomState(0)
        self.trained_on = np.sort(rng.permutation(trained_on)[:MOST])
        self.small = np.concatenate(
            [_shrunk(images[rows]) for rows in _chunks(self.trained_on)]
        )  # uint8 [T, s²·C]
        kept_back = np.sort(rng.permutation(kept_back)[:MOST_HELD_OUT])
        ordinary, _ = self._nearest(_vectors(_shrunk(images[kept_back])))
        self.threshold = min(
            float(ordinary.quantile(COPY_QUANTILE)), COPY_SHARE * float(ordinary.median())
        )

    def of(self, pictures: np.ndarray) -> Neighbours:
        """pictures uint8 [M, r, r, C]; smaller ones than are compared are enlarged."""
        factor = max(1, self.side // pictures.shape[1])
        pictures = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
        distance, place = self._nearest(_vectors(_shrunk(pictures)))
        copies = float((distance < self.threshold).float().mean())
        return Neighbours(distance, self.trained_on[place], copies)

    def _nearest(self, x: Tensor) -> tuple[Tensor, np.ndarray]:
        """x [M, d] → distances [M] to the nearest training picture, and its place [M]."""
        best, place = torch.full([len(x)], math.inf), torch.zeros(len(x), dtype=torch.int64)
        for start in range(0, len(self.small), CHUNK):
            chunk = _vectors(self.small[start : start + CHUNK])
            index = torch.cdist(x, chunk).argmin(dim=1)
            distance = torch.linalg.vector_norm(x - chunk[index], dim=1)
            closer = distance < best
            best[closer], place[closer] = distance[closer], index[closer] + start
        return best, place.numpy()


def _chunks(indices: np.ndarray) -> list[np.ndarray]:
    return np.array_split(indices, -(-len(indices) // CHUNK))


def _shrunk(pictures: np.ndarray) -> np.ndarray:
    """uint8 [M, H, H, C] → uint8 [M, s²·C], boxes of pixels averaged, s = min(H, 16)."""
    images = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    if images.shape[-1] > SIDE:
        images = F.avg_pool2d(images, images.shape[-1] // SIDE)
    return images.round().to(torch.uint8).flatten(1).numpy()


def _vectors(small: np.ndarray) -> Tensor:
    return torch.from_numpy(small).float() / 127.5 - 1
