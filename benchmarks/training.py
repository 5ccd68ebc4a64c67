"""How fast training is: images per second at each resolution, and minutes to legible digits.

    python benchmarks/training.py speed [--threads 2]
    python benchmarks/training.py digits [--minutes 2] [--preset quick] [--curve digits.svg]

"Legible" is measured: the share of samples (psi 1, classes as in the data) that the bundled digit
classifier recognises as the class asked for. It recognises 98.6 % of held-out real digits.
The clock counts training only; looking at the samples stops it.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from gan import device, features
from gan.curves import Line, line_chart
from gan.files import write_atomic
from gan.training.config import TrainConfig
from gan.training.data import load_dataset
from gan.training.evaluation import draw, latents
from gan.training.loop import Trainer

LEGIBLE = 0.8
SAMPLES = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "digits"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--preset", default="quick", help="the page's goal of a minute: quick")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between looks")
    parser.add_argument("--curve", type=Path)
    options = parser.parse_args()
    chosen = device.choose(threads=options.threads)
    device.apply(chosen, fixed_shapes=True)
    print(f"{chosen.describe()['hardware']}, {chosen.threads} threads, {chosen.dtype}")
    if options.what == "speed":
        speed(chosen)
    else:
        digits(chosen, options)


def speed(chosen: device.Device, seconds: float = 8.0) -> None:
    """Images per second of whole training steps, both number formats, each bundled data set."""
    print(f"{'data':10} {'px':>4} {'batch':>6} {'float32':>9} {'bfloat16':>9}   images/s")
    for name, sizes in (("digits", (16, 32)), ("avatars", (16, 32, 64))):
        dataset = load_dataset(name)
        for size in sizes:
            rates = []
            for dtype in ("float32", "bfloat16"):
                config = TrainConfig(data=name, images=10**9, grow=((size, 1.0),))
                place = dataclasses.replace(chosen, dtype=dtype)
                trainer = Trainer(config, dataset=dataset, device=place, evaluate=False)
                trainer.step()
                started, seen = time.perf_counter(), trainer.images_seen
                while time.perf_counter() - started < seconds:
                    trainer.step()["loss_g"].item()
                rates.append((trainer.images_seen - seen) / (time.perf_counter() - started))
            print(
                f"{name:10} {size:4} {trainer.config.batch:6} {rates[0]:9.1f} {rates[1]:9.1f}",
                flush=True,
            )


def digits(chosen: device.Device, options: argparse.Namespace) -> None:
    """The share of legible samples over the seconds of one training from nothing."""
    dataset = load_dataset("digits")
    config = TrainConfig(data="digits", minutes=options.minutes)
    trainer = Trainer(config, dataset=dataset, device=chosen, preset=options.preset, evaluate=False)
    points, reached = [(0.0, 0.1)], None
    print(f"{'seconds':>8} {'images':>8} {'px':>4} {'legible':>8}")
    for report in trainer.run():
        if report.seconds >= len(points) * options.every or report.finished:
            share = legible(trainer)
            points.append((report.seconds, share))
            if reached is None and share >= LEGIBLE:
                reached = report.seconds
            line = f"{report.seconds:8.0f} {report.images_seen:8} {report.resolution:4}"
            print(f"{line} {share:8.1%}", flush=True)
    found = "not reached" if reached is None else f"after {reached:.0f} s"
    print(f"{LEGIBLE:.0%} legible: {found}")
    if options.curve:
        chart = line_chart(
            "Legible digits from nothing", "seconds", "share", [Line("psi 1, averaged G", points)]
        )
        write_atomic(options.curve, chart.encode())


@torch.no_grad()
def legible(trainer: Trainer) -> float:
    """The share of the averaged generator's samples that are recognised as their class."""
    generator, size = trainer.ema, trainer.config.resolution_at(trainer.images_seen)
    z, labels = latents(generator, trainer.dataset, SAMPLES, 1)
    images = features.as_images(draw(generator, z, labels, 1.0, size))
    return float((features.recognised_digits(images) == labels).float().mean())


if __name__ == "__main__":
    main()
