"""The lamps: each rule by itself, then in tiny trainings that really go wrong, and in one that
doesn't."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from gan.device import Device
from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2Config
from gan.training import checkpoint
from gan.training.alarms import (
    Alarms,
    Collapse,
    DiscriminatorWon,
    Memorising,
    Plateau,
    Streak,
    collapse_signals,
)
from gan.training.augment import AugmentConfig
from gan.training.config import LESSONS, TrainConfig, with_lesson
from gan.training.data import load_dataset
from gan.training.evaluation import Quality
from gan.training.loop import MOST_RESCUES, Trainer
from gan.training.neighbours import NeighbourSearch
from gan.training.report import Clock

CPU = Device("cpu", "float32", 1)
TINY = StyleGAN2Config(
    resolution=8, img_channels=1, z_dim=8, w_dim=8, c_dim=10, channel_base=64, channel_max=8
)
# Large enough to become diverse; the tiny one never does.
ABLE = dataclasses.replace(TINY, z_dim=32, w_dim=32, channel_base=256, channel_max=32)
CONFIG = TrainConfig(data="digits", images=10**6, batch=16, generator=TINY, evaluation_samples=200)
ALIKE: dict[str, Any] = dict.fromkeys(("kid", "kid_low", "kid_high", "floor", "baseline"), 0.1)
HEALTHY = Quality(
    **ALIKE,
    q=0.5,
    q_low=0.45,
    q_high=0.55,
    coverage=0.8,
    density=0.9,
    real_coverage=0.9,
    real_density=1.0,
    diversity=0.95,
    vendi=9.0,
    real_vendi=10.0,
    samples=1000,
    resolution=32,
    full_resolution=32,
    extractor="x",
    seconds=1.0,
    class_shares=(0.1,) * 10,
    close_pairs=0.012,
)


def seen(**changes: Any) -> Quality:
    return dataclasses.replace(HEALTHY, **changes)


# The rules


def test_a_streak_believes_late_and_doubts_late():
    streak = Streak(3, 2)
    signs = [True, True, False, True, True, True, False, True, False, False]
    assert [streak.update(sign) for sign in signs] == [False] * 5 + [True] * 4 + [False]


@pytest.mark.parametrize(
    ("changes", "signal"),
    [
        ({"diversity": 0.49}, "diversity_ratio"),
        ({"vendi": 4.9}, "vendi_ratio"),
        ({"coverage": 0.39}, "coverage_of_best"),
        ({"class_shares": (0.019, *(0.109,) * 9)}, "smallest_class_share"),
        ({"close_pairs": 0.051}, "close_pairs"),
    ],
)
def test_every_sign_of_collapse_by_itself(changes, signal):
    assert set(collapse_signals(seen(**changes), 0.8)) == {signal}
    assert collapse_signals(HEALTHY, 0.8) == {}


def test_a_class_that_is_hardly_read_in_real_pictures_is_not_lost():
    drawn, real = (0.0, 0.004, *(0.1,) * 8), (0.0, 0.006, *(0.1,) * 8)
    assert collapse_signals(seen(class_shares=drawn, real_class_shares=real), 0.8) == {}
    lost = seen(class_shares=drawn, real_class_shares=(0.0, 0.05, *(0.1,) * 8))
    assert collapse_signals(lost, 0.8) == {"smallest_class_share": 0.004}


def test_figures_that_are_unknown_are_no_signs():
    unknown = seen(class_shares=None, close_pairs=math.nan, vendi=math.nan)
    assert collapse_signals(unknown, 0.0) == {}


def test_collapse_needs_two_signs_in_three_evaluations_and_clears_after_two():
    lamp = Collapse()
    two = seen(vendi=3.0, close_pairs=0.2)
    levels = [lamp.update(q)[0] for q in (two, HEALTHY, two, two, two, HEALTHY, HEALTHY)]
    assert levels == [None, None, None, "warn", "alarm", "alarm", None], (
        "what is seen once is chance"
    )
    assert lamp.update(seen(vendi=3.0))[0] is None, "one sign is none"


def test_low_diversity_warns_and_lost_diversity_alarms_alone():
    lamp = Collapse()
    assert [lamp.update(seen(diversity=0.4))[0] for _ in range(4)] == [None, *["warn"] * 3]
    assert [lamp.update(seen(diversity=0.2))[0] for _ in range(3)] == ["warn", "warn", "alarm"]


def test_coverage_is_compared_with_its_best_at_the_same_resolution():
    lamp = Collapse()
    lamp.update(seen(coverage=0.9))
    assert "coverage_of_best" in lamp.update(seen(coverage=0.4))[1]
    assert lamp.update(seen(coverage=0.4, resolution=64, full_resolution=64))[1] == {}


def test_the_discriminator_has_won_when_it_is_right_and_silent():
    lamp = DiscriminatorWon()
    for _ in range(20):
        assert lamp.update(0.999, 1.0)[0] is None, "being right alone is no victory"
        assert lamp.update(0.7, 1.0)[0] is None
    assert lamp.update(0.7, 0.005)[0] is None, "nor is a small gradient"
    levels = [lamp.update(0.999, 0.001)[0] for _ in range(400)]
    assert levels[:3] == [None, None, "alarm"]
    assert set(levels[2:]) == {"alarm"}, "silence must not become what is usual"
    assert [lamp.update(0.7, 1.0)[0] for _ in range(3)] == ["alarm", "alarm", None]


def test_the_median_is_of_the_whole_past_in_little_memory():
    lamp = DiscriminatorWon()
    for window in range(5000):
        lamp.update(0.7, float(window))
    assert len(lamp.norms) <= 256
    assert np.median(lamp.norms) == pytest.approx(2500, rel=0.05)


def test_copies_warn_and_alarm():
    lamp = Memorising()
    shares = (0.01, 0.1, 0.1, 0.5, 0.5, 0.01, 0.01)
    levels = [lamp.update(share)[0] for share in shares]
    assert levels == [None, None, "warn", "warn", "alarm", "alarm", None]


def test_a_plateau_is_ten_evaluations_without_gain():
    lamp = Plateau()
    rising = [lamp.update(seen(q=q, q_low=q - 0.02, q_high=q + 0.02))[0] for q in (0.1, 0.3, 0.5)]
    flat = [lamp.update(seen(q=0.5, q_low=0.48, q_high=0.52))[0] for _ in range(12)]
    assert rising == [None] * 3
    # The moving average of three still rises for two evaluations.
    assert flat == [None] * 11 + ["warn"]
    assert lamp.update(seen(q=0.9, q_low=0.88, q_high=0.92))[0] is None


def test_coarse_resolutions_are_no_plateau():
    lamp = Plateau()
    coarse = seen(resolution=16)
    assert [lamp.update(coarse)[0] for _ in range(20)] == [None] * 20


def test_lamps_survive_json():
    alarms = Alarms()
    alarms.stepped(0.9, 1.0, 8)
    for images in (100, 200, 300):
        alarms.evaluated(seen(vendi=3.0, close_pairs=0.2, copies=0.5), images, 1000)
    alarms.rescued(300, 200, 0.5, 1000)
    again = Alarms()
    again.load_state_dict(json.loads(json.dumps(alarms.state_dict(), allow_nan=False)))
    assert again.state_dict() == alarms.state_dict()
    assert [alarm.name for alarm in again.active] == ["collapse", "memorising", "nan"]
    assert again.active[0].since == 200
    assert again.forbid_stopping
    fresh = Alarms()
    fresh.load_state_dict(json.loads(json.dumps(Alarms().state_dict(), allow_nan=False)))
    assert fresh.plateau.best == -math.inf


def test_what_has_not_learned_yet_has_not_collapsed():
    for images, budget, expected in ((99, 1000, 0), (100, 1000, 1), (20_000, 10**7, 1)):
        alarms = Alarms()
        for _ in range(alarms.collapse.warned.on):
            alarms.evaluated(seen(diversity=0.3), images, budget)
        assert len(alarms.active) == expected


# Copies among samples


def test_copies_are_told_from_inventions():
    images = np.random.RandomState(0).randint(0, 256, (120, 16, 16, 1)).astype(np.uint8)
    search = NeighbourSearch(images, np.arange(20), np.arange(20, 60))
    assert search.of(images[:20]).copies == 1
    assert search.of(images[60:]).copies == 0
    noisy = np.clip(
        images[:20].astype(int) + np.random.RandomState(1).randint(-20, 21, (20, 16, 16, 1)), 0, 255
    )
    found = search.of(noisy.astype(np.uint8))
    assert found.copies == 1
    assert found.index.tolist() == list(range(20))
    mean = np.repeat(images.mean(axis=0, keepdims=True), 5, axis=0).astype(np.uint8)
    assert search.of(mean).copies == 0, "what is near to everything is no copy"


# Trainings that go wrong


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", 8)


def trainer(dataset, config=CONFIG, folder=None, **options) -> Trainer:
    options = {"dataset": dataset, "device": CPU, "evaluate": False, **options}
    return Trainer(config, folder, **options)


def watch(training: Trainer, name: str, steps: int, look_every: int) -> list[str]:
    """Trains until the lamp `name` says "alarm"; the names of all lamps that were on by then."""
    names: set[str] = set()
    for step in range(1, steps + 1):
        training.step()
        if look_every and step % look_every == 0:
            training._look()
        names |= {alarm.name for alarm in training.alarms.active}
        if any(a.name == name and a.level == "alarm" for a in training.alarms.active):
            break
    return sorted(names)


@pytest.mark.slow
def test_a_forced_collapse_is_seen(digits):
    config = with_lesson(dataclasses.replace(CONFIG, images=16 * 400), "collapse")
    classless = dataclasses.replace(TINY, c_dim=0)
    training = trainer(digits, dataclasses.replace(config, generator=classless))
    assert "collapse" in watch(training, "collapse", 400, 50)


@pytest.mark.slow
def test_a_discriminator_that_wins_is_seen(digits):
    training = trainer(digits, with_lesson(CONFIG, "discriminator_wins"))
    assert watch(training, "discriminator_won", 1000, 0) == ["discriminator_won"]


@pytest.mark.slow
def test_memorising_twenty_pictures_is_seen(digits):
    config = dataclasses.replace(CONFIG, generator=ABLE, images=16 * 1600)
    training = trainer(digits, with_lesson(config, "memorise"))
    assert len(training.trained_on) == 20
    assert "memorising" in watch(training, "memorising", 1600, 100)


@pytest.mark.slow
def test_a_healthy_training_lights_no_lamp(digits):
    config = dataclasses.replace(CONFIG, generator=ABLE, batch=32, images=32 * 900)
    training = trainer(digits, config)
    assert watch(training, "", 900, 100) == []
    assert training.alarms.collapse.resolution == 8, "it was looked at"


# Numbers that break


def poison(training: Trainer) -> None:
    with torch.no_grad():
        next(iter(training.G.parameters())).fill_(float("nan"))


def test_nan_goes_back_to_the_last_good_checkpoint_at_half_the_rate(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("gan.training.report.REPORT_SECONDS", 0.0)
    config = dataclasses.replace(CONFIG, images=16 * 12, augment=AugmentConfig())
    training = trainer(digits, config, tmp_path)
    for _ in range(4):
        training.step()
    training.save()
    good = checkpoint.digest(training.G.state_dict())
    rate = training.optimizers[0].param_groups[0]["lr"]
    training.step()
    poison(training)
    reports = training.run()
    next(reports)
    restored = next(report for report in reports if report.restored)
    assert restored.images_seen == 64
    assert checkpoint.digest(training.G.state_dict()) == good
    (alarm,) = restored.alarms
    assert (alarm.name, alarm.level, alarm.since) == ("nan", "alarm", 96)
    assert alarm.signals == {"broke_at": 96, "restored": 64, "rate": 0.5}
    after = list(reports)
    assert training.optimizers[0].param_groups[0]["lr"] < rate
    usual = training.config.learning_rate_at(after[0].images_seen)
    assert after[0].learning_rate == usual / 2
    assert after[-1].finished == "budget"
    assert all(math.isfinite(value) for value in after[-1].losses.values())
    # A process that is killed now knows of it too.
    assert trainer(digits, config, tmp_path).rescues == 1


def test_without_a_checkpoint_it_begins_again(digits):
    config = dataclasses.replace(CONFIG, images=16 * 4)
    training = trainer(digits, config)
    fresh = checkpoint.digest(training.G.state_dict())
    training.step()
    poison(training)
    training.restore()
    assert training.images_seen == 0
    assert checkpoint.digest(training.G.state_dict()) == fresh


def test_broken_weights_are_never_kept(digits, tmp_path):
    training = trainer(digits, folder=tmp_path)
    training.step()
    good = training.save()
    training.step()
    poison(training)
    training.save()  # as an older program would have done
    state, damaged = checkpoint.read_newest(tmp_path)
    assert state is not None
    assert state["images_seen"] == 16
    assert good is not None
    assert damaged == [checkpoint.path_of(tmp_path, 32).name]
    assert not training._is_sound(Clock(training))


def test_it_is_given_up_after_several_rescues(digits):
    training = trainer(digits)
    for _ in range(MOST_RESCUES):
        training.restore()
    with pytest.raises(LabError, match="diverged"):
        training.restore()


# Keeping


def test_lamps_are_part_of_a_checkpoint_and_older_ones_still_resume(digits, tmp_path):
    training = trainer(digits, folder=tmp_path)
    for _ in range(11):
        training.step()
    training.alarms.rescued(5, 3, 0.5, 1000)
    path = training.save()
    assert path is not None
    resumed = trainer(digits, folder=tmp_path)
    assert resumed.alarms.state_dict() == training.alarms.state_dict()
    assert len(resumed.window) == len(training.window) == 3
    state = checkpoint.read(path)
    for name in ("alarms", "window", "rescues"):
        del state[name]
    checkpoint.write(tmp_path, training.images_seen, state)
    old = trainer(digits, folder=tmp_path)
    assert old.images_seen == training.images_seen
    assert old.alarms.active == ()


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path):
    for images in (1, 2, 3, 4, 5):
        checkpoint.write(tmp_path, images, {"x": torch.zeros(1)}, best=2 if images > 1 else None)
    assert [int(path.stem) for path in checkpoint.every(tmp_path)] == [2, 4, 5]


def test_lessons_are_settings_that_can_be_checked():
    for name in LESSONS:
        assert with_lesson(TrainConfig("digits", images=1), name).lesson == name
    with pytest.raises(LabError, match="collapse"):
        with_lesson(TrainConfig("digits"), "boredom")
