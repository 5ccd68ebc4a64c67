"""What goes wrong in the world while a network learns, done to real trainings.

The quick ones break the disk under a training in this process; the slow ones kill processes.
"""

import dataclasses
import errno
import functools
import gc
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan import cli
from gan.device import Device
from gan.errors import LabError
from gan.runs import Run, RunDirectory
from gan.system import process_alive
from gan.training import checkpoint
from gan.training.config import TrainConfig
from gan.training.data import load_dataset
from gan.workshop import Limits, TrainRequest, Workshop
from gan.workshop.records import read_status, state_of
from tests import waiting
from tests.tiny_run import CONFIG, tiny_run, train
from tests.waiting import end_trainings

PROJECT = Path(__file__).parents[1]
ME = "my-browsers-random-token"
# Checkpoints so often that many kills come in the middle of one.
BUSY = dataclasses.replace(CONFIG, images=640, checkpoint_images=64)
LONG = dataclasses.replace(BUSY, images=3200)


def final_hash(path: Path) -> str:
    """Of the last checkpoint, without what only tells the time."""
    state = checkpoint.read(checkpoint.every(path / "checkpoints")[-1])
    return checkpoint.digest(state | {"seconds": 0.0})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happens to."""
    path = tmp_path_factory.mktemp("undisturbed") / "r"
    train(tiny_run(path, BUSY))
    return path


wait_until = functools.partial(waiting.wait_until, seconds=240.0)


# The disk


def fill_disk(monkeypatch: pytest.MonkeyPatch, only: str = "") -> None:
    """From now on nothing whose place holds `only` gets to the disk."""
    written = os.fsync

    def fsync(descriptor: int) -> None:
        if only in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(descriptor)

    monkeypatch.setattr("gan.files.os.fsync", fsync)


@pytest.mark.skipif(sys.platform != "linux", reason="tells files by their handles in /proc")
@pytest.mark.parametrize("only", ["/checkpoints/", ""])
def test_a_full_disk_is_named_and_what_was_saved_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path, only: str
) -> None:
    run = tiny_run(tmp_path / "r", BUSY)
    reports = run.reports()
    while len(checkpoint.every(run.directory.checkpoints)) < 2:
        next(reports)
    before = {path: path.read_bytes() for path in checkpoint.every(run.directory.checkpoints)}
    with monkeypatch.context() as patch:
        fill_disk(patch, only)
        with pytest.raises(LabError) as caught:
            for _ in reports:
                pass
    assert caught.value.code == "run_unwritable"
    assert os.strerror(errno.ENOSPC) in str(caught.value)
    assert {path: path.read_bytes() for path in before} == before
    assert not list((tmp_path / "r").rglob("*.partial"))
    if only:  # the status itself could be written
        status = read_status(tmp_path / "r")
        assert (status["state"], status["message"]) == ("failed", caught.value.to_json())
    # There is room again: it goes on as if nothing had happened.
    (tmp_path / "r" / "status.json").unlink()  # of this process, which lives
    train(tiny_run(tmp_path / "r", BUSY))
    assert final_hash(tmp_path / "r") == final_hash(undisturbed)


def test_a_truncated_newest_checkpoint_is_passed_over_and_named(
    tmp_path: Path, undisturbed: Path
) -> None:
    run = tiny_run(tmp_path / "r", BUSY)
    reports = run.reports()
    while len(checkpoint.every(run.directory.checkpoints)) < 2:
        next(reports)
    del reports  # as a kill would
    older, newest = checkpoint.every(run.directory.checkpoints)
    newest.write_bytes(newest.read_bytes()[:1000])
    (tmp_path / "r" / "status.json").unlink()
    again = tiny_run(tmp_path / "r", BUSY)
    assert again.trainer.damaged == [newest.name]
    assert again.trainer.images_seen == int(older.stem)
    train(again)
    assert read_status(tmp_path / "r")["damaged"] == [newest.name], "people are told"
    assert final_hash(tmp_path / "r") == final_hash(undisturbed)


def test_data_that_is_gone_is_named_and_comes_back(
    tiny_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    monkeypatch.setattr("gan.training.loop.Trainer.measure", lambda *_: pytest.fail("not now"))
    monkeypatch.setattr("gan.training.report.FIRST_EVALUATION", 1e9)
    run = tmp_path / "r"
    command = ["train", "--data", str(tiny_pictures), "--out", str(run), "--batch", "4"]
    command += ["--threads", "1", "--images", "100000000"]
    stop = threading.Timer(0.0, signal.raise_signal, [signal.SIGTERM])
    monkeypatch.setattr("gan.training.loop.Trainer.step", first_step_then(stop.start))
    assert cli.main(command) == cli.INTERRUPTED
    moved = tiny_pictures.rename(tmp_path / "elsewhere")
    assert cli.main(command) == 2
    assert str(tiny_pictures) in capsys.readouterr().err
    assert read_status(run)["state"] == "stopped", "what it had reached is as it was"
    moved.rename(tiny_pictures)
    seen = read_status(run)["images_seen"]
    stop = threading.Timer(0.0, signal.raise_signal, [signal.SIGTERM])
    monkeypatch.setattr("gan.training.loop.Trainer.step", first_step_then(stop.start))
    assert cli.main(command) == cli.INTERRUPTED
    assert read_status(run)["images_seen"] > seen > 0


def test_data_that_goes_in_mid_training_is_not_missed_until_the_next_start(
    tiny_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training goes on from its prepared copy, which it has open, though that goes as well."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("LATENT_LAB_CACHE", str(cache))

    def begun(images: int) -> Run:
        dataset = load_dataset(tiny_pictures)
        config = TrainConfig(str(tiny_pictures), images, batch=4, evaluation_samples=50)
        options = {"dataset": dataset, "evaluate": False, "preset": "quick"}
        return Run(tmp_path / "r", config, Device("cpu", "float32", 1), **options)

    def prepared() -> list[Path]:
        return [path for path in cache.rglob("*") if path.is_file()]

    first = begun(64)
    moved = tiny_pictures.rename(tmp_path / "elsewhere")
    assert prepared()
    if sys.platform != "win32":  # where what is open can't go
        shutil.rmtree(cache)
    assert train(first)[-1].finished == "budget"
    saved = {path: path.read_bytes() for path in checkpoint.every(first.directory.checkpoints)}
    status = first.directory.status()
    with pytest.raises(LabError) as caught:
        begun(128)
    assert (caught.value.code, caught.value.values["source"]) == (
        "data_missing",
        str(tiny_pictures),
    )
    assert first.directory.status() == status, "nothing of the run has changed"
    assert {path: path.read_bytes() for path in saved} == saved
    moved.rename(tiny_pictures)
    again = begun(128)
    assert again.trainer.images_seen == 64
    assert train(again)[-1].images_seen == 128


def first_step_then(act: Callable[[], None]) -> Callable[..., Any]:
    """A trainer's step that does something after the first time."""
    from gan.training.loop import Trainer

    step, done = Trainer.step, []

    def stepped(trainer: Trainer) -> Any:
        numbers = step(trainer)
        if not done:
            done.append(act())
        return numbers

    return stepped


