"""BigGAN-deep (Brock et al. 2019), as published for PyTorch (`config.json`, `pytorch_model.bin`).

z and class are one conditioning vector, which goes to the first linear and to every conditional
batch norm. There is no w: a row of ws is [psi·z, embedded class, psi], because the batch norms'
statistics depend on the truncation too, and so ws alone determine the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.generators.base import Generator, LatentSpace, Noise
from gan.generators.tensors import (
    Renamed,
    Shapes,
    check_size,
    compressed,
    dimensions,
    evaluated,
    unwrapped,
    wrapping,
)

LARGEST = 1024  # pixels
BOUNDS = {
    "z_dim": (1, 4096),
    "class_dim": (1, 4096),
    "c_dim": (1, 100_000),
    "stats": (2, 10_000),
    "inputs": (1, 2**15),
    "outputs": (1, 2**15),
    "middle": (1, 2**15),
    "attention": (0, 63),
    "epsilon": (1e-12, 0.1),
}
_ANCHOR = "generator.gen_z.bias"
_NAME = "BigGAN-deep"
_MOST_BLOCKS = 64
_Z_LIMIT = 2.0  # BigGAN is drawn from a normal distribution that is cut off there
_WHOLE = 1e-4  # a truncation so near to a stored one (in steps) is that one


@dataclass(frozen=True)
class BigGANBlock:
    """A residual block's channels, and whether it doubles the picture."""

    inputs: int
    outputs: int
    middle: int
    up: bool


@dataclass(frozen=True)
class BigGANConfig:
    """The sizes. `attention` is the index among the layers at which self-attention stands."""

    z_dim: int
    class_dim: int
    c_dim: int
    blocks: tuple[BigGANBlock, ...]
    attention: int | None
    stats: int = 51
    epsilon: float = 1e-4

    @property
    def cond_dim(self) -> int:
        return self.z_dim + self.class_dim

    @property
    def sizes(self) -> tuple[int, ...]:
        """The picture size (pixels) after each block."""
        sizes, size = [], 4
        for block in self.blocks:
            size *= 2 if block.up else 1
            sizes.append(size)
        return tuple(sizes)


