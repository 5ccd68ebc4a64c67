"""The StyleGAN3 generator (Karras et al. 2021), -T and -R, written for the CPU first.

Same tensor names and same computation as the published networks. Activations are modulated, not a
copy of the weights for each sample, so a picture's cost doesn't grow with the batch. It leaves to
others: reading files (`gan.loading`), making latents (`gan.latents`) and the resampling around the
nonlinearity (`filtered_lrelu.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import LabError
from gan.generators.base import Generator, Noise
from gan.generators.filtered_lrelu import filtered_lrelu
from gan.generators.stylegan2 import MAPPING_BOUNDS, Dense, Mapping

LRELU_UPSAMPLING = 2  # the nonlinearity works at twice the rate of its layer

# What a file may ask for: (least, most), or one of these. Checked before anything is built.
BOUNDS = {
    **MAPPING_BOUNDS,
    "channel_base": (1, 2**18),
    "channel_max": (1, 4096),
    "num_layers": (2, 64),
    "num_critical": (0, 63),
    "first_cutoff": (0.1, 512),
    "first_stopband": (0.1, 1024),
    "last_stopband_rel": (1, 4),
    "margin_size": (0, 64),
    "output_scale": (1e-6, 1e6),
    "filter_size": (2, 32),
    "conv_clamp": (1e-6, 1e6),
}
CHOICES = {
    "resolution": tuple(2**n for n in range(4, 11)),
    "img_channels": (1, 3, 4),
    "conv_kernel": (1, 3),
}
_NAME = "StyleGAN3"
_LAYER = re.compile(r"synthesis\.(L(\d{1,2})_(\d{1,4})_(\d{1,4}))\.weight")


@dataclass(frozen=True)
class Signal:
    """What a layer puts out: a picture of `size`² pixels, `margin` of them on each side outside the
    final picture, whose frequencies end between `cutoff` and `cutoff + half_width` cycles per
    picture side; `rate` pixels per picture side."""

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int


@dataclass(frozen=True)
class StyleGAN3Config:
    """The sizes of a network, and the frequency plan from which its layers follow."""

    resolution: int = 256
    img_channels: int = 3
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 2
    mapping_lr: float = 0.01
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_kernel: int = 3
    filter_size: int = 6
    use_radial_filters: bool = False
    conv_clamp: float | None = 256.0

    @property
    def num_ws(self) -> int:
        return self.num_layers + 2

    @cached_property
    def signals(self) -> tuple[Signal, ...]:
        """One for each of the `num_layers` + 1 layers: exponential from the first cutoff to the
        last, from which on (`num_critical` layers before the end) it stays (§3.2)."""
        return tuple(self._signal(i) for i in range(self.num_layers + 1))

    def _signal(self, i: int) -> Signal:
        exponent = min(i / (self.num_layers - self.num_critical), 1.0)
        last_cutoff = self.resolution / 2
        last_stopband = last_cutoff * self.last_stopband_rel
        cutoff = self.first_cutoff * (last_cutoff / self.first_cutoff) ** exponent
        stopband = self.first_stopband * (last_stopband / self.first_stopband) ** exponent
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.resolution)))
        margin = self.margin_size if i < self.num_layers - 1 else 0
        channels = round(min(self.channel_base / 2 / cutoff, self.channel_max))
        return Signal(
            cutoff=cutoff,
            half_width=max(stopband, rate / 2) - cutoff,
            rate=rate,
            size=rate + 2 * margin,
            channels=channels if i < self.num_layers else self.img_channels,
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(f"L{i}_{s.size}_{s.channels}" for i, s in enumerate(self.signals))


def lowpass(taps: int, cutoff: float, half_width: float, rate: float, radial: bool) -> Tensor:
    """A Kaiser-windowed low-pass filter, [taps] or, `radial`, [taps, taps], with sum 1.

    `cutoff` and the half `half_width` of its transition are in cycles, `rate` in samples, per
    picture side (§B of the paper; Kaiser's own formulas).
    """
    attenuation = 2.285 * (taps - 1) * math.pi * 2 * half_width / (rate / 2) + 7.95
    window = torch.kaiser_window(taps, False, _kaiser_beta(attenuation), dtype=torch.float64)
    place = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    if not radial:
        fir = window * torch.sinc(2 * cutoff / rate * place)
    else:
        radius = torch.hypot(place[:, None], place[None, :]) / rate  # never 0: taps is even
        wave = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
        fir = wave * torch.outer(window, window)
    return (fir / fir.sum()).float()


def _kaiser_beta(attenuation: float) -> float:
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


class SynthesisInput(nn.Module):
    """Fourier features on a plane that w shifts and turns: the coordinates of the picture."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.signal = config.signals[0]
        channels = self.signal.channels
        angle, area = 2 * math.pi * torch.rand(channels), torch.rand(channels)
        freqs = torch.stack([angle.cos(), angle.sin()], 1) * area.sqrt()[:, None]
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = Dense(config.w_dim, 4)
        self.register_buffer("transform", torch.eye(3))  # a person's own, before the learned one
        self.register_buffer("freqs", freqs * self.signal.cutoff)
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, w: Tensor) -> Tensor:
        """w [N, w_dim] → [N, C, size, size], channels_last."""
        signal, matrix = self.signal, self.placement(w)
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:])[..., 0]  # [N, C]
        freqs = self.freqs @ matrix[:, :2, :2]  # [N, C, 2]
        # Frequencies that a turn or a zoom pushed beyond the grid fade out.
        beyond = (freqs.norm(dim=2) - signal.cutoff) / (signal.rate / 2 - signal.cutoff)
        amplitudes = (1 - beyond).clamp(0, 1)[:, None]  # [N, 1, C]
        angles = torch.baddbmm(phases[:, None], self.grid().expand(len(w), -1, -1), freqs.mT)
        waves = (2 * math.pi * angles).sin() * amplitudes  # [N, size², C]
        x = waves @ (self.weight / math.sqrt(signal.channels)).T
        return x.view(len(w), signal.size, signal.size, -1).permute(0, 3, 1, 2)

    def placement(self, w: Tensor) -> Tensor:
        """w [N, w_dim] → the learned rotation and translation after `transform`: [N, 3, 3]."""
        learned = self.affine(w)
        learned = learned / learned[:, :2].norm(dim=1, keepdim=True)
        cos, sin, x, y = learned.unbind(dim=1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        turned = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1)
        moved = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1)
        return turned.view(-1, 3, 3) @ moved.view(-1, 3, 3) @ self.transform

    def grid(self) -> Tensor:
        """Pixel centres in picture sides, the picture's own centre at 0: [size², 2], x then y."""
        size = self.signal.size
        axis = torch.arange(size, device=self.phases.device) + 0.5 - size / 2
        y, x = torch.meshgrid(axis / self.signal.rate, axis / self.signal.rate, indexing="ij")
        return torch.stack([x, y], 2).view(-1, 2)


