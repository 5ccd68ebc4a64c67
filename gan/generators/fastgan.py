"""FastGAN generators (Liu et al. 2021), 256, 512 or 1024 px, in their published spellings.

Blocks of nearest-neighbour upsampling, convolution and gated linear unit; the small pictures
excite the channels of the large ones (skip-layer excitation). Every second block adds noise, which
the original draws anew for every picture: here it is seeded, "const" means the seed 0.
Batch norms use the statistics of the training (the original's own scripts leave them in training
mode, where a picture depends on its neighbours in the batch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan.generators.base import Generator, LatentSpace, Noise
from gan.generators.tensors import (
    FixedBatchNorm,
    Renamed,
    Shapes,
    compressed,
    dimensions,
    evaluated,
    unwrapped,
    wrapping,
)

RESOLUTIONS = (256, 512, 1024)
BOUNDS = {"z_dim": (1, 4096), "widths": (1, 2**14)}
CHOICES = {"img_channels": (1, 3, 4)}
_SIZES = (4, 8, 16, 32, 64, 128, *RESOLUTIONS)
EARLY = 128  # pixels of the smaller picture that each of these networks can give
_NAME = "FastGAN"
_ANCHORS = tuple(
    f"init.init.0.{weight}"
    for weight in ("weight_orig", "weight", "parametrizations.weight.original")
)
_EXCITED_BY = {64: 4, 128: 8, 256: 16, 512: 32}  # resolution → the one whose features excite it
_TWICE = (8, 32, 128, 512)  # these blocks have two convolutions, with noise after each
# The other published spelling: `_upsample_8._layers.1._conv.weight_orig` and so on.
_RENAMED = (
    (r"^_init\.(?:_layers\.)?", "init.init."),
    (r"^_upsample_(\d+)\.", r"feat_\1."),
    (r"^_sle_(\d+)\.(?:_layers\.)?", r"se_\1.main."),
    (r"^_out_128\.(?:0\.)?", "to_128."),
    (r"^_out_\d+\.(?:0\.)?", "to_big."),
    (r"\._layers(?=\.)", ""),
    (r"\._conv(?=\.)", ""),
    (r"\._weight$", ".weight"),
)


@dataclass(frozen=True)
class FastGANConfig:
    """The sizes; `widths` are the channels at 4, 8, 16, … pixels."""

    z_dim: int
    img_channels: int
    widths: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return _SIZES[: len(self.widths)]

    @property
    def resolution(self) -> int:
        return self.sizes[-1]


class Injection(nn.Module):
    """x + weight·noise."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number  # the first or the second of its block
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Noise) -> Tensor:
        if noise == "none":
            return x
        n, _, r, _ = x.shape
        if not isinstance(noise, torch.Generator):
            seed = 0 if noise == "const" else int(noise)
            # The layer's size is part of the seed: no two layers share a pattern.
            noise = torch.Generator().manual_seed((seed * 1009 + 2 * r + self.number) % 2**63)
            n = 1
        drawn = torch.randn(n, 1, r, r, generator=noise, device=noise.device)
        return x + self.weight * drawn.to(x.device)


class Upsampling(nn.Sequential):
    """×2, convolution, (noise,) batch norm, gated linear unit; the last four twice for `twice`.

    A sequence, numbered as in the published files.
    """

    def __init__(self, inputs: int, outputs: int, twice: bool):
        layers: list[nn.Module] = [nn.Upsample(scale_factor=2)]
        for number, width in enumerate((inputs, outputs) if twice else (inputs,)):
            layers.append(nn.Conv2d(width, 2 * outputs, 3, padding=1, bias=False))
            layers += [Injection(number)] if twice else []
            layers += [FixedBatchNorm(2 * outputs), nn.GLU(dim=1)]
        super().__init__(*layers)

    def forward(self, x: Tensor, noise: Noise = "const") -> Tensor:
        for layer in self:
            x = layer(x, noise) if isinstance(layer, Injection) else layer(x)
        return x


class Start(nn.Module):
    """z [N, z_dim] → [N, width, 4, 4]."""

    def __init__(self, z_dim: int, width: int):
        super().__init__()
        conv = nn.ConvTranspose2d(z_dim, 2 * width, 4, bias=False)
        self.init = nn.Sequential(conv, FixedBatchNorm(2 * width), nn.GLU(dim=1))

    def forward(self, z: Tensor) -> Tensor:
        return self.init(z[:, :, None, None])


