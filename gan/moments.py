"""Moments of a training that stay explorable: small model folders, even on a logarithmic scale.

    moments/<images seen>/         the averaged generator and the discriminator, both float16
    moments/<images seen>/saved    there if somebody saved it on purpose

Owns which of them are kept: what somebody saved never gives way to what the training keeps by
itself. A moment can be opened like any model, and a training can be forked
from it (a warm start); it is no checkpoint: optimisers and randomness are not in it.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

MOST = 24  # that the training keeps by itself, and as many that somebody saved
_SAVED = "saved"
_OFFSET = 500.0  # images: on the logarithmic scale, the beginning is as far from 500 as 500 is
# from 1,500


def folder_of(moments: Path, images_seen: int) -> Path:
    return moments / f"{images_seen:09d}"


def every(moments: Path) -> list[int]:
    """The images seen at the moments kept, ascending."""
    return sorted(int(path.name) for path in moments.glob("[0-9]*") if path.name.isdecimal())


def mark_saved(moments: Path, images_seen: int) -> None:
    """Notes that somebody saved this moment, which is there, on purpose."""
    (folder_of(moments, images_seen) / _SAVED).touch()


def thin(moments: Path, most: int = MOST) -> None:
    """Removes moments until at most `most` are there that the training kept by itself, and at
    most `most` that somebody saved: of each kind those first whose neighbours are nearest to each
    other on the logarithmic scale, and never its first or its last one."""
    there = every(moments)
    saved = [seen for seen in there if (folder_of(moments, seen) / _SAVED).exists()]
    for kept in ([seen for seen in there if seen not in saved], saved):
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
