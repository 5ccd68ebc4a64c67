"""The program's public verbs, for gradio_client, curl and other programs; nothing else is public.

Each is typed and bounded, draws exact pictures, and returns PNG files with all their labels and
their recipe. Text for people stays English here, as everywhere in the API.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar

import gradio as gr
from gradio.events import api
from gradio.utils import get_upload_folder

from gan import rendering
from gan.directions.naming import PCA, Method
from gan.errors import LabError
from gan.files import write_atomic
from gan.recipe import Recipe
from gan.ui import explore_server

LEAST_FRAMES, MOST_FRAMES = 2, 64
AT_ONCE = 4  # calls of one verb; more wait in Gradio's queue

Given = ParamSpec("Given")
Result = TypeVar("Result")


class File(TypedDict):
    """A file as Gradio's clients download it: they see a path on their own machine."""

    path: str
    url: str | None
    size: int | None
    orig_name: str | None
    mime_type: str | None
    is_stream: bool
    meta: dict[str, str]


async def generate(
    model: str = "avatars",
    seed: int = 0,
    psi: float = 0.7,
    label: int | None = None,
    cutoff: int | None = None,
    noise: str = "const",
    scale: Literal[1, 4, 8] = 1,
) -> File:
    """Draws one picture; returns a PNG with its recipe and its labels in it.

    model: a name from `models`. seed: 0 … 4294967295. psi: truncation, −1 … 1.5; 0 is the average
    picture, 1 untruncated. label: the class, for models with classes. cutoff: psi acts on rows of w
    below it only. noise: "const", "none", or a seed as text. scale: enlargement.
    """
    number = int(noise) if noise.isdecimal() else noise
    given = {"model": model, "seed": seed, "psi": psi, "label": label, "cutoff": cutoff}
    return await _file(Recipe.from_json(given | {"noise": number}), scale)


async def interpolate(
    model: str = "avatars",
    seed: int = 0,
    seed2: int = 1,
    frames: int = 8,
    space: Literal["w", "z"] = "w",
    psi: float = 0.7,
    label: int | None = None,
) -> list[File]:
    """Draws the way from one seed to another, both ends included; returns a PNG for each frame.

    frames: 2 … 64. space: "w" is the straight line between the ws, "z" the great circle between
    the latents. The rest is as in `generate`.
    """
    if not isinstance(frames, int) or not LEAST_FRAMES <= frames <= MOST_FRAMES:
        raise LabError("bad_frames", value=frames, least=LEAST_FRAMES, most=MOST_FRAMES)
    given = {"model": model, "seed": seed, "seed2": seed2, "psi": psi, "label": label}
    start = Recipe.from_json(given | {"blend_space": space})
    steps = [number / (frames - 1) for number in range(frames)]
    # One after the other: a long way waits its turn among everybody else's pictures.
    name = f"{start.model.replace('/', '-')}-{seed}-to-{seed2}"
    return [
        await _file(replace(start, blend=step), 1, f"{name}-{number:02d}.png")
        for number, step in enumerate(steps)
    ]


async def edit(
    model: str = "avatars",
    seed: int = 0,
    edits: list[dict[str, Any]] = [],  # noqa: B006 (Gradio shows the default; it isn't changed)
    psi: float = 0.7,
    label: int | None = None,
    scale: Literal[1, 4, 8] = 1,
) -> File:
    """Draws one picture pulled along directions; returns a PNG with its recipe and labels in it.

    edits: up to 32 of {"direction": a name from `directions`, of either method, "strength":
    −10 … 10 standard deviations, "start": first row of w, "end": row behind the last}; the rows may
    be left out. The rest is as in `generate`.
    """
    given = {"model": model, "seed": seed, "edits": edits, "psi": psi, "label": label}
    return await _file(Recipe.from_json(given), scale)


async def directions(model: str = "avatars", method: Method = PCA) -> list[dict[str, Any]]:
    """The directions of a model, for `edit`: a list of {"name", "sigma", "explained"}.

    method: "pca", principal components: what varies most between pictures; "sefa", closed form:
    what the weights react to most (see `models` for what a model has). sigma: the standard
    deviation of w along it (1 where a model has only z), which is one unit of strength. explained:
    with "pca" its share of all variance, with "sefa" its share of all eigenvalues.
    """
    return await explore_server.find_directions(Recipe(model), method)


async def models() -> list[dict[str, Any]]:
    """The models that are here: a list of {"name", "title", "revision", "resolution" in pixels,
    "num_ws" rows of w, "layers": the picture size at which each row acts, "classes" or null,
    "licence", "family", "methods" that find directions in it, "source", "hash" of the weights,
    "cost" (null here)}."""
    return [explore_server.describe(info) for info in rendering.shared().models()]


VERBS: tuple[Callable[..., Awaitable[Any]], ...] = (
    generate,
    interpolate,
    edit,
    directions,
    models,
)


def attach(demo: gr.Blocks) -> None:
    """Adds the verbs to `demo`, which is being built."""
    for verb in VERBS:
        api(_refusing(verb), api_name=verb.__name__, concurrency_limit=AT_ONCE)


def _refusing(
    verb: Callable[Given, Awaitable[Result]],
) -> Callable[Given, Awaitable[Result]]:
    """Refused input reaches the caller as an error with its text."""

    @wraps(verb)
    async def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return await verb(*args, **kwargs)
        except LabError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return call


async def _file(recipe: Recipe, scale: int, name: str | None = None) -> File:
    """The exact picture as a labelled PNG in Gradio's cache, which serves and sweeps it.

    Gradio's own way from picture to PNG keeps no labels (and would lose the recipe).
    """
    recipe, content = await explore_server.labelled_png(recipe, scale)
    folder = Path(get_upload_folder()) / hashlib.sha256(content).hexdigest()
    path = folder / (name or explore_server.file_name(recipe, scale))
    await explore_server.in_thread(_write, path, content)
    return File(
        path=str(path),
        url=None,
        size=len(content),
        orig_name=path.name,
        mime_type="image/png",
        is_stream=False,
        meta={"_type": "gradio.FileData"},
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)
