"""gan.images: pixels as the StyleGAN family makes them, files that say what they are."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from gan import images
from gan.errors import LabError
from gan.images import (
    bare_png_bytes,
    captioned,
    from_uint8,
    grid,
    jpeg_bytes,
    png_bytes,
    produce_id,
    read_recipe,
    save,
    save_grid,
    save_pictures,
    to_uint8,
    upscale,
)
from gan.recipe import Edit, Recipe

RECIPE = Recipe("avatars", "0123456789ab", 12, psi=0.5, edits=(Edit("微笑", 1.25, 2),))
AIGC_FIELDS = [
    *("Label", "ContentProducer", "ProduceID", "ReservedCode1"),
    *("ContentPropagator", "PropagateID", "ReservedCode2"),
]


def noise(*shape: int) -> np.ndarray:
    """Pixels that no compressor or resampler finds easy."""
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A parser of our own, by the PNG specification: what is really in the bytes."""
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert png[at + 8 + length : at + 12 + length] == struct.pack(">I", zlib.crc32(kind + data))
        yield kind, data
        at += 12 + length


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind: bytes, data: bytes, png: bytes | None = None) -> bytes:
    """A PNG without a recipe, and this chunk behind its header."""
    plain = png or png_bytes(noise(8, 8, 3))
    return plain[:33] + chunk(kind, data) + plain[33:]


# Tensors and pixels


