"""Moments: few, even on a logarithmic scale, and those of a void future forgotten."""

import itertools
import math
from pathlib import Path

from gan import moments
from gan.loading import load_generator
from gan.runs import RunDirectory
from gan.training.loop import Trainer
from gan.training.networks import warm_start
from tests.tiny_run import tiny_run, train


def kept_of(folder: Path, *images: int) -> list[int]:
    for seen in images:
        moments.folder_of(folder, seen).mkdir(parents=True)
        moments.thin(folder)
    return moments.every(folder)


def test_few_are_kept_however_long_it_trains(tmp_path: Path) -> None:
    grown = [0] + [round(500 * 1.2**n) for n in range(50)]
    kept = kept_of(tmp_path, *grown)
    assert len(kept) == moments.MOST
    assert (kept[0], kept[-1]) == (0, grown[-1])
    scale = [math.log(seen + 500) for seen in kept]
    gaps = [b - a for a, b in itertools.pairwise(scale)]
    assert max(gaps) < 4 * (scale[-1] - scale[0]) / len(kept), "no hole in the middle"


def test_what_somebody_saved_gives_way_to_nothing_that_is_kept_by_itself(tmp_path: Path) -> None:
    kept_of(tmp_path, 0, 10_000)
    moments.mark_saved(tmp_path, 10_000)
    kept = kept_of(tmp_path, *range(10_001, 10_100))
    assert 10_000 in kept
    assert len(kept) == moments.MOST + 1


def test_of_what_somebody_saved_there_are_no_more_than_of_the_others(tmp_path: Path) -> None:
    for seen in range(0, 6_000, 100):
        kept_of(tmp_path, seen)
        moments.mark_saved(tmp_path, seen)
    kept = kept_of(tmp_path, 6_000)
    assert len(kept) == moments.MOST + 1
    assert kept[0] == 0
    assert kept[-2:] == [5_900, 6_000], "neither the last one saved nor the newest of all went"


def test_the_future_is_forgotten_and_strangers_stay(tmp_path: Path) -> None:
    kept_of(tmp_path, 0, 500, 600)
    (tmp_path / "notes").mkdir()
    moments.forget_after(tmp_path, 500)
    assert moments.every(tmp_path) == [0, 500]
    assert (tmp_path / "notes").is_dir()


def test_a_run_keeps_moments_that_open_and_from_which_one_can_fork(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "r", evaluate=True)
    train(run)
    folder = tmp_path / "r" / "moments"
    assert moments.every(folder) == [0, 320]
    last = moments.folder_of(folder, 320)
    assert load_generator(last).info.dataset == "digits-tiny"
    fork = Trainer(run.trainer.config, dataset=run.trainer.dataset, device=run.trainer.device)
    assert warm_start(fork.G, fork.D, str(last)) == []
    # The other pictures that the page shows.
    assert (tmp_path / "r" / "reals.png").is_file()
    assert (tmp_path / "r" / "neighbours.png").is_file()
    newest = sorted(path.name for path in (tmp_path / "r" / "samples").glob("*-*.png"))
    assert newest == ["between-000000320.png", "raw-000000320.png"]
    lines = RunDirectory(tmp_path / "r").metrics()
    for side in ("real", "fake"):
        assert sum(sum(line["histogram"][side]) for line in lines) == 320
    line = lines[-1]
    assert len(line["histogram"]["edges"]) == len(line["histogram"]["real"]) + 1
    assert 0 <= line["pair_accuracy"] <= 1
    assert line["grad_norm_g"] > 0
    assert line["grad_norm_d"] > 0
    assert line["alarms"] == []
    assert 0 <= line["quality"]["copies"] <= 1
    assert line["quality"]["vendi_ratio"] > 0
    assert "samples" not in line
    assert "moment" not in line
