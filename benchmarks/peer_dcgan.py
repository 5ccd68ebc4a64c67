"""The peer that everybody starts with: the network and the recipe of PyTorch's DCGAN tutorial.

Written by us from the tutorial and the paper (Radford 2016): ngf = ndf = 64, z of 100 numbers,
batch norm, weights from N(0, 0.02), binary cross-entropy, Adam 2e-4 with betas 0.5 and 0.999,
batches of 128. It knows no classes. For 32 px both networks have one layer fewer, the widest.

The tutorial samples in training mode: batch norm uses the statistics of the pictures drawn
together. Others sample in evaluation mode. We judge both, and the better one counts.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.generators.dcgan import DCGAN, DCGANConfig, DCGANLayer
from gan.generators.tensors import FixedBatchNorm

if TYPE_CHECKING:
    from benchmarks.peers import Pictures

LATENT, WIDTH, BATCH = 100, 64, 128
RATE, BETAS = 2e-4, (0.5, 0.999)


class TutorialDCGAN:
    """Both networks, and one step of their training."""

    def __init__(self, pictures: Pictures):
        torch.manual_seed(0)
        self.pictures, self.images_seen = pictures, 0
        size = pictures.dataset.resolution, pictures.dataset.channels
        self.G = tutorial_generator(*size).apply(with_normal_weights)
        self.D = tutorial_discriminator(*size).apply(with_normal_weights)
        for network in (self.G, self.D):  # a fifth faster on a CPU at 64 px, the same otherwise
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizers = [
            torch.optim.Adam(network.parameters(), RATE, BETAS) for network in (self.G, self.D)
        ]

    def step(self) -> None:
        of_g, of_d = self.optimizers
        real, _ = self.pictures.next(BATCH)
        fake = self.G(torch.randn(BATCH, LATENT))
        of_d.zero_grad()
        self._loss(real, 1.0).backward()
        self._loss(fake.detach(), 0.0).backward()
        of_d.step()
        of_g.zero_grad()
        self._loss(fake, 1.0).backward()
        of_g.step()
        self.images_seen += BATCH

    def _loss(self, images: Tensor, label: float) -> Tensor:
        logits = self.D(images).flatten()
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    def generators(self) -> Iterator[DCGAN]:
        """The generator in evaluation mode, and as the tutorial samples it."""
        yield self.G
        by_batch = copy.deepcopy(self.G)
        for norm in by_batch.modules():
            if isinstance(norm, nn.BatchNorm2d):  # without any, it takes the batch's
                norm.running_mean = norm.running_var = None
        yield by_batch


def tutorial_generator(resolution: int, channels: int) -> DCGAN:
    """z [N, 100] → images [N, channels, resolution, resolution]."""
    widths = _widths(resolution)
    layers = [DCGANLayer(LATENT, widths[0], 4, 1, 0, norm=True)]
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(DCGANLayer(inputs, outputs, 4, 2, 1, norm=True))
    layers.append(DCGANLayer(widths[-1], channels, 4, 2, 1))
    generator = DCGAN(DCGANConfig(tuple(layers)))
    for place, layer in enumerate(generator.main):
        if isinstance(layer, FixedBatchNorm):  # the explorer's, which doesn't learn
            generator.main[place] = nn.BatchNorm2d(len(layer.weight))
    return generator


def tutorial_discriminator(resolution: int, channels: int) -> nn.Sequential:
    """images [N, channels, resolution, resolution] → logits [N, 1, 1, 1]."""
    layers: list[nn.Module] = []
    inputs = channels
    for outputs in reversed(_widths(resolution)):
        layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))
        if inputs != channels:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, 1, 0, bias=False))


def with_normal_weights(layer: nn.Module) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for what batch norm multiplies with."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


def _widths(resolution: int) -> list[int]:
    """Channels at 4 px, 8 px … half the resolution: [512, 256, 128, 64] for 64 px."""
    count = resolution.bit_length() - 3
    return [WIDTH * 2**place for place in reversed(range(count))]
