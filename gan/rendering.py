"""One renderer for everybody in this process: it opens models once and draws recipes.

Two qualities. *exact*: float32, each picture by itself, the network as it is; the same recipe gives
the same pixels on the same machine and versions. *preview*: what people want at the same moment is
drawn together, in bfloat16 where that is faster; a picture may differ by a few levels
(`benchmarks/exactness.py`).

Small networks are drawn by one thread a core, each its own batch, rather than by all cores
together: measured with thirty people that is a tenth cheaper, and beside a training twenty times
faster, because no thread waits for another. Pictures that take long wait in a lane of their own,
drawn one at a time by a thread of low priority: who drags a small model isn't kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from gan import device as devices
from gan import images, latents, lockstep
from gan.costs import SLOW_SECONDS, Cost, less_busy, measure, remember, remembered
from gan.device import Device
from gan.directions import methods
from gan.directions.naming import METHODS, PCA
from gan.directions.pca import Directions
from gan.drawing import MOST_BATCH, DrawingQueue, Job, Picture, Quality, Vectors
from gan.errors import LabError
from gan.generators.base import Generator, Noise, SynthesisFunction
from gan.generators.prepared import prepare
from gan.loading import ModelInfo, from_hub, list_models, load_generator, renamed
from gan.loading.formats import Room
from gan.loading.hub import Progress, look_up
from gan.loading.hub_names import HubFile, is_hub_name
from gan.loading.policy import Policy
from gan.pool import Pool, Reservation
from gan.recipe import Recipe
from gan.system import lower_thread_priority

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Model", "Picture", "Quality", "Renderer", "draw_exact", "render", "shared"]

MOST_WORKERS = 8
SMALL = 128  # pixels: up to here one core draws a picture in milliseconds
EXACT_THREADS = 4  # for larger networks; a fixed number, because it decides the order of sums
REMEMBERED_WS = 512  # for each model


def render(recipe: Recipe, generator: Generator | None = None) -> Image.Image:
    """The exact picture of a recipe, RGB. Raises LabError where it can't be drawn.

    `generator` draws it where one is given; otherwise the model that the recipe names.
    """
    from PIL import Image

    if generator is not None:
        return Image.fromarray(draw_exact(generator, recipe))
    return Image.fromarray(_model_of(recipe).draw_exact(recipe))


def _model_of(recipe: Recipe) -> Model:
    """The model that a recipe names; one on the Hub is fetched, which the page asks for first."""
    try:
        return shared().model(recipe.model, recipe.revision)
    except LabError as error:
        if error.code != "model_not_open" or not is_hub_name(recipe.model):
            raise
    info = shared().add(look_up(recipe.model, shared().policy, digest=recipe.revision))
    return shared().model(info.name, info.revision)


@torch.inference_mode()
def draw_exact(
    generator: Generator, recipe: Recipe, vectors: Mapping[str, Tensor] | None = None
) -> np.ndarray:
    """The exact picture of a recipe, uint8 [H, W, 3], whatever model the recipe names.

    `vectors` are the directions by name, [w_dim] each: the generator's own where none are given.
    Raises LabError where the generator can't draw the recipe.
    """
    if vectors is None:
        vectors = methods.find_vectors(generator, recipe.directions) if recipe.edits else {}
    kind = next(generator.parameters()).device.type
    count = 1 if generator.resolution <= SMALL else EXACT_THREADS
    with devices.exact(Device(kind, "float32", count)), _threads(count):
        ws = latents.recipe_to_ws(generator, recipe, vectors)
        return images.to_uint8(generator.synthesis(ws, noise=_noise(recipe)))[0]


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Inside, torch uses so many threads for what this thread computes."""
    before = torch.get_num_threads()
    if count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


def shared(device: Device | None = None) -> Renderer:
    """This process's renderer. The first call makes it, on `device` or the best there is."""
    with _shared_lock:
        if not _shared:
            _shared.append(Renderer(device))
        return _shared[0]


_shared: list[Renderer] = []
_shared_lock = threading.Lock()


