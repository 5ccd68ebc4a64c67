"""What a training says of itself, and when it is time to say it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gan.training.alarms import Alarm
from gan.training.config import TrainConfig
from gan.training.evaluation import Quality

REPORT_SECONDS = 1.0
FIRST_SAMPLES = 500  # images seen; from then on at every tenth more
FIRST_EVALUATION = 20.0  # seconds
LONG = 600.0  # seconds: a shorter training is for watching, and may look at itself more often
BINS = 32  # of the histograms of logits
REMEMBERED_STEPS = 64  # whose logits a histogram holds at most
MOMENT_EVERY = 1.2  # times the images seen since the last moment that was kept


@dataclass(frozen=True)
class StepReport:
    """What happened since the last report, in plain numbers.

    `losses` holds means over those steps: what each network minimises, the mean logits, the
    penalties, and the part of the pictures on the right side of zero. Losses are no measure of
    quality; `quality` is, where an evaluation was due. `samples` are uint8 [64, r, r, C] of the
    averaged generator, `raw_samples` of the one that is trained, `between` ways from one sample
    to another, `neighbours` samples in rows above their nearest training pictures. `histogram`
    counts logits: "edges" of equal bins, and how many "real" and "fake" fell into each.
    `pair_accuracy` is P(D(x) > D(G(z))).
    """

    images_seen: int
    images: int
    steps: int
    resolution: int
    seconds: float  # trained so far, stops not counted
    images_per_second: float
    seconds_left: float
    losses: dict[str, float]
    learning_rate: float
    quality: Quality | None = None
    is_best: bool = False
    samples: np.ndarray | None = None
    checkpoint: Path | None = None
    finished: str | None = None  # "budget", "quality" or "plateau" in the last report
    pair_accuracy: float | None = None
    grad_norm_g: float | None = None
    grad_norm_d: float | None = None
    histogram: dict[str, list[Any]] | None = None
    alarms: tuple[Alarm, ...] = ()
    raw_samples: np.ndarray | None = None
    between: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    moment: bool = False  # worth keeping for the slider through the time of training
    restored: bool = False  # numbers broke: what was reported after `images_seen` is void


class Progress(Protocol):
    """What a clock reads of a training, and the one thing it writes: `seconds`."""

    config: TrainConfig
    images_seen: int
    seconds: float


class Clock:
    """When what is due, and the means of the numbers since the last report."""

    def __init__(self, trainer: Progress):
        self.trainer = trainer
        now = time.perf_counter()
        self.last_step = self.last_report = self.last_saved = self.evaluated = now
        self.started, self.began_at = now, trainer.images_seen
        self.reported_images, self.busy = trainer.images_seen, 0.0
        self.last_evaluation = self.evaluating = 0.0  # seconds: the newest one, all of them
        self.sampled = self.saved_images = self.kept = trainer.images_seen
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.logits: list[Tensor] = []  # [2, N] of each step: real, fake

    def begin(self) -> None:
        """A step begins: what passed since the last one, such as a pause, is no training."""
        self.last_step = time.perf_counter()

    def add(self, numbers: dict[str, Tensor], logits: Tensor | None) -> None:
        """Takes a step's means, and the logits [2, N] of the real and of the drawn pictures, if
        they were judged."""
        if logits is not None:
            self.logits = [*self.logits[1 - REMEMBERED_STEPS :], logits]
        now = time.perf_counter()
        self.trainer.seconds += now - self.last_step
        self.busy += now - self.last_step
        self.last_step = now
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> tuple[dict[str, float], float]:
        """→ the means since the last call, and images per second of training."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        rate = (self.trainer.images_seen - self.reported_images) / max(self.busy, 1e-9)
        self.sums, self.counts, self.busy = {}, {}, 0.0
        self.reported_images = self.trainer.images_seen
        self.last_report = self.last_step = time.perf_counter()
        return means, rate if means else 0.0

    def histogram(self) -> dict[str, list[Any]] | None:
        """Logits since the last call, counted in bins; None where there were none."""
        if not self.logits:
            return None
        real, fake = torch.cat(self.logits, dim=1).float().cpu().numpy()
        self.logits = []
        low, high = min(real.min(), fake.min()), max(real.max(), fake.max())
        edges = np.linspace(low, max(high, low + 1e-3), BINS + 1)
        counts = (np.histogram(values, edges)[0].tolist() for values in (real, fake))
        return {"edges": [round(edge, 4) for edge in edges.tolist()]} | dict(
            zip(("real", "fake"), counts, strict=True)
        )

    def is_finite(self) -> bool:
        """Whether every number since the last report is one."""
        return all(bool(torch.isfinite(total)) for total in self.sums.values())

    def rewind(self) -> None:
        """The training went back to an earlier state: what was counted since is void."""
        self.sums, self.counts, self.logits = {}, {}, []
        seen = self.trainer.images_seen
        self.reported_images = seen
        self.sampled, self.kept = min(self.sampled, seen), min(self.kept, seen)
        self.saved_images = seen

    def report_due(self) -> bool:
        return time.perf_counter() - self.last_report >= REPORT_SECONDS

    def checkpoint_due(self) -> bool:
        config, seen = self.trainer.config, self.trainer.images_seen
        by_time = time.perf_counter() - self.last_saved >= config.checkpoint_seconds
        by_images = bool(config.checkpoint_images) and (
            seen // config.checkpoint_images > self.saved_images // config.checkpoint_images
        )
        if by_time or by_images:
            self.last_saved, self.saved_images = time.perf_counter(), seen
        return by_time or by_images

    def samples_due(self) -> bool:
        """Dense early: whenever the images seen have grown by a tenth, from 500 on."""
        seen = self.trainer.images_seen
        due = seen >= max(FIRST_SAMPLES, self.sampled * 1.1)
        if due:
            self.sampled = seen
        return due

    def moment_due(self) -> bool:
        """Even on a logarithmic scale: whenever the images seen have grown by a fifth."""
        seen = self.trainer.images_seen
        due = seen >= max(FIRST_SAMPLES, self.kept * MOMENT_EVERY)
        if due:
            self.kept = seen
        return due

    def evaluated_for(self, seconds: float) -> None:
        """An evaluation has taken so long."""
        self.last_evaluation = seconds
        self.evaluating += seconds

    def evaluation_due(self) -> bool:
        """As often as the evaluation's share of the wall time allows; the first after 20 s."""
        waited = time.perf_counter() - self.evaluated
        share = self.trainer.config.evaluation_share
        due = waited >= max(FIRST_EVALUATION, self.last_evaluation * (1 - share) / share)
        due = due and self._can_afford(share)
        if due:
            self.evaluated = time.perf_counter()
        return due

    def _can_afford(self, share: float) -> bool:
        """Whether this evaluation and the one at the end still fit into the share of all the time
        that a long training takes: the first one came before it was earned."""
        elapsed, done = time.perf_counter() - self.started, self.trainer.images_seen - self.began_at
        left = self.trainer.config.images - self.trainer.images_seen
        total = elapsed * (1 + left / max(done, 1))
        return total < LONG or self.evaluating + 2 * self.last_evaluation <= share * total