# Kills


HOLD = LONG.images - 64


def train_to_the_end(path: Path, holds: bool = False) -> None:
    """What a process of its own does; it tells by the run directory alone how far it came. One
    that `holds` stays shortly before the end: it is to be killed."""
    run = tiny_run(path, LONG)

    def hold() -> bool:
        if holds and run.trainer.images_seen >= HOLD:
            time.sleep(600)
        return False

    run.asked_to_stop = hold
    train(run)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    """Killed at any moment, in the middle of a step or of a file: the end is the same, bit by bit,
    and every report is there once."""
    train_to_the_end(tmp_path / "undisturbed")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.test_faults"])
    path, rng, moments = tmp_path / "r", random.Random(), []
    for _ in range(20):
        before = read_status(path).get("pid"), newest(path)
        process = processes.Process(target=train_to_the_end, args=(path, True))
        process.start()
        wait_until(lambda before=before: read_status(path).get("pid") != before[0])
        further = before[1] + rng.uniform(-128, 128)  # half before a checkpoint
        further = min(further, HOLD - 64)
        wait_until(lambda further=further: newest(path) >= further)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.join()
        process.close()
        assert state_of(read_status(path)) == "dead"
        moments.append(newest(path))
    assert moments[-1] > 0
    process = processes.Process(target=train_to_the_end, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()
    assert final_hash(path) == final_hash(tmp_path / "undisturbed"), moments
    images = [line["images_seen"] for line in RunDirectory(path).metrics()]
    assert images == sorted(set(images))
    assert images[-1] == LONG.images


def newest(path: Path) -> int:
    """Images seen at the newest checkpoint."""
    return max((int(each.stem) for each in checkpoint.every(path / "checkpoints")), default=0)


@pytest.mark.slow
def test_a_hundred_trainings_in_one_process_leave_nothing(tmp_path: Path) -> None:
    def handles() -> int:
        gc.collect()  # those that an earlier test has forgotten aren't ours
        return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0

    config = dataclasses.replace(CONFIG, images=10**6)
    seen, counted = 0, []
    for number in range(100):
        run = tiny_run(tmp_path / "r", config)
        assert run.trainer.images_seen == seen, "it goes on where it was"
        steps = iter(range(3))
        run.asked_to_stop = lambda steps=steps: next(steps, None) is None
        train(run)
        seen = run.trainer.images_seen
        if number in (9, 99):
            counted.append((handles(), threading.active_count()))
    assert seen == 100 * 3 * run.trainer.config.batch
    (handles_before, threads_before), (handles_after, threads_after) = counted
    assert handles_after <= handles_before  # those of an earlier test may go meanwhile
    assert threads_after <= threads_before
    assert not list(tmp_path.rglob("*.partial"))
    assert len(checkpoint.every(tmp_path / "r" / "checkpoints")) == checkpoint.KEEP


SERVER = """
import sys, time
from pathlib import Path
from gan.workshop import Limits, TrainRequest, Workshop
shop = Workshop(Path(sys.argv[1]), Limits(free_gib=0.0))
for images in (10**8, 64):
    request = TrainRequest(data="digits-tiny", images=images, name=str(images))
    print(shop.start(request, sys.argv[2]), flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_real_run_outlives_its_server_and_obeys_the_next(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "LATENT_LAB_TRAINING": "on"}
    command = [sys.executable, "-c", SERVER, str(tmp_path / "runs"), ME]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    first, second = (server.stdout.readline().strip() for _ in range(2))
    server.kill()
    server.communicate()
    shop = Workshop(tmp_path / "runs", Limits(free_gib=0.0))
    run = shop.path(first)
    try:
        wait_until(lambda: shop.snapshot(first).metrics)
        assert (shop.snapshot(first).state, shop.snapshot(second).state) == ("training", "queued")
        child = read_status(run)
        # Killed too: shown dead, and resumed by the same command, behind those who wait.
        os.killpg(child["pid"], signal.SIGKILL)
        wait_until(lambda: not process_alive(child["pid"], child["started"]))
        wait_until(lambda: shop.snapshot(first).state == "dead")
        assert "images/s" in (shop.snapshot(first).log_end or "")
        shop.resume(first, ME)
        wait_until(lambda: shop.snapshot(second).state == "finished")
        wait_until(lambda: read_status(run)["state"] == "training")
        again = read_status(run)
        assert again["pid"] != child["pid"]
        wait_until(lambda: read_status(run)["images_seen"] > again["images_seen"])
        happened = stop_watched(shop, first)
        assert list(happened) == ["acknowledged", "stopped", "gone"]
        newest = checkpoint.every(run / "checkpoints")[-1]
        assert int(newest.stem) == read_status(run)["images_seen"], "all of it is saved"
        print("after a stop: " + ", ".join(f"{what} {at:.2f} s" for what, at in happened.items()))
    finally:
        end_trainings(shop)


def stop_watched(shop: Workshop, run_id: str) -> dict[str, float]:
    """Stops a run, and watches until its process is gone. → what happened, in order, after how many
    seconds."""
    run, happened = shop.path(run_id), {}
    process, started = read_status(run), time.monotonic()

    def is_gone() -> bool:
        alive = process_alive(process["pid"], process["started"])
        status = read_status(run)  # later: whoever is gone has said all
        for what, holds in (
            ("acknowledged", status.get("stopping")),
            ("stopped", status.get("state") == "stopped"),
            ("gone", not alive),
        ):
            if holds:
                happened.setdefault(what, time.monotonic() - started)
        return not alive

    shop.stop(run_id, ME)
    wait_until(is_gone)
    return happened


@pytest.mark.slow
def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 1
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_costs_are_measured_by_a_real_process(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path))
    request = TrainRequest(data="digits-tiny", images=10_000)
    found = Workshop(tmp_path / "runs").estimate(request, ME)
    assert found.images_per_second["8"] > 0
    assert found.minutes > 0
    assert found.memory_bytes is None or found.memory_bytes > 2**20
    # What a checkpoint takes is told before there is one.
    train(tiny_run(tmp_path / "r", dataclasses.replace(CONFIG, images=32)))
    size = checkpoint.every(tmp_path / "r" / "checkpoints")[-1].stat().st_size
    costs = next((tmp_path / "estimates").iterdir()).read_text()

    assert json.loads(costs)["checkpoint_bytes"] == pytest.approx(size, rel=0.1)