class Model:
    """An open model: its generator, its faster twin for previews, its directions, recent ws."""

    def __init__(self, generator: Generator, device: Device):
        """`device` is where the generator is; its number format is that of previews."""
        self.generator, self.dtype = generator, getattr(torch, device.dtype)
        self.threads = 1 if generator.resolution <= SMALL else device.threads
        self.info: ModelInfo = generator.info
        self._synthesis: SynthesisFunction | None = None
        self._ws: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self._preparing = threading.Lock()
        self._finding = {method: threading.Lock() for method in METHODS}
        self._noting = threading.Lock()
        self._directions: dict[str, Directions] = {}  # by method
        self._vectors: Vectors = {}
        self._device = device
        self._first: tuple[Recipe, np.ndarray] | None = None  # the picture that was timed
        self.cost = remembered(self.info.hash, device)
        self._is_measured = False

    @property
    def is_measured(self) -> bool:
        """Is there nothing to gain by measuring? What was remembered of a slow model may be the
        time of a busy machine."""
        cost = self.cost
        is_quick = cost and cost.drag == "whole" and cost.exact_seconds <= SLOW_SECONDS
        return self._is_measured or bool(is_quick)

    @property
    def size_bytes(self) -> int:
        """What it takes of the memory."""
        stored = [*self.generator.parameters(), *self.generator.buffers()]
        return _size_bytes(sum(each.numel() for each in stored), self.dtype)

    def is_slow(self, quality: Quality) -> bool:
        """Does a picture take so long that others shouldn't wait behind it? Until it was measured,
        a large network may."""
        if self.cost is None:
            return self.generator.resolution > SMALL
        seconds = self.cost.exact_seconds if quality == "exact" else self.cost.preview_seconds
        return seconds > SLOW_SECONDS

    def measure(self, recipe: Recipe) -> Cost:
        """What its pictures cost, measured by drawing `recipe` unless that is known for sure.
        Blocks, as long as a picture takes; that picture is kept for whoever asks for it next."""
        if self.cost is None or not self.is_measured:
            now = measure(
                lambda: self._time_exact(recipe),
                lambda side: self._time_preview(recipe, side),
                self.generator.early_resolutions(),
            )
            self.cost = less_busy(now, self.cost)
            self._is_measured = True
            remember(self.info.hash, self._device, self.cost)
        return self.cost

    def _time_exact(self, recipe: Recipe) -> float:
        started = time.perf_counter()
        self._first = None
        self._first = recipe, self.draw_exact(recipe)
        return time.perf_counter() - started

    def _time_preview(self, recipe: Recipe, side: int | None) -> float | None:
        started = time.perf_counter()
        drawn = self._previews([recipe], side)
        return time.perf_counter() - started if side in (None, drawn.shape[1]) else None

    def directions(self, method: str = PCA) -> Directions:
        """The directions that a method finds; the first call may take some seconds. LabError for
        a method that doesn't work for this model."""
        methods.check(method, self.generator)
        with self._finding[method]:
            if method not in self._directions:
                found = methods.find(self.generator, method)
                device = next(self.generator.parameters()).device
                moved = {name: each.to(device) for name, each in found.vectors.items()}
                with self._noting:  # a new dict: others may be reading the one that was
                    self._vectors = {**self._vectors, **moved}
                self._directions[method] = found
            return self._directions[method]

    def known_directions(self, method: str = PCA) -> Directions | None:
        """The directions if that takes no time."""
        return self._directions.get(method)

    def missing(self, recipe: Recipe) -> list[str]:
        """The methods whose directions the recipe needs and nobody has found yet."""
        if not recipe.edits:
            return []
        wanted = methods.needed(recipe.directions, self.generator)
        return [method for method in wanted if method not in self._directions]

    @property
    def vectors(self) -> Vectors:
        """The directions that are known by now, [w_dim] each, one unit long."""
        return self._vectors

    def check(self, recipe: Recipe, lent: Vectors | None = None) -> None:
        """Raises LabError unless this is the revision that the recipe asks for, and can draw it.
        Its directions must be known if the recipe has edits and none are `lent`."""
        if recipe.revision not in ("", self.info.revision):
            raise LabError(
                "other_revision",
                model=self.info.name,
                asked=recipe.revision,
                here=self.info.revision,
            )
        latents.check(self.generator, recipe, self._vectors if lent is None else lent)

    def draw_exact(self, recipe: Recipe, lent: Vectors | None = None) -> np.ndarray:
        """→ pixels uint8 [H, W, 3], edited along its own directions or those `lent`. Raises
        LabError."""
        for method in () if lent is not None else self.missing(recipe):
            self.directions(method)
        self.check(recipe, lent)
        first = self._first  # which may be drawn anew meanwhile
        if first and replace(first[0], revision=recipe.revision) == recipe:
            return first[1]
        return draw_exact(self.generator, recipe, self._vectors if lent is None else lent)

    def draw_previews(self, recipes: Sequence[Recipe], lent: Vectors | None = None) -> np.ndarray:
        """Checked recipes of one noise → pixels uint8 [N, H, W, 3], smaller than the picture where
        it couldn't be dragged else."""
        return self._previews(recipes, self.cost.preview_resolution if self.cost else None, lent)

    @torch.inference_mode()
    def _previews(
        self, recipes: Sequence[Recipe], resolution: int | None, lent: Vectors | None = None
    ) -> np.ndarray:
        with self._preparing, _threads(1):
            if self._synthesis is None:
                self._synthesis = prepare(self.generator, self.dtype)
            ws = self._preview_ws(recipes, self._vectors if lent is None else lent)
        with _threads(self.threads):
            drawn = self._synthesis(ws, noise=_noise(recipes[0]), resolution=resolution)
            return images.to_uint8(drawn)

    def _preview_ws(self, recipes: Sequence[Recipe], vectors: Mapping[str, Tensor]) -> Tensor:
        """→ ws [N, num_ws, w_dim]. A slider that pulls a direction doesn't map its seed again."""
        keys = [_mapping_key(recipe) for recipe in recipes]
        missing = {k: r for k, r in zip(keys, recipes, strict=True) if k not in self._ws}
        if missing:
            unedited = [replace(recipe, edits=()) for recipe in missing.values()]
            mapped = latents.recipes_to_ws(self.generator, unedited, {})
            self._ws.update(zip(missing, mapped.split(1), strict=True))
        ws = torch.cat([self._ws[key] for key in keys])
        for row, recipe in zip(ws.unbind(), recipes, strict=True):
            for edit in recipe.edits:
                vector = vectors[edit.direction].to(row)
                row[edit.start : edit.end].add_(vector, alpha=edit.strength)
        for key in keys:
            self._ws.move_to_end(key)
        while len(self._ws) > REMEMBERED_WS:
            self._ws.popitem(last=False)
        return ws


