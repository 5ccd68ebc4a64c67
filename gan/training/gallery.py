"""The pictures by which a person watches a training: samples of the same latents every time, ways
between them, real pictures beside them, and samples above what they may have copied.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.stylegan2 import StyleGAN2
from gan.training.data import Dataset
from gan.training.neighbours import Neighbours

SAMPLES = 64  # pictures from fixed latents, to watch the same ones learn
WALK = 8  # pictures on the way from one fixed latent to another
SHOWN_NEIGHBOURS = 16  # samples, above their nearest training pictures


class Gallery:
    """`z` [64, z_dim] and `c` [64, c_dim], or None without classes, are the same in every run:
    seeds 0 … 63, classes in turn."""

    def __init__(self, dataset: Dataset, trained_on: np.ndarray, z_dim: int, where: torch.device):
        self.dataset, self.trained_on = dataset, trained_on
        z = np.concatenate([np.random.RandomState(i).randn(1, z_dim) for i in range(SAMPLES)])
        self.z, self.c = torch.from_numpy(z).float().to(where), None
        if classes := dataset.num_classes:
            turns = torch.arange(SAMPLES) % classes
            self.c = F.one_hot(turns, classes).float().to(where)

    @torch.no_grad()
    def samples(self, generator: StyleGAN2, resolution: int) -> np.ndarray:
        """→ uint8 [64, r, r, C]."""
        return _drawn(generator, generator.mapping(self.z, self.c), resolution)

    @torch.no_grad()
    def between(self, generator: StyleGAN2, resolution: int) -> np.ndarray:
        """Ways through w in rows of eight: each is a straight line between two `samples`, of one
        class where there are few. uint8 [64, r, r, C]."""
        ws = generator.mapping(self.z, self.c)  # [64, num_ws, w_dim]
        rows = SAMPLES // WALK
        classes = self.dataset.num_classes
        apart = classes if 0 < classes <= SAMPLES - rows else rows
        share = torch.linspace(0, 1, WALK, device=ws.device)[None, :, None, None]
        ways = ws[:rows, None].lerp(ws[apart : apart + rows, None], share)
        return _drawn(generator, ways.flatten(0, 1), resolution)

    def reals(self) -> np.ndarray:
        """Pictures that it learns from, in the samples' order of classes: uint8 [64, H, H, C];
        fewer where there are fewer."""
        order = np.random.RandomState(0).permutation(self.trained_on)
        labels = self.dataset.labels
        if self.c is not None and labels is not None:
            pools = [list(order[labels[order] == k]) for k in range(self.dataset.num_classes)]
            order = [pools[k].pop() for k in self.c.argmax(dim=1).tolist() if pools[k]]
        return self.dataset.images[np.asarray(order[:SAMPLES])]

    def beside_neighbours(self, drawn: np.ndarray, found: Neighbours) -> np.ndarray:
        """drawn uint8 [N, r, r, C] → rows of eight: those nearest to a training picture, these, the
        first ones, theirs. uint8 [32, r, r, C]."""
        half = min(SHOWN_NEIGHBOURS // 2, len(drawn))
        rows = [found.distance.argsort()[:half].numpy(), np.arange(half)]
        size = drawn.shape[1]
        pairs = [
            pictures
            for row in rows
            for pictures in (drawn[row], _reduced(self.dataset.images[found.index[row]], size))
        ]
        return np.concatenate(pairs)


def pixels(images: Tensor) -> np.ndarray:
    """[N, C, H, W] in [−1, 1] → uint8 [N, H, W, C]."""
    levels = (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _drawn(generator: StyleGAN2, ws: Tensor, resolution: int) -> np.ndarray:
    return pixels(generator.synthesis(ws, "const", resolution))


def _reduced(pictures: np.ndarray, size: int) -> np.ndarray:
    """uint8 [N, H, H, C] → [N, size, size, C], boxes of pixels averaged."""
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    images = F.avg_pool2d(images, images.shape[-1] // size)
    return images.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
