"""What the live canvas may ask for: plain JSON in, plain JSON out.

Each function takes one object and returns one. It checks what it was given, asks the renderer, and
encodes; a refusal is returned as {"error": {"code", "values"}}, never raised. There is no state.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from gan import images, rendering
from gan.costs import Cost
from gan.directions.methods import offered
from gan.directions.naming import PCA
from gan.errors import LabError
from gan.loading import ModelInfo, has_name
from gan.openings import FILES, portable
from gan.recipe import Edit, Recipe
from gan.rendering import Picture, Quality

Json = dict[str, Any]
Result = TypeVar("Result")

SMALL = 128  # pixels: up to here a preview can be finer for a few bytes more
JPEG_QUALITY, SMALL_JPEG_QUALITY = 92, 97
STRIP = (-2.0, -1.0, 0.0, 1.0, 2.0)  # σ
MOST_PNG_BYTES = images.RECIPE_WITHIN  # that are read for their recipe
LONGEST_CLIENT = 64
FIRST_SEED = 0
_RUN = re.compile(r"run-[0-9a-f]{16}")  # a model that a training here has made
_MOST_ENCODINGS = 64  # downloads that wait for one of the two encoders

_log = logging.getLogger(__name__)


def answering(function: Callable[[Json], Awaitable[Json]]) -> Callable[[Any], Awaitable[Json]]:
    """Makes refusals answers. What we did not foresee is logged, and told without its details."""

    @wraps(function)
    async def answer(asked: Any) -> Json:
        try:
            if not isinstance(asked, Mapping):
                raise LabError("bad_request", reason="no JSON object")
            return await function(dict(asked))
        except LabError as error:
            return {"error": error.to_json()}
        except Exception:  # noqa: BLE001 (nothing of it may reach the page raw)
            _log.exception("%s failed", function.__name__)
            return {"error": LabError("drawing_failed").to_json()}

    # Gradio passes what the annotations ask for: it must not see those of the wrapped function.
    answer.__annotations__ = {}
    return answer


@answering
async def draw(asked: Json) -> Json:
    """{"id", "recipe", "quality": "preview" | "exact", "original"?, "client"?, "by"?} → {"id",
    "recipe", "image": data URL, "ms"}. `original` leaves the edits out; a newer request of the same
    `client` takes the place of one that still waits; `by`, {"model", "revision"?}, is another model
    that draws the recipe in lock-step with its own."""
    head, content, kind = await drawn(asked)
    return {**head, "image": data_url(content, kind)}


async def drawn(asked: Json) -> tuple[Json, bytes, str]:
    """The answer to `draw` in parts: all but the image, the image's bytes, and its type."""
    number, quality, client = asked.get("id"), asked.get("quality", "preview"), asked.get("client")
    if quality not in ("preview", "exact"):
        raise LabError("bad_request", reason=f"quality {quality!r}")
    if not isinstance(number, int | None) or not isinstance(client, str | None):
        raise LabError("bad_request", reason="id or client")
    recipe = Recipe.from_json(asked.get("recipe"))
    wanted = replace(recipe, edits=()) if asked.get("original") is True else recipe
    client = None if client is None else client[:LONGEST_CLIENT]
    picture = await rendering.shared().draw(wanted, quality, client, _second(asked.get("by")))
    head = {"id": number, "recipe": recipe.to_json(), "ms": round(picture.milliseconds, 2)}
    return head, *encoded(picture, quality)


def _second(given: Any) -> tuple[str, str] | None:
    """Name and revision of the model that draws beside the recipe's own."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise LabError("bad_request", reason="by")
    named = Recipe(given.get("model", ""), revision=given.get("revision", ""))
    return named.model, named.revision


def encoded(picture: Picture, quality: Quality) -> tuple[bytes, str]:
    """→ a picture's bytes and their type: a JPEG for previews, a bare PNG for exact pictures."""
    if quality == "preview":
        is_small = max(picture.pixels.shape) <= SMALL
        fineness = SMALL_JPEG_QUALITY if is_small else JPEG_QUALITY
        return images.jpeg_bytes(picture.pixels, fineness), "image/jpeg"
    return images.bare_png_bytes(picture.pixels), "image/png"


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@answering
async def models(asked: Json) -> Json:
    """{} → {"models": […], "default": recipe, or null where there is no model}."""
    known = rendering.shared().models()
    return {"models": [describe(info) for info in known], "default": default_recipe(known)}