def test_to_uint8_is_the_published_formula() -> None:
    x = torch.linspace(-1.2, 1.2, 3 * 40 * 30).reshape(1, 3, 40, 30)
    expected = np.clip(127.5 * x.numpy() + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    assert to_uint8(x).dtype == np.uint8
    assert np.array_equal(to_uint8(x), expected)


@pytest.mark.parametrize(("x", "level"), [(-9, 0), (-1, 0), (0, 128), (1, 255), (9, 255)])
def test_to_uint8_at_the_ends(x: float, level: int) -> None:
    assert np.all(to_uint8(torch.full((1, 3, 2, 2), float(x))) == level)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_any_number_format_memory_order_and_shape(dtype: torch.dtype) -> None:
    x = (torch.randn(3, 3, 5, 4, generator=torch.Generator().manual_seed(1))).to(dtype)
    pictures = to_uint8(x)
    assert pictures.shape == (3, 5, 4, 3)
    assert pictures.flags.c_contiguous
    assert np.array_equal(to_uint8(x.contiguous(memory_format=torch.channels_last)), pictures)
    assert np.array_equal(to_uint8(x.requires_grad_(True)), pictures)
    assert np.array_equal(to_uint8(x[1:2])[0], pictures[1])


def test_grey_becomes_rgb() -> None:
    grey = torch.randn(2, 1, 4, 4)
    assert np.array_equal(to_uint8(grey), to_uint8(grey.repeat(1, 3, 1, 1)))


def test_every_level_survives_the_way_there_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = from_uint8(levels)
    assert (x.shape, x.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (float(x.min()), float(x.max())) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(x), levels)


def test_x_survives_to_one_level() -> None:
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    assert float((from_uint8(to_uint8(x)) - x).abs().max()) <= 1 / 127.5


def test_from_uint8_leaves_its_input_alone() -> None:
    pictures = noise(1, 4, 4, 3)
    before = pictures.copy()
    from_uint8(pictures).zero_()
    assert np.array_equal(pictures, before)
    assert from_uint8(pictures[:, ::-1]).shape == (1, 3, 4, 4)


def test_upscaling() -> None:
    picture = noise(6, 5, 3)
    assert upscale(picture, 1) is picture
    assert np.array_equal(upscale(picture, 4, smooth=False), picture.repeat(4, 0).repeat(4, 1))
    flat = np.full((6, 5, 3), 77, np.uint8)
    assert np.array_equal(upscale(flat, 8), np.full((48, 40, 3), 77, np.uint8))
    ramp = np.arange(0, 240, 10, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(3, 2)
    rows = upscale(ramp, 8)[:, 0, 0].astype(int)
    assert (np.diff(rows) >= 0).all()
    assert np.diff(rows).max() <= 3  # smooth: no steps of 10


@given(st.integers(1, 9), st.none() | st.integers(1, 12))
def test_a_grid_holds_every_picture_in_order(count: int, columns: int | None) -> None:
    pictures = noise(count, 3, 4, 3)
    sheet = grid(pictures, columns)
    across = sheet.shape[1] // 4
    cells = sheet.reshape(-1, 3, across, 4, 3).swapaxes(1, 2).reshape(-1, 3, 4, 3)
    assert np.array_equal(cells[:count], pictures)
    assert len({tuple(pixel) for pixel in cells[count:].reshape(-1, 3)}) <= 1
    assert across == min(columns or round(count**0.5 + 0.499), count)
    assert len(cells) - count < across


# The visible label


def letter_height(band: np.ndarray) -> int:
    """Rows of the caption's first letter, the A, that are at least half inked in some column."""
    ink = band.max(axis=2) > 128
    columns = np.flatnonzero(ink.any(axis=0))
    ends = np.flatnonzero(np.diff(columns) > 1)
    letter = ink[:, columns[0] : columns[ends[0]] + 1]
    rows = np.flatnonzero(letter.any(axis=1))
    return int(rows[-1] - rows[0] + 1)


@pytest.mark.parametrize(
    ("height", "width"),
    [(256, 256), (257, 300), (512, 512), (1024, 1024), (256, 4096), (4096, 256), (300, 2500)],
)
def test_the_captions_letters_are_a_twentieth_of_the_short_side(height: int, width: int) -> None:
    grey = np.full((height, width, 3), 90, np.uint8)
    labelled = captioned(grey)
    assert np.array_equal(labelled[:height], grey)
    band = labelled[height:]
    assert letter_height(band) >= 0.05 * min(labelled.shape[:2])
    assert len(band) <= 0.14 * min(labelled.shape[:2])
    inked = np.argwhere(band.max(axis=2) > 60)
    (top, left), (bottom, right) = inked.min(axis=0), inked.max(axis=0)
    assert top > 0
    assert left > 0
    assert bottom < len(band) - 1
    assert right < width - 1


def test_the_caption_has_all_its_letters() -> None:
    """A letter that the font lacks is drawn as nothing."""
    font = ImageFont.truetype(images._FONT, 40)

    def drawn(letter: str) -> bytes:
        sheet = Image.new("L", (60, 60))
        ImageDraw.Draw(sheet).text((5, 0), letter, 255, font)
        return sheet.tobytes()

    letters = set(images.CAPTION) - {" "}
    glyphs = {drawn(letter) for letter in letters}
    assert len(glyphs) == len(letters)
    assert drawn("\u0e01") not in glyphs


@pytest.mark.parametrize(
    ("side", "scale", "labelled"),
    [
        *((32, 1, False), (32, 4, False), (32, 8, True)),
        *((64, 1, False), (64, 4, True), (64, 8, True), (255, 1, False), (256, 1, True)),
    ],
)
def test_large_pictures_are_captioned_and_raw_tiles_are_not(
    side: int, scale: int, labelled: bool
) -> None:
    picture = noise(side, side, 3)
    drawn = pixels_of(png_bytes(picture, RECIPE, scale=scale))
    assert drawn.shape[1] == side * scale
    assert (drawn.shape[0] > side * scale) == labelled
    assert np.array_equal(drawn[: side * scale], upscale(picture, scale))


@pytest.mark.parametrize("scale", [0, 2, -1, 16, 1000])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(LabError, match="1, 4 or 8"):
        png_bytes(noise(8, 8, 3), RECIPE, scale=scale)


def test_a_download_has_an_end() -> None:
    large = np.zeros((600, 64, 3), np.uint8)
    assert pixels_of(png_bytes(large, scale=4)).shape[:2] > (2400, 256)
    with pytest.raises(LabError, match="600 px"):
        png_bytes(large, scale=8)
    assert pixels_of(png_bytes(np.zeros((5000, 8, 3), np.uint8))).shape[0] == 5000


# The machine-readable labels


def parsed_xmp(packet: str) -> dict[str, str | None]:
    """XMP's properties by full name, from a real XML parser."""
    start, end = packet.index("<x:xmpmeta"), packet.index("</x:xmpmeta>") + len("</x:xmpmeta>")
    description = ElementTree.fromstring(packet[start:end])[0][0]
    return {child.tag: child.text for child in description}


def check_xmp(packet: str, producer: str = "Latent Lab") -> None:
    found = parsed_xmp(packet)
    source = found["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]
    assert source == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    aigc = json.loads(found["{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"] or "")
    assert (aigc["Label"], aigc["ContentProducer"]) == ("1", producer)


def test_the_labels_by_pillow() -> None:
    with Image.open(io.BytesIO(png_bytes(noise(64, 64, 3), RECIPE))) as image:
        image.load()
        texts: dict[str, Any] = image.text  # pyright: ignore[reportAttributeAccessIssue]
    assert list(json.loads(texts["AIGC"])) == AIGC_FIELDS
    assert json.loads(texts["AIGC"])["ProduceID"] == produce_id(RECIPE)
    assert Recipe.from_text(texts["latent-lab"]) == RECIPE
    check_xmp(texts["XML:com.adobe.xmp"])


def test_the_labels_in_the_bytes() -> None:
    content = png_bytes(noise(64, 64, 3), RECIPE, scale=8, credit="Avatare © Schöpfer, CC BY 4.0")
    found = list(chunks(content))
    kinds = [kind for kind, _ in found]
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    plain = dict(data.split(b"\0", 1) for kind, data in found if kind == b"tEXt")
    assert list(json.loads(plain[b"AIGC"])) == AIGC_FIELDS
    assert json.loads(plain[b"latent-lab"]) == RECIPE.to_json()
    wide = dict(data.split(b"\0", 1) for kind, data in found if kind == b"iTXt")
    flags, packet = wide[b"XML:com.adobe.xmp"][:4], wide[b"XML:com.adobe.xmp"][4:]
    assert flags == bytes(4)  # not compressed, no language, no translated keyword
    check_xmp(packet.decode("utf-8"))
    assert wide[b"Copyright"][4:].decode("utf-8") == "Avatare © Schöpfer, CC BY 4.0"
    # Labels come before the pixels: who reads a file from its start meets them first.
    assert max(i for i, kind in enumerate(kinds) if kind in (b"tEXt", b"iTXt")) < kinds.index(
        b"IDAT"
    )


@pytest.mark.parametrize(
    "producer", ["", "某某大学", 'A & B "<script>" ]]>', "tab\tnul\0", "x" * 999]
)
def test_the_producer_is_the_hosts(producer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = producer.strip()[:200] or "Latent Lab"
    contents = [png_bytes(noise(8, 8, 3), RECIPE, producer=expected)]
    if "\0" not in producer:  # no environment can hold it
        monkeypatch.setenv("LATENT_LAB_PRODUCER", producer)
        contents.append(png_bytes(noise(8, 8, 3), RECIPE))
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            check_xmp(image.info["XML:com.adobe.xmp"], expected)
            assert json.loads(image.info["AIGC"])["ContentProducer"] == expected


def test_the_number_is_the_recipes_or_else_the_pixels() -> None:
    assert produce_id(RECIPE) == produce_id(Recipe.from_query(RECIPE.to_query()))
    assert produce_id(RECIPE) != produce_id(Recipe("avatars", seed=12))
    one, other = noise(8, 8, 3), noise(8, 9, 3)
    assert produce_id(one) == produce_id(one.copy()) != produce_id(other)
    assert len({len(produce_id(made)) for made in (RECIPE, one, other)}) == 1


# Files


def test_a_png_is_lossless() -> None:
    picture = noise(64, 48, 3)
    assert np.array_equal(pixels_of(png_bytes(picture, RECIPE)), picture)
    assert png_bytes(picture, RECIPE) == png_bytes(picture, RECIPE)


def test_the_pages_exact_picture_is_the_pixels_alone() -> None:
    picture = noise(300, 280, 3)
    content = bare_png_bytes(picture)
    assert np.array_equal(pixels_of(content), picture)
    assert {kind for kind, _ in chunks(content)} == {b"IHDR", b"IDAT", b"IEND"}


def test_a_preview_is_close_and_plain() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(99)), axis=2)
    content = jpeg_bytes(picture)
    assert np.abs(pixels_of(content).astype(int) - picture).mean() < 2
    assert len(content) < len(jpeg_bytes(picture, quality=100))
    assert "xmp" not in Image.open(io.BytesIO(content)).info


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.JPEG", "d.webp"])
@pytest.mark.parametrize("side", [64, 300])
def test_saved_files_are_labelled(tmp_path: Path, name: str, side: int) -> None:
    path = tmp_path / "new folder" / name
    save(path, np.full((side, side, 3), 90, np.uint8), RECIPE, producer="Ada & Co")
    with Image.open(path) as image:
        packet = image.info.get("XML:com.adobe.xmp") or image.info["xmp"].decode("utf-8")
        check_xmp(packet, "Ada & Co")
        assert (image.height > side) == (side >= 256)
    assert [child.name for child in path.parent.iterdir()] == [name]


def test_other_formats_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"\.bmp"):
        save(tmp_path / "a.bmp", noise(8, 8, 3))
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="can’t be written"):
        save(tmp_path / "file" / "a.png", noise(8, 8, 3))
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    pictures = noise(5, 32, 32, 3)
    recipes = [Recipe("digits", seed=seed, label=label) for seed, label in [(0, 3), (12345, 0)]]
    recipes += [Recipe("digits", seed=7, psi=psi) for psi in (0.1, 0.2, 0.3)]
    paths = save_pictures(iter(pictures), iter(recipes), tmp_path / "out", columns=2)
    names = ["seed0000-class3", "seed12345-class0", "seed0007", "seed0007-2", "seed0007-3", "grid"]
    assert [path.stem for path in paths] == names
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    for path, picture, recipe in zip(paths, pictures, recipes, strict=False):
        content = path.read_bytes()
        assert read_recipe(content) == recipe
        assert np.array_equal(pixels_of(content), picture)
    # 64 × 96 is too small for letters: four times that, and the caption below.
    sheet = pixels_of(paths[-1].read_bytes())
    assert np.array_equal(sheet[:384], upscale(grid(pictures, 2), 4))
    assert letter_height(sheet[384:]) >= 0.05 * 256
    again = save_pictures(pictures, recipes, tmp_path / "out", columns=2)
    assert again == paths  # the same call replaces its own files


