"""R3GAN (Huang et al. 2024), as published: learned 4×4 basis, then residual blocks without norms.

The published snapshots name their classes only, so all sizes come from the tensors. They run the
late stages in bfloat16; here all is float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import LabError
from gan.generators.base import Generator, LatentSpace, Noise
from gan.generators.stylegan2 import resample_filter, upsample_image
from gan.generators.tensors import (
    Renamed,
    Shapes,
    check_size,
    compressed,
    dimensions,
    unwrapped,
    wrapping,
)

LARGEST = 1024  # pixels
BOUNDS = {
    "z_dim": (1, 4096),
    "class_dim": (0, 4096),
    "c_dim": (0, 100_000),
    "width": (1, 2**15),
    "blocks": (0, 64),
    "inner": (1, 2**16),
    "groups": (1, 2**15),
}
CHOICES = {"img_channels": (1, 3, 4), "kernel": (1, 3, 5, 7)}
_ANCHOR = "MainLayers.0.Layers.0.Basis"
_NAME = "R3GAN"


@dataclass(frozen=True)
class R3GANStage:
    """One resolution: its width, its blocks, and in these the inner width, groups and kernel."""

    width: int
    blocks: int
    inner: int
    groups: int
    kernel: int


@dataclass(frozen=True)
class R3GANConfig:
    """The sizes. `class_dim` is that of the embedded class; the first stage is at 4×4."""

    z_dim: int
    c_dim: int
    class_dim: int
    img_channels: int
    stages: tuple[R3GANStage, ...]

    @property
    def resolution(self) -> int:
        return 4 * 2 ** (len(self.stages) - 1)


class Convolution(nn.Module):
    """Without bias; its weight is named `Layer.weight`."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1):
        super().__init__()
        self.Layer = nn.Conv2d(
            inputs, outputs, kernel, padding=(kernel - 1) // 2, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.Layer(x)


class Activation(nn.Module):
    """lrelu₀.₂(x + bias), without gain."""

    def __init__(self, channels: int):
        super().__init__()
        self.Bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.Bias[:, None, None], 0.2)


