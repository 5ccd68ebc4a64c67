"""Rewind and fork, on a network that is really trained."""

import dataclasses
from pathlib import Path

import pytest

from gan.errors import LabError
from gan.runs import Run, RunDirectory
from gan.training import checkpoint
from gan.training.config import TrainConfig, with_lesson
from gan.training.data import load_dataset
from gan.workshop import TrainRequest
from gan.workshop.forks import fork
from tests.tiny_run import CONFIG, CPU, tiny_run, train

REQUEST = TrainRequest(data="digits-tiny", images=320)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 320 images, with checkpoints at 256 and 320."""
    path = tmp_path_factory.mktemp("runs") / "parent"
    train(tiny_run(path, dataclasses.replace(CONFIG, checkpoint_images=128)))
    assert [int(each.stem) for each in checkpoint.every(path / "checkpoints")] == [256, 320]
    return path


def test_nothing_changed_ends_where_the_old_run_ended(parent: Path, tmp_path: Path) -> None:
    fork(parent, tmp_path, tmp_path, REQUEST, 256, {})
    run = tiny_run(tmp_path)
    assert run.trainer.images_seen == 256
    train(run)
    ends = [
        checkpoint.read(checkpoint.every(path / "checkpoints")[-1]) | {"seconds": 0, "config": 0}
        for path in (parent, tmp_path)
    ]
    assert checkpoint.digest(ends[0]) == checkpoint.digest(ends[1])


def test_one_setting_changed_is_trained_with(parent: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    changes = {"loss": "hinge", "images": 640}
    asked = fork(parent, tmp_path, tmp_path, REQUEST, 320, changes)
    assert (asked.loss, asked.images, asked.data) == ("hinge", 640, "digits-tiny")
    run = tiny_run(tmp_path, dataclasses.replace(CONFIG, loss="hinge", images=640))
    assert (run.trainer.images_seen, run.trainer.config.penalties) == (320, ())
    assert train(run)[-1].images_seen == 640
    directory = RunDirectory(tmp_path)
    assert [budget["at"] for budget in directory.history()["budgets"]] == [0, 320]
    images = [line["images_seen"] for line in directory.metrics()]
    assert images == sorted(set(images))
    assert (tmp_path / "samples" / "000000000.png").is_file(), "its timeline begins at the start"
    after = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    assert after == before, "a fork shares files with the old run, and changes none"


def test_a_fork_of_a_lesson_keeps_its_loss(tmp_path: Path) -> None:
    source, made = tmp_path / "source", tmp_path / "made"
    config = with_lesson(dataclasses.replace(CONFIG, images=64), "collapse")
    train(tiny_run(source, config))
    made.mkdir()
    request = TrainRequest(data="digits-tiny", images=64, lesson="collapse")
    fork(source, made, made, request, 64, {"images": 128})
    run = tiny_run(made, dataclasses.replace(config, images=128))
    assert (run.trainer.config.loss, run.trainer.config.penalties) == ("nonsaturating", ())


def test_a_warm_started_run_is_forked_with_its_preset(tmp_path: Path) -> None:
    """It has left the coarse pictures out; the fork goes on without them, as the same preset."""
    data, source, made = load_dataset("digits"), tmp_path / "source", tmp_path / "made"
    config = TrainConfig(data="digits", images=8)
    options = {"dataset": data, "preset": "quick", "evaluate": False}
    train(Run(tmp_path / "first", config, CPU, **options))
    warm = dataclasses.replace(config, warm_start=str(tmp_path / "first" / "latest"))
    train(Run(source, warm, CPU, **options))
    made.mkdir()
    request = TrainRequest("digits", "quick", images=8, warm_start=warm.warm_start)
    asked = fork(source, made, made, request, 8, {"images": 16})
    assert (asked.preset, asked.warm_start) == ("quick", None)
    run = Run(made, dataclasses.replace(config, images=16), CPU, **options)
    assert run.trainer.config.grow == ((32, 1.0),)
    assert train(run)[-1].images_seen == 16


def test_a_budget_in_minutes_is_scaled_before_it_is_judged(parent: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    train(tiny_run(source, dataclasses.replace(CONFIG, images=0, minutes=0.01)))
    (last,) = checkpoint.every(source / "checkpoints")[-1:]
    request = TrainRequest(data="digits-tiny", minutes=0.01)
    with pytest.raises(LabError) as caught:
        fork(source, tmp_path / "a", tmp_path / "a", request, int(last.stem), {})
    assert caught.value.code == "fork_without_budget"
    (tmp_path / "b").mkdir()
    asked = fork(source, tmp_path / "b", tmp_path / "b", request, int(last.stem), {"minutes": 0.02})
    assert (asked.minutes, asked.images) == (0.02, None)
    config = dataclasses.replace(CONFIG, images=0, minutes=0.02)
    assert tiny_run(tmp_path / "b", config).trainer.config.images == 2 * int(last.stem)
