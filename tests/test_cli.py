"""The command line: every command does what it says, every bad input is named, Ctrl-C saves."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan import cli
from gan.cli import models, terminal, training
from gan.errors import LabError
from gan.images import read_recipe
from gan.runs import RunDirectory
from gan.training.data import load_dataset
from gan.training.loop import complete
from tests.tiny import TINY_CLASSES, tiny_model
from tests.tiny_run import CONFIG, tiny_run, train

PROJECT = Path(__file__).parents[1]
TRAIN = ["train", "--data", "digits-tiny", "--images", "320", "--threads", "1"]


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")


@pytest.fixture(autouse=True)
def _quick_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures by pixels: what the figures mean is tested elsewhere."""
    from gan import features

    by_pixels = features.Extractor("pixels", 8)
    monkeypatch.setattr("gan.features.extractor_for", lambda *_given, **_named: by_pixels)
    monkeypatch.setattr("gan.training.evaluation.neighbour_audit", lambda *_g, **_n: {"samples": 1})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with 3 classes of 8 px grey pictures."""
    folder = tmp_path_factory.mktemp("models") / "small"
    tiny_model(folder, TINY_CLASSES)
    return folder


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "done"
    train(tiny_run(path, dataclasses.replace(CONFIG, images=64)))
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


Captured = pytest.CaptureFixture[str]


# train


def test_train_writes_a_run_and_shows_its_way(tmp_path: Path, capsys: Captured) -> None:
    assert run(*TRAIN, "--out", tmp_path / "r") == 0
    shown = capsys.readouterr().out
    assert "100.0 % · 320 of 320 images · 8 px" in shown
    assert "quality" in shown
    assert str(tmp_path / "r") in shown
    assert RunDirectory(tmp_path / "r").metrics()[-1]["quality"]
    # The same command has nothing left to do.
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "r").glob("checkpoints/*")}
    assert run(*TRAIN, "--out", tmp_path / "r") == 0
    assert "budget is used up" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "r").glob("checkpoints/*")} == files


def test_an_end_that_a_kill_left_untold_is_told_by_the_same_command(tmp_path: Path) -> None:
    assert run(*TRAIN, "--out", tmp_path / "r") == 0
    told = RunDirectory(tmp_path / "r").status() or {}
    left = told | {"state": "training", "pid": 0, "images_seen": 256, "finished": None}
    (tmp_path / "r" / "status.json").write_text(json.dumps(left))
    assert run(*TRAIN, "--out", tmp_path / "r") == 0
    again = RunDirectory(tmp_path / "r").status() or {}
    assert [again[name] for name in ("state", "finished", "images_seen")] == [
        *("finished", "budget"),
        320,
    ]


def test_quiet_prints_only_the_end(tmp_path: Path, capsys: Captured) -> None:
    assert run(*TRAIN, "--images", 64, "--quiet", "--out", tmp_path / "r") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_training_names_the_pictures_it_skipped(
    tiny_pictures: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_pictures / "bad.png").write_bytes(b"\x89PNG nonsense")
    arguments = ["--images", 32, "--batch", 8, "--threads", 1, "--out", tmp_path / "r"]
    monkeypatch.chdir(tiny_pictures.parent)
    assert run("train", "--data", tiny_pictures.name, *arguments) == 0
    assert "bad.png" in capsys.readouterr().err
    stored, _ = RunDirectory(tmp_path / "r").read_config()
    assert stored.data == str(tiny_pictures.resolve())
    # From elsewhere the same folder is the same data.
    monkeypatch.chdir(tmp_path)
    assert run("train", "--data", tiny_pictures, *arguments) == 0


def test_the_flags_become_the_configuration(tmp_path: Path) -> None:
    flags = (
        "--preset small --images 640 --target-quality 0.9 --loss hinge --penalties r1,r2 "
        "--batch 16 --seed 7 --threads 1 --resolution 16"
    )
    options = cli.parser().parse_args(
        ["train", "--data", "digits", "--out", str(tmp_path), *shlex.split(flags)]
    )
    config = training.train_config(options)
    assert (config.loss, config.penalties, config.seed) == ("hinge", ("r1", "r2"), 7)
    assert (config.images, config.batch, config.target_quality) == (640, 16, 0.9)
    whole = complete(config, load_dataset("digits", 16), options.preset)
    assert whole.generator is not None
    assert (whole.generator.resolution, whole.generator.w_dim) == (16, 64)
    none = cli.parser().parse_args([*TRAIN, "--out", "r", "--penalties", "none"])
    assert training.train_config(none).penalties == ()


def test_a_warm_start_may_be_a_run(run_path: Path, tmp_path: Path) -> None:
    assert run(*TRAIN, "--images", 64, "--warm-start", run_path, "--out", tmp_path / "r") == 0
    directory = RunDirectory(tmp_path / "r")
    assert directory.read_config()[0].warm_start == str((run_path / "latest").resolve())
    assert directory.history()["earlier"][0]["images_seen"] == 64


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--data EMPTY --images 64", "EMPTY"),
        ("--data BROKEN --images 64", "a.png"),
        ("--data nothing-there --images 64", "nothing-there"),
        ("--data FILE --images 64", "FILE"),
        ("--data digits-tiny", "--minutes"),
        ("--data digits-tiny --images -5", "-5"),
        ("--data digits-tiny --minutes nan", "nan"),
        ("--data digits-tiny --minutes 0", "minutes = 0.0"),
        ("--data digits-tiny --images 64 --target-quality 2", "target_quality = 2.0"),
        ("--data digits-tiny --images 64 --loss kindness", "kindness"),
        ("--data digits-tiny --images 64 --penalties r3", "r3"),
        ("--data digits-tiny --images 64 --preset huge", "huge"),
        ("--data digits-tiny --images 64 --resolution 12", "12"),
        ("--data digits-tiny --images 64 --resolution 64", "8 px or less"),
        ("--data digits-tiny --images 64 --batch 1", "batch = 1"),
        ("--data digits-tiny --images 64 --batch 0", "batch = 0"),
        ("--data digits-tiny --images 64 --seed -1", "seed = -1"),
        ("--data digits-tiny --images 64 --device tpu", "tpu"),
        ("--data digits-tiny --images 64 --threads 0", "0 threads"),
        ("--data digits-tiny --images 64 --warm-start nowhere", "nowhere"),
        ("--data digits-tiny --images 64 --warm-start EMPTY", "EMPTY"),
        ("--data digits-tiny --images 64 --out FILE/r", "FILE/r"),
        ("--data digits-tiny --images 64 --loss hinge --out RUN", "hinge"),
        ("--data digits --images 64 --out RUN", "digits-tiny"),
    ],
)
def test_train_refuses_and_names(
    flags: str, named: str, run_path: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BROKEN").mkdir()
    (tmp_path / "BROKEN" / "a.png").write_bytes(b"\x89PNG nonsense")
    (tmp_path / "FILE").write_text("no pictures")
    words = [
        str(run_path) if word == "RUN" else str(tmp_path / word) if word.isupper() else word
        for word in flags.replace("FILE/r", str(tmp_path / "FILE" / "r")).split()
    ]
    assert run("train", "--out", tmp_path / "r", *words) == 2
    said = capsys.readouterr().err
    assert said.startswith("Not possible: ")
    assert named in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_what_is_refused_is_said_in_the_terminals_language(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert run("train", "--data", "digits-tiny", "--out", "r", "--loss", "kindness") == 2
    assert "无法执行：没有名为“kindness”的损失" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gan", *TRAIN, "--images", "100000000"]
    command += ["--out", str(tmp_path / "r")]
    directory = RunDirectory(tmp_path / "r")
    seen = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        started = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        with started as process:
            try:
                wait_for(process, lambda before=seen: progress(directory) > before + 200)
                assert directory.is_training()
                process.send_signal(number)
                said, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == cli.INTERRUPTED, said
        assert "The same command goes on" in said
        status = directory.status()
        assert status is not None
        assert status["state"] == "stopped"
        assert status["images_seen"] > seen
        seen = status["images_seen"]
    images = [m["images_seen"] for m in directory.metrics()]
    assert images == sorted(set(images)), "the second one went on where the first one stopped"


def progress(directory: RunDirectory) -> int:
    return max((m["images_seen"] for m in directory.metrics()), default=0)


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    for _ in range(1200):
        assert process.poll() is None, process.communicate()[0]
        if reached():
            return
        time.sleep(0.1)
    pytest.fail("no progress in two minutes")


def test_estimate_measures_without_training(capsys: Captured, tmp_path: Path) -> None:
    flags = ["--data", "digits-tiny", "--threads", "1", "--batch", "8"]
    assert run("estimate", *flags, "--images", 800, "--json") == 0
    costs = json.loads(capsys.readouterr().out)
    assert costs["images"] == 800
    seconds = costs["seconds_per_image"]["8"]
    assert costs["minutes"] == pytest.approx(800 * seconds / 0.95 / 60)
    assert costs["device"]["threads"] == 1
    assert run("estimate", *flags, "--minutes", 1) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("8 px: ")
    assert said[1].endswith("images take 1:00")
    assert run("estimate", *flags) == 2
    assert "--minutes" in capsys.readouterr().err


# generate


def test_generate_writes_a_labelled_picture_a_seed(model: Path, tmp_path: Path) -> None:
    assert run("generate", "--model", model, "--seeds", "0-2,7", "--out", tmp_path / "p") == 0
    names = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert names == ["grid.png", *(f"seed{seed:04}.png" for seed in (0, 1, 2, 7))]
    for seed in (0, 7):
        content = (tmp_path / "p" / f"seed{seed:04}.png").read_bytes()
        recipe = read_recipe(content)
        assert (recipe.model, recipe.seed, recipe.psi, recipe.label) == ("small", seed, 0.7, None)
        assert recipe.revision
    with Image.open(tmp_path / "p" / "grid.png") as grid:
        assert json.loads(grid.info["AIGC"])["Label"] == "1"


def test_generate_draws_the_exact_picture(model: Path, tmp_path: Path) -> None:
    from gan.loading import load_generator
    from gan.recipe import Recipe
    from gan.rendering import draw_exact

    flags = ["--seeds", 5, "--psi", -0.5, "--class", 2]
    assert run("generate", "--model", model, *flags, "--out", tmp_path) == 0
    picture = draw_exact(load_generator(model), Recipe(model="m", seed=5, psi=-0.5, label=2))
    with Image.open(tmp_path / "seed0005-class2.png") as written:
        assert np.array_equal(np.asarray(written), picture)
    assert run("generate", "--model", model, *flags, "--scale", 4, "--out", tmp_path / "large") == 0
    with Image.open(tmp_path / "large" / "seed0005-class2.png") as written:
        assert written.size == (32, 32)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--seeds 5-1", "5-1"),
        ("--seeds x", "x"),
        ("--seeds=-1", "-1"),
        ("--seeds 1,,2", "1,,2"),
        ("--seeds 4294967296", "4294967296"),
        ("--seeds 0-100000", "100,000 pictures"),
        ("--seeds 0 --class 3", "class 3"),
        ("--seeds 0 --class -1", "-1"),
        ("--seeds 0 --psi 7", "7"),
        ("--seeds 0 --psi nan", "nan"),
        ("--seeds 0 --model nobody", "nobody"),
        ("--seeds 0 --model FILE", "FILE"),
        ("--seeds 0 --model EMPTY", "EMPTY"),
        ("--seeds 0 --device tpu", "tpu"),
        ("--seeds 0 --out FILE/p", "FILE"),
    ],
)
def test_generate_refuses_and_names(
    flags: str, named: str, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("no model")
    words = [
        str(tmp_path / word) if word in ("EMPTY", "FILE", "FILE/p") else word
        for word in flags.split()
    ]
    assert run("generate", "--model", model, "--out", tmp_path / "p", *words) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("given", "seeds"),
    [("7", [7]), ("0-3", [0, 1, 2, 3]), ("5,1, 10-11", [5, 1, 10, 11]), ("3-3", [3])],
)
def test_seed_ranges(given: str, seeds: list[int]) -> None:
    assert models.seed_range(given) == seeds


def test_a_sum_of_ranges_is_bounded_too() -> None:
    with pytest.raises(LabError) as caught:
        models.seed_range("0-59999,0-59999")
    assert caught.value.code == "bad_seeds"


# evaluate


def test_evaluate_prints_the_report_card(run_path: Path, capsys: Captured) -> None:
    arguments = ["evaluate", "--model", run_path, "--data", "digits-tiny", "--samples", 20]
    assert run(*arguments, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["samples"] == 20
    assert card["kid_low"] <= card["kid"] <= card["kid_high"]
    assert run(*arguments) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert float(shown["kid"]) == pytest.approx(card["kid"], rel=1e-3)
    assert shown["neighbours.samples"] == "1"


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_measuring_uses_the_device_and_the_threads_that_are_asked_for(
    command: str, run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[Any] = []
    monkeypatch.setattr("gan.device.apply", applied.append)
    monkeypatch.setattr("gan.cards.write_model_folder", lambda run, out, **_: out)
    monkeypatch.setattr("gan.training.evaluation.report_card", lambda *_, device, **__: {})
    words = {
        "evaluate": ("--model", run_path, "--data", "digits-tiny"),
        "export": (run_path, tmp_path / "m"),
    }[command]
    assert run(command, *words, "--device", "cpu", "--threads", 3) == 0
    assert [(each.kind, each.threads) for each in applied] == [("cpu", 3)]
    assert run(command, *words, "--device", "abacus") == 2


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--samples 9", "samples = 9"),
        ("--samples 1000000", "samples = 1000000"),
        ("--data nothing-there", "nothing-there"),
        ("--data avatars", "grey"),
        ("--model nobody", "nobody"),
    ],
)
def test_evaluate_refuses_and_names(flags: str, named: str, model: Path, capsys: Captured) -> None:
    words = flags.split()
    assert run("evaluate", "--model", model, "--data", "digits-tiny", *words) == 2
    assert named in capsys.readouterr().err


# export


def test_export_makes_a_model_folder(
    run_path: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def write(run: Path, out: Path, **options: object) -> Path:
        asked.update(options, run=run, out=out)
        return out

    monkeypatch.setattr("gan.cards.write_model_folder", write)
    words = ("--latest", "--samples", 30, "--device", "cpu")
    assert run("export", run_path, tmp_path / "m", *words) == 0
    device = asked.pop("device")
    assert (device.kind, device.dtype) == ("cpu", "float32")
    assert asked == {"run": run_path, "out": tmp_path / "m", "latest": True, "samples": 30}
    assert str(tmp_path / "m") in capsys.readouterr().out


def test_export_refuses_and_names(run_path: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").touch()
    for arguments, named in (
        ((tmp_path / "none", tmp_path / "m"), tmp_path / "none"),
        ((run_path, run_path), run_path),
        ((run_path, run_path / "latest"), run_path / "latest"),
        ((run_path, tmp_path / "file" / "m"), tmp_path / "file" / "m"),
        ((run_path, tmp_path / "m", "--samples", 3), "samples = 3"),
    ):
        assert run("export", *arguments) == 2
        assert str(named) in capsys.readouterr().err


# The program


def test_the_page_explains_its_flags_in_the_terminals_language() -> None:
    for language, said in (
        ("zh_CN.UTF-8", "在浏览器中打开页面"),
        ("C", "open the page in the browser"),
    ):
        shown = subprocess.run(
            [sys.executable, "app.py", "--help"],
            capture_output=True,
            encoding="utf-8",
            check=True,
            cwd=PROJECT,
            env=os.environ | {"LC_ALL": language, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"},
        ).stdout
        assert said in shown


def test_it_is_a_program() -> None:
    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "gan",
            "generate",
            "--model",
            "nobody",
            "--seeds",
            "x",
            "--out",
            "p",
        ],
        cwd=PROJECT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("Not possible: “x” is no range of seeds.")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["train"], [*TRAIN, "--images", "many"]])
def test_flags_that_cant_be_read_exit_with_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_an_interrupted_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_given: str) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "seed_range", interrupt)
    assert run("generate", "--model", "m", "--seeds", "1", "--out", "p") == 130


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (65, "1:05"), (3725, "1:02:05"), (float("inf"), "–")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert terminal.duration(seconds) == shown


@pytest.mark.parametrize("command", ["train", "generate", "evaluate", "export"])
def test_every_command_explains_itself(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    assert "--" in capsys.readouterr().out
