"""The peer of reference: a plain StyleGAN2 with R1, at the defaults published for its size.

Written by us from the papers (Karras 2020, "StyleGAN2" and "ADA"). The defaults are those of
NVIDIA's stylegan2-ada-pytorch, `--cfg=auto` with one GPU: batch 32, z and w of 512 numbers, a
mapping network of 2 layers at 0.01 times the rate, channels min(16384 / r, 512), Adam 0.0025 with
betas 0 and 0.99, γ = 0.0002·r²/batch, R1 in a step of its own every 16 steps with 16 times the
weight (and the rate and betas that belong to that), averaged with a half-life of 10,000 images, at
most 5 % of those seen; float32. `narrow` has everything the same but the sizes, which are those
that our preset takes for the same pictures: the published ones are made for GPUs.

Left out is what costs time and serves something else than the likeness of the pictures: path-length
regularisation and style mixing, as the same program leaves them out for CIFAR-10, and ADA, which
would hardly begin in so few images. The generator is our class, whose convolutions are faster on a
CPU than the published way. Classes, where there are any, are told to both networks; attributes are
not. The discriminator is told by projection (Miyato & Koyama 2018), without a mapping network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.generators.stylegan2 import Dense, StyleGAN2, StyleGAN2Config, resample_filter
from gan.training.config import PRESETS, default_preset
from gan.training.data import Dataset
from gan.training.losses import cross_entropy_discriminator, nonsaturating_generator, r1
from gan.training.networks import EqualConv, activate

if TYPE_CHECKING:
    from benchmarks.peers import Pictures

BATCH, GROUP, INTERVAL = 32, 4, 16
RATE, BETAS = 0.0025, (0.0, 0.99)
HALF_LIFE, RAMP = 10_000, 0.05


def published(dataset: Dataset) -> StyleGAN2Config:
    """The sizes that are published for pictures like these."""
    return StyleGAN2Config(
        resolution=dataset.resolution,
        img_channels=dataset.channels,
        z_dim=512,
        w_dim=512,
        c_dim=dataset.num_classes,
        mapping_layers=2,
        channel_base=16384,
        channel_max=512,
    )


def narrow(dataset: Dataset) -> StyleGAN2Config:
    """The sizes of our preset."""
    sizes = PRESETS[default_preset(dataset.resolution)]
    return replace(
        published(dataset),
        z_dim=sizes.latent,
        w_dim=sizes.latent,
        channel_base=sizes.channel_base,
        channel_max=sizes.channel_max,
    )


class PlainStyleGAN2:
    """Both networks, the average, and one step of their training."""

    def __init__(self, pictures: Pictures, config: StyleGAN2Config):
        torch.manual_seed(0)
        self.pictures, self.images_seen, self.steps = pictures, 0, 0
        self.gamma = 0.0002 * config.resolution**2 / BATCH
        self.G, self.D = StyleGAN2(config), PlainDiscriminator(config)
        for network in (self.G, self.D):
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = copy.deepcopy(self.G).requires_grad_(False)
        self.rng = torch.Generator().manual_seed(0)  # of the layers' noise
        lazy = INTERVAL / (INTERVAL + 1)
        betas = BETAS[0] ** lazy, BETAS[1] ** lazy
        self.of_g = torch.optim.Adam(self.G.parameters(), RATE, BETAS, eps=1e-8)
        self.of_d = torch.optim.Adam(self.D.parameters(), RATE * lazy, betas, eps=1e-8)

    def step(self) -> None:
        self.D.requires_grad_(False)
        fake, c = self._draw()
        self._descend(self.of_g, nonsaturating_generator(self.D(fake, c)))
        self.D.requires_grad_(True)
        real, real_c = self.pictures.next(BATCH)
        with torch.no_grad():
            fake, c = self._draw()
        loss = cross_entropy_discriminator(self.D(real, real_c), self.D(fake, c))
        self._descend(self.of_d, loss)
        if self.steps % INTERVAL == 0:
            self._descend(self.of_d, INTERVAL * r1(self.D, real, real_c, self.gamma))
        self._update_average()
        self.images_seen += BATCH
        self.steps += 1

    def _draw(self) -> tuple[Tensor, Tensor | None]:
        c = self.pictures.random_classes(BATCH)
        ws = self.G.mapping(torch.randn(BATCH, self.G.z_dim), c)
        return self.G.synthesis(ws, self.rng), c

    @staticmethod
    def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def _update_average(self) -> None:
        half_life = min(HALF_LIFE, RAMP * self.images_seen)
        beta = 0.5 ** (BATCH / max(half_life, 1e-8))
        for average, newest in zip(self.average.parameters(), self.G.parameters(), strict=True):
            average.lerp_(newest, 1 - beta)

    def generators(self) -> Iterator[StyleGAN2]:
        yield self.average


class PlainDiscriminator(nn.Module):
    """Karras 2020, figure 7 c: residual blocks, a minibatch statistic, two dense layers."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        sizes = list(reversed(config.block_resolutions))  # 64, 32 … 4
        self.from_rgb = EqualConv(config.img_channels, config.channels(sizes[0]), 1)
        self.blocks = nn.ModuleList(
            PlainBlock(config.channels(size), config.channels(size // 2)) for size in sizes[:-1]
        )
        width = config.channels(4)
        self.conv = EqualConv(width + 1, width, 3)
        self.fc, self.out = Dense(width * 16, width), Dense(width, 1)
        if config.c_dim:
            self.embed = Dense(config.c_dim, width)

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """images [N, img_channels, r, r], c [N, c_dim] or None → logits [N]."""
        x = activate(self.from_rgb(images.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        x = activate(self.conv(torch.cat([x, minibatch_deviation(x)], dim=1)))
        h = activate(self.fc(x.flatten(1)))
        if c is None:
            return self.out(h)[:, 0]
        return self.out(h)[:, 0] + (h * self.embed(c)).sum(dim=1) / math.sqrt(h.shape[1])


class PlainBlock(nn.Module):
    """[N, inputs, r, r] → [N, outputs, r/2, r/2]: what is halved is blurred first."""

    fir: Tensor

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv0 = EqualConv(inputs, inputs, 3)
        self.conv1 = EqualConv(inputs, outputs, 3)
        self.skip = EqualConv(inputs, outputs, 1, bias=False)
        self.register_buffer("fir", resample_filter())

    def forward(self, x: Tensor) -> Tensor:
        y = self._blurred(activate(self.conv0(x)), padding=2)
        y = F.conv2d(y, self.conv1.weight * self.conv1.gain, self.conv1.bias, stride=2)
        shortcut = self.skip(self._blurred(x, padding=1, stride=2))
        return (activate(y) + shortcut) * math.sqrt(0.5)

    def _blurred(self, x: Tensor, padding: int, stride: int = 1) -> Tensor:
        channels = x.shape[1]
        fir = self.fir.expand(channels, 1, 4, 4)
        return F.conv2d(x, fir, stride=stride, padding=padding, groups=channels)


def minibatch_deviation(x: Tensor) -> Tensor:
    """x [N, C, h, w] → [N, 1, h, w]: how much the members of each group of 4 differ."""
    groups = x.unflatten(0, (min(GROUP, len(x)), -1))  # [4, N / 4, C, h, w]
    deviation = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return deviation.repeat(len(groups))[:, None, None, None].expand(-1, 1, *x.shape[2:])