def test_a_folder_of_none(tmp_path: Path) -> None:
    assert save_pictures([], [], tmp_path / "out") == []
    with pytest.raises(ValueError, match="zip"):
        save_pictures(noise(2, 8, 8, 3), [RECIPE], tmp_path / "out")


def test_a_grid_keeps_only_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MOST_TILES", 4)
    pictures = noise(9, 128, 128, 3)
    recipes = [Recipe("a", seed=seed) for seed in range(9)]
    paths = save_pictures(pictures, recipes, tmp_path)
    assert len(paths) == 10
    assert np.array_equal(pixels_of(paths[-1].read_bytes())[:256], grid(pictures[:4]))


def test_a_large_grid_is_not_enlarged(tmp_path: Path) -> None:
    pictures = noise(16, 64, 64, 3)
    save_grid(tmp_path / "grid.png", pictures)
    sheet = pixels_of((tmp_path / "grid.png").read_bytes())
    assert np.array_equal(sheet[:256], grid(pictures, 4))
    assert len(sheet) > 256


# Recipes read back


def refusal(content: bytes) -> str:
    with pytest.raises(LabError) as caught:
        read_recipe(content)
    assert caught.value.message("en") != caught.value.message("zh")
    return caught.value.code


@pytest.mark.parametrize("scale", [1, 4, 8])
def test_a_png_gives_its_recipe_back(scale: int) -> None:
    content = png_bytes(noise(64, 64, 3), RECIPE, scale=scale)
    assert read_recipe(content) == RECIPE
    assert read_recipe(content[:4096]) == RECIPE, "the beginning of the file is enough"