def describe(info: ModelInfo, cost: Cost | None = None) -> Json:
    """What the page has to know about a model; `cost` of its pictures where it was measured."""
    return {
        "name": info.name,
        "title": dict(info.title),
        "revision": info.revision,
        "resolution": info.resolution,
        "num_ws": info.num_ws,
        "layers": list(info.layers),
        "classes": None if info.classes is None else list(info.classes),
        "licence": info.licence,
        "family": info.family,
        "latent_space": info.latent_space,
        "methods": list(offered(info)),
        # What has the same can be drawn side by side (`gan.lockstep`).
        "latents": [info.latent_space, info.z_dim, info.w_dim, info.c_dim],
        "is_named": has_name(info),
        "source": info.source,
        "hash": info.hash,
        "cost": cost.to_json() if cost else None,
    }


def default_recipe(known: list[ModelInfo]) -> Json | None:
    """The first picture: that of "avatars", or of whatever model there is."""
    if not known:
        return None
    names = [info.name for info in known]
    return Recipe("avatars" if "avatars" in names else names[0], seed=FIRST_SEED).to_json()


def first_picture() -> Json:
    """What the page starts with, before anybody asks: {"recipe", "models", "image": data URL}.

    For the program's start; blocks. Without a model the recipe is null and the image "".
    """
    renderer = rendering.shared()
    known = renderer.models()
    recipe = default_recipe(known)
    image = ""
    if recipe is not None:
        pixels = renderer.model(recipe["model"]).draw_exact(Recipe.from_json(recipe))
        image = data_url(images.bare_png_bytes(pixels), "image/png")
        renderer.warm_up(recipe["model"])
    return {"recipe": recipe, "models": [describe(info) for info in known], "image": image}


@answering
async def directions(asked: Json) -> Json:
    """{"model", "revision"?, "method"?: "pca" or "sefa"} → {"directions": [{"name", "sigma",
    "explained"}]}, the largest first."""
    recipe = Recipe(asked.get("model", ""), revision=asked.get("revision", ""))
    return {"directions": await find_directions(recipe, asked.get("method", PCA))}


async def find_directions(recipe: Recipe, method: str) -> list[Json]:
    """The directions of a recipe's model as the page and the API list them. Raises LabError."""
    found = await rendering.shared().directions(recipe.model, recipe.revision, method)
    facts = zip(found.vectors, found.sigma, found.explained, strict=True)
    return [
        {"name": name, "sigma": round(sigma, 4), "explained": round(share, 5)}
        for name, sigma, share in facts
    ]


@answering
async def strip(asked: Json) -> Json:
    """{"recipe", "direction"} → {"images": data URLs of the recipe with the direction at −2 … 2 σ},
    on the rows that the recipe's own edit of that direction has, else on all."""
    recipe, direction = Recipe.from_json(asked.get("recipe")), asked.get("direction", "")
    own = next((edit for edit in recipe.edits if edit.direction == direction), None)
    others = tuple(edit for edit in recipe.edits if edit.direction != direction)
    rows = (own.start, own.end) if own else (0, None)
    draw_one = rendering.shared().draw
    wanted = [
        replace(recipe, edits=(*others, Edit(direction, strength, *rows))) for strength in STRIP
    ]
    pictures = await asyncio.gather(*(draw_one(each) for each in wanted))
    return {"images": [data_url(*encoded(picture, "preview")) for picture in pictures]}


@answering
async def export(asked: Json) -> Json:
    """{"recipe", "scale": 1 | 4 | 8} → {"filename", "data": base64 of a labelled PNG}."""
    scale = asked.get("scale", 1)
    recipe, content = await labelled_png(Recipe.from_json(asked.get("recipe")), scale)
    data = await in_thread(base64.b64encode, content)
    return {"filename": file_name(recipe, scale), "data": data.decode()}