class ResidualBlock(nn.Module):
    """x + 1×1(act(grouped k×k(act(1×1 x))))."""

    def __init__(self, stage: R3GANStage):
        super().__init__()
        self.LinearLayer1 = Convolution(stage.width, stage.inner)
        self.NonLinearity1 = Activation(stage.inner)
        self.LinearLayer2 = Convolution(stage.inner, stage.inner, stage.kernel, stage.groups)
        self.NonLinearity2 = Activation(stage.inner)
        self.LinearLayer3 = Convolution(stage.inner, stage.width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.LinearLayer2(self.NonLinearity1(self.LinearLayer1(x)))
        return x + self.LinearLayer3(self.NonLinearity2(inner))


class Basis(nn.Module):
    """A learned 4×4 picture for each channel, times a linear function of the latent."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.Basis = nn.Parameter(torch.randn(width, 4, 4))
        self.LinearLayer = nn.Linear(inputs, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.Basis * self.LinearLayer(x)[:, :, None, None]


class Resampler(nn.Module):
    """×2: zero insertion and low-pass."""

    Kernel: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("Kernel", resample_filter())

    def forward(self, x: Tensor) -> Tensor:
        return upsample_image(x, self.Kernel)


class Upsample(nn.Module):
    """A 1×1 convolution where the width changes, then ×2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        if inputs != outputs:
            self.LinearLayer = Convolution(inputs, outputs)
        self.Resampler = Resampler()

    def forward(self, x: Tensor) -> Tensor:
        return self.Resampler(self.LinearLayer(x) if hasattr(self, "LinearLayer") else x)


class Stage(nn.Module):
    """The way into a resolution, then its blocks."""

    def __init__(self, inputs: int, stage: R3GANStage, is_first: bool):
        super().__init__()
        entry = Basis(inputs, stage.width) if is_first else Upsample(inputs, stage.width)
        self.Layers = nn.Sequential(entry, *(ResidualBlock(stage) for _ in range(stage.blocks)))

    def forward(self, x: Tensor) -> Tensor:
        return self.Layers(x)


class Network(nn.Module):
    """All stages, the colours, and the embedding of the class."""

    def __init__(self, config: R3GANConfig):
        super().__init__()
        widths = [config.z_dim + config.class_dim, *(stage.width for stage in config.stages)]
        self.MainLayers = nn.Sequential(
            *(Stage(widths[i], stage, i == 0) for i, stage in enumerate(config.stages))
        )
        self.AggregationLayer = Convolution(widths[-1], config.img_channels)
        if config.c_dim:
            self.EmbeddingLayer = nn.Linear(config.c_dim, config.class_dim, bias=False)


class R3GAN(Generator):
    """z and class → images, about [−1, 1]. The one row of ws is [psi·z, embedded class]."""

    family = "r3gan"
    published_in_half = True
    latent_space: LatentSpace = "z"

    def __init__(self, config: R3GANConfig):
        super().__init__()
        check_size(_NAME, config.resolution, LARGEST)
        self.config = config
        self.z_dim, self.c_dim, self.num_ws = config.z_dim, config.c_dim, 1
        self.w_dim = config.z_dim + config.class_dim
        self.resolution, self.img_channels = config.resolution, config.img_channels
        self.Model = Network(config)

    def mapping(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """ws [N, 1, z_dim + class_dim]: `psi` scales z where the row is below `cutoff`."""
        row = z if cutoff == 0 else z * psi
        if self.c_dim:
            if c is None:
                raise ValueError("this generator is class-conditional: c is missing")
            row = torch.cat([row, self.Model.EmbeddingLayer(c)], dim=1)
        return row[:, None]

    def synthesis(
        self, ws: Tensor, noise: Noise = "const", resolution: int | None = None
    ) -> Tensor:
        """There is no noise, and no coarser picture to stop at."""
        return self.Model.AggregationLayer(self.Model.MainLayers(ws[:, 0]))

    def layer_resolutions(self) -> list[int]:
        return [4]

    def layer_names(self) -> list[str]:
        return [f"MainLayers.{i}" for i in range(len(self.config.stages))]

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        return self.Model.MainLayers[: self.layer_names().index(layer) + 1](ws[:, 0])

    def style_weights(self) -> Tensor:
        """The first linear, each output times the size of its picture; only what reads z."""
        basis = self.Model.get_submodule("MainLayers.0.Layers.0")
        assert isinstance(basis, Basis)
        weight = basis.LinearLayer.weight * basis.Basis.flatten(1).norm(dim=1, keepdim=True)
        return F.pad(weight[:, : self.z_dim], (0, self.w_dim - self.z_dim))

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """What the basis gives, as [N, z_dim or fewer] (`compressed`). A class would move all of
        it alike."""
        return z @ compressed(self.style_weights()[:, : self.z_dim]).T


# Reading published files


def matches(shapes: Shapes) -> bool:
    """By the basis of the first stage, which no other family has."""
    prefix = wrapping(shapes, _ANCHOR)
    return prefix is not None and f"{prefix}AggregationLayer.Layer.weight" in shapes


def config_from(
    shapes: Shapes,
    tensors: Mapping[str, Tensor],
    kwargs: Mapping[str, Any],
) -> R3GANConfig:
    """Everything is in the shapes. Raises LabError naming what is missing."""
    prefix = wrapping(shapes, _ANCHOR)
    if prefix is None:
        raise ValueError("no R3GAN generator")
    inside = {new: shapes[old] for new, old in unwrapped(shapes, prefix).items()}
    count = len({name.split(".")[1] for name in inside if name.startswith("MainLayers.")})
    check_size(_NAME, 4 * 2 ** min(count - 1, 32), LARGEST)
    class_dim = c_dim = 0
    if "EmbeddingLayer.weight" in inside:
        class_dim, c_dim = dimensions(inside, "EmbeddingLayer.weight", 2, _NAME)
    linear = "MainLayers.0.Layers.0.LinearLayer.weight"
    z_dim = dimensions(inside, linear, 2, _NAME)[1] - class_dim
    if z_dim < 1:
        raise LabError("network_shape", family=_NAME, tensor=linear, shape=list(inside[linear]))
    return R3GANConfig(
        z_dim=z_dim,
        c_dim=c_dim,
        class_dim=class_dim,
        img_channels=dimensions(inside, "AggregationLayer.Layer.weight", 4, _NAME)[0],
        stages=tuple(_stage(inside, index) for index in range(count)),
    )


def canonical(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Under the names of `R3GAN`, whatever they were wrapped in."""
    names = unwrapped(tensors, wrapping(tensors, _ANCHOR) or "")
    return Renamed(tensors, {f"Model.{new}": old for new, old in names.items()}, _NAME)


def _stage(shapes: Shapes, index: int) -> R3GANStage:
    start = f"MainLayers.{index}.Layers."
    blocks = {name.removeprefix(start).split(".")[0] for name in shapes if name.startswith(start)}
    width, inner, _, _ = dimensions(shapes, f"{start}1.LinearLayer3.Layer.weight", 4, _NAME)
    grouped = f"{start}1.LinearLayer2.Layer.weight"
    _, group_width, kernel, _ = dimensions(shapes, grouped, 4, _NAME)
    if inner % group_width or kernel % 2 == 0:
        raise LabError("network_shape", family=_NAME, tensor=grouped, shape=list(shapes[grouped]))
    return R3GANStage(width, len(blocks - {"0"}), inner, inner // group_width, kernel)
