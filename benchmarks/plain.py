"""StyleGAN2's synthesis written plainly, straight from the paper: the yardstick of speed and truth.

Modulation scales a copy of the weights for each sample, demodulation normalises it, and one grouped
convolution draws the whole batch; upsampling inserts zeros, convolves, filters. Nothing is cached,
rearranged or merged. Works in the number format of the ws and weights it is given: float64 for
truth. Noise is the stored noise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.stylegan2 import StyleGAN2, Synthesis, SynthesisLayer, ToRGB


def plain_synthesis(generator: StyleGAN2, ws: Tensor) -> Tensor:
    """ws [N, num_ws, w_dim] → images [N, img_channels, H, W]; architecture "skip" only."""
    assert isinstance(generator.synthesis, Synthesis)
    assert generator.config.architecture == "skip"
    x, image, row = None, None, 0
    for resolution in generator.config.block_resolutions:
        block = generator.synthesis.block(resolution)
        if x is None:
            x = block.const.expand(len(ws), -1, -1, -1)
        else:
            x, row = _layer(block.conv0, x, ws[:, row]), row + 1
        x, row = _layer(block.conv1, x, ws[:, row]), row + 1
        rgb = _to_rgb(block.torgb, x, ws[:, row])
        if image is not None:
            rgb = rgb + _filtered(_with_zeros(image), 4 * block.resample_filter, (2, 1))
        image = rgb
    assert image is not None
    return image


def _layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    style = _affine(layer, w)  # [N, I]
    weight = layer.weight[None] * style[:, None, :, None, None]  # [N, O, I, 3, 3]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = _convolved(x, weight, layer.up)
    if layer.up == 2:
        x = _filtered(x, 4 * layer.resample_filter, (1, 1))
    x = x + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    x = F.leaky_relu(x, 0.2) * layer.gain
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    style = _affine(layer, w) / math.sqrt(layer.weight.shape[1])
    weight = layer.weight[None] * style[:, None, :, None, None]
    rgb = _convolved(x, weight, up=1) + layer.bias[:, None, None]
    return rgb if layer.clamp is None else rgb.clamp(-layer.clamp, layer.clamp)


def _affine(layer: SynthesisLayer | ToRGB, w: Tensor) -> Tensor:
    weight = layer.affine.weight / math.sqrt(w.shape[1])
    return w @ weight.T + layer.affine.bias


def _convolved(x: Tensor, weight: Tensor, up: int) -> Tensor:
    """x [N, I, H, W], a weight for each sample [N, O, I, k, k] → [N, O, H', W']: one convolution
    with N groups, transposed where it doubles the size."""
    n, o, i, k, _ = weight.shape
    merged = x.reshape(1, n * i, *x.shape[2:])
    if up == 2:
        kernels = weight.transpose(1, 2).reshape(n * i, o, k, k)
        y = F.conv_transpose2d(merged, kernels, stride=2, groups=n)
    else:
        y = F.conv2d(merged, weight.reshape(n * o, i, k, k), padding=k // 2, groups=n)
    return y.reshape(n, o, *y.shape[2:])


def _with_zeros(image: Tensor) -> Tensor:
    """[N, C, H, W] → [N, C, 2H, 2W], each pixel followed by zeros."""
    larger = torch.zeros(*image.shape[:2], 2 * image.shape[2], 2 * image.shape[3]).to(image)
    larger[:, :, ::2, ::2] = image
    return larger


def _filtered(x: Tensor, fir: Tensor, padding: tuple[int, int]) -> Tensor:
    """A true convolution (the kernel flipped) of each channel with `fir`."""
    channels = x.shape[1]
    x = F.pad(x, (padding[0], padding[1], padding[0], padding[1]))
    return F.conv2d(x, fir.flip(0, 1).expand(channels, 1, -1, -1), groups=channels)