class Excitation(nn.Module):
    """large · gate(small), the gate between 0 and 1 for each channel."""

    def __init__(self, small: int, large: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(small, large, 4, bias=False),
            nn.SiLU(),
            nn.Conv2d(large, large, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        return large * self.main(small)


class FastGAN(Generator):
    """z [N, z_dim] → images, about [−1, 1]; named as published, spectral norm folded."""

    family = "fastgan"
    latent_space: LatentSpace = "z"

    def __init__(self, config: FastGANConfig):
        super().__init__()
        self.config = config
        self.z_dim = self.w_dim = config.z_dim
        self.num_ws, self.c_dim = 1, 0
        self.resolution, self.img_channels = config.resolution, config.img_channels
        width = dict(zip(config.sizes, config.widths, strict=True))
        self.init = Start(config.z_dim, width[4])
        for r in config.sizes[1:]:
            self.add_module(f"feat_{r}", Upsampling(width[r // 2], width[r], r in _TWICE))
            if r in _EXCITED_BY:
                self.add_module(f"se_{r}", Excitation(width[_EXCITED_BY[r]], width[r]))
        self.to_128 = nn.Conv2d(width[EARLY], config.img_channels, 1, bias=False)
        self.to_big = nn.Conv2d(
            width[self.resolution], config.img_channels, 3, padding=1, bias=False
        )

    def mapping(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """ws [N, 1, z_dim] = psi·z, where the only row is below `cutoff`."""
        return (z if cutoff == 0 else z * psi)[:, None]

    def synthesis(
        self, ws: Tensor, noise: Noise = "const", resolution: int | None = None
    ) -> Tensor:
        """Of coarser pictures there is one, of 128 px."""
        if resolution == EARLY:
            return self.to_128(self._upto(ws, EARLY, noise)).tanh()
        image = self.to_big(self._upto(ws, self.resolution, noise))
        # At 256 and 512 px the published networks have no tanh.
        return image.tanh() if self.resolution == 1024 else image

    def _upto(self, ws: Tensor, resolution: int, noise: Noise) -> Tensor:
        """The features at that resolution."""
        x = self.init(ws[:, 0])
        seen = {4: x}
        for r in self.config.sizes[1:]:
            if r > resolution:
                break
            x = self.get_submodule(f"feat_{r}")(x, noise)
            if r in _EXCITED_BY:
                x = self.get_submodule(f"se_{r}")(seen[_EXCITED_BY[r]], x)
            if r in _EXCITED_BY.values():
                seen[r] = x
        return x

    def layer_resolutions(self) -> list[int]:
        return [4]

    def early_resolutions(self) -> list[int]:
        return [EARLY] if self.resolution > EARLY else []

    def layer_names(self) -> list[str]:
        return ["init", *(f"feat_{r}" for r in self.config.sizes[1:])]

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        return self._upto(ws, self.config.sizes[self.layer_names().index(layer)], noise)

    def style_weights(self) -> Tensor:
        """[outputs·16, z_dim], with what batch norm multiplies each output with."""
        conv, norm, _ = self.init.init
        assert isinstance(conv, nn.ConvTranspose2d)
        assert isinstance(norm, FixedBatchNorm)
        weight = conv.weight.flatten(2) * norm.scale()[:, None]  # [z_dim, outputs, 16]
        return weight.flatten(1).T

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """What the first convolution and batch norm give, as [N, z_dim or fewer] (`compressed`);
        before the gate, for the reason given in `DCGAN`."""
        return z @ compressed(self.style_weights()).T


# Reading published files


def matches(shapes: Shapes) -> bool:
    """By the first stage, the excitations and the two pictures."""
    inside = _inside(shapes)
    return inside is not None and {"to_big.weight", "to_128.weight", "se_64.main.1.weight"} <= (
        inside.keys()
    )


def config_from(
    shapes: Shapes,
    tensors: Mapping[str, Tensor],
    kwargs: Mapping[str, Any],
) -> FastGANConfig:
    """Everything is in the shapes. Raises LabError naming what is missing."""
    inside = _inside(shapes)
    if inside is None:
        raise ValueError("no FastGAN generator")
    z_dim, doubled, _, _ = dimensions(inside, "init.init.0.weight", 4, _NAME)
    widths = [doubled // 2]
    for r in _SIZES[1:]:
        if r > RESOLUTIONS[0] and f"feat_{r}.1.weight" not in inside:
            break
        widths.append(dimensions(inside, f"feat_{r}.1.weight", 4, _NAME)[0] // 2)
    img_channels = dimensions(inside, "to_big.weight", 4, _NAME)[0]
    return FastGANConfig(z_dim, img_channels, tuple(widths))


def canonical(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Under the names of `FastGAN`, spectral norm folded."""
    names = {_renamed(new): old for new, old in unwrapped(tensors, _prefix(tensors) or "").items()}
    return Renamed(tensors, names, _NAME, transposed=["init.init.0"])


def _prefix(names: Mapping[str, Any]) -> str | None:
    """What the generator's names are wrapped in."""
    spelled = {_renamed_end(name): name for name in names}
    for anchor in _ANCHORS:
        found = wrapping(spelled, anchor)
        if found is not None:
            return found
    return None


def _renamed_end(name: str) -> str:
    """A name that ends with the first stage's weight in the other spelling, in this one."""
    return re.sub(
        r"(^|\.)_init\.(?:_layers\.)?0\.(?:_conv\.)?weight", r"\1init.init.0.weight", name
    )


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _inside(shapes: Shapes) -> dict[str, tuple[int, ...]] | None:
    """The generator's shapes by the names of `FastGAN`."""
    prefix = _prefix(shapes)
    if prefix is None:
        return None
    names = unwrapped(shapes, prefix)
    return evaluated({_renamed(new): shapes[old] for new, old in names.items()})
