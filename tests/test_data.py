"""gan.training.data and what it stands on: bundled data, own pictures, hostile ones, the order."""

import copy
import io
import itertools
import json
import os
import shutil
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from gan.errors import LabError
from gan.locale import LANGUAGES, text
from gan.training import picture_cache, pictures, sources
from gan.training.data import BUNDLED, Batches, Dataset, load_dataset, split

DATASETS = Path(__file__).parents[1] / "assets" / "datasets"
RED, GREEN, BLUE, YELLOW = (200, 30, 20), (20, 180, 40), (30, 40, 210), (220, 210, 30)

ORDER_OF_SEED_5 = [3, 1, 5, 4, 6, 7, 2, 0, 0, 4, 6, 1, 2, 5, 7, 3]


def refused(code: str, source: object, resolution: object = None) -> LabError:
    with pytest.raises(LabError) as caught:
        load_dataset(source, resolution)  # pyright: ignore[reportArgumentType]
    assert caught.value.code == code
    assert all("{" not in caught.value.message(lang) for lang in LANGUAGES)
    return caught.value


# Bundled data


@pytest.fixture(scope="module")
def avatars() -> Dataset:
    return load_dataset("avatars")


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits", (5000, 32, 32, 1), 10),
        ("digits-tiny", (1797, 8, 8, 1), 10),
        ("avatars", (24000, 64, 64, 3), 0),
    ],
)
def test_the_bundled_data_is_what_its_card_says(
    name: str, shape: tuple[int, ...], classes: int
) -> None:
    dataset = load_dataset(name)
    card = json.loads((DATASETS / name / "card.json").read_text(encoding="utf-8"))
    assert dataset.images.shape == shape
    assert dataset.images.dtype == np.uint8
    assert (len(dataset), dataset.resolution, dataset.channels) == (shape[0], shape[1], shape[3])
    assert (card["count"], card["resolution"], card["channels"]) == (shape[0], shape[1], shape[3])
    assert dataset.num_classes == classes
    assert dataset.fingerprint == card["sha256"] == picture_cache.fingerprint(dataset.images)
    assert dataset.licence.startswith("CC BY")
    readme = (DATASETS / name / "README.md").read_text(encoding="utf-8")
    assert dataset.licence in readme
    assert card["sha256"] in readme