def test_a_png_that_another_program_saved_again_with_its_texts() -> None:
    wide = RECIPE_TEXT.encode("utf-8")
    assert read_recipe(with_chunk(b"iTXt", b"latent-lab\0\0\0en\0recipe\0" + wide)) == RECIPE
    assert read_recipe(with_chunk(b"tEXt", b"latent-lab\0" + RECIPE.to_text().encode())) == RECIPE


RECIPE_TEXT = json.dumps(RECIPE.to_json(), ensure_ascii=False, indent=1)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not_a_png"),
        (b"\x89PNG\r\n\x1a\n", "not_a_png"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR", "png_size"),
        (b"GIF89a" + bytes(99), "not_a_png"),
        (jpeg_bytes(noise(8, 8, 3)), "not_a_png"),
        (b"<html>" * 99, "not_a_png"),
        (png_bytes(noise(8, 8, 3)), "png_without_recipe"),
        (png_bytes(noise(8, 8, 3), RECIPE)[:40], "png_without_recipe"),
        (bytes(33 * 2**20), "png_too_large"),
    ],
    ids=["empty", "signature", "header", "gif", "jpeg", "html", "bare", "cut", "large"],
)
def test_files_without_a_recipe_are_refused(content: bytes, code: str) -> None:
    assert refusal(content) == code


