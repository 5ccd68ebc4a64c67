"""StyleGAN2's synthesis for drawing: what doesn't depend on the latents is computed once.

The same equations as `stylegan2.py`, arranged for the fewest and cheapest steps a picture: all
styles and demodulations in two batched products, weights in their final number format and memory
order, noise and bias in one addend. For weights that don't change any more, without gradients.
Against the network itself, the avatars at 64 px on one core: nearly half less time for one picture,
a quarter less for 8, a sixth less for 32 (processor time, side by side).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.base import Generator, Noise, SynthesisFunction
from gan.generators.stylegan2 import (
    StyleGAN2,
    Synthesis,
    SynthesisBlock,
    SynthesisLayer,
    ToRGB,
    upsample_image,
)

_ROWS = torch.channels_last
# Multiply-adds a picture from which a transposed convolution is drawn as four convolutions: there,
# in float32 on one core, it took 0.6 to 0.9 times as long; at a tenth of that nothing was gained.
_LARGE = 1e9
# Bytes of a tensor that glibc's malloc keeps for the next one. Larger ones come fresh from the
# kernel, page by page, every time: eight pictures of 256 px at once took a quarter of their time.
_KEPT = 2**25
# The coarser picture is enlarged by two products of matrices up to so many pixels: to 64 px in a
# quarter, to 256 px in half of the time of zeros put in and filtered. The larger, the more of the
# matrices is zeros.
_MATRIX_SIDE = 256
_Phases = list[list[Tensor]]


def prepare(generator: Generator, dtype: torch.dtype = torch.float32) -> SynthesisFunction:
    """The fastest synthesis there is for this generator, its convolutions in `dtype` where the
    family was published so.

    Its pictures differ from `generator.synthesis` by rounding only; in bfloat16 by some levels.
    """
    if isinstance(generator, StyleGAN2) and generator.config.architecture == "skip":
        return PreparedSynthesis(generator, dtype)
    if dtype != torch.float32 and generator.published_in_half:
        return partial(_draw_in, dtype, generator.synthesis)
    return generator.synthesis


def _draw_in(
    dtype: torch.dtype,
    synthesis: SynthesisFunction,
    ws: Tensor,
    noise: Noise = "const",
    resolution: int | None = None,
) -> Tensor:
    """Autocast speaks for this thread alone: others may draw exact pictures meanwhile."""
    with torch.autocast(ws.device.type, dtype):
        return synthesis(ws, noise, resolution).float()


@dataclass
class _Conv:
    """What a modulated convolution needs when it is drawn."""

    layer: SynthesisLayer
    weight: Tensor  # [O, I, 3, 3], or [I, O, 3, 3] for the transposed convolution
    fir: Tensor | None  # [O, 1, 4, 4] after a transposed convolution
    phases: _Phases | None  # instead of it: one kernel for each parity of row and column
    bias: Tensor  # [1, O, 1, 1], times the gain
    shift: Tensor  # [1, O, r, r]: bias + the stored noise, times the gain


@dataclass
class _RGB:
    """What it takes to make a picture of a block's features, and to put it on the coarser one."""

    weight: Tensor  # [1, img_channels, I]
    bias: Tensor  # [1, img_channels, 1]
    clamp: float | None
    enlarge: tuple[Tensor, Tensor] | None  # [2s, s] and [s, 2s] for a coarser picture of s px


