"""How fast a slider moves the picture while a run trains on the same two cores.

    python benchmarks/beside_training.py [--seconds 5] [--drags 20] [--model avatars]
                                         [--data digits] [--rounds 1]

The drag of `latency.py` in the same app, first alone, then beside a training that the app's own
workshop started: detached, at low priority. The aim is a p95 of twice as much at most. Where there
are more than two cores, all of it (the browser, too) is kept on two (Linux).
"""

import argparse
import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.browser import chromium, free_port, served
from benchmarks.latency import measure_live, table
from gan.runs import RunDirectory
from gan.workshop import TrainRequest, Workshop

AIM = 2.0  # times the p95 without a training
BEGUN = 5  # reports
PATIENCE = 300.0  # seconds until a training has begun, or is gone


def main() -> None:
    options = parse()
    if hasattr(os, "sched_setaffinity"):  # what is started from here inherits it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as runs:
        os.environ["LATENT_LAB_RUNS"] = runs
        asyncio.run(compare(options, Workshop(Path(runs))))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="avatars")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--drags", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    return parser.parse_args()


async def compare(options: argparse.Namespace, workshop: Workshop) -> None:
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--model", options.model]
    alone, beside = [], []
    async with served(command, port) as options.url, chromium() as browser:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {browser.version}")
        for _ in range(options.rounds):
            alone.append({"training": "no"} | await measure_live(browser, options))
            with Training(workshop, options.data) as training:
                row = await measure_live(browser, options)
                beside.append({"training": f"{training.rate():.1f} images/s"} | row)
    table([*alone, *beside])
    print(verdict(alone, beside))


class Training:
    """A run that trains while the block runs."""

    def __init__(self, workshop: Workshop, data: str):
        self.workshop, self.owner = workshop, secrets.token_hex(16)
        self.request = TrainRequest(data=data, images=10**8)

    def __enter__(self) -> "Training":
        self.id = self.workshop.start(self.request, self.owner)
        self.run = RunDirectory(self.workshop.path(self.id))
        self._wait(lambda: len(self.run.metrics()) >= BEGUN)
        self.begun, self.seen = time.monotonic(), self.run.metrics()[-1]["images_seen"]
        return self

    def rate(self) -> float:
        """Images a second since it has begun, everything counted."""
        seen = self.run.metrics()[-1]["images_seen"] - self.seen
        return seen / (time.monotonic() - self.begun)

    def __exit__(self, *_about: object) -> None:
        self.workshop.stop(self.id, self.owner)
        self._wait(lambda: not self.run.is_training())

    def _wait(self, done: Any) -> None:
        started = time.monotonic()
        while not done():
            if time.monotonic() - started > PATIENCE:
                raise SystemExit(f"the training doesn't go on: {self.run.status()}")
            time.sleep(0.2)


def verdict(alone: list[dict[str, Any]], beside: list[dict[str, Any]]) -> str:
    """Medians over the rounds, and what the training makes of them."""
    said = []
    for name in ("p50 ms", "p95 ms"):
        before, after = (statistics.median(row[name] for row in rows) for rows in (alone, beside))
        said.append(f"{name} {before:.1f} → {after:.1f}: {after / before:.2f} times")
    return "; ".join(said) + f" (aim for p95: {AIM:g} at most)"


if __name__ == "__main__":
    main()
