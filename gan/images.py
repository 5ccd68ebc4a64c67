"""Where a picture meets a file: tensors, pixels, PNG and JPEG, grids, labels; recipes read back.

A picture is uint8 [H, W, 3], sRGB. What leaves as a file says that it is generated: in metadata
always (`AIGC` for GB 45438-2025, XMP with IPTC's digital source type), and in a visible caption
from 256 px on. A PNG also carries its recipe. What the page itself shows goes without: it has a
badge.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from gan.errors import LabError
from gan.files import write_atomic
from gan.recipe import LONGEST_TEXT, Recipe

Pixels = np.ndarray  # uint8 [H, W, 3], or [N, H, W, 3] for many

SCALES: Final = (1, 4, 8)  # the sizes of a download
LARGEST_DOWNLOAD: Final = 4096  # px; twice that would take seconds and hundreds of megabytes
CAPTION: Final = "AI生成 / AI-generated"
CAPTION_FROM: Final = 256  # px of the short side; below, letters can't be read
RECIPE_KEY: Final = "latent-lab"
RECIPE_WITHIN: Final = 2**16  # bytes of a PNG: its recipe is among its first ones

_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_FONT = Path(__file__).parents[1] / "assets" / "fonts" / "caption.otf"
_CAPITAL = 0.733  # height of a capital letter, in font sizes
_INK, _PAPER = (240, 240, 240), (17, 18, 20)
_MOST_TILES, _MOST_GRID_PIXELS = 1024, 2**25
_MOST_PNG_BYTES, _MOST_PNG_PIXELS, _MOST_CHUNKS = 32 * 2**20, 2**27, 20_000


# Tensors and pixels


def to_uint8(images: Tensor) -> Pixels:
    """images [N, C, H, W], any float format, about [−1, 1] → uint8 [N, H, W, 3]; grey becomes RGB,
    RGBA is laid on white.

    clip(127.5·x + 128, 0, 255), the fraction cut off, as the StyleGAN family does it.
    """
    images = images.detach().float()
    if images.shape[1] == 4:
        opacity = images[:, 3:].add(1).div_(2).clamp_(0, 1)
        images = torch.lerp(torch.ones_like(images[:, :3]), images[:, :3], opacity)
    levels = images.mul(127.5).add_(128).clamp_(0, 255).to(torch.uint8)
    rgb = levels.expand(-1, 3, -1, -1) if images.shape[1] == 1 else levels
    return rgb.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(pictures: Pixels) -> Tensor:
    """uint8 [N, H, W, 3] → images [N, 3, H, W] float32 in [−1, 1]; `to_uint8` gives them back."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
    return pixels.contiguous().float().sub_(127.5).div_(127.5)


def upscale(picture: Pixels, factor: int, smooth: bool = True) -> Pixels:
    """A picture `factor` times as large: Lanczos, or where not `smooth` every pixel as a square."""
    if factor == 1:
        return picture
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((width * factor, height * factor), how))


def grid(pictures: Pixels, columns: int | None = None) -> Pixels:
    """N pictures [N, H, W, 3], row by row → one. By default as square as it can be."""
    count, height, width, _ = pictures.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    sheet = np.empty((rows * columns, height, width, 3), np.uint8)
    sheet[:count], sheet[count:] = pictures, _PAPER
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width, 3)


# The visible label


def captioned(picture: Pixels) -> Pixels:
    """The picture with a band below that says `CAPTION`; the picture's own pixels stay.

    Its capital letters are at least 5 % of the result's short side (GB 45438-2025).
    """
    height, width = picture.shape[:2]
    # The band makes a wide picture's short side longer, by less than an eighth.
    capital = math.ceil(0.05 * min(width, 1.13 * height))
    return np.concatenate([picture, _band(width, capital)])