@pytest.mark.parametrize(("width", "height"), [(0, 9), (9, 0), (2**31, 2**31), (2**14, 2**14)])
def test_a_bombs_claim_is_refused(width: int, height: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    text = chunk(b"tEXt", b"latent-lab\0" + RECIPE.to_text().encode())
    assert refusal(b"\x89PNG\r\n\x1a\n" + header + text) == "png_size"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "bad_recipe"),
        (b"nonsense", "bad_recipe"),
        (b"\xff\xfe\0", "bad_recipe"),
        (b"[" * 9000, "bad_recipe"),
        (b'{"model": "../x"}', "bad_model"),
        (b'{"model": "a", "evil": 1}', "unknown_field"),
        (b'{"model": "a", "psi": NaN}', "bad_psi"),
        (b'{"model": "a", "seed": -1}', "bad_seed"),
        (b" " * 17_000, "recipe_too_long"),
        (b" " * 5_000_000, "recipe_too_long"),
    ],
)
def test_hostile_texts_are_refused(text: bytes, code: str) -> None:
    assert refusal(with_chunk(b"tEXt", b"latent-lab\0" + text)) == code
    assert refusal(with_chunk(b"iTXt", b"latent-lab\0\0\0\0\0" + text)) == code


def test_compressed_texts_are_never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    monkeypatch.setattr(images.zlib, "decompress", lambda *_: pytest.fail("decompressed"))
    monkeypatch.setattr(images.zlib, "decompressobj", lambda *_: pytest.fail("decompressed"))
    assert refusal(with_chunk(b"zTXt", b"latent-lab\0\0" + bomb)) == "png_without_recipe"
    wide = b"latent-lab\0\1\0\0\0" + bomb
    assert refusal(with_chunk(b"iTXt", wide)) == "png_without_recipe"


def test_a_wrong_checksum_is_refused() -> None:
    content = bytearray(png_bytes(noise(8, 8, 3), RECIPE))
    content[content.index(b'"seed":12') + 7] ^= 1
    assert refusal(bytes(content)) == "png_damaged"


def test_endless_chunks_end() -> None:
    empty = chunk(b"abCd", b"") * 30_000
    behind = with_chunk(b"tEXt", b"latent-lab\0" + RECIPE.to_text().encode())
    assert refusal(behind[:33] + empty + behind[33:]) == "png_without_recipe"


@given(st.integers(0, 600), st.integers(0, 255), st.integers(0, 600))
def test_no_change_of_a_byte_can_break_it(at: int, value: int, cut: int) -> None:
    content = bytearray(png_bytes(noise(4, 4, 3), RECIPE))
    content[at % len(content)] = value
    for mutilated in (bytes(content), bytes(content[: cut % len(content)])):
        try:
            recipe = read_recipe(mutilated)
        except LabError:
            continue
        assert recipe == RECIPE


def test_a_long_text_of_somebody_elses_is_no_damage() -> None:
    """Only the beginning of a file is read: what it cuts through isn't broken."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Notes", "x" * images.RECIPE_WITHIN)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=texts)
    with pytest.raises(LabError) as refused:
        images.read_recipe(file.getvalue()[: images.RECIPE_WITHIN])
    assert refused.value.code == "png_without_recipe"
