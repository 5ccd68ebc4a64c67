"""Minutes into images, images into the time that is left, and one budget into another."""

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
HEAD_START_COST = 1 / 3  # of a picture, before there is a discriminator


def images_for_minutes(trainer: Trainer) -> int:
    """How many images `config.minutes` are, from the measured cost of a step at every resolution.

    Steps on a copy: the warm-up leaves no trace in what is trained. LabError without minutes.
    """
    if trainer.config.minutes is None:
        raise LabError("no_budget")
    return _images(trainer.config, _seconds_per_image(trainer))


def phases(config: TrainConfig) -> list[tuple[int, bool, float]]:
    """The stretches of a training in which a picture always costs the same: its resolution, whether
    there is no discriminator yet, and the part of the budget at which the stretch ends."""
    head_start = config.head_start or 0.0
    ends = {until for _, until in config.grow} | ({head_start} if head_start else set())
    found, done = [], 0.0
    for end in sorted(ends):
        middle = (done + end) / 2
        resolution = next(size for size, until in config.grow if middle < until)
        found.append((resolution, middle < head_start, end))
        done = end
    return found


def _seconds_per_image(trainer: Trainer) -> dict[int, tuple[float, float]]:
    """By resolution: the part of the budget that it takes, and the measured mean cost there."""
    parts: dict[int, float] = {}
    costs: dict[int, float] = {}
    done = 0.0
    for resolution, is_head_start, end in phases(trainer.config):
        part = end - done
        cost = part * _seconds_of_a_step(trainer, resolution, is_head_start)
        parts[resolution] = parts.get(resolution, 0.0) + part
        costs[resolution] = costs.get(resolution, 0.0) + cost
        done = end
    return {size: (part, costs[size] / part) for size, part in parts.items()}


def _images(config: TrainConfig, costs: dict[int, tuple[float, float]]) -> int:
    """What `config.minutes` hold, evaluations left out."""
    seconds = (config.minutes or 0) * 60 * (1 - config.evaluation_share)
    return _whole_batches(seconds / _mean(costs), config)


def _mean(costs: dict[int, tuple[float, float]]) -> float:
    return sum(part * seconds for part, seconds in costs.values())


def _whole_batches(images: float, config: TrainConfig) -> int:
    return max(config.batch, round(images / config.batch) * config.batch)


def _seconds_of_a_step(trainer: Trainer, resolution: int, is_head_start: bool) -> float:
    """… for each of its pictures: the fastest of three steps after a first one, which counts itself
    where it was slow: then warming up was the smallest part of it."""
    probe = copy.copy(trainer)
    # A budget that the probe is in the head start of to the end, or never.
    images, head_start = (10**9, 1.0) if is_head_start else (1, 0.0)
    probe.config = dataclasses.replace(
        trainer.config, images=images, grow=((resolution, 1.0),), head_start=head_start
    )
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
    costs = _seconds_per_image(trainer)
    images = config.images or _images(config, costs)
    generator, critic = (
        sum(tensor.nbytes for tensor in network.state_dict().values())
        for network in (trainer.G, trainer.D)
    )
    return {
        "seconds_per_image": {str(size): seconds for size, (_, seconds) in costs.items()},
        "images": images,
        "minutes": images * _mean(costs) / (1 - config.evaluation_share) / 60,
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
    now = _cost(config.resolution_at(images_seen), config.is_head_start(images_seen))
    left, done = 0.0, float(images_seen)
    for resolution, is_head_start, until in phases(config):
        end = until * config.images
        if end > done:
            left += (end - done) * _cost(resolution, is_head_start) / now
            done = end
    return left / images_per_second


def _cost(resolution: int, is_head_start: bool) -> float:
    """… of a picture, against one at 1 px."""
    return resolution * (HEAD_START_COST if is_head_start else 1.0)


def with_budget(config: TrainConfig, images: int, images_seen: int) -> TrainConfig:
    """The same with another budget, for who has seen so many. What is behind stays behind: a longer
    budget would else send a trained network back to coarse pictures, or into its head start."""
    if not config.images or not images:  # minutes that aren't images yet
        return dataclasses.replace(config, images=images)

    def moved(until: float) -> float:
        end = until * config.images
        return min(end / images, 1.0) if end <= images_seen else until

    *earlier, (finest, _) = config.grow
    return dataclasses.replace(
        config,
        images=images,
        grow=(*((size, moved(until)) for size, until in earlier), (finest, 1.0)),
        head_start=moved(config.head_start or 0.0),
    )


def images_in(config: TrainConfig, images_seen: int, rate: float, minutes: float) -> int:
    """The budget that lets a training go on for so many minutes more, at `rate` images per second
    now."""
    seconds = minutes * 60 * (1 - config.evaluation_share)
    low, high = float(images_seen), images_seen + seconds * rate  # it never gets quicker than now
    for _ in range(40):
        middle = (low + high) / 2
        longer = with_budget(config, math.ceil(middle), images_seen)
        low, high = (
            (middle, high) if seconds_left(longer, images_seen, rate) < seconds else (low, middle)
        )
    return max(_whole_batches(high, config), images_seen + config.batch)
