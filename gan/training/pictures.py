"""One picture file of any kind, as bytes → a square of RGB pixels. Trusts nothing in the bytes.

Colour profiles are not applied: numbers are taken as sRGB.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image

_KNOWN = ".png .jpg .jpeg .jpe .jfif .webp .gif .bmp .tif .tiff .pgm .ppm .pbm .pnm .heic .avif"
SUFFIXES = frozenset(_KNOWN.split())  # what should be a picture, so that we say if we can't read it
MOST_PIXELS = 80_000_000  # decoded, that is 240 MB
SHORTEST_SIDE = 8  # px

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # no format that runs a program
_WHITE = (255, 255, 255, 255)
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


T = TypeVar("T")


class UnusablePicture(Exception):  # noqa: N818 (it says what it is)
    """A picture to skip; `reason` is the key of the text that says why, of its {name}."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def short_side(content: bytes) -> int:
    """The shorter side in pixels, from the header alone. Raises UnusablePicture."""
    return min(_decoded(content, lambda image: image.size))


def square(content: bytes, resolution: int) -> np.ndarray:
    """A picture file's bytes → its middle, uint8 [resolution, resolution, 3].

    Turned as its EXIF says; transparency over white; of an animation the first frame. Raises
    UnusablePicture.
    """
    return _decoded(content, lambda image: _square(image, resolution))


def _decoded(content: bytes, use: Callable[[Image.Image], T]) -> T:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on odd metadata, and on what we refuse ourselves
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_size(image)
                return use(image)
        except UnusablePicture:
            raise
        except Image.DecompressionBombError as error:
            raise UnusablePicture("error.picture_too_many_pixels") from error
        except Exception as error:  # decoders fed with anything raise anything
            raise UnusablePicture("error.picture_broken") from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise UnusablePicture("error.picture_too_many_pixels")
    if min(image.size) < SHORTEST_SIDE:
        raise UnusablePicture("error.picture_too_small")


def _square(image: Image.Image, resolution: int) -> np.ndarray:
    image.draft(None, (2 * resolution, 2 * resolution))  # a JPEG decodes at ½, ¼ or ⅛ if enough
    colour = _rgb(image)
    side = min(colour.size)
    left, top = (colour.width - side) / 2, (colour.height - side) / 2
    small = colour.resize(
        (resolution, resolution),
        Image.Resampling.LANCZOS,
        box=(left, top, left + side, top + side),
        reducing_gap=3.0,  # boxes first, then Lanczos: as good, and fast from any size
    )
    turn = _TURNS.get(_orientation(image))
    return np.asarray(small if turn is None else small.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """EXIF's number, 1 … 8. Ask after decoding: that turns a TIFF, and takes the number away."""
    with contextlib.suppress(Exception):  # a picture with garbage for EXIF is still a picture
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode → RGB, 8 bits."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floating point (0 … 1, or 0 … 255 if anything exceeds 1) → L."""
    pixels = np.asarray(image).astype(np.float32)
    if image.mode == "F":
        pixels = np.nan_to_num(pixels)
        scale = 1.0 if pixels.max() > 1 else 255.0
    else:
        scale = 255 / 65535
    return Image.fromarray(np.clip(np.round(pixels * scale), 0, 255).astype(np.uint8))