@lru_cache(maxsize=32)
def _band(width: int, capital: int) -> Pixels:
    height = round(2.2 * capital)
    band = Image.new("RGB", (width, height), _PAPER)
    # The basic layout needs no further library, and draws the same everywhere.
    size, layout = math.ceil(capital / _CAPITAL), ImageFont.Layout.BASIC
    font = ImageFont.truetype(_FONT, size, layout_engine=layout)
    baseline = (height + capital) // 2
    ImageDraw.Draw(band).text((width // 2, baseline), CAPTION, _INK, font, anchor="ms")
    return np.asarray(band)


def _finished(picture: Pixels, scale: int, smooth: bool) -> Pixels:
    """As it leaves: upscaled, and captioned where that can be read."""
    if scale not in SCALES:
        raise LabError("bad_scale", value=scale)
    if scale > 1 and scale * max(picture.shape[:2]) > LARGEST_DOWNLOAD:
        raise LabError("scale_too_large", value=scale, side=max(picture.shape[:2]))
    large = upscale(picture, scale, smooth)
    return captioned(large) if min(large.shape[:2]) >= CAPTION_FROM else large


# The machine-readable labels


def producer_name() -> str:
    """Who answers for what is generated here: LATENT_LAB_PRODUCER, else the program's name."""
    return os.environ.get("LATENT_LAB_PRODUCER", "").strip()[:200] or "Latent Lab"


def produce_id(made_from: Recipe | Pixels) -> str:
    """The number of a generated content: a hash of its recipe, or of the pixels if it has none."""
    if isinstance(made_from, Recipe):
        content = made_from.to_text().encode()
    else:
        content = np.ascontiguousarray(made_from).tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


def aigc_label(identity: str, producer: str) -> str:
    """The implicit label of GB 45438-2025, annex E, as one line of ASCII JSON.

    Label "1": it is generated. Who passes the picture on fills in the propagator's fields.
    """
    return json.dumps(
        {
            "Label": "1",
            "ContentProducer": producer,
            "ProduceID": identity,
            "ReservedCode1": "",
            "ContentPropagator": "",
            "PropagateID": "",
            "ReservedCode2": "",
        }
    )


def xmp_packet(aigc: str) -> str:
    """XMP: IPTC's digital source type, and the AIGC label in TC260's own namespace."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        "<xmp:CreatorTool>Latent Lab</xmp:CreatorTool>"
        f"<Iptc4xmpExt:DigitalSourceType>{_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<TC260:AIGC>{escape(aigc)}</TC260:AIGC>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )


# Files


def png_bytes(
    picture: Pixels,
    recipe: Recipe | None = None,
    *,
    scale: int = 1,
    smooth: bool = True,
    producer: str | None = None,
    credit: str = "",
) -> bytes:
    """A picture as a PNG with all its labels and its recipe.

    `scale` is one of `SCALES`, to 4096 px a side (LabError otherwise), `smooth` the way of
    upscaling; `credit` names whose data the model has learned from, as licences ask for. From
    256 px on there is a caption. `producer` is `producer_name()` unless given.
    """
    aigc = _label(picture, recipe, producer)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("AIGC", aigc)
    texts.add_itxt("XML:com.adobe.xmp", xmp_packet(aigc))
    texts.add_text("Software", "Latent Lab")
    if recipe is not None:
        texts.add_text(RECIPE_KEY, recipe.to_text())
    if credit:
        texts.add_itxt("Copyright", credit)
    finished = _finished(picture, scale, smooth)
    # Level 4: half the time of the usual 6 for 4 % more bytes.
    return _encoded(finished, "PNG", pnginfo=texts, compress_level=4)


def jpeg_bytes(picture: Pixels, quality: int = 90) -> bytes:
    """A preview for the page: JPEG of full colour resolution, without labels or recipe."""
    return _encoded(picture, "JPEG", quality=quality, subsampling=0)


def bare_png_bytes(picture: Pixels) -> bytes:
    """An exact picture for the page: PNG of these very pixels, without labels or caption."""
    return _encoded(picture, "PNG", compress_level=1)


def save(
    path: str | Path,
    picture: Pixels,
    recipe: Recipe | None = None,
    *,
    producer: str | None = None,
    credit: str = "",
) -> None:
    """Writes a labelled picture, whole or not at all; the name's ending says PNG, JPEG or WebP.

    Only a PNG carries the recipe. Raises LabError for other endings and folders it can't write to.
    """
    match Path(path).suffix.lower():
        case ".png":
            content = png_bytes(picture, recipe, producer=producer, credit=credit)
        case ".jpg" | ".jpeg":
            labels = xmp_packet(_label(picture, recipe, producer)).encode()
            finished = _finished(picture, 1, smooth=True)
            content = _encoded(finished, "JPEG", quality=95, subsampling=0, xmp=labels)
        case ".webp":
            labels = xmp_packet(_label(picture, recipe, producer)).encode()
            content = _encoded(_finished(picture, 1, smooth=True), "WEBP", quality=95, xmp=labels)
        case other:
            raise LabError("picture_format", value=other)
    write(path, content)


def write(path: str | Path, content: bytes) -> None:
    """Writes a file, whole or not at all, and makes its folder; raises LabError."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise LabError("picture_unwritable", path=path, reason=error.strerror) from error


def save_grid(path: str | Path, pictures: Pixels, columns: int | None = None) -> None:
    """Writes pictures [N, H, W, 3] as one captioned sheet; a tiny one is enlarged to be legible."""
    sheet = grid(pictures, columns)
    save(path, upscale(sheet, math.ceil(CAPTION_FROM / min(sheet.shape[:2]))))


def save_pictures(
    pictures: Iterable[Pixels],
    recipes: Iterable[Recipe],
    out_dir: str | Path,
    *,
    scale: int = 1,
    columns: int | None = None,
    credit: str = "",
) -> list[Path]:
    """Writes one labelled PNG for each picture and a captioned `grid.png`; returns their paths.

    Names come from seed and class, `seed0012.png`, `seed0012-class3.png`. Pictures may come one by
    one from a generator: only those in the grid are kept (1,024 at most, and 34 million pixels).
    """
    folder, paths = Path(out_dir), []
    tiles: list[Pixels] = []
    taken: Counter[str] = Counter()
    for picture, recipe in zip(pictures, recipes, strict=True):
        stem = _stem(recipe)
        taken[stem] += 1
        name = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
        paths.append(folder / f"{name}.png")
        write(paths[-1], png_bytes(picture, recipe, scale=scale, credit=credit))
        if len(tiles) < min(_MOST_TILES, max(1, _MOST_GRID_PIXELS // (picture.size // 3))):
            tiles.append(picture)
    if tiles:
        paths.append(folder / "grid.png")
        save_grid(paths[-1], np.stack(tiles), columns)
    return paths


def _stem(recipe: Recipe) -> str:
    label = "" if recipe.label is None else f"-class{recipe.label}"
    return f"seed{recipe.seed:04d}{label}"


def _label(picture: Pixels, recipe: Recipe | None, producer: str | None) -> str:
    identity = produce_id(picture if recipe is None else recipe)
    return aigc_label(identity, producer or producer_name())


def _encoded(picture: Pixels, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


# Recipes read back


def read_recipe(content: bytes) -> Recipe:
    """The recipe in a PNG's text, whoever made the file; raises LabError.

    Nothing is decompressed and no pixel is decoded: the recipe is plain text near the beginning,
    so the first `RECIPE_WITHIN` bytes of a file are enough. Compressed texts are passed over.
    """
    if len(content) > _MOST_PNG_BYTES:
        raise LabError("png_too_large", mebibytes=math.ceil(len(content) / 2**20))
    for kind, data in _chunks(content):
        keyword, _, rest = data.partition(b"\0")
        if keyword != RECIPE_KEY.encode():
            continue
        if kind == b"tEXt":
            return Recipe.from_text(_bounded(rest).decode("latin-1"))
        if kind == b"iTXt" and rest[:1] == b"\0":  # flag, method, language, translated keyword
            text = rest[2:].split(b"\0", 2)[-1]
            return Recipe.from_text(_bounded(text).decode("utf-8", errors="replace"))
    raise LabError("png_without_recipe")


def _bounded(text: bytes) -> bytes:
    return text[: 4 * LONGEST_TEXT + 1]  # what is longer than that is too long decoded, too


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The text chunks of a PNG, (kind, data), with correct checksums; raises LabError.

    A chunk is its length, its kind, its data and the checksum of both (PNG, section 5.3).
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        raise LabError("not_a_png")
    width, height = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
    if not 0 < width * height <= _MOST_PNG_PIXELS:
        raise LabError("png_size", width=width, height=height)
    start = 8
    for _ in range(_MOST_CHUNKS):
        if start + 8 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 8 + length
        if end + 4 > len(content) >= RECIPE_WITHIN:
            return  # the beginning of a file, which ends within somebody's long text
        if kind in (b"tEXt", b"iTXt"):
            if content[end : end + 4] != struct.pack(">I", zlib.crc32(content[start + 4 : end])):
                raise LabError("png_damaged")
            yield kind, content[start + 8 : end]
        start = end + 4
