"""The discriminator, and how both networks grow from coarse pictures to fine ones.

Growing never disturbs what has been learned: the parts that a new resolution adds begin with
weights of zero, so at the moment of growth the generator draws its old picture enlarged and the
discriminator gives its old verdict on the picture made smaller. There is no fade-in to schedule.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import LabError
from gan.generators.stylegan2 import Dense, StyleGAN2, StyleGAN2Config


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Channels at resolution r: min(channel_base / r, channel_max)."""

    resolution: int = 64
    img_channels: int = 3
    c_dim: int = 0
    channel_base: int = 2048
    channel_max: int = 192
    group: int = 4  # samples compared with each other by the minibatch statistic

    def channels(self, resolution: int) -> int:
        return min(self.channel_base // resolution, self.channel_max)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate: the weight is scaled by 1/√fan_in when used."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.padding = 1 / math.sqrt(inputs * kernel**2), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * self.gain).to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, padding=self.padding)


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


class Stem(nn.Module):
    """Reads a picture: 2×2 pixels become one position with four times the channels, so the
    finest convolutions run on a quarter of the positions and nothing of the picture is lost."""

    def __init__(self, config: DiscriminatorConfig, resolution: int):
        super().__init__()
        self.conv = EqualConv(config.img_channels * 4, config.channels(resolution // 2), 3)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, img_channels, r, r] → features [N, C(r/2), r/2, r/2]."""
        return self.conv(F.pixel_unshuffle(images, 2))


class ResidualBlock(nn.Module):
    """Features at size r → features at size r/2: two 3×3 convolutions beside a 1×1 shortcut."""

    def __init__(self, config: DiscriminatorConfig, resolution: int):
        super().__init__()
        inputs, outputs = config.channels(resolution), config.channels(resolution // 2)
        self.conv0 = EqualConv(inputs, inputs, 3)
        self.conv1 = EqualConv(inputs, outputs, 3)
        self.skip = EqualConv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.conv0(activate(x)))
        # Averaging before the convolution makes it four times cheaper.
        y = self.conv1(F.avg_pool2d(y, 2))
        return (y + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """Residual discriminator without normalisation; pictures enter at every resolution.

    The features that the blocks of a finer picture have computed are added to what the stem of
    the next coarser picture reads from the picture made smaller (StyleGAN2's "input skips").
    """

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config, self.dtype = config, torch.float32
        sizes = [2**i for i in range(3, int(math.log2(config.resolution)) + 1)]
        self.stems = nn.ModuleDict({str(r): Stem(config, r) for r in sizes})
        self.blocks = nn.ModuleDict({str(r // 2): ResidualBlock(config, r // 2) for r in sizes[1:]})
        width = config.channels(4)
        self.conv = EqualConv(width + 1, width, 3)
        self.fc = Dense(width * 16, width)
        self.out = Dense(width, 1)
        if config.c_dim:
            self.embed = Dense(config.c_dim, width)
            self.embed.weight_gain = 1.0  # of c's numbers only the ones come in: see forward

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """images [N, img_channels, r, r] in [−1, 1], r a power of two from 8 up to the config's
        resolution; c [N, c_dim], zeros and ones → logits [N] float32, higher for "real"."""
        return self.judge(images, c)[0]

    def judge(
        self, images: Tensor, c: Tensor | None = None, sets: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        """Its logits [N], and how well each picture fits each of the things that it can be told,
        [N, c_dim] (None where it is told nothing).

        Several `sets` of equal size, one after the other (the reals, then the fakes), cost a
        small network hardly more than one; pictures are compared within their set only.
        """
        h = self._features(images, sets)
        logits = self.out(h)[:, 0]
        if not self.config.c_dim:
            return logits, None
        assert c is not None, "this discriminator has to be told what was asked for"
        # Projection (Miyato & Koyama 2018): how well the features fit what was asked for.
        # As strong as the verdict beside it, however many classes there are.
        h = h / math.sqrt(h.shape[1])
        fits = h @ self.embed.weight
        asked = c / c.sum(dim=1, keepdim=True).clamp(min=1.0).sqrt()
        return logits + h @ self.embed.bias + (fits * asked).sum(dim=1), fits

    def _features(self, images: Tensor, sets: int) -> Tensor:
        """→ [N, C(4)] float32."""
        image = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        size = image.shape[-1]
        x = self.stems[str(size)](image)
        while size > 8:
            size //= 2
            image = F.avg_pool2d(image, 2)
            x = self.blocks[str(size)](x) + self.stems[str(size)](image)
        x = activate(self.conv(self.with_minibatch_statistic(activate(x), sets)))
        return activate(self.fc(x.float().flatten(1)))

    def with_minibatch_statistic(self, x: Tensor, sets: int = 1) -> Tensor:
        """Appends a channel that says how much the samples of a group differ (Karras 2018):
        a generator that draws the same picture again and again is found out by it."""
        n, _, height, width = x.shape
        each = n // sets
        group = group_size(self.config.group, each)
        y = x.float().reshape(sets, group, each // group, -1)
        # Written out: `var` over an outer dimension took 25 times as long.
        variance = (y - y.mean(dim=1, keepdim=True)).square().mean(dim=1)
        deviation = (variance + 1e-8).sqrt().mean(dim=-1)  # [sets, each / group]
        channel = deviation.repeat(1, group).view(n, 1, 1, 1).expand(-1, 1, height, width)
        return torch.cat([x, channel.to(x.dtype)], dim=1)


def group_size(most: int, count: int) -> int:
    """How many of `count` samples the minibatch statistic compares with each other; sample i is
    compared with every (count / size)-th from it."""
    return next(size for size in range(min(most, count), 0, -1) if count % size == 0)


def prepare_growth(generator: StyleGAN2, discriminator: Discriminator, start: int) -> None:
    """Sets to zero what resolutions above `start` add to the picture and to the verdict."""
    with torch.no_grad():
        for r in generator.config.block_resolutions:
            if r > start:
                generator.synthesis.block(r).torgb.weight.zero_()
        for size, block in discriminator.blocks.items():
            assert isinstance(block, ResidualBlock)
            if int(size) * 2 > start:
                for conv in (block.conv1, block.skip):
                    conv.weight.zero_()


def discriminator_for(config: StyleGAN2Config) -> DiscriminatorConfig:
    """A discriminator of about the generator's size, for the same pictures."""
    return DiscriminatorConfig(
        resolution=config.resolution,
        img_channels=config.img_channels,
        c_dim=config.c_dim + sum(map(len, config.codes)),
        channel_base=config.channel_base,
        channel_max=config.channel_max,
    )


def warm_start(generator: StyleGAN2, discriminator: Discriminator, source: str) -> list[str]:
    """Copies what fits from a trained model's folder; returns the names of what didn't fit.

    A part that the source lacks (other classes) keeps its new weights; a finer resolution than
    the source's begins as growing does (see `prepare_growth`).
    """
    folder = Path(source)
    found = {}
    for name in ("model", "discriminator"):
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            raise LabError("no_warm_start", path=source, missing=path.name)
        found[name] = load_file(path)
    sizes = (re.match(r"synthesis\.b(\d+)\.", key) for key in found["model"])
    prepare_growth(generator, discriminator, max(int(size[1]) for size in sizes if size))
    change = _stored_mapping_lr(folder) / generator.config.mapping_lr
    for key, tensor in found["model"].items():
        if key.startswith("mapping.fc"):  # the same function at another learning rate
            tensor.mul_(change)
    left_out = []
    for network, name in ((generator, "model"), (discriminator, "discriminator")):
        stored, own = found[name], network.state_dict()
        fits = {k: v for k, v in stored.items() if k in own and own[k].shape == v.shape}
        network.load_state_dict({**own, **{k: v.to(own[k].dtype) for k, v in fits.items()}})
        left_out += [f"{name}.{key}" for key in own if key not in fits]
    return left_out


def _stored_mapping_lr(folder: Path) -> float:
    """By how much the stored mapping network's weights are multiplied when they are used."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return json.loads(file.metadata()["latent_lab"])["network"]["mapping_lr"]
