"""Minutes to the quality of others: our training beside two networks that people begin with.

    python benchmarks/peers.py [--data digits|avatars] [--minutes 20] [--threads 2]
                               [--who ours dcgan stylegan2 narrow] [--curve peers.svg]

Each learns in turn from the same pictures on the same threads, for the same minutes of steps;
looking at it stops its clock. With one thread that is the processor's own clock, so that other
programs on the machine count little, and contenders may learn in processes of their own (`--who`).
The same evaluator judges all at the same moments: KID of the same features, as many samples, at
the data's own resolution. The question: after which part of the time was ours as good as the
better peer at the end?

- ours: `TrainConfig(data, minutes)`, as the page starts it: growing, in the faster number format
  (the peers' is float32), with its warm-up on the clock. Its schedules run over the minutes that it
  is given: `--ours-minutes 7` asks for the same in a shorter training, `--preset quick` for
  what the page's goal of a minute starts. On the avatars it is told their attributes, from which
  it has its head start; no peer is.
- dcgan: the network and recipe of PyTorch's DCGAN tutorial (`peer_dcgan.py`).
- stylegan2: a plain StyleGAN2 with R1 at its published defaults (`peer_stylegan2.py`); narrow: the
  same recipe with networks as small as ours, the harder peer on a CPU.
"""

import argparse
import dataclasses
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peer_dcgan import TutorialDCGAN
from benchmarks.peer_stylegan2 import PlainStyleGAN2, narrow, published
from gan import device, features
from gan.curves import Line, line_chart
from gan.files import write_atomic
from gan.generators.base import Generator
from gan.training.budget import images_for_minutes
from gan.training.config import TrainConfig
from gan.training.data import Batches, Dataset, load_dataset, split
from gan.training.evaluation import Evaluator
from gan.training.loop import Trainer

AIM = 1 / 3  # of the peers' time
NAMES = ("ours", "dcgan", "stylegan2", "narrow")


class Contender(Protocol):
    """Somebody who learns."""

    @property
    def images_seen(self) -> int: ...

    def step(self) -> None: ...

    def generators(self) -> Iterable[Generator]:
        """As it draws; of several ways the best counts."""
        ...


class Look(NamedTuple):
    """How good somebody was after some minutes of training."""

    minutes: float
    kid: float
    images: int


class Pictures:
    """The pictures that a peer learns from: those that ours learns from."""

    def __init__(self, dataset: Dataset):
        self.dataset, self.trained_on = dataset, split(dataset)[0]
        self.batches = Batches(self.trained_on)

    def next(self, count: int) -> tuple[Tensor, Tensor | None]:
        """→ images [count, C, H, W] in [−1, 1], their classes [count, classes] or None."""
        picks = self.batches.next(count)
        return features.as_images(self.dataset.images[picks]), self._classes(torch.tensor(picks))

    def random_classes(self, count: int) -> Tensor | None:
        """As frequent as in the data."""
        picks = torch.randint(len(self.trained_on), (count,))
        return self._classes(torch.from_numpy(self.trained_on)[picks])

    def _classes(self, picks: Tensor) -> Tensor | None:
        if self.dataset.labels is None:
            return None
        labels = torch.from_numpy(self.dataset.labels)[picks]
        return F.one_hot(labels, self.dataset.num_classes).float()


class Ours:
    """Our training, step by step."""

    def __init__(self, dataset: Dataset, place: device.Device, minutes: float, preset: str | None):
        # Nothing is evaluated here, so the whole time is for steps.
        config = TrainConfig(dataset.name, minutes=minutes, evaluation_share=0.0)
        self.trainer = Trainer(config, dataset=dataset, device=place, preset=preset, evaluate=False)

    @property
    def images_seen(self) -> int:
        return self.trainer.images_seen

    def step(self) -> None:
        trainer = self.trainer
        if not trainer.config.images:
            images = images_for_minutes(trainer)
            trainer.config = dataclasses.replace(trainer.config, images=images)
        trainer.step()

    def generators(self) -> Iterable[Generator]:
        yield self.trainer.ema


