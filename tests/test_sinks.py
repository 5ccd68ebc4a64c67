"""Figures for TensorBoard and trackio: read back by their own readers; failures harm nothing."""

import argparse
import dataclasses
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan import cli, sinks
from gan.cli import training
from gan.errors import LabError
from gan.training.evaluation import Quality
from gan.training.report import StepReport
from tests.tiny_run import CONFIG, tiny_run

FLAGS = ["--data", "digits-tiny", "--preset", "tiny", "--batch", "8", "--threads", "1", "--quiet"]


def report(seen: int = 100, **more: Any) -> StepReport:
    told = StepReport(
        images_seen=seen,
        images=1000,
        steps=seen // 8,
        resolution=8,
        seconds=1.0,
        images_per_second=50.0,
        seconds_left=9.0,
        losses={"loss_g": 0.5, "loss_d": 1.5},
        learning_rate=0.002,
    )
    return dataclasses.replace(told, **more)


def pictures(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 8, 8, channels), dtype=np.uint8)


def trained(run: Path, sink: str) -> int:
    """A whole small training by the command line's own code, without evaluations."""
    options = argparse.Namespace(quiet=True, log_to=[sink], out=run)
    return training._train(tiny_run(run), options)


def failing(name: str, reason: str) -> None:
    pytest.fail(f"{name}: {reason}")


def test_only_numbers_that_there_are_are_told() -> None:
    values: dict[str, Any] = {each.name: 0.25 for each in dataclasses.fields(Quality)}
    quality = Quality(**(values | {"extractor": "pixels", "coverage": math.nan}))
    told = sinks.figures(report(quality=quality, grad_norm_g=math.inf, pair_accuracy=0.8))
    assert told["losses/loss_g"] == 0.5
    assert told["quality/q"] == told["quality/kid"] == 0.25
    assert told["training/images_per_second"] == 50
    assert told["training/pair_accuracy"] == 0.8
    assert not {"quality/coverage", "gradients/generator", "gradients/discriminator"} & set(told)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_one_picture_in_colour(channels: int) -> None:
    grid = sinks.samples(report(samples=pictures(channels)))
    assert grid is not None
    assert (grid.dtype, grid.shape) == (np.uint8, (64, 64, 3))
    assert sinks.samples(report()) is None


def test_what_is_missing_is_said_before_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    run = ["train", *FLAGS, "--images", "64", "--out", str(tmp_path / "run")]
    assert cli.main([*run, "--log-to", "tensorboard"]) == 2
    assert 'pip install "tensorboard' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(LabError, match="Known: tensorboard, trackio"):
        sinks.check(["wandb"])


@pytest.mark.parametrize("deed", ["record", "close"])
def test_a_sink_that_fails_is_given_up_and_said_once(
    deed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[str] = []

    class Broken:
        def __init__(self, *_: Any) -> None: ...

        def record(self, _: StepReport) -> None:
            self.do("record")

        def close(self) -> None:
            self.do("close")

        def do(self, what: str) -> None:
            called.append(what)
            if what == deed:
                raise RuntimeError("the disk is full")

    monkeypatch.setattr(sinks, "_TensorBoard", Broken)
    said: list[tuple[str, str]] = []
    with sinks.opened(["tensorboard"], tmp_path, {}, lambda *told: said.append(told)) as record:
        record(report())
        record(report(200))
    assert said == [("tensorboard", "RuntimeError: the disk is full")]
    assert called == (["record"] if deed == "record" else ["record", "record", "close"])


def test_a_training_goes_on_without_its_sink(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)  # importing it fails
    assert trained(tmp_path / "run", "trackio") == 0
    said = capsys.readouterr()
    assert said.err.count("trackio takes no more figures") == 1
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional package isn't installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about what it is made of
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        names = ["tensorboard"]
        with sinks.opened(names, tmp_path, {}, failing) as record:
            record(report(100, samples=pictures()))
            record(report(200))
            record(report(300, losses={"loss_g": math.nan}))
        with sinks.opened(names, tmp_path, {}, failing) as record:  # gone on with from 200
            record(report(200, losses={}))
            record(report(250, losses={"loss_g": 0.25}))
        read = EventAccumulator(str(tmp_path / sinks.FOLDER)).Reload()
    values = {event.step: event.value for event in read.Scalars("losses/loss_g")}
    assert values == {100: 0.5, 250: 0.25}
    assert [event.step for event in read.Images("samples")] == [100]
    assert (read.Images("samples")[0].width, read.Images("samples")[0].height) == (64, 64)


def test_a_training_logs_to_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional package isn't installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        assert trained(tmp_path / "run", "tensorboard") == 0
        read = EventAccumulator(str(tmp_path / "run" / sinks.FOLDER)).Reload()
    assert read.Scalars("losses/loss_d")[-1].step == CONFIG.images
    assert read.Images("samples")


def test_trackio_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: trackio reads TRACKIO_DIR once, and leaves threads behind."""
    import json
    import os
    import subprocess

    if sinks.find_spec("trackio") is None:
        pytest.skip("the optional package trackio isn't installed")
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from gan import sinks\n"
        "from tests.test_sinks import failing, pictures, report\n"
        "with sinks.opened(['trackio'], Path(sys.argv[1]), {'seed': 3}, failing) as record:\n"
        "    record(report(100, samples=pictures()))\n"
        "    record(report(200))\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "(name,) = SQLiteStorage.get_runs(sinks.PROJECT)\n"
        "print(json.dumps(SQLiteStorage.get_logs(sinks.PROJECT, name), default=str))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "run")],
        env=os.environ | {"TRACKIO_DIR": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("[")]
    logs = json.loads(told)
    assert [entry["step"] for entry in logs] == [100, 200]
    assert logs[0]["losses/loss_g"] == 0.5
    assert "samples" in logs[0]
    assert list((tmp_path / "store").rglob("*.png"))
