"""A run of a second, for the tests of what is made from runs."""

from pathlib import Path

from gan.device import Device
from gan.runs import Run
from gan.training.config import TrainConfig
from gan.training.data import load_dataset
from gan.training.loop import StepReport

CPU = Device("cpu", "float32", 1)
CONFIG = TrainConfig(data="digits-tiny", images=320, evaluation_samples=50)


def tiny_run(
    path: Path, config: TrainConfig = CONFIG, *, evaluate: bool = False, preset: str | None = None
) -> Run:
    """A run on 8 px digits, not begun: `train` it, or `list(run.reports())`."""
    dataset = load_dataset("digits-tiny")
    return Run(path, config, CPU, dataset=dataset, evaluate=evaluate, preset=preset)


def train(run: Run, reports: int | None = None) -> list[StepReport]:
    """All its reports, or the first few as of a process that was killed then."""
    seen = []
    for report in run.reports():
        seen.append(report)
        if len(seen) == reports:
            break
    return seen