class Statistics(nn.Module):
    """The means and variances of a batch norm, stored for truncations 0 … 1 in equal steps."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, config: BigGANConfig):
        super().__init__()
        self.epsilon = config.epsilon
        self.register_buffer("running_means", torch.zeros(config.stats, channels))
        self.register_buffer("running_vars", torch.ones(config.stats, channels))

    def at(self, truncation: Tensor) -> tuple[Tensor, Tensor]:
        """truncation [N] → means and deviations [N, channels].

        Between two stored ones the published code interpolates with the weights the wrong way
        round, and the pictures people know are drawn so: we do the same.
        """
        position = truncation.abs().clamp(max=1) * (len(self.running_means) - 1)
        nearest = position.round()
        position = torch.where((position - nearest).abs() < _WHOLE, nearest, position)
        below = position.floor().long()
        above = (below + 1).clamp(max=len(self.running_means) - 1)
        share = (position - below)[:, None]
        share = torch.where(share == 0, torch.ones_like(share), share)
        means = self.running_means[below] * share + self.running_means[above] * (1 - share)
        variances = self.running_vars[below] * share + self.running_vars[above] * (1 - share)
        return means, (variances + self.epsilon).sqrt()


class ConditionalNorm(Statistics):
    """(x − mean)/deviation·(1 + scale(cond)) + offset(cond)."""

    def __init__(self, channels: int, config: BigGANConfig):
        super().__init__(channels, config)
        self.scale = nn.Linear(config.cond_dim, channels, bias=False)
        self.offset = nn.Linear(config.cond_dim, channels, bias=False)

    def forward(self, x: Tensor, cond: Tensor, truncation: Tensor) -> Tensor:
        means, deviations = self.at(truncation)
        gain = (1 + self.scale(cond)) / deviations  # [N, C]
        shift = self.offset(cond) - means * gain
        return torch.addcmul(shift[..., None, None], x, gain[..., None, None])


class LastNorm(Statistics):
    """(x − mean)/deviation·weight + bias, of the truncation only."""

    def __init__(self, channels: int, config: BigGANConfig):
        super().__init__(channels, config)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, truncation: Tensor) -> Tensor:
        means, deviations = self.at(truncation)
        gain = self.weight / deviations
        shift = self.bias - means * gain
        return torch.addcmul(shift[..., None, None], x, gain[..., None, None])


class Block(nn.Module):
    """Residual bottleneck 1×1, 3×3, 3×3, 1×1, each after a conditional norm and ReLU."""

    def __init__(self, block: BigGANBlock, config: BigGANConfig):
        super().__init__()
        self.outputs, self.up = block.outputs, block.up
        widths = (block.inputs, block.middle, block.middle, block.middle, block.outputs)
        for i, kernel in enumerate((1, 3, 3, 1)):
            self.add_module(f"bn_{i}", ConditionalNorm(widths[i], config))
            conv = nn.Conv2d(widths[i], widths[i + 1], kernel, padding=kernel // 2)
            self.add_module(f"conv_{i}", conv)

    def norms(self) -> list[ConditionalNorm]:
        return [getattr(self, f"bn_{i}") for i in range(4)]

    def forward(self, x: Tensor, cond: Tensor, truncation: Tensor) -> Tensor:
        shortcut = x[:, : self.outputs]
        for i, norm in enumerate(self.norms()):
            x = F.relu(norm(x, cond, truncation))
            if i == 1 and self.up:
                x = F.interpolate(x, scale_factor=2)
            x = getattr(self, f"conv_{i}")(x)
        return x + (F.interpolate(shortcut, scale_factor=2) if self.up else shortcut)


class SelfAttention(nn.Module):
    """x + γ·attention over all places (Zhang et al. 2019), keys and values at half resolution."""

    def __init__(self, channels: int, keys: int, values: int):
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(channels, keys, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(channels, keys, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(channels, values, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.snconv1x1_theta(x).flatten(2)  # [N, K, H·W]
        keys = F.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)  # [N, K, H·W/4]
        values = F.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)  # [N, V, H·W/4]
        attention = (queries.transpose(1, 2) @ keys).softmax(dim=-1)  # [N, H·W, H·W/4]
        seen = (values @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(seen)


class Column(nn.Module):
    """Everything after the conditioning vector: first linear, blocks, colours."""

    def __init__(self, config: BigGANConfig):
        super().__init__()
        first, last = config.blocks[0].inputs, config.blocks[-1].outputs
        self.gen_z = nn.Linear(config.cond_dim, 16 * first)
        self.layers = nn.ModuleList(Block(block, config) for block in config.blocks)
        if config.attention is not None:
            channels = config.blocks[config.attention].inputs
            attention = SelfAttention(channels, channels // 8, channels // 2)
            self.layers.insert(config.attention, attention)
        self.bn = LastNorm(last, config)
        self.conv_to_rgb = nn.Conv2d(last, last, 3, padding=1)


def _check(config: BigGANConfig) -> None:
    """ValueError for blocks that can't stand one after the other."""
    blocks = config.blocks
    follow = all(one.outputs == other.inputs for one, other in pairwise(blocks))
    if not blocks or not follow or any(block.outputs > block.inputs for block in blocks):
        raise ValueError("its blocks don't follow on each other")
    check_size(_NAME, config.sizes[-1], LARGEST)


