"""StyleGAN3's synthesis written plainly, as the published reference computes it without a GPU.

Modulation scales a copy of the weights for each sample, demodulation normalises it, and one grouped
convolution draws the whole batch. The nonlinearity inserts zeros, filters the whole fine grid (each
axis by itself where the filter is separable), applies the leaky ReLU, filters the whole fine grid
again and throws away what the coarser grid doesn't hold. The yardstick of speed and truth for
`gan/generators/stylegan3.py`. Works in the number format of the ws and weights that it is given.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.stylegan3 import StyleGAN3, SynthesisInput, SynthesisLayer, ToRGB


def plain_synthesis(generator: StyleGAN3, ws: Tensor) -> Tensor:
    """ws [N, num_ws, w_dim] → images [N, img_channels, H, W]."""
    synthesis = generator.synthesis
    x = _input(synthesis.input, ws[:, 0])
    for row, layer in enumerate(synthesis.layers, 1):
        x = _layer(layer, x, ws[:, row])
    image = _to_rgb(synthesis.torgb, x, ws[:, -1])
    return image * generator.config.output_scale


def _input(layer: SynthesisInput, w: Tensor) -> Tensor:
    t = _affine(layer, w)
    t = t / t[:, :2].norm(dim=1, keepdim=True)
    pictures, signal = [], layer.signal
    axis = (torch.arange(signal.size).to(w) + 0.5 - signal.size / 2) / signal.rate
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    for cos, sin, right, down in t.tolist():
        turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).to(w)
        move = torch.tensor([[1, 0, -right], [0, 1, -down], [0, 0, 1]]).to(w)
        matrix = turn @ move @ layer.transform
        phases = layer.phases + layer.freqs @ matrix[:2, 2]
        freqs = layer.freqs @ matrix[:2, :2]
        beyond = (freqs.norm(dim=1) - signal.cutoff) / (signal.rate / 2 - signal.cutoff)
        waves = x[..., None] * freqs[:, 0] + y[..., None] * freqs[:, 1] + phases
        waves = (2 * math.pi * waves).sin() * (1 - beyond).clamp(0, 1)
        pictures.append((waves @ (layer.weight / math.sqrt(signal.channels)).T).permute(2, 0, 1))
    return torch.stack(pictures)


def _layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    style = _affine(layer, w)
    style = style / style.square().mean().sqrt()
    weight = layer.weight / layer.weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    weight = weight[None] * style[:, None, :, None, None]  # [N, O, I, k, k]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = _convolved(x, weight * layer.magnitude_ema.rsqrt(), layer.kernel - 1)
    x = x + layer.bias[:, None, None]
    x = _filtered(_with_zeros(x, layer.up), layer.up_filter, layer.padding, layer.up)
    x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    if layer.clamp is not None:
        x = x.clamp(-layer.clamp, layer.clamp)
    return _filtered(x, layer.down_filter, (0, 0), 1)[:, :, :: layer.down, :: layer.down]


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    style = _affine(layer, w) / math.sqrt(layer.weight.shape[1])
    weight = layer.weight[None] * style[:, None, :, None, None] * layer.magnitude_ema.rsqrt()
    rgb = _convolved(x, weight, 0) + layer.bias[:, None, None]
    return rgb if layer.clamp is None else rgb.clamp(-layer.clamp, layer.clamp)


def _affine(layer: SynthesisInput | SynthesisLayer | ToRGB, w: Tensor) -> Tensor:
    return w @ layer.affine.weight.T / math.sqrt(w.shape[1]) + layer.affine.bias


def _convolved(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """x [N, I, H, W], a weight for each sample [N, O, I, k, k] → [N, O, H', W']: one convolution
    with N groups."""
    n, o, i, k, _ = weight.shape
    merged = x.reshape(1, n * i, *x.shape[2:])
    y = F.conv2d(merged, weight.reshape(n * o, i, k, k), padding=padding, groups=n)
    return y.reshape(n, o, *y.shape[2:])


def _with_zeros(x: Tensor, up: int) -> Tensor:
    """[N, C, H, W] → [N, C, up·H, up·W], each pixel followed by zeros on both axes."""
    larger = torch.zeros(*x.shape[:2], up * x.shape[2], up * x.shape[3]).to(x)
    larger[:, :, ::up, ::up] = x
    return larger


def _filtered(x: Tensor, fir: Tensor, padding: tuple[int, int], up: int) -> Tensor:
    """A true convolution (the kernel flipped) of each channel with `fir`, [taps] on each axis or
    [taps, taps]; it makes up for the brightness that up² − 1 zeros took."""
    channels = x.shape[1]
    before, after = padding
    x = F.pad(x, (before, after, before, after))
    fir = fir.flip(tuple(range(fir.ndim)))
    if fir.ndim == 2:
        return F.conv2d(x, up**2 * fir.expand(channels, 1, -1, -1), groups=channels)
    x = F.conv2d(x, (up * fir)[None, :].expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, (up * fir)[:, None].expand(channels, 1, -1, 1), groups=channels)
