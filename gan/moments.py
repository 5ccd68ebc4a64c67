"""Moments of a training that stay explorable: small model folders, even on a logarithmic scale.

    moments/<images seen>/   the averaged generator and the discriminator, both float16

Owns which of them are kept. A moment can be opened like any model, and a training can be forked
from it (a warm start); it is no checkpoint: optimisers and randomness are not in it.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

MOST = 24
_OFFSET = 500.0  # images: on the logarithmic scale, the beginning is as far from 500 as 500 is
# from 1,500


def folder_of(moments: Path, images_seen: int) -> Path:
    return moments / f"{images_seen:09d}"


def every(moments: Path) -> list[int]:
    """The images seen at the moments kept, ascending."""
    return sorted(int(path.name) for path in moments.glob("[0-9]*") if path.name.isdecimal())


def thin(moments: Path, most: int = MOST) -> None:
    """Removes moments until there are at most `most`, those first whose neighbours are nearest
    to each other on the logarithmic scale; never the first or the last one."""
    kept = every(moments)
    while len(kept) > max(most, 2):
        scale = [math.log(seen + _OFFSET) for seen in kept]
        gaps = [scale[i + 1] - scale[i - 1] for i in range(1, len(kept) - 1)]
        remove(moments, kept.pop(1 + gaps.index(min(gaps))))


def forget_after(moments: Path, images_seen: int) -> None:
    """Removes those of a future that is to be trained again."""
    for seen in every(moments):
        if seen > images_seen:
            remove(moments, seen)


def remove(moments: Path, images_seen: int) -> None:
    shutil.rmtree(folder_of(moments, images_seen), ignore_errors=True)
