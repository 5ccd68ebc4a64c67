"""Who waits for a picture, and the threads that draw: one queue, drawn from in batches.

What is asked for while a batch is being drawn joins the next one: nobody waits for company, and a
crowd is served at the speed of batches. A client's newer wish takes the place of its older one.
What a picture is, and which queue it waits in, is `gan.rendering`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from gan.errors import LabError
from gan.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

Vectors = Mapping[str, "Tensor"]  # directions [w_dim] by name
Quality = Literal["preview", "exact"]

MOST_BATCH = 16  # more is no faster for each picture, and everybody waits longer
MOST_WAITING = 256  # pictures; whoever comes later is told that we are busy


@dataclass(frozen=True)
class Picture:
    """A drawn recipe. `pixels` uint8 [H, W, 3]; `milliseconds` that its batch took to draw."""

    pixels: np.ndarray
    recipe: Recipe
    milliseconds: float


class Draws(Protocol):
    """What draws: an open model, with its own directions or those that another one lends it."""

    def draw_exact(self, recipe: Recipe, lent: Vectors | None = None) -> np.ndarray:
        """→ pixels uint8 [H, W, 3]."""
        ...

    def draw_previews(self, recipes: Sequence[Recipe], lent: Vectors | None = None) -> np.ndarray:
        """→ pixels uint8 [N, H, W, 3]."""
        ...


@dataclass(eq=False)
class Job:
    """One picture that someone waits for."""

    model: Draws
    recipe: Recipe
    quality: Quality
    client: str | None
    future: asyncio.Future[Picture]
    lent: Vectors | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """Previews of one kind can be drawn together."""
        return self.quality, id(self.model), id(self.lent), self.recipe.noise


class DrawingQueue:
    """Jobs and the threads that draw them; the threads start with the first job."""

    def __init__(
        self, workers: int, most_batch: int = MOST_BATCH, begin: Callable[[], None] | None = None
    ):
        """`begin` is called once in each thread, before it draws."""
        self.waiting: deque[Job] = deque()
        self.drawing: list[Job] = []
        self.workers: list[threading.Thread] = []
        self._count, self._most_batch, self._begin = workers, most_batch, begin
        self._wake = threading.Condition()
        self._idle = 0
        self._closed = False

    def put(self, job: Job) -> None:
        """Lets a job wait its turn. Raises LabError "busy"; RuntimeError where it is closed."""
        with self._wake:
            if self._closed:
                raise RuntimeError("the renderer is closed")
            if not self._replace(job):
                if len(self.waiting) >= MOST_WAITING:
                    raise LabError("busy", waiting=len(self.waiting))
                self.waiting.append(job)
            if not self.workers:
                self._start_workers()
            self._wake.notify()

    def is_busy_with(self, model: Draws) -> bool:
        """Does somebody wait for a picture by this model, or is one being drawn?"""
        with self._wake:
            return any(job.model is model for job in (*self.waiting, *self.drawing))

    def close(self) -> None:
        """Ends the threads; pictures that still wait are cancelled."""
        with self._wake:
            self._closed = True
            deliver([(job, asyncio.CancelledError()) for job in self.waiting])
            self.waiting.clear()
            self._wake.notify_all()

    def _start_workers(self) -> None:
        for number in range(self._count):
            worker = threading.Thread(target=self._work, name=f"draw-{number}", daemon=True)
            self.workers.append(worker)
            worker.start()

    def _replace(self, job: Job) -> bool:
        """A client's newer wish takes the place in the queue of the one that still waits there."""
        if job.client is None:
            return False
        for index, older in enumerate(self.waiting):
            if older.client == job.client:
                self.waiting[index] = job
                deliver([(older, LabError("overtaken"))])
                return True
        return False

    def _work(self) -> None:
        if self._begin:
            self._begin()
        while jobs := self._next_batch():
            deliver(list(zip(jobs, draw_jobs(jobs), strict=True)))
            with self._wake:
                self.drawing = [job for job in self.drawing if job not in jobs]

    def _next_batch(self) -> list[Job]:
        """Waits for work; the oldest job, with those of its kind that fit. Empty: closed."""
        with self._wake:
            self._idle += 1
            while not self._closed and not self._drop_cancelled():
                self._wake.wait()
            batch = [] if self._closed else self._take()
            self.drawing += batch
            self._idle -= 1
            if self.waiting:
                self._wake.notify()  # the others take what is left
            return batch

    def _drop_cancelled(self) -> bool:
        """Whether somebody still waits."""
        while self.waiting and self.waiting[0].future.cancelled():
            self.waiting.popleft()
        return bool(self.waiting)

    def _take(self) -> list[Job]:
        """What waits is shared out among the workers that have nothing to do."""
        most = min(self._most_batch, -(-len(self.waiting) // self._idle))
        first = self.waiting.popleft()
        taken, left = [first], deque[Job]()
        for job in self.waiting:
            fits = len(taken) < most and first.quality == "preview" and job.kind == first.kind
            (taken if fits else left).append(job)
        self.waiting = left
        return taken


def draw_jobs(jobs: list[Job]) -> list[Picture | BaseException]:
    """One batch; where it fails, each job by itself: nobody pays for a neighbour's fault."""
    first, started = jobs[0], time.perf_counter()
    try:
        if first.quality == "exact":
            drawn = first.model.draw_exact(first.recipe, first.lent)[None]
        else:
            drawn = first.model.draw_previews([job.recipe for job in jobs], first.lent)
    except Exception as error:  # noqa: BLE001 (whoever waits for the picture gets it)
        return [error] if len(jobs) == 1 else [draw_jobs([job])[0] for job in jobs]
    milliseconds = 1000 * (time.perf_counter() - started)
    return [
        Picture(pixels, job.recipe, milliseconds) for pixels, job in zip(drawn, jobs, strict=True)
    ]


def deliver(results: list[tuple[Job, Picture | BaseException]]) -> None:
    """Hands results to those who wait, one wake-up for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Picture | BaseException]]] = {}
    for job, result in results:
        by_loop.setdefault(job.future.get_loop(), []).append((job, result))
    for loop, theirs in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, theirs)


def _settle(results: list[tuple[Job, Picture | BaseException]]) -> None:
    """In the event loop of the futures."""
    for job, result in results:
        if job.future.done():
            continue  # cancelled: who waited has gone
        if isinstance(result, asyncio.CancelledError):
            job.future.cancel()
        elif isinstance(result, BaseException):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)
