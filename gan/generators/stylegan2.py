"""The StyleGAN2 generator (Karras et al. 2020), written for the CPU first.

One class holds the official checkpoints (same tensor names, same computation) and the small
networks trained here. The convolutions modulate the activations, not a copy of the weights for
each sample, so the cost of a picture doesn't grow with the batch. What it leaves to others:
reading files (`gan.loading`), other spellings of the tensors' names (`stylegan2_spellings.py`) and
making latents (`gan.latents`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.generators.base import Generator, Noise
from gan.generators.codes import Codes

SQRT2 = math.sqrt(2.0)
# What a file may ask of a mapping network: (least, most). Checked before anything is built.
MAPPING_BOUNDS = {
    "z_dim": (1, 4096),
    "w_dim": (1, 4096),
    "c_dim": (0, 100_000),
    "mapping_layers": (1, 32),
    "mapping_lr": (1e-6, 1e6),
}


@dataclass(frozen=True)
class StyleGAN2Config:
    """The sizes of a network. Channels at resolution r: min(channel_base / r, channel_max), or
    what `widths` says for each resolution. Layers clamp at `conv_clamp`, or each at its own of
    `layer_clamps`: a number for each convolution and each ToRGB, coarse to fine. `codes` are the
    shares of the values of each categorical code that the mapping network reads off z."""

    resolution: int = 64
    img_channels: int = 3
    z_dim: int = 128
    w_dim: int = 128
    c_dim: int = 0
    mapping_layers: int = 3
    mapping_lr: float = 0.01
    channel_base: int = 2048
    channel_max: int = 192
    architecture: str = "skip"
    conv_clamp: float | None = None
    widths: tuple[int, ...] | None = None
    layer_clamps: tuple[float | None, ...] | None = None
    codes: tuple[tuple[float, ...], ...] = ()

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        return tuple(2**i for i in range(2, int(math.log2(self.resolution)) + 1))

    @property
    def num_ws(self) -> int:
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def layers(self) -> tuple[int, ...]:
        """Row i of ws acts at this picture size: 4, 8, 8, 16, 16, … (the last is ToRGB's alone)."""
        return 4, *(r for r in self.block_resolutions[1:] for _ in range(2)), self.resolution

    def channels(self, resolution: int) -> int:
        if self.widths is not None:
            return self.widths[self.block_resolutions.index(resolution)]
        return min(self.channel_base // resolution, self.channel_max)

    def clamps(self) -> dict[str, float | None]:
        """The clamp of each layer, by its name: "b4.conv1", "b4.torgb", "b8.conv0", …"""
        names = clamped_layers(self.block_resolutions, self.architecture)
        if self.layer_clamps is None:
            return dict.fromkeys(names, self.conv_clamp)
        return dict(zip(names, self.layer_clamps, strict=True))


def clamped_layers(resolutions: tuple[int, ...], architecture: str) -> list[str]:
    """The layers of a network in their order."""
    names = []
    for r in resolutions:
        names += [f"b{r}.conv1"] if r == 4 else [f"b{r}.conv0", f"b{r}.conv1"]
        if architecture == "skip" or r == resolutions[-1]:
            names.append(f"b{r}.torgb")
    return names


def resample_filter() -> Tensor:
    """The [1, 3, 3, 1] binomial low-pass filter, normalised: [4, 4] with sum 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / taps.sum() ** 2


def upsample_image(images: Tensor, fir: Tensor) -> Tensor:
    """images [N, C, H, W] → [N, C, 2H, 2W]: zero insertion, then convolution with 4·fir."""
    # A transposed convolution of stride 2 *is* "insert zeros, then convolve".
    channels = images.shape[1]
    kernel = (4 * fir).to(images.dtype).expand(channels, 1, 4, 4)
    return F.conv_transpose2d(images, kernel, stride=2, padding=1, groups=channels)


class Dense(nn.Module):
    """Fully connected, with equalised learning rate: y = x·(W·lr/√in)ᵀ + b·lr."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full([outputs], float(bias) / lr))
        self.weight_gain = lr / math.sqrt(inputs)
        self.bias_gain = lr

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


def normalize_second_moment(x: Tensor) -> Tensor:
    """x / √(mean x² + 1e-8) over the last dimension."""
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()


class Mapping(nn.Module):
    """z and class → w: a multi-layer perceptron on normalised inputs."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.num_ws, self.num_layers = config.num_ws, config.mapping_layers
        width = config.z_dim
        if config.c_dim:
            self.embed, width = Dense(config.c_dim, config.w_dim), width + config.w_dim
        if codes := getattr(config, "codes", ()):
            self.codes = Codes(codes, config.z_dim)
            self.embed_codes = Dense(self.codes.width, config.w_dim)
            width += config.w_dim
        for i in range(config.mapping_layers):
            layer = Dense(width if i == 0 else config.w_dim, config.w_dim, lr=config.mapping_lr)
            if codes and i == 0:  # what a picture shows; the rest of z begins as a whisper
                layer.weight.data[:, : config.z_dim] *= 0.1
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def w(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim], c [N, c_dim] or None → w [N, w_dim], before truncation."""
        x = normalize_second_moment(z)
        if hasattr(self, "embed"):
            if c is None:
                raise ValueError("this generator is class-conditional: c is missing")
            x = torch.cat([x, normalize_second_moment(self.embed(c))], dim=1)
        if hasattr(self, "embed_codes"):
            said = self.codes.multi_hot(self.codes.read(z)).to(x)
            x = torch.cat([x, normalize_second_moment(self.embed_codes(said))], dim=1)
        for i in range(self.num_layers):
            x = F.leaky_relu(getattr(self, f"fc{i}")(x), 0.2) * SQRT2
        return x

    def forward(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        ws = self.w(z, c)[:, None].repeat(1, self.num_ws, 1)  # [N, num_ws, w_dim]
        if psi != 1.0:
            rows = slice(None, cutoff)
            ws[:, rows] = self.w_avg.lerp(ws[:, rows], psi)
        return ws


class ModulatedConv(nn.Module):
    """What the two kinds of modulated convolution share: a weight and the style that scales it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, w_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Dense(w_dim, inputs, bias=1.0)


class SynthesisLayer(ModulatedConv):
    """Modulated 3×3 convolution with demodulation, noise, bias and leaky ReLU; ×2 upsampling
    when `up` is 2."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        clamp: float | None = None,
        gain: float = 1.0,
    ):
        super().__init__(inputs, outputs, 3, w_dim)
        self.resolution, self.up, self.clamp, self.gain = resolution, up, clamp, gain * SQRT2
        self.clamp = None if clamp is None else clamp * gain
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("resample_filter", resample_filter())
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def noise(self, noise: Noise, count: int) -> Tensor | None:
        """→ [1 or N, 1, r, r] float32, already multiplied by the strength; None for no noise."""
        r = self.resolution
        if noise == "none":
            return None
        if noise == "const":
            return self.noise_const[None, None] * self.noise_strength
        rows = count
        if isinstance(noise, int):
            rows = 1
            # The layer's size is part of the seed: no two layers share a pattern.
            noise = torch.Generator().manual_seed((noise * 1009 + r * 2 + self.up) % 2**63)
        drawn = torch.randn(rows, 1, r, r, generator=noise, device=noise.device)
        return drawn.to(self.weight.device) * self.noise_strength

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """x [N, I, H, W], w [N, w_dim] → [N, O, up·H, up·W], in the number format of x."""
        style = self.affine(w)  # [N, I]
        energy = self.weight.square().sum(dim=(2, 3))  # [O, I]
        demodulation = (style.square() @ energy.T + 1e-8).rsqrt()  # [N, O]
        x = x * style[:, :, None, None].to(x.dtype)
        weight = self.weight.to(x.dtype)
        x = self.upsampling_conv(x, weight) if self.up == 2 else F.conv2d(x, weight, padding=1)
        # g·lrelu(y) = lrelu(g·y): the gain goes into what is small.
        scale = (demodulation * self.gain)[:, :, None, None].to(x.dtype)
        x = torch.addcmul((self.bias * self.gain)[:, None, None].to(x.dtype), x, scale)
        drawn = self.noise(noise, len(x))
        if drawn is not None:
            x = x + (drawn * self.gain).to(x.dtype)
        x = F.leaky_relu(x, 0.2, inplace=True)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)

    def upsampling_conv(self, x: Tensor, weight: Tensor) -> Tensor:
        """Stride-2 transposed convolution, then the low-pass: [N, I, H, W] → [N, O, 2H, 2W].

        Merging both into one polyphase convolution was measured 2.7 times slower on a CPU, with
        gradients and without: it has four times the multiply-adds.
        """
        y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [N, O, 2H + 1, 2W + 1]
        channels = y.shape[1]
        fir = (4 * self.resample_filter).to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv2d(y, fir, padding=1, groups=channels)


class ToRGB(ModulatedConv):
    """Modulated 1×1 convolution to colours, without demodulation and without activation."""

    def __init__(self, inputs: int, img_channels: int, w_dim: int, clamp: float | None = None):
        super().__init__(inputs, img_channels, 1, w_dim)
        self.clamp, self.style_gain = clamp, 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, I, H, W] → colours [N, img_channels, H, W] float32."""
        style = self.affine(w) * self.style_gain
        x = x * style[:, :, None, None].to(x.dtype)
        rgb = F.conv2d(x, self.weight.to(x.dtype), self.bias.to(x.dtype)).float()
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class SkipConv(nn.Module):
    """The 1×1 ×2-upsampling shortcut of the 'resnet' architecture."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.register_buffer("resample_filter", resample_filter())

    def forward(self, x: Tensor) -> Tensor:
        # Convolution first: a 1×1 commutes with the filter and is four times cheaper before it.
        weight = self.weight.to(x.dtype) / math.sqrt(self.weight.shape[1])
        return upsample_image(F.conv2d(x, weight), self.resample_filter) * math.sqrt(0.5)


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    resample_filter: Tensor

    def __init__(self, config: StyleGAN2Config, resolution: int):
        super().__init__()
        self.resolution, self.architecture = resolution, config.architecture
        self.is_first = resolution == 4
        self.has_rgb = config.architecture == "skip" or resolution == config.resolution
        outputs, clamps, name = config.channels(resolution), config.clamps(), f"b{resolution}"
        self.register_buffer("resample_filter", resample_filter())
        if self.is_first:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            inputs = config.channels(resolution // 2)
            clamp = clamps[f"{name}.conv0"]
            self.conv0 = SynthesisLayer(inputs, outputs, config.w_dim, resolution, 2, clamp)
            if config.architecture == "resnet":
                self.skip = SkipConv(inputs, outputs)
        resnet_gain = math.sqrt(0.5) if hasattr(self, "skip") else 1.0
        self.conv1 = SynthesisLayer(
            outputs, outputs, config.w_dim, resolution, 1, clamps[f"{name}.conv1"], resnet_gain
        )
        if self.has_rgb:
            clamp = clamps[f"{name}.torgb"]
            self.torgb = ToRGB(outputs, config.img_channels, config.w_dim, clamp)

    @property
    def num_convs(self) -> int:
        return 1 if self.is_first else 2

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Tensor,
        noise: Noise,
        dtype: torch.dtype,
        seen: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """ws [N, num_convs + 1, w_dim]: the rows of this block; the last is ToRGB's.

        `seen` receives what the layers make, by name.
        """
        seen = {} if seen is None else seen
        name = f"b{self.resolution}"
        if x is None:
            const = self.const.to(dtype).expand(len(ws), -1, -1, -1)
            y = self.conv1(const.contiguous(memory_format=torch.channels_last), ws[:, 0], noise)
        else:
            shortcut = self.skip(x) if hasattr(self, "skip") else None
            seen[f"{name}.conv0"] = y = self.conv0(x, ws[:, 0], noise)
            y = self.conv1(y, ws[:, 1], noise)
            y = y if shortcut is None else shortcut + y
        seen[name] = y
        if image is not None:
            image = upsample_image(image, self.resample_filter)
        if self.has_rgb:
            rgb = self.torgb(y, ws[:, self.num_convs])
            image = rgb if image is None else image + rgb
        if image is not None:
            seen[f"{name}.rgb"] = image
        return y, image


class Synthesis(nn.Module):
    """ws → image: blocks from 4×4 up to the full resolution.

    `dtype` is the number format of the convolutions: float32 is exact, bfloat16 is for previews
    and training. Styles, demodulation and colours stay in float32.
    """

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config, self.dtype = config, torch.float32
        for r in config.block_resolutions:
            self.add_module(f"b{r}", SynthesisBlock(config, r))

    def block(self, resolution: int) -> SynthesisBlock:
        return getattr(self, f"b{resolution}")

    def forward(
        self,
        ws: Tensor,
        noise: Noise = "const",
        resolution: int | None = None,
        seen: dict[str, Tensor] | None = None,
    ) -> Tensor:
        x = image = None
        row = 0
        for r in self.config.block_resolutions:
            block = self.block(r)
            # ToRGB reads the row after the block's convolutions, which the next block reads too.
            rows = ws[:, row : row + block.num_convs + 1]
            x, image = block(x, image, rows, noise, self.dtype, seen)
            row += block.num_convs
            if r == resolution:
                break
        if image is None:
            raise ValueError(f"architecture {self.config.architecture!r} has no {resolution} px")
        return image


class StyleGAN2(Generator):
    """Mapping and synthesis together, under the names that official checkpoints use."""

    family = "stylegan2"
    published_in_half = True
    mapping: Mapping
    synthesis: Synthesis

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        self.z_dim, self.w_dim, self.c_dim = config.z_dim, config.w_dim, config.c_dim
        self.num_ws, self.resolution = config.num_ws, config.resolution
        self.img_channels = config.img_channels
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)

    def layer_resolutions(self) -> list[int]:
        return list(self.config.layers)

    def early_resolutions(self) -> list[int]:
        """All of them, where the network adds up RGB as it grows."""
        is_skip = self.config.architecture == "skip"
        sizes = self.config.block_resolutions if is_skip else ()
        return [size for size in sizes if size < self.resolution]

    def layer_names(self) -> list[str]:
        """ "b8.conv0", "b8" (the block's end), "b8.rgb" (the picture by then, if there is one)."""
        names = []
        for block in map(self.synthesis.block, self.config.block_resolutions):
            name = f"b{block.resolution}"
            names += [name] if block.is_first else [f"{name}.conv0", name]
            names += [f"{name}.rgb"] if block.has_rgb else []
        return names

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        if layer not in self.layer_names():
            raise ValueError(f"no layer {layer!r}; there are {', '.join(self.layer_names())}")
        seen: dict[str, Tensor] = {}
        early = int(layer.partition(".")[0][1:]) if self.config.architecture == "skip" else None
        self.synthesis(ws, noise, early, seen)
        return seen[layer].float()

    def style_weights(self) -> Tensor:
        """The affine layers of all convolutions (those of colours change hue, not shape)."""
        blocks = map(self.synthesis.block, self.config.block_resolutions)
        convs = [conv for b in blocks for conv in ([b.conv1] if b.is_first else [b.conv0, b.conv1])]
        return torch.cat([conv.affine.weight for conv in convs]) / math.sqrt(self.w_dim)
