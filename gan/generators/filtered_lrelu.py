"""StyleGAN3's nonlinearity: enlarge, leaky ReLU, reduce; both resamplings low-pass filtered.

A leaky ReLU makes frequencies that a picture's grid can't hold. Here they are made on a finer grid
and filtered away before the way back (Karras et al. 2021, §3). Written for the CPU: the zeros that
upsampling would insert are never multiplied, nor is computed what the coarser grid won't keep, and
the fine grid, four times and more the size of what goes in and out, never exists as a whole: a few
channels at a time pass through all steps while they are in the processor's cache. It knows nothing
of styles and layers.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# As many channels at a time as keep the fine grid below so many bytes, in whole vectors of 8.
# Measured on one busy core: groups of 8 and 16 took 1.5 to 2.2 ns a fine value (separable) and 2.6
# to 3.2 ns (radial); groups of 64 to 512 took 2.4 to 7 ns and 4.5 to 18 ns.
_CACHED_BYTES = 10 * 2**20
_SMALLEST_GROUP, _LARGEST_GROUP = 8, 16
_ROWS = torch.channels_last


def filtered_lrelu(
    x: Tensor,
    up_filter: Tensor,
    down_filter: Tensor,
    up: int,
    down: int,
    padding: tuple[int, int],
    clamp: float | None = None,
    slope: float = 0.2,
) -> Tensor:
    """x [N, C, H, W] → [N, C, H', W'], channels_last.

    ×`up` with `up_filter` [taps], then √2·lrelu, clamped to ±`clamp`, then ÷`down` with
    `down_filter`: [taps] or, where it isn't separable, [taps, taps]. The filters sum to 1.
    `padding` is what the enlarged picture gets before and after it on both axes (negative: loses);
    `up` − 1 more before, which keeps it centred.
    """
    # √2·lrelu(y) = lrelu(√2·y): half of the gain goes into the filter of each axis.
    enlarging = up_filter * (up * 2**0.25)
    reducing = down_filter.flip(tuple(range(down_filter.ndim)))  # to correlate is to convolve
    limits = None if clamp is None else (-clamp / slope, clamp)  # before the lrelu
    fine = up * x.shape[3] + sum(padding)  # about
    group = _CACHED_BYTES // (x.element_size() * fine**2) // 8 * 8
    group = min(max(group, _SMALLEST_GROUP), _LARGEST_GROUP)
    pictures = []
    for picture in x.split(1):
        parts = []
        for part in picture.split(group, dim=1):
            fine_part = _enlarged(part.contiguous(memory_format=_ROWS), enlarging, up, padding)
            if limits is not None:
                fine_part.clamp_(*limits)
            parts.append(_reduced(F.leaky_relu_(fine_part, slope), reducing, down))
        pictures.append(torch.cat(parts, dim=1))
    return torch.cat(pictures) if len(pictures) > 1 else pictures[0]


def _enlarged(x: Tensor, fir: Tensor, up: int, padding: tuple[int, int]) -> Tensor:
    """Padded, ×up and filtered."""
    # A transposed convolution of stride `up` *is* "insert zeros, then convolve". It pads by all
    # it can, alike on both sides; what is too much is cropped.
    crop = len(fir) - 1 - padding[0]
    if crop < 0 or padding[0] - padding[1] != up - 1:
        raise ValueError(f"no such padding: {padding} for {len(fir)} taps, ×{up}")
    channels = x.shape[1]
    along, across = _kernel(fir[:, None], channels), _kernel(fir[None, :], channels)
    x = F.conv_transpose2d(x, along, stride=(up, 1), padding=(crop, 0), groups=channels)
    return F.conv_transpose2d(x, across, stride=(1, up), padding=(0, crop), groups=channels)


def _reduced(x: Tensor, fir: Tensor, down: int) -> Tensor:
    channels = x.shape[1]
    if fir.ndim == 2:
        return F.conv2d(x, _kernel(fir, channels), stride=down, groups=channels)
    x = F.conv2d(x, _kernel(fir[None, :], channels), stride=(1, down), groups=channels)
    return F.conv2d(x, _kernel(fir[:, None], channels), stride=(down, 1), groups=channels)


def _kernel(fir: Tensor, channels: int) -> Tensor:
    return fir.expand(channels, 1, *fir.shape).contiguous(memory_format=_ROWS)
