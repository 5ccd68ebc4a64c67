"""Tiny generators of every family but StyleGAN2 (`tests.tiny`), with random weights; where there is
no w, none of them is zero."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from gan.generators.base import Generator
from gan.generators.biggan import BigGAN, BigGANBlock, BigGANConfig
from gan.generators.dcgan import DCGAN, DCGANConfig, DCGANLayer
from gan.generators.fastgan import FastGAN, FastGANConfig
from gan.generators.r3gan import R3GAN, R3GANConfig, R3GANStage
from gan.generators.stylegan3 import StyleGAN3, StyleGAN3Config

G = TypeVar("G", bound=Generator)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def error_of(drawn: Tensor, reference: Tensor) -> float:
    """The largest difference, in standard deviations of the reference."""
    assert drawn.shape == reference.shape
    return float((drawn - reference).abs().max() / reference.std())


def tiny_stylegan3(c_dim: int = 0) -> StyleGAN3:
    config = StyleGAN3Config(
        16,
        z_dim=6,
        w_dim=6,
        c_dim=c_dim,
        channel_base=64,
        channel_max=8,
        num_layers=4,
        conv_clamp=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StyleGAN3(config).eval().requires_grad_(False)


def tiny_dcgan() -> DCGAN:
    layers = (
        DCGANLayer(9, 12, 4, 1, 0, norm=True),
        DCGANLayer(12, 6, 4, 2, 1, norm=True),
        DCGANLayer(6, 3, 4, 2, 1, bias=True),
    )
    return stirred(DCGAN(DCGANConfig(layers)))


def tiny_biggan() -> BigGAN:
    blocks = (BigGANBlock(16, 16, 4, False), BigGANBlock(16, 8, 4, True))
    return stirred(BigGAN(BigGANConfig(6, 5, 4, blocks, attention=1, stats=11)))


def tiny_r3gan(c_dim: int = 0) -> R3GAN:
    stages = (R3GANStage(12, 1, 16, 4, 3), R3GANStage(8, 2, 12, 3, 3))
    class_dim = 5 if c_dim else 0
    return stirred(R3GAN(R3GANConfig(7, c_dim, class_dim, 3, stages)))


def tiny_fastgan(resolution: int = 256) -> FastGAN:
    widths = {256: (8, 6, 4, 4, 3, 3, 2), 512: (8, 6, 4, 4, 3, 3, 2, 2)}[resolution]
    return stirred(FastGAN(FastGANConfig(10, 3, widths)))


def stirred(generator: G, seed: int = 0) -> G:
    """Norms, biases and noise strengths that are neither 0 nor 1; no gradients."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, tensor in generator.state_dict().items():
            if name.endswith(("running_var", "running_vars")):
                tensor.uniform_(0.5, 2.0)
            elif tensor.ndim == 1 or name.endswith("running_means"):
                tensor.normal_(0.5, 0.4)
            elif tensor.ndim >= 2 and "Kernel" not in name:
                tensor.normal_(0, tensor[0].numel() ** -0.5)
    return generator.eval().requires_grad_(False)