@pytest.mark.parametrize("name", ["digits", "digits-tiny"])
def test_digits_have_ten_classes_of_legible_figures(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.classes == tuple("0123456789")
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    assert set(dataset.labels) == set(range(10))
    # The nearest class mean recognises most: labels and pictures belong together.
    flat = dataset.images.reshape(len(dataset), -1).astype(np.float32)
    means = np.stack([flat[dataset.labels == digit].mean(axis=0) for digit in range(10)])
    distances = ((flat[:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == dataset.labels).mean() > 0.75
    assert dataset.images.max() == 255


def test_no_two_avatars_are_alike(avatars: Dataset) -> None:
    rows = np.stack([attribute.indices for attribute in avatars.attributes.values()], axis=1)
    assert len(np.unique(rows, axis=0)) == len(avatars)
    flat = np.ascontiguousarray(avatars.images).reshape(len(avatars), -1)
    assert len({row.tobytes() for row in flat}) == len(avatars)


def test_avatars_have_labels_that_tell_what_was_drawn(avatars: Dataset) -> None:
    assert len(avatars.attributes) == 11
    for attribute in avatars.attributes.values():
        assert attribute.indices.shape == (len(avatars),)
        assert set(np.unique(attribute.indices)) == set(range(len(attribute.values)))
    background = avatars.attributes["backgroundColor"]
    colours = np.array([list(bytes.fromhex(value)) for value in background.values], np.uint8)
    assert (avatars.images[:, 0, 0] == colours[background.indices]).all()


def test_the_avatars_recipe_names_no_registry() -> None:
    lock = json.loads((DATASETS / "avatars/recipe/package-lock.json").read_text(encoding="utf-8"))
    packages = lock["packages"]
    assert packages["node_modules/@dicebear/core"]["version"] == "9.4.3"
    assert packages["node_modules/@dicebear/toon-head"]["version"] == "9.4.3"
    assert not any("resolved" in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)


@pytest.mark.slow
def test_the_recipe_redraws_the_same_avatars(avatars: Dataset, tmp_path: Path) -> None:
    """The first fifty; the recipe's README gives the command for all."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node")
    for name in ("package.json", "package-lock.json", "draw.mjs"):
        shutil.copy(DATASETS / "avatars/recipe" / name, tmp_path)
    try:
        subprocess.run(["npm", "ci"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("needs a package registry")
    subprocess.run(["node", "draw.mjs", "some", "50"], cwd=tmp_path, check=True)
    drawn = np.fromfile(tmp_path / "some.rgb", np.uint8).reshape(-1, 64, 64, 3)
    assert (drawn == avatars.images[:50]).all()
    rows = json.loads((tmp_path / "some.json").read_text())["rows"]
    kept = np.stack([attribute.indices[:50] for attribute in avatars.attributes.values()], axis=1)
    assert (np.array(rows) == kept).all()


@pytest.mark.parametrize("name", BUNDLED)
def test_a_tile_shows_what_is_in_the_data(name: str) -> None:
    """Else `python assets/datasets/tiles.py` draws them anew."""
    every, tile = load_dataset(name), Image.open(DATASETS / name / "tile.png").convert("RGB")
    side = every.resolution
    assert tile.size == (4 * side, 2 * side)
    for corner, picture in ((0, 0), every.images[0]), ((3 * side, side), every.images[-1]):
        box = (*corner, corner[0] + side, corner[1] + side)
        assert (np.asarray(tile.crop(box)) == picture).all()


def test_bundled_data_goes_down_by_averaging() -> None:
    full, half = load_dataset("digits"), load_dataset("digits", 16)
    boxes = full.images.reshape(-1, 16, 2, 16, 2).astype(np.int64).sum(axis=(2, 4))
    assert (half.images[..., 0] == (boxes + 2) // 4).all()
    assert half.fingerprint == picture_cache.fingerprint(half.images) != full.fingerprint
    assert half.labels is not None
    assert (half.labels == full.labels).all()


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data_never_goes_up(name: str) -> None:
    assert refused("resolution_too_high", name, 128).values["name"] == name


@pytest.mark.parametrize("value", [0, -8, 4, 12, 2048, True, 8.0, "64"])
def test_a_wrong_size_is_refused(value: object) -> None:
    assert refused("bad_resolution", "digits", value).values["value"] == value


# The order of training


def test_every_epoch_shows_every_picture_once_in_another_order() -> None:
    batches = Batches(10, seed=3)
    epochs = [batches.next(10) for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert tuple(Batches(10, seed=4).next(10)) != tuple(epochs[0])
    assert epochs[0].dtype == np.int64


def test_the_order_stays_the_same_for_good() -> None:
    """A run that was begun with another version goes on as it was."""
    assert Batches(8, seed=5).next(16).tolist() == ORDER_OF_SEED_5


def test_only_the_given_pictures_are_drawn() -> None:
    batches = Batches(np.array([3, 5, 8]), seed=1)
    assert sorted(batches.next(6)) == [3, 3, 5, 5, 8, 8]


@given(
    count=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 30), max_size=6),
    more=st.integers(1, 30),
)
def test_it_resumes_exactly_where_it_was(
    count: int, seed: int, sizes: list[int], more: int
) -> None:
    whole, stopped, resumed = Batches(count, seed), Batches(count, seed), Batches(count, seed=9)
    expected = whole.next(sum(sizes) + more)
    seen = [stopped.next(size) for size in sizes]
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert np.concatenate([*seen, resumed.next(more)]).tolist() == expected.tolist()


@given(
    kinds=st.lists(st.integers(0, 3), min_size=4, max_size=40),
    seed=st.integers(0, 2**32 - 1),
    seen=st.integers(0, 20),
)
def test_neighbours_are_of_one_kind(kinds: list[int], seed: int, seen: int) -> None:
    known = np.array(kinds)
    batches, resumed = (Batches(len(kinds), seed, known, 4) for _ in range(2))
    epoch = batches.next(len(kinds) // 4 * 4)
    assert len(set(epoch.tolist())) == len(epoch), "no picture twice"
    pure = [len(set(known[row])) == 1 for row in epoch.reshape(-1, 4)]
    assert sum(pure) >= sum(kinds.count(kind) // 4 for kind in set(kinds))
    batches.next(4 * seen)
    resumed.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    assert resumed.next(8).tolist() == batches.next(8).tolist()


def test_other_pictures_are_left_out_in_another_epoch() -> None:
    batches = Batches(6, 0, np.zeros(6, int), 4)
    assert len({frozenset(batches.next(4).tolist()) for _ in range(20)}) > 1


def test_fewer_pictures_than_a_group_are_drawn_as_they_come() -> None:
    assert sorted(Batches(3, 0, np.arange(3), 4).next(3)) == [0, 1, 2]


def test_it_does_not_resume_on_other_data() -> None:
    with pytest.raises(LabError, match="11 pictures"):
        Batches(11).load_state_dict(Batches(10).state_dict())


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Batches(0)


def plain(count: int) -> Dataset:
    return Dataset("plain", np.zeros((count, 8, 8, 1), np.uint8), "", "", "")


@pytest.mark.parametrize(
    ("count", "share", "kept"), [(100, 0.1, 10), (3, 0.1, 1), (2, 0.99, 1), (5000, 0.2, 1000)]
)
def test_a_split_is_fixed_and_leaves_nothing_out(count: int, share: float, kept: int) -> None:
    train, held = split(plain(count), share)
    assert len(held) == kept
    assert sorted([*train, *held]) == list(range(count))
    again = split(plain(count), share)
    assert (again[0] == train).all()
    assert (again[1] == held).all()


def test_a_split_is_no_run_of_neighbours() -> None:
    _, held = split(plain(1000))
    assert np.diff(held).max() > 1
    assert held.min() < 100
    assert held.max() > 900


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_wrong_share_is_refused(share: float) -> None:
    with pytest.raises(LabError) as caught:
        split(plain(10), share)
    assert caught.value.code == "bad_holdout"


# Pictures of any kind


def quadrants(width: int = 32, height: int = 32) -> Image.Image:
    """Four colours, so that every turn and mirror image is another picture."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def middle(content: bytes) -> tuple[int, ...]:
    """The colour of a one-coloured picture after the whole preparation."""
    prepared = pictures.square(content, 8)
    assert prepared.shape == (8, 8, 3)
    assert np.ptp(prepared.astype(int), axis=(0, 1)).max() <= 4
    return tuple(int(value) for value in prepared[4, 4])


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (24, 24), colour)  # pyright: ignore[reportArgumentType]


def with_palette(transparent: bool) -> bytes:
    image = flat("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    options = {"transparency": image.getpixel((0, 0))} if transparent else {}
    return encoded(image, "PNG", **options)


def animation() -> bytes:
    frames = [flat("RGB", colour).convert("P") for colour in ((255, 0, 0), (0, 0, 255))]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(flat("RGB", RED), "PNG"), RED),
        (encoded(flat("RGB", RED), "BMP"), RED),
        (encoded(flat("RGB", RED), "WEBP", lossless=True), RED),
        (encoded(flat("RGB", RED), "JPEG", quality=95), RED),
        (encoded(flat("RGB", RED), "TIFF"), RED),
        (encoded(flat("RGB", RED), "PPM"), RED),
        (encoded(flat("1", 1), "PNG"), (255, 255, 255)),
        (encoded(flat("L", 90), "PNG"), (90, 90, 90)),
        (encoded(flat("L", 90), "PNG", transparency=90), (255, 255, 255)),
        (encoded(flat("LA", (90, 0)), "PNG"), (255, 255, 255)),
        (encoded(flat("LA", (0, 128)), "PNG"), (127, 127, 127)),
        (encoded(flat("RGBA", (*RED, 255)), "PNG"), RED),
        (encoded(flat("RGBA", (*RED, 0)), "PNG"), (255, 255, 255)),
        (encoded(flat("RGBA", (0, 0, 0, 51)), "WEBP", lossless=True), (204, 204, 204)),
        (encoded(flat("RGB", RED), "PNG", transparency=RED), (255, 255, 255)),
        (with_palette(transparent=False), RED),
        (with_palette(transparent=True), (255, 255, 255)),
        (encoded(flat("I;16", 32896), "PNG"), (128, 128, 128)),
        (encoded(flat("I;16", 32896), "TIFF"), (128, 128, 128)),
        (encoded(flat("I", 32896), "PPM"), (128, 128, 128)),
        (encoded(flat("F", 0.5), "TIFF"), (128, 128, 128)),
        (encoded(flat("F", 100.0), "TIFF"), (100, 100, 100)),
        (encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (encoded(flat("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),
        (animation(), (255, 0, 0)),
    ],
)
def test_pictures_of_every_mode(content: bytes, expected: tuple[int, ...]) -> None:
    assert np.abs(np.subtract(middle(content), expected)).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(kind: str, orientation: int) -> None:
    image = quadrants(48, 32)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {
        "PNG": {},
        "TIFF": {},
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 100, "subsampling": 0},
    }[kind]
    content = encoded(image, kind, exif=exif, **options)
    image.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(image)
    expected = pictures.square(encoded(upright, "PNG"), 16).astype(int)
    assert np.abs(pictures.square(content, 16) - expected).max() <= (6 if kind == "JPEG" else 1)


def test_garbage_for_exif_does_not_cost_the_picture() -> None:
    exif = b"Exif\0\0" + b"MM\0\x2a\xff\xff\xff\xff" + bytes(range(40))
    assert np.abs(np.subtract(middle(encoded(flat("RGB", RED), "JPEG", exif=exif)), RED)).max() <= 3


@pytest.mark.parametrize("size", [(96, 32), (32, 96), (33, 32)])
def test_the_middle_is_kept(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, BLUE)
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    image.paste(quadrants(), (left, top))
    difference = pictures.square(encoded(image, "PNG"), 32).astype(int) - np.asarray(quadrants())
    assert np.abs(difference)[2:-2, 2:-2].mean() <= (0 if size != (33, 32) else 8)


def test_a_picture_of_the_right_size_is_untouched() -> None:
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    assert (pictures.square(encoded(Image.fromarray(noise), "PNG"), 64) == noise).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_large_pictures_are_averaged_not_sampled(kind: str) -> None:
    """Fine stripes become grey; taking every n-th pixel would leave stripes."""
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    small = pictures.square(encoded(Image.fromarray(stripes), kind), 32)
    assert np.abs(small.astype(int) - 127.5).max() < 4


def test_small_pictures_become_larger_smoothly() -> None:
    large = pictures.square(encoded(quadrants(8, 8), "PNG"), 32)
    assert np.abs(large[4, 4].astype(int) - RED).max() <= 8
    assert len(np.unique(large[4, :, 0])) > 4


# Pictures to skip


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


WHOLE = encoded(quadrants(), "PNG")
UNUSABLE = {
    "empty.png": (b"", "error.picture_broken"),
    "text.jpg": (b"this is not a picture", "error.picture_broken"),
    "cut.png": (WHOLE[: len(WHOLE) // 2], "error.picture_broken"),
    "hollow.png": (png_header(32, 32), "error.picture_broken"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(64), "error.picture_broken"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "error.picture_broken"),
    "speck.png": (encoded(quadrants(7, 40), "PNG"), "error.picture_too_small"),
    "large.png": (png_header(12_000, 7_000), "error.picture_too_many_pixels"),
    "huge.png": (png_header(60_000, 60_000), "error.picture_too_many_pixels"),
}


def test_unusable_pictures_are_skipped_and_named(tiny_pictures: Path) -> None:
    for name, (content, _) in UNUSABLE.items():
        (tiny_pictures / name).write_bytes(content)
    dataset = load_dataset(tiny_pictures)
    assert len(dataset) == 12
    assert dict(dataset.skipped) == {name: reason for name, (_, reason) in UNUSABLE.items()}
    assert list(dict(dataset.skipped)) == sorted(UNUSABLE)
    for name, reason in dataset.skipped:
        assert all(name in text(reason, lang, name=name) for lang in LANGUAGES)


def test_a_file_that_is_too_large_is_skipped_unread(
    tiny_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tiny_pictures / "noise.bmp")
    monkeypatch.setattr(sources, "LIMITS", sources.Limits(file_bytes=4096))
    assert load_dataset(tiny_pictures).skipped == (("noise.bmp", "error.picture_file_too_large"),)


def test_what_is_no_picture_is_passed_over_in_silence(tiny_pictures: Path) -> None:
    (tiny_pictures / "notes.txt").write_text("hello")
    (tiny_pictures / ".hidden.png").write_bytes(b"")
    (tiny_pictures / "more.zip").write_bytes(b"PK")
    (tiny_pictures / "__MACOSX").mkdir()
    (tiny_pictures / "__MACOSX" / "00.png").write_bytes(b"")
    dataset = load_dataset(tiny_pictures)
    assert (len(dataset), dataset.skipped, dataset.classes) == (12, (), None)


def test_too_little_is_refused(tmp_path: Path) -> None:
    assert refused("data_missing", tmp_path / "a").values["source"] == str(tmp_path / "a")
    refused("data_empty", tmp_path)
    (tmp_path / "broken.png").write_bytes(b"")
    assert refused("data_too_few_skipped", tmp_path).values["name"] == "broken.png"
    (tmp_path / "broken.png").write_bytes(WHOLE)
    assert refused("data_too_few", tmp_path).values["usable"] == 1
    (tmp_path / "second.png").write_bytes(WHOLE)
    assert len(load_dataset(tmp_path)) == 2
    refused("data_neither_folder_nor_zip", tmp_path / "second.png")


# Folders


def fill(folder: Path, *names: str, size: int = 16) -> Path:
    """One-coloured pictures, each of another colour."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (9 * number, 250 - 9 * number, 99)).save(folder / name)
    return folder


def test_a_folder_becomes_one_array_in_the_order_of_names(tiny_pictures: Path) -> None:
    dataset = load_dataset(str(tiny_pictures))
    expected = [(20 * number, 255 - 20 * number, 40 + 10 * number) for number in range(12)]
    assert dataset.images.shape == (12, 16, 16, 3)
    assert dataset.images.dtype == np.uint8
    assert dataset.images[:, 7, 7].tolist() == [list(colour) for colour in expected]
    assert (dataset.images == dataset.images[:, :1, :1]).all()
    assert dataset.name == "pictures"
    assert (dataset.labels, dataset.classes, dataset.num_classes) == (None, None, 0)
    assert dataset.fingerprint == picture_cache.fingerprint(dataset.images)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((16, 16, 16), 16),
        ((31, 31, 900), 16),
        ((33, 40, 8), 32),
        ((200, 300, 400), 64),
        ((9,) * 3, 8),
    ],
)
def test_the_natural_resolution_is_what_most_pictures_fill(
    tmp_path: Path, sizes: tuple[int, ...], expected: int
) -> None:
    for number, size in enumerate(sizes):
        Image.new("RGB", (2 * size, size), RED).save(tmp_path / f"{number}.png")
    assert load_dataset(tmp_path).resolution == expected
    assert load_dataset(tmp_path, 128).resolution == 128


def test_a_set_is_grey_only_if_every_picture_is(tmp_path: Path) -> None:
    for number in range(3):
        value = 50 * number
        Image.new("RGB", (16, 16), (value, value, value)).save(tmp_path / f"{number}.png")
    grey = load_dataset(tmp_path)
    assert grey.images.shape == (3, 16, 16, 1)
    assert grey.images[:, 3, 3, 0].tolist() == [0, 50, 100]
    Image.new("RGB", (16, 16), RED).save(tmp_path / "3.png")
    colour = load_dataset(tmp_path)
    assert colour.images.shape == (4, 16, 16, 3)
    assert (colour.images[:3] == np.repeat(grey.images, 3, axis=3)).all()


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (("cats/1.png", "cats/2.png", "dogs/1.png"), ("cats", "dogs"), [0, 0, 1]),
        (("cats/a/1.png", "cats/b/2.png", "dogs/1.png"), ("cats", "dogs"), [0, 0, 1]),
        (("pets/cats/1.png", "pets/dogs/1.png"), ("cats", "dogs"), [0, 1]),
        (("cats/1.png", "cats/2.png"), None, None),
        (("cats/1.png", "dogs/1.png", "stray.png"), None, None),
        (("1.png", "2.png"), None, None),
    ],
)
def test_sub_folders_are_classes(
    tmp_path: Path, names: tuple[str, ...], classes: tuple[str, ...] | None, labels: list | None
) -> None:
    dataset = load_dataset(fill(tmp_path, *names))
    assert dataset.classes == classes
    assert (None if dataset.labels is None else dataset.labels.tolist()) == labels


def test_a_class_without_a_usable_picture_is_none(tmp_path: Path) -> None:
    fill(tmp_path, "cats/1.png", "dogs/1.png")
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds/1.png").write_bytes(b"")
    assert load_dataset(tmp_path).classes == ("cats", "dogs")


# The cache


def test_pictures_are_prepared_once(tiny_pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset(tiny_pictures)
    monkeypatch.setattr(pictures, "square", None)  # not to be called any more
    os.utime(tiny_pictures / "00.png", (1, 1))  # another date is no other picture
    again = load_dataset(tiny_pictures)
    assert again.fingerprint == first.fingerprint
    assert (again.images == first.images).all()


def test_writing_on_the_pictures_does_not_reach_the_cache(tiny_pictures: Path) -> None:
    load_dataset(tiny_pictures).images[:] = 7
    assert load_dataset(tiny_pictures).images[0, 0, 0].tolist() == [0, 255, 40]


def test_another_content_or_size_is_prepared_anew(tiny_pictures: Path) -> None:
    first = load_dataset(tiny_pictures)
    assert load_dataset(tiny_pictures, 8).resolution == 8
    Image.new("RGB", (16, 16), YELLOW).save(tiny_pictures / "00.png")
    changed = load_dataset(tiny_pictures)
    assert changed.images[0, 0, 0].tolist() == list(YELLOW)
    assert changed.fingerprint != first.fingerprint


def test_the_cache_is_where_it_is_told_to_be(
    tiny_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_dataset(tiny_pictures, cache=tmp_path / "here")
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "there"))
    load_dataset(tiny_pictures)
    for name in ("here", "there"):
        kept = sorted(path.suffix for path in (tmp_path / name / "datasets").iterdir())
        assert kept == [".json", ".u8"]


@pytest.mark.parametrize("damage", ["flip", "cut", "lost", "description"])
def test_a_damaged_cache_is_prepared_anew(tiny_pictures: Path, tmp_path: Path, damage: str) -> None:
    first = np.array(load_dataset(tiny_pictures, cache=tmp_path / "cache").images)
    (pixels,) = (tmp_path / "cache/datasets").glob("*.u8")
    content = bytearray(pixels.read_bytes())
    content[100] ^= 1
    if damage == "description":
        pixels.with_suffix(".json").write_text("{")
    elif damage == "lost":
        pixels.unlink()
    else:
        pixels.write_bytes(content if damage == "flip" else content[:1000])
    assert (load_dataset(tiny_pictures, cache=tmp_path / "cache").images == first).all()


def test_stopping_midway_leaves_nothing_behind(tiny_pictures: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(tiny_pictures, cache=tmp_path / "cache", progress=stop)
    assert list((tmp_path / "cache/datasets").iterdir()) == []
    assert len(load_dataset(tiny_pictures, cache=tmp_path / "cache")) == 12


def test_progress_is_told(tiny_pictures: Path) -> None:
    told = []
    load_dataset(tiny_pictures, 32, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(1, 13)]


# Archives


def packed(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("prefix", ["", "holiday/", "a/b/"])
def test_an_archive_is_as_good_as_its_folder(tmp_path: Path, prefix: str) -> None:
    folder = fill(tmp_path / "pets", "cats/1.png", "cats/2.png", "dogs/1.png")
    (folder / "cats/broken.png").write_bytes(b"")
    archive = load_dataset(packed(folder, tmp_path / "pets.zip", prefix))
    expected = load_dataset(folder)
    assert archive.fingerprint == expected.fingerprint
    assert archive.classes == expected.classes == ("cats", "dogs")
    assert archive.skipped == ((f"{prefix}cats/broken.png", "error.picture_broken"),)
    assert archive.name == "pets"


def test_archives_in_archives_and_their_makers_litter_are_passed_over(
    tiny_pictures: Path, tmp_path: Path
) -> None:
    expected = load_dataset(tiny_pictures).fingerprint
    packed(tiny_pictures, tiny_pictures / "inner.zip")
    archive = packed(tiny_pictures, tmp_path / "outer.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/._00.png", b"litter")
        file.writestr(".thumbnails/00.png", b"litter")
    dataset = load_dataset(archive)
    assert dataset.fingerprint == expected
    assert dataset.skipped == ()


def link(file: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("link.png")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(member, "/etc/passwd")


def named(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda file: file.writestr(name, WHOLE)


def encrypted(file: zipfile.ZipFile) -> None:
    file.writestr("locked.png", WHOLE)
    file.getinfo("locked.png").flag_bits |= 1


def shared_bytes(file: zipfile.ZipFile) -> None:
    file.writestr("one.png", os.urandom(20_000), zipfile.ZIP_STORED)
    for number in range(50):
        twin = copy.copy(file.getinfo("one.png"))
        twin.filename = f"twin{number}.png"
        file.filelist.append(twin)


def zeros(file: zipfile.ZipFile) -> None:
    file.writestr("zeros.bmp", bytes(3 << 20), zipfile.ZIP_DEFLATED)


def other_method(file: zipfile.ZipFile) -> None:
    """Declares to be small; Python would unpack all of it at once."""
    file.writestr("bomb.png", bytes(1 << 20), zipfile.ZIP_BZIP2)
    file.getinfo("bomb.png").file_size = 100


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (named("../up.png"), "archive_unsafe"),
        (named("cats/../../up.png"), "archive_unsafe"),
        (named("cats\\..\\..\\up.png"), "archive_unsafe"),
        (named("/root.png"), "archive_unsafe"),
        (named("\\root.png"), "archive_unsafe"),
        (named("D:\\root.png"), "archive_unsafe"),
        (named("D:root.png"), "archive_unsafe"),
        (named("//host/share/a.png"), "archive_unsafe"),
        (named("../not-even-a-picture.txt"), "archive_unsafe"),
        (link, "archive_unsafe"),
        (encrypted, "archive_encrypted"),
        (shared_bytes, "archive_bomb"),
        (zeros, "archive_bomb"),
        (other_method, "archive_method"),
    ],
)
def test_hostile_archives_are_refused_whole(
    tiny_pictures: Path, tmp_path: Path, attack: Callable[[zipfile.ZipFile], None], code: str
) -> None:
    archive = packed(tiny_pictures, tmp_path / "hostile.zip")
    with zipfile.ZipFile(archive, "a") as file:
        attack(file)
    before = sorted(tmp_path.rglob("*"))
    error = refused(code, archive)
    assert error.values["source"] == str(archive)
    assert error.values["member"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (sources.Limits(members=11), "archive_too_many"),
        (sources.Limits(total_bytes=500), "archive_too_large"),
        (sources.Limits(index_bytes=500), "data_neither_folder_nor_zip"),
    ],
)
def test_archives_have_limits(
    tiny_pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: sources.Limits,
    code: str,
) -> None:
    archive = packed(tiny_pictures, tmp_path / "pictures.zip")
    assert len(load_dataset(archive)) == 12
    monkeypatch.setattr(sources, "LIMITS", limits)
    refused(code, archive)


def test_a_member_that_lies_about_its_size_is_skipped(tiny_pictures: Path, tmp_path: Path) -> None:
    archive = packed(tiny_pictures, tmp_path / "liar.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("liar.png", WHOLE, zipfile.ZIP_DEFLATED)
        file.getinfo("liar.png").file_size = 20
    assert load_dataset(archive).skipped == (("liar.png", "error.picture_broken"),)


def test_a_member_that_is_too_large_is_skipped(
    tiny_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(tiny_pictures, tmp_path / "large.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("large.png", os.urandom(10_000))
    monkeypatch.setattr(sources, "LIMITS", sources.Limits(file_bytes=4096))
    assert load_dataset(archive).skipped == (("large.png", "error.picture_file_too_large"),)


def test_nothing_is_unpacked(tiny_pictures: Path, tmp_path: Path) -> None:
    archive = packed(tiny_pictures, tmp_path / "pictures.zip")
    before = set(tmp_path.rglob("*"))
    load_dataset(archive, cache=tmp_path / "cache")
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert sorted(path.suffix for path in new) == [".json", ".u8"]
    assert {path.parent for path in new} == {tmp_path / "cache/datasets"}


def test_damaged_archives_never_crash(tiny_pictures: Path, tmp_path: Path) -> None:
    """Any byte may be wrong: the archive is refused, or its pictures are skipped or read."""
    whole = packed(tiny_pictures, tmp_path / "whole.zip").read_bytes()
    random = np.random.RandomState(1)
    damaged = tmp_path / "damaged.zip"
    outcomes = set()
    for _ in range(150):
        content = bytearray(whole)
        for position in random.randint(0, len(content), 8):
            content[position] = random.randint(256)
        damaged.write_bytes(content[: random.choice([len(content), len(content) - 30])])
        try:
            outcomes.add(bool(load_dataset(damaged, 8).skipped))
        except LabError as error:
            outcomes.add(error.code)
    assert {True, "data_neither_folder_nor_zip"} <= outcomes


def test_damaged_pictures_never_crash() -> None:
    """Decoders raise anything; only one kind of error comes out."""
    random = np.random.RandomState(2)
    kinds = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM")
    reasons = set()
    for kind, _ in itertools.product(kinds, range(40)):
        content = bytearray(encoded(quadrants(), kind))
        for position in random.randint(0, len(content), 5):
            content[position] = random.randint(256)
        try:
            assert pictures.square(bytes(content), 16).shape == (16, 16, 3)
        except pictures.UnusablePicture as unusable:
            reasons.add(unusable.reason)
    assert "error.picture_broken" in reasons
    assert all(text(reason, name="a") for reason in reasons)
