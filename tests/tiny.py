"""Tiny models for tests: random weights in which nothing is zero, in a few milliseconds."""

from pathlib import Path

import torch

from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.loading import save_model

TINY = StyleGAN2Config(resolution=16, z_dim=12, w_dim=12, channel_base=192, channel_max=12)
TINY_CLASSES = StyleGAN2Config(
    resolution=8, img_channels=1, z_dim=10, w_dim=11, c_dim=3, channel_base=64, channel_max=8
)


def tiny_network(config: StyleGAN2Config = TINY, seed: int = 0) -> StyleGAN2:
    """A generator whose pictures differ from seed to seed and stay mostly within [−1, 1]."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = StyleGAN2(config).requires_grad_(False).eval()
        for name, parameter in generator.named_parameters():
            if "noise_strength" in name:
                parameter.fill_(0.2)
            elif name.endswith("bias"):
                parameter.add_(0.2 * torch.randn(parameter.shape))
            elif "torgb.weight" in name:
                parameter.mul_(0.4)
        generator.mapping.w_avg.normal_()
    return generator


def tiny_model(folder: Path, config: StyleGAN2Config = TINY, seed: int = 0) -> str:
    """A model folder called as its folder; returns its hash."""
    classes = [f"class {number}" for number in range(config.c_dim)] or None
    return save_model(
        folder,
        tiny_network(config, seed),
        name=folder.name,
        title={"en": f"Tiny {folder.name}", "zh": f"微型 {folder.name}"},
        dataset="noise",
        licence="none needed",
        classes=classes,
    )