def main() -> None:
    options = parse()
    place = device.choose(threads=options.threads)
    device.apply(place, fixed_shapes=True)
    dataset = load_dataset(options.data)
    evaluator = Evaluator(dataset, samples=options.samples)
    print(f"{place.describe()['hardware']}, {place.threads} threads, ours in {place.dtype}")
    print(
        f"{dataset.name}: KID ({evaluator.extractor.name}), {evaluator.samples} samples; ", end=""
    )
    print(f"real against real {evaluator.floor:.4f}")
    print(f"{'':10} {'minutes':>8} {'images':>8} {'KID':>9}")
    found, every = {}, options.minutes / options.looks
    clock = time.process_time if place.threads == 1 else time.perf_counter
    for name in options.who:
        minutes = (options.ours_minutes or options.minutes) if name == "ours" else options.minutes
        contender = contender_called(name, dataset, place, minutes, options.preset)
        found[name] = trained(name, contender, evaluator, minutes, every, clock)
    print(f"\n{table(found, options.minutes, options.looks)}\n\n{verdict(found, options.minutes)}")
    if options.curve:
        write_atomic(options.curve, chart(found, dataset, evaluator.extractor.name).encode())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--ours-minutes", type=float, help="another budget for ours")
    parser.add_argument("--preset", help="of ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--who", nargs="+", choices=NAMES, default=[*NAMES])
    parser.add_argument("--looks", type=int, default=12, help="over --minutes")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--curve", type=Path)
    return parser.parse_args()


def contender_called(
    name: str, dataset: Dataset, place: device.Device, minutes: float, preset: str | None
) -> Contender:
    if name == "ours":
        return Ours(dataset, place, minutes, preset)
    if name == "dcgan":
        return TutorialDCGAN(Pictures(dataset))
    sizes = narrow if name == "narrow" else published
    return PlainStyleGAN2(Pictures(dataset), sizes(dataset))


def trained(
    name: str,
    contender: Contender,
    evaluator: Evaluator,
    minutes: float,
    every: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Look]:
    """Trains for so many minutes; looks when each `every` minutes are over, and at the end."""
    looks: list[Look] = []
    trained_for = 0.0
    while trained_for < minutes:
        started = clock()
        contender.step()
        before, trained_for = trained_for, trained_for + (clock() - started) / 60
        if trained_for // every > before // every or trained_for >= minutes:
            kid = min(evaluator.evaluate(each).kid for each in contender.generators())
            looks.append(Look(trained_for, kid, contender.images_seen))
            print(f"{name:10} {trained_for:8.2f} {contender.images_seen:8} {kid:9.4f}", flush=True)
    return looks


def when_as_good(looks: list[Look], kid: float) -> float | None:
    """The minutes at the first look at which somebody was as good; None if never."""
    return next((look.minutes for look in looks if look.kid <= kid), None)


def verdict(found: dict[str, list[Look]], minutes: float) -> str:
    """When ours was as good as the better peer at the end."""
    peers = {name: looks[-1] for name, looks in found.items() if name != "ours"}
    if not peers:
        return "no peer took part"
    better = min(peers, key=lambda name: peers[name].kid)
    said = f"the better peer: {better}, KID {peers[better].kid:.4f} after {minutes:g} minutes"
    if "ours" not in found:
        return said
    reached = when_as_good(found["ours"], peers[better].kid)
    if reached is None:
        return f"{said}\nours as good: not reached (at the end {found['ours'][-1].kid:.4f})"
    share = f"{reached / minutes:.0%} of the time; aim: {AIM:.0%} at most"
    return f"{said}\nours as good: after {reached:.1f} minutes, {share}"


def table(found: dict[str, list[Look]], minutes: float, looks: int) -> str:
    """KID at each moment; after a step that took several, at the last of them."""
    moments = [minutes * place / looks for place in range(1, looks + 1)]
    lines = ["| minutes | " + " | ".join(found) + " |", "|" + " --- |" * (len(found) + 1)]
    for begin, end in itertools.pairwise([*moments, math.inf]):
        cells = [
            cell(look.kid for look in seen if begin <= look.minutes < end)
            for seen in found.values()
        ]
        lines.append(f"| {begin:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(kids: Iterable[float]) -> str:
    """The first, or nothing."""
    return next((f"{kid:.4f}" for kid in kids), "")


def chart(found: dict[str, list[Look]], dataset: Dataset, extractor: str) -> str:
    lines = [
        Line(name, [(look.minutes, look.kid) for look in looks]) for name, looks in found.items()
    ]
    title = f"{dataset.name}: KID ({extractor})"
    return line_chart(title, "minutes of training", "KID", lines, log_y=True)


if __name__ == "__main__":
    main()