def _size_bytes(count: int, dtype: torch.dtype) -> int:
    """What a network of so many numbers takes of the memory: itself in float32, and its arrangement
    for previews."""
    return count * (4 + dtype.itemsize)


def _noise(recipe: Recipe) -> Noise:
    return cast(Noise, recipe.noise)  # a recipe holds no other words


def _mapping_key(recipe: Recipe) -> tuple[object, ...]:
    """Everything that determines ws, except for the edits."""
    return (
        *(recipe.seed, recipe.seed2, recipe.blend, recipe.blend_space),
        *(recipe.label, recipe.psi, recipe.cutoff),
    )


class Renderer:
    """Opens models once, draws recipes for everybody. Threads start with the first picture."""

    def __init__(self, device: Device | None = None, policy: Policy | None = None):
        self.device = device or devices.choose()
        self.policy = policy or Policy.from_environment()
        # One thread a core; on a GPU one: there the switches of exactness are the process's.
        workers = min(self.device.threads, MOST_WORKERS) if self.device.kind == "cpu" else 1
        self._quick = DrawingQueue(workers, MOST_BATCH)
        self._slow = self._quick
        if self.device.kind == "cpu":
            self._slow = DrawingQueue(1, 1, begin=lower_thread_priority)
        self._pool: Pool[Model] = Pool(self.policy.models_bytes, self._is_busy_with)
        self._named: dict[str, Future[Model]] = {}
        self._measured: dict[Future[Cost], Model] = {}  # and those that wait for it
        self._lock = threading.Lock()
        # Opening models and finding directions: not in the thread that draws.
        self._background = ThreadPoolExecutor(2, thread_name_prefix="open")
        self._measuring = ThreadPoolExecutor(
            1, thread_name_prefix="measure", initializer=lower_thread_priority
        )
        devices.apply(self.device)

    # Models

    def models(self) -> list[ModelInfo]:
        """What can be drawn from: the named models, and those that were added. An open model
        stays what it is, even if its files are replaced."""
        infos = {info.name: info for info in list_models()}
        added = []
        for info in self._pool.listed():
            known = infos.get(info.name)
            if known is None or known.revision == info.revision or known.path == info.path:
                infos[info.name] = info
            else:
                added.append(info)
        return [*infos.values(), *added]

    def warm_up(self, name: str) -> None:
        """Makes the first preview of a model ready in the background, so that the first drag
        doesn't wait for it."""
        opening = self._opening(name)  # comes first in the queue of the background
        self._background.submit(lambda: opening.result().draw_previews([Recipe(name)]))

    def add(
        self,
        source: str | Path | HubFile,
        *,
        name: str | None = None,
        title: str | None = None,
        is_listed: bool = True,
        progress: Progress | None = None,
        token: str | None = None,
    ) -> ModelInfo:
        """Opens a model folder, a run, a file or what was looked up on the Hub (with a person's
        own `token`), so that recipes with its name and revision can be drawn. Blocks; raises
        LabError."""
        called = source.repo if isinstance(source, HubFile) else title or Path(source).name
        with self._room(called) as (reservation, room):
            if isinstance(source, HubFile):
                generator = from_hub(source, self.policy, progress, token, room)
                generator = generator.to(self.device.torch)
            else:
                generator = load_generator(source, self.device, room)
            if name is not None:
                generator.info = renamed(generator.info, name, title or name)
            model = Model(generator, self.device)
            return self._pool.put(model, is_listed=is_listed, reservation=reservation).info

    @contextlib.contextmanager
    def _room(self, name: str) -> Iterator[tuple[Reservation, Room]]:
        """Inside, memory is set aside for a model as soon as its size is known."""
        dtype = getattr(torch, self.device.dtype)
        with self._pool.reservation() as reservation:

            def room(count: int) -> None:
                self._pool.reserve(reservation, name, _size_bytes(count, dtype))

            yield reservation, room

    def model(self, name: str, revision: str = "") -> Model:
        """A model by its name, opened if need be. Blocks; raises LabError where it isn't there."""
        return self._opening(name, revision).result()

    async def info(self, name: str, revision: str = "") -> ModelInfo:
        """What a model is; it is opened if need be. Raises LabError where it isn't there."""
        return (await asyncio.wrap_future(self._opening(name, revision))).info

    async def cost(self, name: str, revision: str = "") -> Cost | None:
        """What a picture costs; None while that isn't known for sure. Raises LabError."""
        model = await asyncio.wrap_future(self._opening(name, revision))
        return model.cost if model.is_measured else None

    def measure(self, recipe: Recipe) -> Future[Cost]:
        """Measures what a picture of this recipe's model costs, in the background."""
        return self._measure(self.model(recipe.model, recipe.revision), recipe)

    def _measure(self, model: Model, recipe: Recipe) -> Future[Cost]:
        measuring = self._measuring.submit(model.measure, recipe)
        self._measured[measuring] = model
        measuring.add_done_callback(self._measured.pop)
        return measuring

    def _opening(self, name: str, revision: str = "") -> Future[Model]:
        with self._lock:
            if (model := self._pool.find(name, revision)) is not None:
                opened: Future[Model] = Future()
                opened.set_result(model)
                return opened
            opening = self._named.get(name)
            if opening is None or opening.done():  # it failed, or has left the pool since
                self._named.pop(name, None)
                known = [info.name for info in list_models()]
                if name not in known and "/" in name:
                    raise LabError("model_not_open", name=name, revision=revision)
                if name not in known:
                    raise LabError("unknown_model", name=name, known=", ".join(known))
                opening = self._background.submit(self._open, name)
                self._named[name] = opening
            return opening

    def _open(self, name: str) -> Model:
        with self._room(name) as (reservation, room):
            opened = Model(load_generator(name, self.device, room), self.device)
            model = self._pool.put(opened, is_named=True, reservation=reservation)
        if not model.is_measured and model.generator.resolution > SMALL:
            self._measure(model, Recipe(name))
        return model

    def _is_busy_with(self, model: Model) -> bool:
        if any(each is model for each in list(self._measured.values())):
            return True
        return self._quick.is_busy_with(model) or self._slow.is_busy_with(model)

    async def directions(self, name: str, revision: str = "", method: str = PCA) -> Directions:
        """The directions of a model that a method finds, in the background. Raises LabError."""
        model = await asyncio.wrap_future(self._opening(name, revision))
        return await self._directions(model, method)

    async def _directions(self, model: Model, method: str) -> Directions:
        methods.check(method, model.generator)
        loop = asyncio.get_running_loop()
        return model.known_directions(method) or await loop.run_in_executor(
            self._background, model.directions, method
        )

    # Pictures

    async def draw(
        self,
        recipe: Recipe,
        quality: Quality = "preview",
        client: str | None = None,
        by: tuple[str, str] | None = None,
    ) -> Picture:
        """Draws a recipe. When a client asks again, what it still waited for is dropped.

        `by`, name and revision, is another model that draws it in lock-step with the recipe's own
        (`gan.lockstep`). Raises LabError: the recipe can't be drawn, "busy", or "overtaken" for
        what was dropped.
        """
        model = await self._opened(recipe.model, recipe.revision)
        for method in model.missing(recipe):
            await self._directions(model, method)
        model.check(recipe)
        lent = None
        if by is not None:
            first, model = model, await self._opened(*by)
            lockstep.check(first.generator, model.generator)
            recipe = lockstep.fitted(recipe, model.generator.num_ws, *by)
            lent = first.vectors if recipe.edits else None
            model.check(recipe, lent)
        future: asyncio.Future[Picture] = asyncio.get_running_loop().create_future()
        queue = self._slow if model.is_slow(quality) else self._quick
        queue.put(Job(model, recipe, quality, client, future, lent))
        return await future

    async def _opened(self, name: str, revision: str) -> Model:
        opening = self._opening(name, revision)
        return opening.result() if opening.done() else await asyncio.wrap_future(opening)

    def close(self) -> None:
        """Ends the threads; pictures that still wait are cancelled."""
        self._quick.close()
        self._slow.close()
        for executor in (self._background, self._measuring):
            executor.shutdown(wait=False, cancel_futures=True)