class SynthesisLayer(nn.Module):
    """Modulated convolution with demodulation and bias, then the filtered nonlinearity."""

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, config: StyleGAN3Config, index: int):
        super().__init__()
        before, signal = config.signals[max(index - 1, 0)], config.signals[index]
        self.before, self.signal, self.clamp = before, signal, config.conv_clamp
        self.kernel = kernel = config.conv_kernel
        self.weight = nn.Parameter(torch.randn(signal.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(signal.channels))
        self.affine = Dense(config.w_dim, before.channels, bias=1.0)
        self.register_buffer("magnitude_ema", torch.ones([]))  # mean square of what comes in
        rate = LRELU_UPSAMPLING * max(before.rate, signal.rate)
        self.up, self.down = rate // before.rate, rate // signal.rate
        radial = config.use_radial_filters and index < config.num_layers - config.num_critical
        up = (config.filter_size * self.up, before.cutoff, before.half_width, rate, False)
        down = (config.filter_size * self.down, signal.cutoff, signal.half_width, rate, radial)
        self.register_buffer("up_filter", lowpass(*up))
        self.register_buffer("down_filter", lowpass(*down))

    @property
    def padding(self) -> tuple[int, int]:
        """Of the enlarged picture, so that the reduced one has its size; negative: cropped."""
        inner = (self.signal.size - 1) * self.down + 1  # the fine grid between the first and last
        taps = len(self.up_filter) + len(self.down_filter)
        total = inner - (self.before.size + self.kernel - 1) * self.up + taps - 2
        before = (total + self.up) // 2
        return before, total - before

    def forward(self, x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
        """x [N, I, H, W], w [N, w_dim] → [N, O, size, size] float32, channels_last. `dtype` is
        the number format of the convolution."""
        # Normalising weights and styles cancels in the demodulation; it keeps 1e-8 small.
        weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        style = self.affine(w)
        style = style * style.square().mean(dim=1, keepdim=True).rsqrt()
        energy = weight.square().sum(dim=(2, 3))  # [O, I]
        scale = (style.square() @ energy.T + 1e-8).rsqrt() * self.magnitude_ema.rsqrt()
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        x = (x * style[:, :, None, None]).to(dtype)
        x = F.conv2d(x, weight, padding=self.kernel - 1).float()
        x = torch.addcmul(self.bias[:, None, None], x, scale[:, :, None, None])
        filters = (self.up_filter, self.down_filter)
        with torch.autocast(x.device.type, enabled=False):  # long sums of small taps
            return filtered_lrelu(x, *filters, self.up, self.down, self.padding, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to colours, without demodulation and without filters."""

    magnitude_ema: Tensor

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        inputs, self.clamp = config.signals[-2].channels, config.conv_clamp
        self.weight = nn.Parameter(torch.randn(config.img_channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))
        self.affine = Dense(config.w_dim, inputs, bias=1.0)
        self.register_buffer("magnitude_ema", torch.ones([]))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, I, H, W], w [N, w_dim] → colours [N, img_channels, H, W] float32."""
        style = self.affine(w) * (self.weight.shape[1] ** -0.5 * self.magnitude_ema.rsqrt())
        rgb = F.conv2d(x * style[:, :, None, None], self.weight, self.bias)
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class Synthesis(nn.Module):
    """ws → image. `dtype` is the number format of the convolutions: float32 is exact. There is no
    noise in this network, and no coarser picture on the way."""

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.config, self.dtype = config, torch.float32
        self.input = SynthesisInput(config)
        for i, name in enumerate(config.layer_names[:-1]):
            self.add_module(name, SynthesisLayer(config, i))
        self.add_module(config.layer_names[-1], ToRGB(config))

    @property
    def layers(self) -> list[SynthesisLayer]:
        return [getattr(self, name) for name in self.config.layer_names[:-1]]

    @property
    def torgb(self) -> ToRGB:
        return getattr(self, self.config.layer_names[-1])

    def forward(self, ws: Tensor, noise: Noise = "const", resolution: int | None = None) -> Tensor:
        *_, image = self.steps(ws)
        return image.contiguous() * self.config.output_scale

    def steps(self, ws: Tensor) -> Iterator[Tensor]:
        """What each part puts out: the input, then every layer of `config.layer_names`."""
        rows = iter(ws.unbind(dim=1))
        x = self.input(next(rows))
        yield x
        for layer in self.layers:
            x = layer(x, next(rows), self.dtype)
            yield x
        yield self.torgb(x, next(rows))


class StyleGAN3(Generator):
    """Mapping and synthesis together, under the names that official checkpoints use."""

    family = "stylegan3"
    published_in_half = True
    latent_space = "w"
    mapping: Mapping
    synthesis: Synthesis

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.config = config
        self.z_dim, self.w_dim, self.c_dim = config.z_dim, config.w_dim, config.c_dim
        self.num_ws, self.resolution = config.num_ws, config.resolution
        self.img_channels = config.img_channels
        self.mapping = Mapping(config)  # pyright: ignore[reportArgumentType] - has what it reads
        self.synthesis = Synthesis(config)

    def layer_resolutions(self) -> list[int]:
        """The rate at which each row's layer works, in pixels per picture side."""
        return [self.config.signals[0].rate, *(each.rate for each in self.config.signals)]

    def layer_names(self) -> list[str]:
        return ["input", *self.config.layer_names[:-1]]

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        """ws → what `layer` puts out, [N, C, r, r]; its margin outside the picture is cut off."""
        if layer not in self.layer_names():
            raise ValueError(f"no layer {layer!r}; there are {', '.join(self.layer_names())}")
        index = self.layer_names().index(layer)
        signal = self.config.signals[max(index - 1, 0)]
        x = next(islice(self.synthesis.steps(ws), index, None))
        margin = (signal.size - signal.rate) // 2
        return x[:, :, margin : margin + signal.rate, margin : margin + signal.rate]

    def style_weights(self) -> Tensor:
        """The affine layers of all convolutions (that of colours changes hue, not shape; that of
        the input moves the whole picture), stacked: [rows, w_dim]."""
        return torch.cat(
            [each.affine.weight.detach() for each in self.synthesis.layers]
        ) / math.sqrt(self.w_dim)


def matches(shapes: Table[str, tuple[int, ...]]) -> bool:
    """Whether these are the tensors of a StyleGAN3. StyleGAN-XL, which has the same layers and
    projects its classes, is not."""
    marks = ("synthesis.input.freqs", "synthesis.input.transform", "mapping.fc0.weight")
    is_xl = any("embed_proj" in name for name in shapes)
    return shapes.keys() >= {*marks} and any(map(_LAYER.fullmatch, shapes)) and not is_xl


def config_from(
    shapes: Table[str, tuple[int, ...]], tensors: Table[str, Tensor], kwargs: Table[str, Any]
) -> StyleGAN3Config:
    """The sizes, from the shapes; the frequency plan from `kwargs`, where it isn't the usual one.

    Raises LabError for a network that isn't one of these.
    """
    try:
        config = _checked(_planned(_sizes(shapes), kwargs))
        expected = set(config.layer_names)
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
        raise LabError("network_incomplete", family=_NAME, what=str(error).strip("'")) from error
    found = {match[1] for match in map(_LAYER.fullmatch, shapes) if match}
    if strange := sorted(found ^ expected):
        what = f"{config.resolution} px, {config.num_layers} layers"
        raise LabError("network_differs", family=_NAME, layer=strange[0], what=what)
    return config


def _sizes(shapes: Table[str, tuple[int, ...]]) -> StyleGAN3Config:
    """What the tensors' shapes say, with the usual frequency plan."""
    layers = {int(match[2]): match for match in map(_LAYER.fullmatch, shapes) if match}
    first, last = layers[0][1], layers[max(layers)]
    resolution, width = int(last[3]), shapes[f"synthesis.{last[1]}.weight"][1]
    w_dim, inputs = shapes["mapping.fc0.weight"]
    embedding = shapes.get("mapping.embed.weight", (w_dim, 0))
    return StyleGAN3Config(
        resolution=resolution,
        img_channels=int(last[4]),
        z_dim=inputs - (w_dim if embedding[1] else 0),
        w_dim=w_dim,
        c_dim=embedding[1],
        mapping_layers=sum(1 for name in shapes if re.fullmatch(r"mapping\.fc\d+\.weight", name)),
        channel_base=width * resolution,  # of the last layer, whose cutoff is resolution / 2
        channel_max=shapes[f"synthesis.{first}.weight"][1],
        num_layers=max(layers),
        conv_kernel=shapes[f"synthesis.{first}.weight"][2],
        use_radial_filters=len(shapes[f"synthesis.{first}.down_filter"]) == 2,
    )


def _planned(config: StyleGAN3Config, kwargs: Table[str, Any]) -> StyleGAN3Config:
    if kwargs.get("lrelu_upsampling", LRELU_UPSAMPLING) != LRELU_UPSAMPLING:
        raise ValueError("lrelu_upsampling")
    mapping = kwargs.get("mapping_kwargs", {})
    stated = {"mapping_lr": mapping["lr_multiplier"]} if "lr_multiplier" in mapping else {}
    names = ("channel_base", "channel_max", "num_critical", "first_cutoff", "first_stopband")
    names += ("last_stopband_rel", "margin_size", "output_scale", "filter_size", "conv_clamp")
    stated |= {name: kwargs[name] for name in names if name in kwargs}
    return replace(config, **stated)


def _checked(config: StyleGAN3Config) -> StyleGAN3Config:
    """As it came; ValueError where a size is not of its type or not within its bounds."""
    for name, (low, high) in BOUNDS.items():
        value, usual = getattr(config, name), getattr(StyleGAN3Config, name)
        is_number = type(value) in ((int,) if type(usual) is int else (int, float))
        is_absent = value is None and name == "conv_clamp"
        if not (is_absent or (is_number and low <= value <= high)):
            raise ValueError(f"{name} = {value!r}")
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"{name} = {getattr(config, name)!r}")
    return config
