"""When a training looks at itself."""

from types import SimpleNamespace
from typing import Any

import pytest

from gan.training import report
from gan.training.config import TrainConfig
from gan.training.report import Clock


class Simulated:
    """A training of so many seconds; its first evaluation takes `first`, the others `usual`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float, first: float, usual: float):
        self.now, images = 0.0, round(seconds * 10)
        monkeypatch.setattr(report.time, "perf_counter", lambda: self.now)
        config = TrainConfig("digits", images=images)
        trainer: Any = SimpleNamespace(config=config, images_seen=0, seconds=0.0)
        clock, self.at = Clock(trainer), []
        while trainer.images_seen < images:
            self.now += 0.1
            trainer.images_seen += 1
            if clock.evaluation_due() or trainer.images_seen == images:
                took = usual if self.at else first
                self.at.append(self.now)
                self.now += took
                clock.evaluated_for(took)
        self.share = clock.evaluating / self.now


@pytest.mark.parametrize("seconds", [600, 3000])
def test_a_long_training_keeps_to_the_share_the_last_evaluation_included(monkeypatch, seconds):
    training = Simulated(monkeypatch, seconds, first=5.3, usual=2.3)
    assert 0.04 < training.share <= 0.05
    assert len(training.at) > seconds / 60  # and still looks every minute at least


def test_a_short_training_looks_at_itself_early_and_at_its_end(monkeypatch):
    assert len(Simulated(monkeypatch, 60, first=5.3, usual=2.3).at) == 2
    assert len(Simulated(monkeypatch, 300, first=5.3, usual=2.3).at) >= 4
