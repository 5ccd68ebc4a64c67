"""gan.costs: what a picture costs decides what is drawn while a hand moves."""

from pathlib import Path

import pytest

from gan import costs
from gan.costs import Cost, measure, remember, remembered
from gan.device import Device
from gan.files import user_cache_dir

CPU = Device("cpu", "float32", 2)
SIDES = [4, 8, 16, 32, 64, 128]


class Clock:
    """A model that takes `exact` seconds for 256 px, a quarter of that for half the side."""

    def __init__(self, exact: float, stops_early: bool = True):
        self.seconds, self.stops_early = exact, stops_early
        self.drawn: list[int | str | None] = []

    def exact(self) -> float:
        self.drawn.append("exact")
        return self.seconds

    def preview(self, side: int | None) -> float | None:
        self.drawn.append(side)
        if side is None:
            return self.seconds / 2
        return self.seconds / 2 * (side / 256) ** 2 if self.stops_early else None


def test_a_quick_model_is_dragged_whole():
    clock = Clock(0.01)
    assert measure(clock.exact, clock.preview, SIDES) == Cost(0.01, 0.005, None, "whole")


def test_a_slow_one_is_dragged_at_the_largest_size_that_is_live():
    clock = Clock(2.0)
    cost = measure(clock.exact, clock.preview, SIDES)
    assert (cost.exact_seconds, cost.preview_resolution, cost.drag) == (2.0, 64, "small")
    assert cost.preview_seconds == pytest.approx(1 / 16)
    assert clock.drawn.count("exact") == 1, "what takes long is timed once"
    assert None not in clock.drawn


def test_one_that_cant_stop_early_is_drawn_on_release():
    clock = Clock(30.0, stops_early=False)
    assert measure(clock.exact, clock.preview, []) == Cost(30.0, 30.0, None, "release")
    assert clock.drawn == ["exact"]
    assert measure(clock.exact, clock.preview, SIDES).drag == "release"


def test_so_is_one_that_is_slow_at_every_size():
    cost = measure(lambda: 0.9, lambda side: 0.4, SIDES)
    assert (cost.drag, cost.preview_resolution) == ("release", None)


def test_the_first_call_may_be_slow():
    times = iter([0.9, 0.02, 0.5, 0.01])
    cost = measure(lambda: next(times), lambda side: next(times), [])
    assert cost == Cost(0.02, 0.01, None, "whole")


@pytest.mark.parametrize(
    ("now", "before", "better"),
    [
        (Cost(5.1, 0.1, 64, "small"), Cost(4.9, 4.9, None, "release"), Cost(4.9, 0.1, 64, "small")),
        (Cost(4.9, 4.9, None, "release"), Cost(5.1, 0.1, 64, "small"), Cost(4.9, 0.1, 64, "small")),
        (Cost(2.0, 0.1, 32, "small"), Cost(2.0, 0.1, 64, "small"), Cost(2.0, 0.1, 64, "small")),
        (Cost(0.1, 0.1), Cost(2.0, 0.1, 64, "small"), Cost(0.1, 0.1)),
        (Cost(0.7, 0.1), Cost(0.3, 0.05), Cost(0.3, 0.05)),
        (Cost(0.7, 0.1), None, Cost(0.7, 0.1)),
    ],
)
def test_of_two_measurements_the_less_busy_machines_counts(
    now: Cost, before: Cost | None, better: Cost
):
    assert costs.less_busy(now, before) == better


def test_what_was_measured_is_remembered_for_these_weights_on_this_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path))
    cost = Cost(2.0, 0.1, 64, "small")
    digest = "ab" * 32
    assert remembered(digest, CPU) is None
    remember(digest, CPU, cost)
    assert remembered(digest, CPU) == cost
    assert remembered("cd" * 32, CPU) is None
    assert remembered(digest, Device("cpu", "float32", 1)) is None
    (file,) = (user_cache_dir() / "costs").iterdir()
    for damaged in ("", "{", "[]", '{"exact_seconds": -1, "preview_seconds": 1}', '{"a": 1}'):
        file.write_text(damaged)
        assert remembered(digest, CPU) is None


def test_a_machine_without_a_cache_measures_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(costs, "user_cache_dir", lambda: tmp_path / "file")
    remember("ab", CPU, Cost(1, 1))
    assert remembered("ab", CPU) is None
