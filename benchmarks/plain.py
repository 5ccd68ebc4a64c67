"""StyleGAN2 written plainly, straight from the paper: the yardstick of speed and truth.

Modulation scales a copy of the weights for each sample, demodulation normalises it, and one grouped
convolution draws the whole batch; upsampling inserts zeros, convolves, filters. Nothing is cached,
rearranged or merged. Works in the number format of the ws and weights it is given: float64 for
truth. Noise is the stored noise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gan.generators.stylegan2 import SkipConv, StyleGAN2, Synthesis, SynthesisLayer, ToRGB


def plain_mapping(generator: StyleGAN2, z: Tensor, c: Tensor | None = None) -> Tensor:
    """z [N, z_dim], c [N, c_dim] or None → ws [N, num_ws, w_dim], without truncation."""
    mapping, config = generator.mapping, generator.config
    x = _normalised(z)
    if c is not None:
        embedded = c @ mapping.embed.weight.T / math.sqrt(config.c_dim) + mapping.embed.bias
        x = torch.cat([x, _normalised(embedded)], dim=1)
    for number in range(config.mapping_layers):
        layer, lr = getattr(mapping, f"fc{number}"), config.mapping_lr
        x = x @ (layer.weight * lr / math.sqrt(x.shape[1])).T + layer.bias * lr
        x = math.sqrt(2) * F.leaky_relu(x, 0.2)
    return x[:, None].expand(-1, config.num_ws, -1)


def plain_synthesis(generator: StyleGAN2, ws: Tensor) -> Tensor:
    """ws [N, num_ws, w_dim] → images [N, img_channels, H, W].

    "skip" adds up the colours of all blocks; "orig" and "resnet" turn the last features alone into
    colours, and "resnet" adds a shortcut to the two convolutions of each block, both halves scaled
    by √½ so that the variance stays.
    """
    assert isinstance(generator.synthesis, Synthesis)
    architecture, clamps = generator.config.architecture, generator.config.clamps()
    x, image, row = None, None, 0
    for resolution in generator.config.block_resolutions:
        block = generator.synthesis.block(resolution)
        shortcut, gain = None, 1.0
        if x is None:
            x = block.const.expand(len(ws), -1, -1, -1)
        else:
            if architecture == "resnet":
                gain = math.sqrt(0.5)
                shortcut = gain * _shortcut(block.skip, x)
            x = _layer(block.conv0, x, ws[:, row], clamps[f"b{resolution}.conv0"])
            row += 1
        x = _layer(block.conv1, x, ws[:, row], clamps[f"b{resolution}.conv1"], gain)
        row += 1
        x = x if shortcut is None else x + shortcut
        if architecture == "skip" or resolution == generator.resolution:
            rgb = _to_rgb(block.torgb, x, ws[:, row], clamps[f"b{resolution}.torgb"])
            image = rgb if image is None else rgb + _doubled(image, block.resample_filter)
    assert image is not None
    return image


def _normalised(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def _shortcut(layer: SkipConv, x: Tensor) -> Tensor:
    """Doubled, then mixed by a 1×1 convolution of equalised learning rate, without a bias."""
    return F.conv2d(
        _doubled(x, layer.resample_filter), layer.weight / math.sqrt(layer.weight.shape[1])
    )


def _layer(
    layer: SynthesisLayer, x: Tensor, w: Tensor, clamp: float | None, gain: float = 1.0
) -> Tensor:
    style = _affine(layer, w)  # [N, I]
    weight = layer.weight[None] * style[:, None, :, None, None]  # [N, O, I, 3, 3]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = _convolved(x, weight, layer.up)
    if layer.up == 2:
        x = _filtered(x, 4 * layer.resample_filter, (1, 1))
    x = x + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    x = F.leaky_relu(x, 0.2) * math.sqrt(2) * gain
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def _to_rgb(layer: ToRGB, x: Tensor, w: Tensor, clamp: float | None) -> Tensor:
    style = _affine(layer, w) / math.sqrt(layer.weight.shape[1])
    weight = layer.weight[None] * style[:, None, :, None, None]
    rgb = _convolved(x, weight, up=1) + layer.bias[:, None, None]
    return rgb if clamp is None else rgb.clamp(-clamp, clamp)


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


def _doubled(x: Tensor, fir: Tensor) -> Tensor:
    """[N, C, H, W] → [N, C, 2H, 2W]: zeros inserted, then filtered."""
    return _filtered(_with_zeros(x), 4 * fir, (2, 1))


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