class PreparedSynthesis:
    """Callable like `Generator.synthesis`; see `prepare`."""

    def __init__(self, generator: StyleGAN2, dtype: torch.dtype):
        self.dtype, self.generator = dtype, generator
        assert isinstance(generator.synthesis, Synthesis)
        blocks = [generator.synthesis.block(r) for r in generator.config.block_resolutions]
        self.fir = blocks[0].resample_filter
        self.blocks: list[tuple[list[_Conv], _RGB]] = []
        layers: list[SynthesisLayer] = []
        with torch.no_grad():
            for block in blocks:
                convs = [block.conv1] if block.is_first else [block.conv0, block.conv1]
                layers += convs
                self.blocks.append(([self._conv(conv) for conv in convs], self._rgb(block)))
            self.const = self._packed(blocks[0].const[None])
            # All convolutions, then what makes pictures: that reads the w of the next convolution.
            rows = [*range(len(layers)), *range(1, len(layers) + 1, 2)]
            self.rows = torch.tensor(rows, device=self.const.device)
            self._stack(layers, [block.torgb for block in blocks])
        self.at_once = self._at_once(generator)

    def _at_once(self, generator: StyleGAN2) -> int:
        """How many pictures are drawn at once, so that the tensors between the layers are kept."""
        channels = generator.config.channels
        most = max(channels(r) * r * r for r in generator.config.block_resolutions)
        return max(1, _KEPT // (most * self.dtype.itemsize))

    def _packed(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self.dtype).contiguous(memory_format=_ROWS)

    def _conv(self, layer: SynthesisLayer) -> _Conv:
        weight, fir = layer.weight, None
        if layer.up == 2:
            fir = (4 * layer.resample_filter).to(self.dtype).expand(weight.shape[0], 1, 4, 4)
            weight, fir = weight.transpose(0, 1), fir.contiguous()
        bias = layer.bias[None, :, None, None] * layer.gain
        noise = layer.noise_const * layer.noise_strength * layer.gain
        phases = self._phases(layer) if fir is not None else None
        return _Conv(layer, self._packed(weight), fir, phases, bias, self._packed(bias + noise))

    def _rgb(self, block: SynthesisBlock) -> _RGB:
        layer, enlarge = block.torgb, None
        if not block.is_first and block.resolution <= _MATRIX_SIDE:
            enlarge = _enlarging(self.fir, block.resolution // 2)
        weight = layer.weight.detach()[None, :, :, 0, 0].to(self.dtype)
        return _RGB(weight, layer.bias[None, :, None].to(self.dtype), layer.clamp, enlarge)

    def _phases(self, layer: SynthesisLayer) -> _Phases | None:
        """A row of the enlarged picture is even and sees kernel rows 2 and 0, or odd and sees 1."""
        size = layer.weight.numel() * (layer.resolution // 2) ** 2
        if size < _LARGE or self.dtype != torch.float32:
            return None
        seen = (slice(0, 3, 2), slice(1, 2))
        return [
            [self._packed(layer.weight[:, :, rows, columns].flip(2, 3)) for columns in seen]
            for rows in seen
        ]

    def _stack(self, convs: list[SynthesisLayer], rgbs: list[ToRGB]) -> None:
        """All affine layers as one [L, w_dim, most inputs], filled up with zeros; the energies of
        the convolutions' weights, for demodulation, as one [C, most inputs, most outputs]."""
        layers = [*convs, *rgbs]
        self.widths = [layer.weight.shape[1] for layer in layers]
        most = max(max(layer.weight.shape[:2]) for layer in layers)
        device, w_dim = layers[0].weight.device, layers[0].affine.weight.shape[1]
        self.affine = torch.zeros(len(layers), w_dim, most, device=device)
        self.affine_bias = torch.zeros(len(layers), 1, most, device=device)
        self.energy = torch.zeros(len(convs), most, most, device=device)
        self.epsilon = torch.full([len(convs), 1, 1], 1e-8, device=device)
        for i, layer in enumerate(layers):
            inputs = layer.weight.shape[1]
            gain = layer.style_gain if isinstance(layer, ToRGB) else 1.0
            weight = layer.affine.weight * (layer.affine.weight_gain * gain)
            self.affine[i, :, :inputs] = weight.T
            self.affine_bias[i, 0, :inputs] = layer.affine.bias * (layer.affine.bias_gain * gain)
        for i, layer in enumerate(convs):
            outputs, inputs = layer.weight.shape[:2]
            squares = layer.weight.square().sum(dim=(2, 3))  # [O, I]
            # g / √(e + ε) = 1 / √(e/g² + ε/g²)
            self.energy[i, :inputs, :outputs] = squares.T / layer.gain**2
            self.epsilon[i] /= layer.gain**2

    def _styles(self, ws: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """ws [N, num_ws, w_dim] → each layer's style, each convolution's demodulation × gain, as
        [N, most, 1, 1] in the convolutions' number format."""
        rows = ws.index_select(1, self.rows).transpose(0, 1)  # [L, N, w_dim]
        style = torch.baddbmm(self.affine_bias, rows, self.affine)  # [L, N, most]
        squares = style[: len(self.energy)].square()
        energy = torch.baddbmm(self.epsilon, squares, self.energy)
        styles = style.to(self.dtype)[..., None, None].unbind(0)
        scales = energy.rsqrt_().to(self.dtype)[..., None, None].unbind(0)
        return list(styles), list(scales)

    def __call__(self, ws: Tensor, noise: Noise = "const", resolution: int | None = None) -> Tensor:
        """ws [N, num_ws, w_dim] float32 → images [N, img_channels, r, r] float32."""
        if ws.device.type != "cpu" or isinstance(noise, torch.Generator):
            return self._draw_batch(ws, noise, resolution)
        parts = [self._draw_batch(part, noise, resolution) for part in ws.split(self.at_once)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _draw_batch(self, ws: Tensor, noise: Noise, resolution: int | None) -> Tensor:
        styles, scales = self._styles(ws)
        x, image, i = self.const, None, 0
        for convs, rgb in self.blocks:
            for conv in convs:
                x = self._draw(conv, x * styles[i][:, : self.widths[i]], scales[i], noise)
                i += 1
            image = self._picture(rgb, x, styles[len(scales) + i // 2], image)
            if image.shape[-1] == resolution:
                break
        assert image is not None
        return image

    def _picture(self, rgb: _RGB, x: Tensor, style: Tensor, coarser: Tensor | None) -> Tensor:
        """A convolution of 1 × 1 is a product of matrices: so a style costs its few weights, and
        not the pixels. → [N, img_channels, r, r] float32, on top of the coarser picture."""
        count, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(count, height * width, channels).transpose(1, 2)
        weight = rgb.weight * style[:, :channels, 0].transpose(1, 2)
        image = torch.baddbmm(rgb.bias, weight, pixels).float().view(count, -1, height, width)
        if rgb.clamp is not None:
            image.clamp_(-rgb.clamp, rgb.clamp)
        if coarser is None:
            return image
        if rgb.enlarge is None:
            return image.add_(upsample_image(coarser, self.fir))
        rows, columns = rgb.enlarge
        return image.add_(rows @ coarser @ columns)

    def _draw(self, conv: _Conv, x: Tensor, scale: Tensor, noise: Noise) -> Tensor:
        if conv.fir is None:
            x = F.conv2d(x, conv.weight, padding=1)
        else:
            if conv.phases is None:
                x = F.conv_transpose2d(x, conv.weight, stride=2)
            else:
                x = _in_phases(x, conv.phases)
            x = F.conv2d(x, conv.fir, padding=1, groups=len(conv.fir))
        shift = self._shift(conv, noise, len(x))
        torch.addcmul(shift, x, scale[:, : x.shape[1]], out=x)
        F.leaky_relu_(x, 0.2)
        limit = conv.layer.clamp
        return x if limit is None else x.clamp_(-limit, limit)

    def _shift(self, conv: _Conv, noise: Noise, count: int) -> Tensor:
        if noise == "const":
            return conv.shift
        drawn = conv.layer.noise(noise, count)
        shift = conv.bias if drawn is None else conv.bias + drawn * conv.layer.gain
        return shift.to(self.dtype)


def _enlarging(fir: Tensor, side: int) -> tuple[Tensor, Tensor] | None:
    """`upsample_image` for pictures of `side` px as matrices: enlarged = rows @ picture @ columns.
    None for a filter that isn't a product of a column and a row."""
    total, down, across = fir.sum(), fir.sum(dim=1), fir.sum(dim=0)
    if not torch.allclose(torch.outer(down, across) / total, fir, atol=1e-6):
        return None
    pixels = torch.eye(side, device=fir.device)[:, None]

    def along(taps: Tensor) -> Tensor:
        """→ what becomes of each pixel of a line, [side, 2 side]."""
        return F.conv_transpose1d(pixels, taps.view(1, 1, 4), stride=2, padding=1)[:, 0]

    return along(2 * down / total).T.contiguous(), along(2 * across)


def _in_phases(x: Tensor, phases: _Phases) -> Tensor:
    """Transposed convolution, stride 2: [N, I, H, W] → [N, O, 2H + 1, 2W + 1]."""
    count, _, height, width = x.shape
    shape = (count, phases[0][0].shape[0], 2 * height + 1, 2 * width + 1)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_ROWS)
    for row, kernels in enumerate(phases):
        for column, kernel in enumerate(kernels):
            padding = (kernel.shape[2] - 1, kernel.shape[3] - 1)
            y[:, :, row::2, column::2] = F.conv2d(x, kernel, padding=padding)
    return y
