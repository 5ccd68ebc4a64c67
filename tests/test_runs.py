"""Run directories: whole after every report, honest about who is training, resumed or refused."""

import dataclasses
import json
import math
import os
import shutil
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gan import control, moments
from gan.errors import LabError
from gan.loading import load_generator
from gan.runs import Run, RunDirectory, plain, preset_of, stretches, without_places
from gan.system import this_process
from gan.training import checkpoint
from gan.training.config import PRESETS, TrainConfig
from gan.training.data import load_dataset
from gan.training.evaluation import Quality
from gan.training.loop import StepReport, complete
from tests.tiny_run import CONFIG, CPU, tiny_run, train


def refusal(code: str, act: Callable[[], Any]) -> LabError:
    with pytest.raises(LabError) as caught:
        act()
    assert caught.value.code == code
    return caught.value


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to its end, with an evaluation; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "first try"
    train(tiny_run(path, evaluate=True))
    return path


@pytest.fixture
def mine(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(finished, tmp_path / "mine")


def status_of(path: Path) -> dict[str, Any]:
    status = RunDirectory(path).status()
    assert status is not None
    return status


def claim(path: Path, **values: Any) -> None:
    """Changes what the status file says."""
    file = path / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# What a run leaves


def test_a_finished_run_is_whole(finished: Path) -> None:
    directory = RunDirectory(finished)
    status = status_of(finished)
    assert (status["state"], status["finished"]) == ("finished", "budget")
    assert status["images_seen"] == status["images"] == 320
    assert status["seconds_left"] == 0
    assert not directory.is_training()
    assert directory.metrics()[-1]["images_seen"] == 320
    assert directory.metrics()[-1]["quality"]["samples"] == 50
    assert min(p.name for p in (finished / "samples").iterdir()) == "000000000.png"
    assert checkpoint.every(directory.checkpoints)
    assert not list(finished.rglob("*.partial"))


def test_its_models_open_and_say_where_they_come_from(finished: Path) -> None:
    for name in ("model", "latest"):
        info = load_generator(finished / name).info
        assert (info.name, info.dataset, info.licence) == ("first-try", "digits-tiny", "CC BY 4.0")
        assert info.classes == tuple("0123456789")
        assert (finished / name / "discriminator.safetensors").is_file()
    (stretch,) = stretches(finished / "model")
    assert (stretch["images_seen"], stretch["device"]["dtype"]) == (320, "float32")
    assert TrainConfig.from_json(stretch["config"]).images == 320


def test_sample_pictures_are_labelled(finished: Path) -> None:
    for path in (finished / "samples").iterdir():
        with Image.open(path) as picture:
            assert json.loads(picture.info["AIGC"])["Label"] == "1"


def test_metrics_are_strict_json() -> None:
    numbers = {field.name: math.nan for field in dataclasses.fields(Quality)}
    quality = Quality(**(numbers | {"samples": 50, "extractor": "x"}))  # pyright: ignore
    report = StepReport(32, 320, 1, 8, 1.0, 32.0, math.inf, {"loss_g": 1 / 3}, 2e-3, quality)

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    read = json.loads(json.dumps(plain(report)), parse_constant=refuse)
    assert read["quality"]["kid"] is None
    assert read["quality"]["samples"] == 50
    assert read["losses"] == {"loss_g": 0.33333}


# Who is at work


def test_status_and_heartbeat_while_it_trains(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.runs.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr("gan.training.report.REPORT_SECONDS", 0.0)
    run, beats = tiny_run(tmp_path / "r"), []
    for report in run.reports():
        if not report.finished:
            assert RunDirectory(tmp_path / "r").is_training()
            status = status_of(tmp_path / "r")
            assert status["images_seen"] == report.images_seen
            assert (status["pid"], status["state"]) == (this_process().pid, "training")
            beats.append(status["heartbeat"])
    assert len(beats) >= 10
    assert beats == sorted(set(beats))
    assert beats[-1] <= time.time()


def test_a_killed_process_is_not_at_work_and_its_run_goes_on(tmp_path: Path) -> None:
    train(tiny_run(tmp_path / "r"), reports=1)
    assert status_of(tmp_path / "r")["state"] == "training"
    assert RunDirectory(tmp_path / "r").is_training()
    claim(tmp_path / "r", started=1.0)  # another process has that number now
    assert not RunDirectory(tmp_path / "r").is_training()
    assert train(tiny_run(tmp_path / "r"))[-1].finished == "budget"


def test_two_processes_never_train_one_run(tmp_path: Path) -> None:
    train(tiny_run(tmp_path / "r"), reports=1)
    error = refusal("run_is_busy", lambda: tiny_run(tmp_path / "r"))
    assert str(tmp_path / "r") in str(error)


def test_a_training_that_fails_says_so(tmp_path: Path, monkeypatch) -> None:
    run = tiny_run(tmp_path / "r")

    def diverge() -> None:
        raise LabError("training_diverged", images=32)

    monkeypatch.setattr(run.trainer, "step", diverge)
    refusal("training_diverged", lambda: train(run))
    assert status_of(tmp_path / "r")["state"] == "failed"


# Stopping and going on


def test_stop_saves_and_the_next_run_goes_on_there(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.training.report.REPORT_SECONDS", 0.0)
    run = tiny_run(tmp_path / "r")
    train(run, reports=5)
    run.stop()
    assert status_of(tmp_path / "r")["state"] == "stopped"
    seen = run.trainer.images_seen
    assert 0 < seen < 320
    again = tiny_run(tmp_path / "r")
    assert again.trainer.images_seen == seen
    assert again.finished is None
    reports = train(again)
    assert reports[-1].images_seen == 320
    images = [m["images_seen"] for m in RunDirectory(tmp_path / "r").metrics()]
    assert images == sorted(set(images)), "every report is there once"


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    train(tiny_run(tmp_path / "r"))
    directory = RunDirectory(tmp_path / "r")
    whole = directory.metrics()
    assert whole
    with (tmp_path / "r" / "metrics.jsonl").open("a") as file:
        file.write('{"images_seen": 352, "los')
    assert directory.metrics() == whole
    directory.forget_after(10**9)
    assert (tmp_path / "r" / "metrics.jsonl").read_text().endswith("}\n")
    assert directory.metrics() == whole


def test_what_a_kill_has_overtaken_is_forgotten(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    (tmp_path / "samples").mkdir()
    lines = [json.dumps({"images_seen": n}) for n in (32, 64, 96)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for n in (0, 64, 96):
        (tmp_path / "samples" / f"{n:09d}.png").touch()
    directory.forget_after(64)
    assert [m["images_seen"] for m in directory.metrics()] == [32, 64]
    kept = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert kept == ["000000000.png", "000000064.png"]


def test_a_finished_run_has_nothing_left_to_do(mine: Path) -> None:
    assert tiny_run(mine).finished == "budget"
    longer = tiny_run(mine, dataclasses.replace(CONFIG, images=640))
    assert longer.finished is None
    claim(mine, finished="quality", target_quality=0.9)
    config = dataclasses.replace(CONFIG, images=640, target_quality=0.9)
    assert tiny_run(mine, config).finished == "quality"
    assert tiny_run(mine, dataclasses.replace(config, target_quality=0.95)).finished is None


def test_another_budget_is_kept_and_remembered(tmp_path: Path) -> None:
    train(tiny_run(tmp_path / "r"))
    longer = tiny_run(tmp_path / "r", dataclasses.replace(CONFIG, images=480))
    assert train(longer)[-1].images_seen == 480
    directory = RunDirectory(tmp_path / "r")
    assert directory.read_config()[0].images == 480
    assert directory.history()["budgets"] == [
        {"at": 0, "images": 320},
        {"at": 320, "images": 480},
    ]
    assert directory.read_config()[0].minutes is None
    # Without a budget, the stored one.
    assert tiny_run(tmp_path / "r", dataclasses.replace(CONFIG, images=0)).finished == "budget"


def test_a_longer_budget_leaves_behind_what_is_behind(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, grow=((8, 0.5), (8, 1.0)))
    train(tiny_run(tmp_path / "r", config))
    longer = tiny_run(tmp_path / "r", dataclasses.replace(CONFIG, images=640))
    assert longer.trainer.config.grow == ((8, 0.25), (8, 1.0))
    longer._change(control.Order(1, os.getpid(), images=1280))
    assert longer.trainer.config.grow == ((8, 0.125), (8, 1.0)), "on the fly too"


def test_minutes_become_images_once_and_change_in_proportion(tmp_path: Path) -> None:
    minutes = dataclasses.replace(CONFIG, images=0, minutes=0.01)
    run = tiny_run(tmp_path / "r", minutes)
    train(run, reports=1)
    run.stop()
    images = RunDirectory(tmp_path / "r").read_config()[0].images
    assert images > 0
    assert tiny_run(tmp_path / "r", minutes).trainer.config.images == images
    double = dataclasses.replace(minutes, minutes=0.02)
    again = tiny_run(tmp_path / "r", double).trainer.config
    assert (again.images, again.minutes) == (2 * images, 0.02)


def test_minutes_after_images_follow_the_speed_so_far(mine: Path) -> None:
    last = RunDirectory(mine).metrics()[-1]
    minutes = dataclasses.replace(CONFIG, images=0, minutes=10.0)
    expected = last["images_seen"] / last["seconds"] * 600
    assert tiny_run(mine, minutes).trainer.config.images == pytest.approx(expected, abs=1)


# Orders while it trains


class Watcher(threading.Thread):
    """Somebody who watches a training and gives it orders, one after the other."""

    def __init__(self, path: Path, script: Callable[["Watcher"], None]):
        super().__init__(daemon=True)
        self.path, self.script, self.number = path, script, 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            self.script(self)
        except BaseException as problem:  # noqa: BLE001  # it belongs to the test
            self.problem = problem
        finally:
            stop = control.Order(self.number + 1, os.getpid(), "stop")
            control.give(self.path, stop)

    def order(self, **what: Any) -> None:
        """Gives an order, and waits until it is acknowledged."""
        self.number += 1
        control.give(self.path, control.Order(self.number, os.getpid(), **what))
        self.wait(lambda status: status.get("acknowledged") == self.number)

    def wait(self, reached: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        for _ in range(6000):
            status = RunDirectory(self.path).status() or {}
            if reached(status):
                return status
            time.sleep(0.01)
        raise AssertionError(f"waited in vain: {RunDirectory(self.path).status()}")


def watched(path: Path, script: Callable[[Watcher], None], **changes: Any) -> Run:
    """A long run whose orders come from `script`; it has stopped when this returns."""
    run = tiny_run(path, dataclasses.replace(CONFIG, images=10**8, **changes))
    watcher = Watcher(path, script)
    watcher.start()
    train(run)
    watcher.join()
    if watcher.problem is not None:
        raise watcher.problem
    return run


@pytest.fixture
def _frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.runs.HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr("gan.control.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("gan.training.report.REPORT_SECONDS", 0.0)


@pytest.mark.usefixtures("_frequent")
def test_a_paused_training_waits_alive_and_goes_on(tmp_path: Path) -> None:
    def script(watcher: Watcher) -> None:
        watcher.wait(lambda status: status.get("images_seen", 0) > 64)
        watcher.order(action="pause")
        paused = watcher.wait(lambda status: status["state"] == "paused")
        assert RunDirectory(tmp_path / "r").is_training(), "its process is at hand"
        later = watcher.wait(lambda status: status["heartbeat"] > paused["heartbeat"] + 1)
        assert later["images_seen"] == paused["images_seen"]
        watcher.order(action="resume")
        watcher.wait(lambda status: status["images_seen"] > paused["images_seen"] + 64)

    run = watched(tmp_path / "r", script)
    status = status_of(tmp_path / "r")
    assert (status["state"], status["stopping"]) == ("stopped", True)
    assert status["images_seen"] == run.trainer.images_seen
    assert checkpoint.every(run.directory.checkpoints)[-1].stem == f"{run.trainer.images_seen:012d}"
    assert tiny_run(tmp_path / "r").trainer.images_seen == run.trainer.images_seen


@pytest.mark.usefixtures("_frequent")
def test_save_now_and_another_budget_on_the_fly(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "r")

    def script(watcher: Watcher) -> None:
        watcher.wait(lambda status: status.get("images_seen", 0) > 0)
        watcher.order(action="save")
        watcher.wait(lambda _status: checkpoint.every(directory.checkpoints))
        watcher.order(images=5 * 10**7, target_quality=0.75)
        watcher.wait(lambda status: status["images"] == 5 * 10**7)
        assert directory.read_config()[0].images == 5 * 10**7
        watcher.order(action="save", target_quality=0.0)
        watcher.wait(lambda status: status["target_quality"] is None)

    run = watched(tmp_path / "r", script, target_quality=0.5)
    assert (run.trainer.stop.target, run.trainer.config.images) == (None, 5 * 10**7)
    budgets = directory.history()["budgets"]
    assert [budget["images"] for budget in budgets] == [10**8, 5 * 10**7]
    assert load_generator(tmp_path / "r" / "latest").info.dataset == "digits-tiny"


@pytest.mark.usefixtures("_frequent")
def test_what_is_saved_in_a_pause_is_the_moment_that_the_pause_tells(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "r")

    def script(watcher: Watcher) -> None:
        watcher.wait(lambda status: status.get("images_seen", 0) > 64)
        watcher.order(action="pause")
        paused = watcher.wait(lambda status: status.get("obeyed") == watcher.number)
        watcher.order(action="save")
        saved = watcher.wait(lambda status: status.get("obeyed") == watcher.number)
        assert (saved["state"], saved["images_seen"]) == ("paused", paused["images_seen"])
        newest = checkpoint.every(directory.checkpoints)[-1]
        assert newest == checkpoint.path_of(directory.checkpoints, paused["images_seen"])
        name = f"{paused['images_seen']:09d}"
        assert load_generator(directory.path / "moments" / name).info.dataset == "digits-tiny"
        assert (directory.path / "samples" / f"{name}.png").is_file()

    watched(tmp_path / "r", script)


def test_a_pause_tells_where_it_is_though_the_last_report_is_older(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "r")
    run.trainer.images_seen = 96
    run._obey(control.Order(1, os.getpid(), "pause"))
    assert status_of(tmp_path / "r")["images_seen"] == 96


@pytest.mark.usefixtures("_frequent")
def test_numbers_of_orders_go_on_in_the_next_process(tmp_path: Path) -> None:
    """A page that has seen a number waits for a higher one."""

    def script(watcher: Watcher) -> None:
        watcher.wait(lambda status: status.get("state") == "training")
        for _ in range(3):
            watcher.order(action="save")

    watched(tmp_path / "r", script)
    assert status_of(tmp_path / "r")["acknowledged"] == 4  # and the stop
    tiny_run(tmp_path / "r")._write_status("training")
    status = status_of(tmp_path / "r")
    assert (status["acknowledged"], status["obeyed"]) == (4, 4)
    assert not status.get("stopping")


def test_a_run_that_is_told_to_stop_stays_so(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "r")
    for number, action in enumerate(("stop", "save")):
        run._noted(control.Order(1 + number, os.getpid(), action))
        assert status_of(tmp_path / "r")["stopping"]


def test_a_smaller_budget_than_was_used_ends_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.control.LOOK_SECONDS", 0.01)

    def script(watcher: Watcher) -> None:
        watcher.wait(lambda status: "images_seen" in status)
        watcher.order(images=32)
        watcher.wait(lambda status: status["state"] == "finished")

    run = tiny_run(tmp_path / "r", dataclasses.replace(CONFIG, images=10**8))
    watcher = Watcher(tmp_path / "r", script)
    watcher.start()
    assert train(run)[-1].finished == "budget"
    watcher.join()
    assert watcher.problem is None


def test_an_evaluation_can_be_stopped_in_the_middle(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.training.report.FIRST_EVALUATION", 0.0)
    dataset = load_dataset("digits-tiny")
    run = Run(
        tmp_path / "r",
        dataclasses.replace(CONFIG, images=10**8),
        CPU,
        dataset=dataset,
        asked_to_stop=lambda: run.trainer.evaluator is not None,
    )
    train(run)
    assert run.trainer.evaluator is not None
    assert math.isnan(run.trainer.evaluator.baseline), "it hadn't got that far"
    assert status_of(tmp_path / "r")["state"] == "stopped"
    assert tiny_run(tmp_path / "r").trainer.images_seen == run.trainer.images_seen > 0


def test_a_save_in_an_evaluation_does_not_wait_for_its_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.training.report.FIRST_EVALUATION", 0.0)
    given: list[int] = []

    def pulse() -> bool:
        """Gives the order at the first look out of an evaluation, and stops at the next one."""
        if not evaluating:
            return False
        if given:
            return True
        given.append(run.trainer.images_seen)
        run.orders.orders.append(control.Order(1, os.getpid(), "save"))
        return False

    evaluating: list[bool] = []
    run = Run(
        tmp_path / "r",
        dataclasses.replace(CONFIG, images=10**8),
        CPU,
        dataset=load_dataset("digits-tiny"),
        asked_to_stop=pulse,
    )
    measure = run.trainer.measure

    def begin(fresh: int = 0) -> Quality:
        evaluating.append(True)
        return measure(fresh)

    monkeypatch.setattr(run.trainer, "measure", begin)
    train(run)
    assert status_of(tmp_path / "r")["obeyed"] == 1
    kept = tmp_path / "r" / "moments"
    assert moments.every(kept)[-1:] == given
    for seen in range(given[0] + 1, given[0] + 200):  # others come, and push each other out
        moments.folder_of(kept, seen).mkdir()
        moments.thin(kept)
    assert given[0] in moments.every(kept), "what was saved on purpose went"


def test_a_pause_is_no_training_time(monkeypatch) -> None:
    from gan.training.report import Clock

    now = [100.0]
    monkeypatch.setattr("gan.training.report.time.perf_counter", lambda: now[0])
    trainer: Any = types.SimpleNamespace(config=CONFIG, images_seen=0, seconds=0.0)
    clock = Clock(trainer)
    for pause in (0.0, 3600.0):
        now[0] += pause
        clock.begin()
        now[0] += 2.0
        clock.add({}, torch.zeros(2, 1))
    assert trainer.seconds == 4.0


def test_a_clock_that_jumps_stops_no_heartbeat(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gan.training.report.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("gan.runs.HEARTBEAT_SECONDS", 0.0)
    run, seen = tiny_run(tmp_path / "r"), []
    jumps = iter([0.0, 1e9, -1e9] * 1000)
    monkeypatch.setattr("gan.runs.time.time", lambda: 1.8e9 + next(jumps))
    for report in run.reports():
        status = status_of(tmp_path / "r")
        assert status["images_seen"] == report.images_seen
        assert report.finished or RunDirectory(tmp_path / "r").is_training()
        seen.append(status["heartbeat"])
    assert min(seen) < 1e9
    assert max(seen) > 2.7e9
    assert [m["images_seen"] for m in run.directory.metrics()][-1] == 320


def test_why_it_failed_is_in_the_status(tmp_path: Path, monkeypatch) -> None:
    run = tiny_run(tmp_path / "r")

    def diverge() -> None:
        raise LabError("training_diverged", images=32)

    monkeypatch.setattr(run.trainer, "step", diverge)
    refusal("training_diverged", lambda: train(run))
    expected = {"code": "training_diverged", "values": {"images": 32}}
    assert status_of(tmp_path / "r")["message"] == expected


def test_a_training_that_never_began_says_why(tmp_path: Path) -> None:
    directory, error = RunDirectory(tmp_path), LabError("data_missing", source="x")
    directory.fail(error)
    assert directory.status() is None, "nobody started it from the page"
    process = this_process()
    status = {"state": "starting", "pid": process.pid, "started": process.started}
    (tmp_path / "status.json").write_text(json.dumps(status))
    directory.fail(error)
    assert status_of(tmp_path)["state"] == "failed"
    assert status_of(tmp_path)["message"] == error.to_json()
    (tmp_path / "status.json").write_text(json.dumps(status | {"pid": process.pid + 1}))
    directory.fail(error)
    assert status_of(tmp_path)["state"] == "starting", "another process's business"


def test_broken_numbers_are_never_saved_by_an_order(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "r")
    run.save()
    (good,) = checkpoint.every(run.directory.checkpoints)
    next(run.trainer.G.parameters()).data.fill_(math.nan)
    run.trainer.images_seen = 32
    run.stop()
    assert checkpoint.every(run.directory.checkpoints) == [good]
    assert status_of(tmp_path / "r")["state"] == "stopped"


def test_a_model_is_called_as_people_call_the_run(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run-0123")
    (tmp_path / "run-0123" / "about.json").write_text('{"name": "my digits"}')
    run.stop()
    assert load_generator(tmp_path / "run-0123" / "latest").info.name == "my-digits"


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", "digits"),
        ("loss", "hinge"),
        ("seed", 1),
        ("batch", 16),
        ("warm_start", "elsewhere"),
        ("penalties", ("r1",)),
    ],
)
def test_another_training_is_refused_and_named(finished: Path, name: str, value: Any) -> None:
    config = dataclasses.replace(CONFIG, **{name: value})
    error = refusal("run_is_another", lambda: tiny_run(finished, config))
    assert error.values["name"] == name
    if isinstance(value, str):
        assert value in str(error)


def test_another_size_is_refused(finished: Path) -> None:
    error = refusal("run_is_another", lambda: tiny_run(finished, preset="small"))
    assert error.values == {"name": "preset", "stored": "tiny", "asked": "small"}
    larger = load_dataset("digits", 16)
    error = refusal("run_is_another", lambda: Run(finished, CONFIG, CPU, dataset=larger))
    assert error.values == {"name": "resolution", "stored": "8", "asked": "16"}


def test_a_refused_run_is_left_as_it_was(finished: Path) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    refusal("run_is_another", lambda: tiny_run(finished, dataclasses.replace(CONFIG, seed=1)))
    assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"training": {"data": 1, "x": 2}}'])
def test_a_damaged_configuration_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    error = refusal("damaged_run", lambda: tiny_run(tmp_path))
    assert str(tmp_path) in str(error)


def test_a_place_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal("run_unwritable", lambda: tiny_run(tmp_path / "file" / "r"))
    assert str(tmp_path / "file" / "r") in str(error)


# Where it came from


def test_a_warm_start_brings_its_history(finished: Path, tmp_path: Path) -> None:
    source = str(finished / "model")
    config = dataclasses.replace(CONFIG, images=64, warm_start=source)
    train(tiny_run(tmp_path / "second", config))
    (first,) = RunDirectory(tmp_path / "second").history()["earlier"]
    assert first["images_seen"] == 320
    assert TrainConfig.from_json(first["config"]).warm_start is None
    train(
        tiny_run(
            tmp_path / "third",
            dataclasses.replace(config, warm_start=str(tmp_path / "second" / "latest")),
        )
    )
    earlier = RunDirectory(tmp_path / "third").history()["earlier"]
    assert [stretch["images_seen"] for stretch in earlier] == [320, 64]


def test_a_model_without_history_has_none(tmp_path: Path) -> None:
    assert stretches(tmp_path) == []
    (tmp_path / "config.json").write_text('{"training": {"images_seen": 3}}')
    assert stretches(tmp_path) == []


def test_what_is_published_names_no_place() -> None:
    config = TrainConfig(data="/pictures/my cats", warm_start="/runs/first/model")
    public = without_places(config)
    assert (public.data, public.warm_start) == ("my cats", "model")
    assert without_places(CONFIG) == CONFIG


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_recognised_by_its_sizes(preset: str) -> None:
    dataset = load_dataset("digits")
    config = complete(TrainConfig(data="digits"), dataset, preset)
    assert preset_of(config) == preset
    assert preset_of(dataclasses.replace(config, grow=((16, 0.1), (32, 1.0)))) == preset
    assert config.generator is not None
    wider = dataclasses.replace(config.generator, channel_max=config.generator.channel_max + 1)
    assert preset_of(dataclasses.replace(config, generator=wider)) is None
