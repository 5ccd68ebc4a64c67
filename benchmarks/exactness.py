"""How equal is equal: what rounding, threads, formats and previews change in a picture.

    python benchmarks/exactness.py [--models avatars digits] [--pictures 64]

The reference is the exact picture: float32, by itself, as the page shows it at rest. Compared with
it, in levels of 0 … 255: the same equations in float64, other numbers of threads, another memory
order, directions found in float64, weights stored in float16, and what is seen while dragging,
alone, in a batch, and after JPEG. Half of the pictures are pulled along directions.
"""

import argparse
import copy
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

from benchmarks.plain import plain_synthesis
from gan import device as devices
from gan import images, latents
from gan.directions.pca import Directions, pca
from gan.generators.base import Generator
from gan.generators.prepared import prepare
from gan.generators.stylegan2 import StyleGAN2
from gan.loading import list_models, load_generator, save_model
from gan.recipe import Edit, Recipe
from gan.rendering import draw_exact
from gan.ui.explore_server import SMALL_JPEG_QUALITY as JPEG_QUALITY

Pictures = np.ndarray  # uint8 [N, H, W, 3]


def recipes(generator: Generator, count: int) -> list[Recipe]:
    """Fixed ones: every class, truncations of 0.5 to 1, every second one pulled."""
    return [
        Recipe(
            "x",
            seed=number,
            psi=(0.5, 0.7, 1.0)[number % 3],
            label=number % generator.c_dim if generator.c_dim else None,
            edits=(Edit(f"pca{number % 10}", 2.0), Edit("pca0", -1.0)) if number % 2 else (),
        )
        for number in range(count)
    ]


def exact(generator: Generator, wanted: list[Recipe], directions: Directions) -> Pictures:
    return np.stack([draw_exact(generator, recipe, directions.vectors) for recipe in wanted])


def with_threads(count: int, draw: Callable[[], Pictures]) -> Pictures:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return draw()
    finally:
        torch.set_num_threads(before)


def as_network(generator: Generator, wanted: list[Recipe], directions: Directions) -> Pictures:
    """As `draw_exact`, but with whatever number of threads there is."""
    return np.concatenate(
        [
            images.to_uint8(
                generator.synthesis(latents.recipe_to_ws(generator, recipe, directions.vectors))
            )
            for recipe in wanted
        ]
    )


def in_float64(generator: StyleGAN2, wanted: list[Recipe], directions: Directions) -> Pictures:
    double = copy.deepcopy(generator).double()
    pictures = []
    for recipe in wanted:
        z = latents.seed_to_z(recipe.seed, generator.z_dim).double()
        c = torch.eye(generator.c_dim).double()[[recipe.label]] if generator.c_dim else None
        ws = double.mapping(z, c, psi=recipe.psi)
        for edit in recipe.edits:
            ws = ws + edit.strength * directions.vectors[edit.direction].double()
        pictures.append(images.to_uint8(plain_synthesis(double, ws)))
    return np.concatenate(pictures)


def previews(
    generator: Generator, wanted: list[Recipe], directions: Directions, batch: int, dtype: str
) -> Pictures:
    draw = prepare(generator, getattr(torch, dtype))
    ws = latents.recipes_to_ws(generator, wanted, directions.vectors)
    return np.concatenate([images.to_uint8(draw(rows)) for rows in ws.split(batch)])


def after_jpeg(pictures: Pictures) -> Pictures:
    files = (images.jpeg_bytes(picture, JPEG_QUALITY) for picture in pictures)
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])


def directions_in_float64(generator: Generator) -> Directions:
    double: Any = copy.deepcopy(generator).double()
    double.info = None
    return pca(_DoubleInputs(double))  # type: ignore[arg-type]


class _DoubleInputs:
    """A generator that is asked in float32 and maps in float64."""

    def __init__(self, generator: Generator):
        self.generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def mapping(self, z: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        return self.generator.mapping(z.double(), None if c is None else c.double())


def stored_in_half(generator: StyleGAN2) -> Generator:
    with tempfile.TemporaryDirectory() as folder:
        save_model(folder, generator, name="half", half=True)
        return load_generator(Path(folder))


def comparisons(
    generator: StyleGAN2, wanted: list[Recipe], directions: Directions
) -> Iterator[tuple[str, Pictures]]:
    yield "again", exact(generator, wanted, directions)
    yield "float64, plain equations", in_float64(generator, wanted, directions)
    for count in (1, 2, 4):
        draw = lambda: as_network(generator, wanted, directions)  # noqa: E731
        yield f"{count} thread(s) throughout", with_threads(count, draw)
    contiguous = copy.deepcopy(generator)
    contiguous.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    yield "weights in NCHW order", exact(contiguous, wanted, directions)
    yield "directions in float64", exact(generator, wanted, directions_in_float64(generator))
    yield "weights stored in float16", exact(stored_in_half(generator), wanted, directions)
    yield "prepared, float32", previews(generator, wanted, directions, 1, "float32")
    here = devices.choose().dtype  # and bfloat16, which other processors choose
    for dtype in dict.fromkeys((here, "bfloat16")):
        yield f"preview ({dtype}) alone", previews(generator, wanted, directions, 1, dtype)
        batched = previews(generator, wanted, directions, 16, dtype)
        yield f"preview ({dtype}) in a batch", batched
        yield f"the same after JPEG {JPEG_QUALITY}", after_jpeg(batched)


def row(name: str, pictures: Pictures, reference: Pictures) -> str:
    difference = np.abs(pictures.astype(int) - reference)
    return (
        f"{name:32}{difference.max():6}{100 * (difference > 0).mean():12.4f} %"
        f"{100 * (difference > 1).mean():12.4f} %{difference.mean():10.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What changes a picture, and by how much.")
    parser.add_argument("--models", nargs="*", default=[info.name for info in list_models()])
    parser.add_argument("--pictures", type=int, default=64)
    options = parser.parse_args()
    for name in options.models:
        generator = load_generator(name)
        assert isinstance(generator, StyleGAN2)
        wanted, directions = recipes(generator, options.pictures), pca(generator)
        print(f"\n{name}, {options.pictures} pictures, against the exact picture, in levels")
        print(f"{'':32}{'most':>6}{'differ':>14}{'by over 1':>14}{'mean':>10}")
        with torch.inference_mode():
            reference = exact(generator, wanted, directions)
            for title, pictures in comparisons(generator, wanted, directions):
                print(row(title, pictures, reference), flush=True)


if __name__ == "__main__":
    main()
