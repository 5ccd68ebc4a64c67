"""A training's figures, also for TensorBoard or trackio: `gan train --log-to tensorboard`.

What a run says of itself is in its own directory (see `gan.runs`), and that is what counts. A sink
is a copy for those who watch all their experiments in one place: its package is optional, is asked
for before the training begins, and whatever goes wrong with it later is said once and ends the
sink, never the training.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gan import images
from gan.errors import LabError
from gan.training.report import StepReport

PROJECT = "latent-lab"  # the name of all runs together, in trackio
FOLDER = "tensorboard"  # in the run directory
PACKAGES = {  # what must be installed for a sink: module → what pip is asked for
    "tensorboard": ("tensorboard", "tensorboard>=2.18"),
    "trackio": ("trackio", "trackio>=0.20"),
}
COLUMNS = 8  # of the samples' grid
QUALITIES = ("q", "q_low", "q_high", "kid", "floor", "coverage")


class Sink(Protocol):
    """Takes reports, in order; may raise anything."""

    def record(self, report: StepReport) -> None: ...

    def close(self) -> None: ...


def check(names: Sequence[str]) -> None:
    """LabError for a sink that there isn't, or whose package isn't installed."""
    for name in names:
        if name not in PACKAGES:
            raise LabError("unknown_sink", value=name, known=", ".join(PACKAGES))
        module, wanted = PACKAGES[name]
        if find_spec(module) is None:
            raise LabError("sink_package", name=name, line=f'pip install "{wanted}"')


@contextlib.contextmanager
def opened(
    names: Sequence[str], run: Path, config: dict[str, Any], failed: Callable[[str, str], None]
) -> Iterator[Callable[[StepReport], None]]:
    """A function that hands a report to every sink. `failed(name, reason)` is called, once each,
    for one that is given up; `config` is what the training was asked, as JSON."""
    makers = {"tensorboard": _TensorBoard, "trackio": _Trackio}
    sinks = {name: _Guarded(name, makers[name](run, config), failed) for name in names}

    def record(report: StepReport) -> None:
        for sink in sinks.values():
            sink.attempt("record", report)

    try:
        yield record
    finally:
        for sink in sinks.values():
            sink.attempt("close")


def figures(report: StepReport) -> dict[str, float]:
    """The numbers of a report that there are, by the names that charts are grouped by."""
    found: dict[str, Any] = {f"losses/{name}": value for name, value in report.losses.items()}
    found |= {
        "training/images_per_second": report.images_per_second or None,
        "training/resolution": report.resolution,
        "training/learning_rate": report.learning_rate,
        "training/pair_accuracy": report.pair_accuracy,
        "gradients/generator": report.grad_norm_g,
        "gradients/discriminator": report.grad_norm_d,
    }
    for name in QUALITIES if report.quality is not None else ():
        found[f"quality/{name}"] = getattr(report.quality, name)
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and math.isfinite(value)
    }


def samples(report: StepReport) -> np.ndarray | None:
    """The sample grid, uint8 [H, W, 3], where the report has one."""
    if report.samples is None:
        return None
    grid = np.asarray(images.grid(report.samples, columns=COLUMNS))
    grid = grid[..., None] if grid.ndim == 2 else grid
    return np.repeat(grid, 3, axis=2) if grid.shape[2] == 1 else grid


class _Guarded:
    """A sink until it fails."""

    def __init__(self, name: str, sink: Sink, failed: Callable[[str, str], None]):
        self.name, self.failed = name, failed
        self.sink: Sink | None = sink

    def attempt(self, deed: str, *given: Any) -> None:
        if self.sink is None:
            return
        try:
            getattr(self.sink, deed)(*given)
        except Exception as error:  # noqa: BLE001 (other people's programs raise anything)
            self.sink = None
            self.failed(self.name, f"{type(error).__name__}: {error}"[:300])


class _TensorBoard:
    """Event files in the run directory: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, run: Path, config: dict[str, Any]):
        self.folder, self.writer = run / FOLDER, None

    def record(self, report: StepReport) -> None:
        seen = report.images_seen
        if self.writer is None or report.restored:
            self._begin(seen)
        assert self.writer is not None
        for name, value in figures(report).items():
            self.writer.add_scalar(name, value, seen)
        if (grid := samples(report)) is not None:
            self.writer.add_image("samples", grid, seen, dataformats="HWC")
        self.writer.flush()

    def _begin(self, seen: int) -> None:
        """Also after a stop, or when the training goes back: what came after is void."""
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self.writer = SummaryWriter(str(self.folder), purge_step=seen)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class _Trackio:
    """trackio's own store on this machine (TRACKIO_DIR): `trackio show`."""

    def __init__(self, run: Path, config: dict[str, Any]):
        place = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:6]
        self.name, self.config, self.run = f"{run.name}-{place}", config, None

    def record(self, report: StepReport) -> None:
        trackio = import_module("trackio")  # by its name: a type checker needn't have it
        if self.run is None:
            self.run = trackio.init(
                project=PROJECT,
                name=self.name,
                config=self.config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        told: dict[str, Any] = dict(figures(report))
        if (grid := samples(report)) is not None:
            told["samples"] = trackio.Image(grid)
        self.run.log(told, step=report.images_seen)

    def close(self) -> None:
        if self.run is not None:
            self.run.finish()
