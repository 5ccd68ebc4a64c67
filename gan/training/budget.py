"""Minutes into images, and images into the time that is left."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any

import torch

from gan.errors import LabError
from gan.training.alarms import Alarms
from gan.training.config import TrainConfig
from gan.training.parallel import Group

if TYPE_CHECKING:
    from gan.training.loop import Trainer

SLOW_STEP = 5.0  # seconds


def images_for_minutes(trainer: Trainer) -> int:
    """How many images `config.minutes` are, from the measured cost of a step at every resolution.

    Steps on a copy: the warm-up leaves no trace in what is trained. LabError without minutes.
    """
    config = trainer.config
    if config.minutes is None:
        raise LabError("no_budget")
    seconds_per_image, done = 0.0, 0.0
    for resolution, until in config.grow:
        seconds_per_image += (until - done) * _seconds_per_image(trainer, resolution)
        done = until
    images = config.minutes * 60 * (1 - config.evaluation_share) / seconds_per_image
    return _whole_batches(images, config)


def _whole_batches(images: float, config: TrainConfig) -> int:
    return max(config.batch, round(images / config.batch) * config.batch)


def _seconds_per_image(trainer: Trainer, resolution: int) -> float:
    """The cost of training at one resolution: the fastest of three steps after a first one, which
    counts itself where it was slow: then warming up was the smallest part of it."""
    probe = copy.copy(trainer)
    probe.config = dataclasses.replace(trainer.config, images=1, grow=((resolution, 1.0),))
    probe.G, probe.D, probe.ema = copy.deepcopy((trainer.G, trainer.D, trainer.ema))
    probe.optimizers = [
        torch.optim.Adam(network.parameters(), 0.0) for network in (probe.G, probe.D)
    ]
    probe.rng = torch.Generator().manual_seed(0)
    probe.group, probe.window, probe.alarms = Group(), [], Alarms()
    probe.scaler = copy.deepcopy(trainer.scaler)
    probe.batches = copy.deepcopy(trainer.batches)
    times = []
    for _ in range(4):
        probe.steps = 1  # without the lazy penalty: its share is small
        started, seen = time.perf_counter(), probe.images_seen
        probe.step()["loss_g"].item()
        times.append((time.perf_counter() - started) / (probe.images_seen - seen))
        if time.perf_counter() - started > SLOW_STEP:
            return min(times)
    return min(times[1:])


def measured_costs(trainer: Trainer) -> dict[str, Any]:
    """What `trainer` costs on its device, before it trains, as plain numbers: the seconds for an
    image at each resolution, the budget in images and in minutes, the bytes of a checkpoint
    (with the optimisers' moments, which a fresh trainer doesn't have yet), of an export and of a
    kept moment."""
    config = trainer.config
    cost = {size: _seconds_per_image(trainer, size) for size, _ in config.grow}
    mean, done = 0.0, 0.0
    for size, until in config.grow:
        mean, done = mean + (until - done) * cost[size], until
    share = 1 - config.evaluation_share
    images = config.images or _whole_batches((config.minutes or 0) * 60 * share / mean, config)
    generator, critic = (
        sum(tensor.nbytes for tensor in network.state_dict().values())
        for network in (trainer.G, trainer.D)
    )
    return {
        "seconds_per_image": {str(size): seconds for size, seconds in cost.items()},
        "images": images,
        "minutes": images * mean / share / 60,
        "checkpoint_bytes": 4 * generator + 3 * critic,  # G, ema, D; two moments of G and of D
        "export_bytes": generator + critic // 2,  # D is stored in float16
        "moment_bytes": (generator + critic) // 2,
    }


def seconds_left(config: TrainConfig, images_seen: int, images_per_second: float) -> float:
    """What is left of the budget at the present rate; infinite while the rate isn't known.

    An image costs about twice as much at twice the resolution (measured: 126, 64, 38 images/s
    at 16, 32, 64 px), since the networks have fewer channels there.
    """
    if images_per_second <= 0:
        return math.inf
    now = config.resolution_at(images_seen)
    left, done = 0.0, float(images_seen)
    for resolution, until in config.grow:
        end = until * config.images
        if end > done:
            left += (end - done) * resolution / now
            done = end
    return left / images_per_second