class BigGAN(Generator):
    """Rows of ws: one for the first linear, one for each block (the last is the last norm's too).

    Tensors are named as published, spectral norm folded into the weights.
    """

    family = "biggan"
    latent_space: LatentSpace = "z"

    def __init__(self, config: BigGANConfig):
        super().__init__()
        _check(config)
        self.config = config
        self.z_dim, self.c_dim, self.w_dim = config.z_dim, config.c_dim, config.cond_dim + 1
        self.num_ws, self.img_channels = 1 + len(config.blocks), 3
        self.resolution = config.sizes[-1]
        self.embeddings = nn.Linear(config.c_dim, config.class_dim, bias=False)
        self.generator = Column(config)

    def mapping(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z [N, z_dim], c [N, c_dim] → ws [N, num_ws, z_dim + class_dim + 1].

        `psi` is BigGAN's truncation: it scales z, which is held within ±2 as in training's
        evaluation, and chooses the statistics. Rows from `cutoff` on are not truncated.
        """
        if c is None:
            raise ValueError("this generator is class-conditional: c is missing")
        rows = torch.arange(self.num_ws, device=z.device)
        cut = self.num_ws if cutoff is None else cutoff
        truncation = torch.where(rows < cut, psi, 1.0).to(z)  # [num_ws]
        parts = (
            z.clamp(-_Z_LIMIT, _Z_LIMIT)[:, None] * truncation[:, None],
            self.embeddings(c)[:, None].expand(-1, self.num_ws, -1),
            truncation[:, None].expand(len(z), -1, -1),
        )
        return torch.cat(parts, dim=2)

    def synthesis(
        self, ws: Tensor, noise: Noise = "const", resolution: int | None = None
    ) -> Tensor:
        """There is no noise, and no coarser picture to stop at."""
        x = self._after(ws, len(self.generator.layers))
        x = F.relu(self.generator.bn(x, ws[:, -1, -1]))
        to_rgb = self.generator.conv_to_rgb
        assert to_rgb.bias is not None
        # Its other channels are no colours: they aren't computed.
        return F.conv2d(x, to_rgb.weight[:3], to_rgb.bias[:3], padding=1).tanh()

    def _after(self, ws: Tensor, count: int) -> Tensor:
        """ws → activations after the first linear and `count` layers."""
        x = self.generator.gen_z(ws[:, 0, :-1])
        x = x.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2).contiguous()  # stored as NHWC
        row = 0
        for layer in self.generator.layers[:count]:
            if isinstance(layer, Block):
                row += 1
                x = layer(x, ws[:, row, :-1], ws[:, row, -1])
            else:
                x = layer(x)
        return x

    def layer_resolutions(self) -> list[int]:
        return [4, *self.config.sizes]

    def layer_names(self) -> list[str]:
        return [f"layers.{i}" for i in range(len(self.generator.layers))]

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        return self._after(ws, self.layer_names().index(layer) + 1)

    def style_weights(self) -> Tensor:
        """Of the first linear and all conditional norms; only what reads z, so that a direction
        keeps class and truncation."""
        weights = [self.generator.gen_z.weight]
        for block in self.generator.layers:
            if isinstance(block, Block):
                weights += [
                    part.weight for norm in block.norms() for part in (norm.scale, norm.offset)
                ]
        return F.pad(torch.cat(weights)[:, : self.z_dim], (0, self.w_dim - self.z_dim))

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """What the first linear gives for any one class, as [N, z_dim or fewer] (`compressed`):
        the class moves all of it alike."""
        weight = self.generator.gen_z.weight[:, : self.z_dim]
        return z.clamp(-_Z_LIMIT, _Z_LIMIT) @ compressed(weight).T


# Reading published files


def matches(shapes: Shapes) -> bool:
    """By the first linear and the stored statistics, which no other family has."""
    prefix = wrapping(shapes, _ANCHOR)
    return prefix is not None and f"{prefix}generator.bn.running_means" in shapes


def config_from(
    shapes: Shapes,
    tensors: Mapping[str, Tensor],
    kwargs: Mapping[str, Any],
) -> BigGANConfig:
    """Sizes from the shapes; from `kwargs` (config.json) which blocks double the picture and ε.

    Without a config every second block doubles it, as in all published ones. Raises LabError.
    """
    prefix = wrapping(shapes, _ANCHOR)
    if prefix is None:
        raise ValueError("no BigGAN-deep generator")
    inside = evaluated({new: shapes[old] for new, old in unwrapped(shapes, prefix).items()})
    numbers = {n.split(".")[2] for n in inside if n.startswith("generator.layers.")}
    attention = [i for i in numbers if f"generator.layers.{i}.gamma" in inside]
    places = sorted(int(i) for i in numbers - set(attention) if i.isdecimal())[:_MOST_BLOCKS]
    ups = _doubling(kwargs, len(places))
    class_dim, c_dim = dimensions(inside, "embeddings.weight", 2, _NAME)
    return BigGANConfig(
        z_dim=dimensions(inside, "generator.gen_z.weight", 2, _NAME)[1] - class_dim,
        class_dim=class_dim,
        c_dim=c_dim,
        blocks=tuple(_block(inside, i, up) for i, up in zip(places, ups, strict=True)),
        attention=int(attention[0]) if attention and attention[0].isdecimal() else None,
        stats=dimensions(inside, "generator.bn.running_means", 2, _NAME)[0],
        epsilon=_epsilon(kwargs),
    )


def canonical(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Without wrappings, spectral norm folded."""
    return Renamed(tensors, unwrapped(tensors, wrapping(tensors, _ANCHOR) or ""), _NAME)


def _block(shapes: Shapes, place: int, up: bool) -> BigGANBlock:
    name = f"generator.layers.{place}"
    middle, inputs, _, _ = dimensions(shapes, f"{name}.conv_0.weight", 4, _NAME)
    outputs = dimensions(shapes, f"{name}.conv_3.weight", 4, _NAME)[0]
    return BigGANBlock(inputs, outputs, middle, up)


def _doubling(kwargs: Mapping[str, Any], count: int) -> list[bool]:
    """For each block, whether it doubles the picture."""
    layers = kwargs.get("layers")
    if isinstance(layers, (list, tuple)) and len(layers) == count:
        return [bool(layer[0]) if isinstance(layer, (list, tuple)) else False for layer in layers]
    return [i % 2 == 1 for i in range(count)]


def _epsilon(kwargs: Mapping[str, Any]) -> float:
    given = kwargs.get("eps")
    if isinstance(given, float) and 0 < given < 0.1:
        return given
    return BigGANConfig.epsilon
