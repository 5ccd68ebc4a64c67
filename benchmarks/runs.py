"""What a run costs beside its steps: sharing them among processes, going on, looking at itself.

    python benchmarks/runs.py scaling [--seconds 20] [--rounds 3]
    python benchmarks/runs.py resume [--seconds 20] [--rounds 3]
    python benchmarks/runs.py evaluation [--minutes 10] [--data digits] [--threads 1]

scaling: whole steps on the digits at 32 px, by one process and by two that torchrun starts, each
with one thread and 32 pictures a batch: images a second, in turn, and what two give of twice one.
resume: from starting `python -m gan train` to the end of its first step, new and on a run that was
stopped after some seconds; and how long it takes to save that run (checkpoint and model).
evaluation: a run as the program trains it; the share of its wall time that its evaluations took,
from preparing the real pictures to looking for copies. The aim is 5 % at most.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gan import device
from gan.runs import Run, RunDirectory
from gan.training.config import TrainConfig
from gan.training.data import load_dataset
from gan.training.loop import Trainer
from gan.training.parallel import STEP, joined

PROJECT = Path(__file__).parents[1]
BATCH = 32  # of each process
ENDLESS = 10**8  # images
PATIENCE = 600.0  # seconds, for a program that starts on a busy machine
EVALUATION_AIM = 0.05


def main() -> None:
    options = parse()
    if options.what == "worker":  # one of those that `scaling` starts
        work(options.seconds, options.dtype)
        return
    place = device.choose(threads=options.threads, background=True)
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    print(f"{os.cpu_count()} cores, {load}{place.describe()['hardware']}, {place.dtype}")
    {"scaling": scaling, "resume": resume, "evaluation": evaluation}[options.what](options, place)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("scaling", "resume", "evaluation", "worker"))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--dtype", default="auto", help=argparse.SUPPRESS)
    return parser.parse_args()


# Sharing the steps


def scaling(options: argparse.Namespace, place: device.Device) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    print(f"{'processes':>9} {'images/s':>9}")
    for _ in range(options.rounds):
        for processes, measured in rates.items():
            measured.append(rate_of(processes, options.seconds, place.dtype))
            print(f"{processes:9} {measured[-1]:9.1f}", flush=True)
    one, two = (statistics.median(measured) for measured in rates.values())
    print(f"medians {one:.1f} and {two:.1f}: efficiency {efficiency(one, two):.0%}")


def efficiency(one: float, two: float) -> float:
    """What two processes give of twice one's rate."""
    return two / (2 * one)


def rate_of(processes: int, seconds: float, dtype: str) -> float:
    """Images a second of so many processes with a thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    worker = [__file__, "worker", "--seconds", str(seconds), "--dtype", dtype]
    done = subprocess.run(
        [sys.executable, *launcher, *worker],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def work(seconds: float, dtype: str) -> None:
    """One process of them; the first says how fast all are."""
    with joined() as group:
        place = device.choose(dtype=dtype, threads=1)
        device.apply(place, fixed_shapes=True)
        config = TrainConfig("digits", images=ENDLESS, batch=BATCH * group.size, grow=((32, 1.0),))
        trainer = Trainer(config, device=place, evaluate=False, group=group)
        if not group.leads:
            trainer.follow()
            return

        def step() -> None:
            group.order(STEP)
            trainer.step()

        step()  # the first one warms up
        started, seen = time.perf_counter(), trainer.images_seen
        while time.perf_counter() - started < seconds:
            step()
        print((trainer.images_seen - seen) / (time.perf_counter() - started))


# Going on


def resume(options: argparse.Namespace, place: device.Device) -> None:
    rows: dict[str, list[float]] = {"new": [], "gone on with": []}
    print(f"{'':13} {'seconds to its first step':>26}")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            run = Path(folder) / f"run-{number}"
            for name, seconds in rows.items():
                seconds.append(to_first_step(run, options, place))
                print(f"{name:13} {seconds[-1]:26.2f}", flush=True)
        saving = seconds_to_save(Path(folder) / "run-0", options.rounds)
    new, again = (statistics.median(seconds) for seconds in rows.values())
    print(f"medians {new:.2f} and {again:.2f}: going on costs {again - new:+.2f} s", end="")
    print(f", a save {statistics.median(saving):.2f} s")


def to_first_step(path: Path, options: argparse.Namespace, place: device.Device) -> float:
    """Starts the program on a run, lets it train for a while, stops it; the seconds from starting
    it to the end of its first step."""
    run = RunDirectory(path)
    lines, began = len(run.metrics()), (run.status() or {"images_seen": 0})["images_seen"]
    flags = ["--data", options.data, "--images", str(ENDLESS), "--out", str(path)]
    flags += ["--threads", str(place.threads), "--dtype", place.dtype]
    command = [sys.executable, "-m", "gan", "train", *flags]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        while len(new := run.metrics()[lines:]) == 0:
            time.sleep(0.02)
            if process.poll() is not None or time.perf_counter() - started > PATIENCE:
                raise SystemExit("the training didn't begin")
        reported = time.perf_counter() - started
        time.sleep(options.seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    return reported - after_first_step(began, new[0], run.read_config()[0].batch)


def after_first_step(began: int, first: dict[str, Any], batch: int) -> float:
    """The seconds from the end of the first step to the first report, of a process that began
    when so many images were seen."""
    images = first["images_seen"] - began
    return (images - batch) / first["images_per_second"]


def seconds_to_save(path: Path, times: int) -> list[float]:
    config, stored = RunDirectory(path).read_config()
    dataset = load_dataset(config.data)
    run = Run(path, config, device.Device.from_json(stored), dataset=dataset)
    return [timed(run.save)[1] for _ in range(times)]


# Looking at itself


def evaluation(options: argparse.Namespace, place: device.Device) -> None:
    device.apply(place, fixed_shapes=True)
    dataset = load_dataset(options.data)
    config = TrainConfig(options.data, minutes=options.minutes)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run", config, place, dataset=dataset)
        with noted_looks(run.trainer) as looks:
            _, wall = timed(lambda: list(run.reports()))
        trained = run.trainer.seconds
    spent = sum(looks)
    print(f"{options.data}: {wall / 60:.1f} minutes of wall time")
    print(f"steps        {trained:8.1f} s {trained / wall:7.1%}")
    print(
        f"evaluations  {spent:8.1f} s {spent / wall:7.1%}   aim: {EVALUATION_AIM:.0%} at most;",
        end="",
    )
    print(f" {len(looks)}, the longest {max(looks, default=0.0):.1f} s")
    rest = wall - trained - spent
    print(f"all else     {rest:8.1f} s {rest / wall:7.1%}   warm-up, samples, files")


@contextlib.contextmanager
def noted_looks(trainer: Trainer) -> Iterator[list[float]]:
    """The seconds of each evaluation while the block runs."""
    looks: list[float] = []
    look = trainer._look

    def noted() -> dict[str, Any]:
        seen, seconds = timed(look)
        looks.append(seconds)
        return seen

    trainer._look = noted
    yield looks
    del trainer._look  # the class's own again


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """→ what it gives, and its seconds."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


if __name__ == "__main__":
    main()