async def labelled_png(recipe: Recipe, scale: int) -> tuple[Recipe, bytes]:
    """The exact picture as a PNG with all its labels, and the recipe in it, which names the
    model's revision. Raises LabError."""
    if scale not in images.SCALES or isinstance(scale, bool):
        raise LabError("bad_scale", value=scale)
    recipe = await stamped(recipe)
    picture = await rendering.shared().draw(recipe, "exact")
    info = await rendering.shared().info(recipe.model, recipe.revision)
    recipe = portable(recipe)
    content = await in_thread(
        images.png_bytes, picture.pixels, recipe, scale=scale, credit=info.licence
    )
    return recipe, content


async def stamped(recipe: Recipe) -> Recipe:
    """The recipe with the revision of the model that draws it."""
    info = await rendering.shared().info(recipe.model, recipe.revision)
    return recipe if recipe.revision else replace(recipe, revision=info.revision)


def file_name(recipe: Recipe, scale: int = 1) -> str:
    """ "avatars-12.png", "avatars-12-x4.png"."""
    size = "" if scale == 1 else f"-x{scale}"
    return f"{recipe.model.replace('/', '-')}-{recipe.seed}{size}.png"


@answering
async def read(asked: Json) -> Json:
    """{"data": base64 of a PNG's first 64 KiB} → {"recipe"}."""
    data = asked.get("data")
    if not isinstance(data, str):
        raise LabError("bad_request", reason="no data")
    data = data[: math.ceil(MOST_PNG_BYTES / 3) * 4]  # whoever sends the rest does it in vain
    try:
        content = await in_thread(base64.b64decode, data, validate=True)
    except binascii.Error as error:
        raise LabError("bad_request", reason=error) from error
    recipe = await in_thread(images.read_recipe, content)
    return {"recipe": recipe.to_json()}


@answering
async def snippet(asked: Json) -> Json:
    """{"recipe"} → {"code", "runs"}: Python that draws and saves the same picture, and whether it
    runs "by_name", "here" (it opens the model by its path) or only once the person has put in where
    they have the "file"."""
    recipe = await stamped(Recipe.from_json(asked.get("recipe")))
    info = await rendering.shared().info(recipe.model, recipe.revision)
    runs, source = _place(info)
    return {"code": python_code(portable(recipe), source), "runs": runs}


def _place(info: ModelInfo) -> tuple[str, str]:
    """How Python elsewhere gets at a model, and by what source; "" where the recipe's name is
    enough. A place on this machine is told only where whoever looks gave it: the host lets people
    name paths, and the file is neither an upload nor a run of somebody's."""
    if has_name(info) or info.source.startswith("hf://"):
        return "by_name", ""
    is_own = not info.name.startswith(f"{FILES}/") and not _RUN.fullmatch(info.name)
    if is_own and rendering.shared().policy.paths:
        return "here", str(info.path.resolve())
    return "file", "PATH OF THE MODEL"


def python_code(recipe: Recipe, source: str = "") -> str:
    """Python for a shell in the project's folder: the exact picture, as a file with its labels."""
    load = f"generator = gan.load_generator({source!r})\n" if source else ""
    given = "recipe, generator" if source else "recipe"
    return (
        "import numpy as np\n\n"
        "import gan\n"
        "from gan import images\n\n"
        f"recipe = gan.Recipe.from_json({recipe.to_json()!r})\n"
        f"{load}"
        f"picture = gan.render({given})  # a PIL image\n"
        f"images.save({file_name(recipe)!r}, np.asarray(picture), recipe)\n"
    )


async def in_thread(function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Runs what takes more than a millisecond beside the event loop, in one of two threads."""
    if not _encodings.acquire(blocking=False):
        raise LabError("busy", waiting=_MOST_ENCODINGS)
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_encoders, lambda: function(*arguments, **options))
    finally:
        _encodings.release()


_encoders = ThreadPoolExecutor(2, thread_name_prefix="encode")
_encodings = threading.BoundedSemaphore(_MOST_ENCODINGS)

FUNCTIONS = (draw, models, directions, strip, export, read, snippet)
