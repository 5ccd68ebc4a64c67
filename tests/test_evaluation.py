"""Evaluation judged on generators of known quality: perfect, collapsed, copying, untrained."""

import dataclasses
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan import features
from gan.features import Extractor
from gan.generators.base import Generator
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.training import evaluation
from gan.training.data import Dataset, load_dataset, split
from gan.training.evaluation import Evaluator, Quality, QualityStop, report_card

PIXELS = Extractor("pixels", 8)
DIM = 16  # of z
Paint = Callable[[Tensor, Tensor], Tensor]


def colours(count: int, seed: int, size: int = 16) -> np.ndarray:
    """Pictures of two random colours, one above the other: uint8 [count, size, size, 3]."""
    halves = np.random.RandomState(seed).randint(30, 226, (count, 2, 1, 3)).astype(np.uint8)
    return np.repeat(np.repeat(halves, size // 2, axis=1), size, axis=2)


def dataset_of(images: np.ndarray, **more: Any) -> Dataset:
    values = {"name": "stub", "licence": "", "attribution": "", "fingerprint": "", **more}
    return Dataset(images=images, **values)


class Painter(Generator):
    """Draws what a function of z and the labels says; remembers at which resolution."""

    def __init__(self, paint: Paint, c_dim: int = 0, resolution: int = 16):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.z_dim = self.w_dim = DIM
        self.num_ws, self.c_dim = 1, c_dim
        self.resolution, self.img_channels = resolution, 3
        self.mapping, self.synthesis = self._mapping, self._synthesis
        self.paint, self.asked = paint, set()

    def _mapping(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        assert cutoff is None
        classes = z.new_zeros(len(z), 1) if c is None else c.argmax(1, keepdim=True)
        return torch.cat([z * psi, classes], dim=1)[:, None]

    def _synthesis(self, ws: Tensor, noise: Any = "const", resolution: int | None = None) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.asked.add((noise, resolution))
        images = self.paint(ws[:, 0, :DIM], ws[:, 0, DIM].long()) + 0 * self.weight
        return evaluation._reduced(images, resolution or self.resolution)


def painter_of(images: np.ndarray, **more: Any) -> Painter:
    """Draws one of these pictures for each z."""
    stored = features.as_images(images)

    def paint(z: Tensor, _labels: Tensor) -> Tensor:
        return stored[(z.abs().sum(dim=1) * 1e4).long() % len(stored)]

    return Painter(paint, **more)


def noise(z: Tensor, _labels: Tensor) -> Tensor:
    return z[:, None, :, None].expand(-1, 3, -1, 16).clamp(-1, 1)


DATA = dataset_of(colours(600, 0))
PERFECT = painter_of(colours(5000, 1))
COLLAPSED = painter_of(colours(3, 2))
UNTRAINED = Painter(noise)


@pytest.fixture
def evaluator() -> Evaluator:
    evaluator = Evaluator(DATA, samples=300, extractor=PIXELS)
    evaluator.set_baseline(UNTRAINED)
    return evaluator


# Measuring


def test_a_perfect_generator_has_quality_one_and_an_untrained_one_zero(
    evaluator: Evaluator,
) -> None:
    perfect = evaluator.evaluate(PERFECT)
    assert perfect.q > 0.85
    assert perfect.q_low < 1 < perfect.q_high
    assert perfect.coverage > 0.85 * perfect.real_coverage
    assert perfect.density == pytest.approx(perfect.real_density, rel=0.15)
    assert perfect.diversity == pytest.approx(1, abs=0.05)
    assert perfect.vendi == pytest.approx(perfect.real_vendi, rel=0.1)
    assert evaluator.evaluate(UNTRAINED).q == pytest.approx(0, abs=1e-9)


def test_a_collapsed_generator_is_caught(evaluator: Evaluator) -> None:
    collapsed = evaluator.evaluate(COLLAPSED)
    assert collapsed.q_high < evaluator.evaluate(PERFECT).q_low
    assert collapsed.coverage < 0.15
    assert collapsed.diversity < 0.9
    assert collapsed.vendi < 3.1 < collapsed.real_vendi


def test_figures_come_with_their_bounds_and_their_names(evaluator: Evaluator) -> None:
    quality = evaluator.evaluate(COLLAPSED)
    assert quality.kid_low < quality.kid < quality.kid_high
    assert quality.q_low < quality.q < quality.q_high
    assert evaluator.floor_bounds[0] < quality.floor < evaluator.floor_bounds[1]
    room = quality.baseline - quality.floor
    assert quality.q == pytest.approx(1 - (quality.kid - quality.floor) / room)
    assert (quality.samples, quality.resolution, quality.extractor) == (300, 16, PIXELS.name)
    assert quality.seconds > 0
    assert quality.accuracy is quality.class_accuracy is None


def test_without_a_baseline_there_is_no_q() -> None:
    quality = Evaluator(DATA, samples=50, extractor=PIXELS).evaluate(PERFECT)
    assert np.isnan([quality.q, quality.q_low, quality.q_high, quality.baseline]).all()


def without_time(quality: Quality) -> Quality:
    return replace(quality, seconds=0)


def test_latents_are_fixed_until_fresh_ones_are_asked_for(evaluator: Evaluator) -> None:
    first = without_time(evaluator.evaluate(PERFECT))
    assert without_time(evaluator.evaluate(PERFECT)) == first
    assert without_time(evaluator.evaluate(PERFECT, fresh=1)) != first
    assert without_time(evaluator.evaluate(PERFECT, psi=0.5)) != first


def global_randomness() -> list[str]:
    numpys: Any = np.random.get_state()  # noqa: NPY002 - whether anyone drew from it
    return [str(torch.get_rng_state().tolist()), str(numpys[1].tolist()), str(random.getstate())]


def test_looking_changes_nothing() -> None:
    generator = painter_of(colours(9, 1)).train()
    before = global_randomness()
    evaluator = Evaluator(DATA, samples=60, extractor=PIXELS)
    evaluator.set_baseline(UNTRAINED)
    evaluator.evaluate(generator)
    assert global_randomness() == before
    assert generator.training
    assert generator.weight.requires_grad


def test_reals_are_measured_against_other_reals() -> None:
    half = Evaluator(DATA, samples=10_000, extractor=PIXELS)
    assert half.samples == 300
    assert abs(half.floor) < 0.05 * abs(features.kid(half.reals, half.reals + 1))
    assert 0.9 < half.real_coverage < 1  # 1 would be a set against itself
    assert half.real_density == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("count", [4, 12])
def test_a_handful_of_pictures_is_enough(count: int) -> None:
    evaluator = Evaluator(dataset_of(colours(count, 0)), extractor=PIXELS)
    evaluator.set_baseline(UNTRAINED)
    quality = evaluator.evaluate(PERFECT)
    assert quality.samples == count // 2
    assert np.isfinite([quality.kid, quality.diversity, quality.coverage, quality.vendi]).all()


# A generator that still grows


def checkered(count: int, seed: int) -> np.ndarray:
    """Colours under a pattern that a coarser picture can't have."""
    pattern = (np.indices((16, 16)).sum(axis=0) % 2 * 40 - 20)[..., None]
    return (colours(count, seed) + pattern).astype(np.uint8)


def test_a_growing_generator_is_compared_at_its_own_resolution() -> None:
    data, coarse = dataset_of(checkered(600, 0)), painter_of(colours(5000, 1))
    extractor = Extractor("pixels", 16)
    at_full = Evaluator(data, samples=300, extractor=extractor).evaluate(coarse)
    assert coarse.asked == {("const", None)}
    at_eight = Evaluator(data, samples=300, extractor=extractor, resolution=8)
    quality = at_eight.evaluate(coarse)
    assert coarse.asked == {("const", None), ("const", 8)}
    assert abs(quality.kid) < 3 * (quality.kid_high - quality.kid_low)
    assert at_full.kid > 10 * abs(quality.kid)
    assert (quality.resolution, quality.full_resolution) == (8, 16)


def test_a_finer_generator_than_the_data_is_averaged_down() -> None:
    texture = np.array([[12, 7], [-4, -15]])  # averages to nothing in each box of four
    textured = colours(5000, 1, size=32) + np.tile(texture, (16, 16))[..., None]
    fine = painter_of(textured.astype(np.uint8), resolution=32)
    same = painter_of(colours(5000, 1))
    evaluator = Evaluator(DATA, samples=100, extractor=Extractor("pixels", 16))
    found = evaluator.evaluate(fine), evaluator.evaluate(same)
    assert found[0].kid == pytest.approx(found[1].kid, rel=1e-4)


# Classes


def test_classes_are_as_frequent_as_in_the_data_and_independent() -> None:
    labels = np.array([0] * 540 + [2] * 60)
    data = replace(DATA, labels=labels, classes=("a", "b", "c"))
    _, found = evaluation.latents(Painter(noise, c_dim=3), data, 2000, seed=5)
    assert torch.bincount(found, minlength=3).tolist() == pytest.approx([1800, 0, 200], abs=60)
    z, again = evaluation.latents(Painter(noise, c_dim=3), data, 2000, seed=6)
    assert not torch.equal(found, again)
    assert z.shape == (2000, DIM)


def test_classes_unknown_to_the_data_are_drawn_alike() -> None:
    _, found = evaluation.latents(Painter(noise, c_dim=4), DATA, 2000, seed=5)
    assert torch.bincount(found).tolist() == pytest.approx([500] * 4, abs=80)
    _, none = evaluation.latents(Painter(noise), DATA, 10, seed=5)
    assert none.tolist() == [0] * 10


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_digits_are_recognised_as_what_was_asked_for(shift: int, accuracy: float) -> None:
    digits = load_dataset("digits")
    assert digits.labels is not None
    stored, labels = features.as_images(digits.images), digits.labels
    first = torch.tensor([int(np.flatnonzero(labels == k)[0]) for k in range(10)])

    def paint(z: Tensor, asked: Tensor) -> Tensor:
        return stored[first[(asked + shift) % 10] + (z[:, 0].abs() * 1e4).long() % 450]

    assert all(labels[int(i) : int(i) + 450].tolist() == [k] * 450 for k, i in enumerate(first))
    quality = Evaluator(digits, samples=200).evaluate(Painter(paint, c_dim=10, resolution=32))
    assert quality.extractor == "digit classifier at 32 px"
    assert quality.accuracy == pytest.approx(accuracy, abs=0.03)
    assert quality.real_class_shares is not None
    assert np.array(quality.real_class_shares) == pytest.approx(np.full(10, 0.1), abs=0.05)
    assert quality.class_accuracy is not None
    assert np.array(quality.class_accuracy) == pytest.approx(np.full(10, accuracy), abs=0.2)


def test_a_class_without_samples_has_no_accuracy() -> None:
    labels, seen = torch.tensor([3, 3, 5, 5]), torch.tensor([3, 3, 5, 8])
    accuracy, classes = evaluation._accuracies(labels, seen)
    assert accuracy == 0.75
    assert classes == (None, None, None, 1, None, 0.5, None, None, None, None)


# When to stop


def quality_of(q_low: float, coverage: float = 0.9, resolution: int = 64) -> Quality:
    values: dict[str, Any] = {field.name: 0.0 for field in dataclasses.fields(Quality)}
    values |= {"q_low": q_low, "coverage": coverage, "real_coverage": 1.0}
    values |= {"resolution": resolution, "full_resolution": 64}
    return Quality(**values)


GOOD, BAD = quality_of(0.8), quality_of(0.79)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([GOOD] * 4, [False, False, True, True]),
        ([GOOD, GOOD, BAD, GOOD, GOOD, GOOD], [False] * 5 + [True]),
        ([quality_of(0.9, coverage=0.69)] * 4, [False] * 4),
        ([quality_of(0.9, coverage=0.7)] * 3, [False, False, True]),
        ([quality_of(0.9, resolution=32)] * 2 + [GOOD] * 3, [False] * 4 + [True]),
        ([quality_of(float("nan"))] * 4, [False] * 4),
    ],
)
def test_stops_after_three_good_ones_in_a_row(seen: list[Quality], said: list[bool]) -> None:
    stop = QualityStop(0.8)
    assert [stop.update(quality) for quality in seen] == said


def test_never_stops_without_a_target() -> None:
    stop = QualityStop(None)
    assert not any(stop.update(quality_of(1.0)) for _ in range(5))


def test_fresh_latents_have_the_last_word() -> None:
    stop = QualityStop(0.8)
    assert [stop.update(GOOD) for _ in range(3)][-1]
    assert not stop.confirm(BAD)
    assert [stop.update(GOOD) for _ in range(3)] == [False, False, True]
    assert stop.confirm(GOOD)


def test_the_streak_survives_a_checkpoint() -> None:
    stop = QualityStop(0.8)
    stop.update(GOOD)
    stop.update(GOOD)
    resumed = QualityStop(0.8)
    resumed.load_state_dict(json.loads(json.dumps(stop.state_dict())))
    assert resumed.update(GOOD)


# Report cards and copies


def test_copies_of_training_pictures_are_found() -> None:
    trained_on, kept_back = split(DATA)
    copier, inventor = painter_of(DATA.images[trained_on]), PERFECT
    copied = evaluation.neighbour_audit(copier, DATA, PIXELS, samples=100)
    assert copied["closer_than_holdout"] == 1
    assert copied["median_distance"] == pytest.approx(0, abs=1e-5)
    assert copied["holdout_median_distance"] > 0.5
    assert not {pair["image"] for pair in copied["closest"]} & set(kept_back.tolist())
    invented = evaluation.neighbour_audit(inventor, DATA, PIXELS, samples=300)
    assert invented["closer_than_holdout"] < 0.08
    assert invented["median_distance"] == pytest.approx(
        invented["holdout_median_distance"], rel=0.2
    )


def test_the_closest_pairs_can_be_shown() -> None:
    audit = evaluation.neighbour_audit(PERFECT, DATA, PIXELS, samples=120)
    drawn, stored = evaluation.closest_pairs(PERFECT, DATA, audit)
    distance = torch.linalg.vector_norm(PIXELS(drawn) - PIXELS(stored), dim=1)
    told = [pair["distance"] for pair in audit["closest"]]
    assert distance.tolist() == pytest.approx(told, abs=1e-4)
    assert told == sorted(told)
    copier = painter_of(DATA.images[split(DATA)[0]])
    copied = evaluation.neighbour_audit(copier, DATA, PIXELS, samples=120)
    drawn, stored = evaluation.closest_pairs(copier, DATA, copied)
    torch.testing.assert_close(drawn, stored)


def test_searching_in_chunks_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    indices = split(DATA)[0]
    x = PIXELS(colours(30, 7))
    whole = evaluation._nearest_picture(x, DATA, indices, PIXELS)
    monkeypatch.setattr(evaluation, "CHUNK", 64)
    parts = evaluation._nearest_picture(x, DATA, indices, PIXELS)
    assert torch.equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


def test_a_report_card_is_json_and_has_all_it_promises() -> None:
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, channel_base=64, channel_max=8)
    data = dataset_of(colours(100, 0))
    card = report_card(StyleGAN2(config), data, samples=30, size=32)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    assert card["extractor"] == "EfficientNet-Lite0 at 32 px, grain 4"
    assert card["floor_low"] < card["floor"] < card["floor_high"]
    assert abs(card["q"]) < 1  # untrained like its baseline, with other weights
    assert card["neighbours"]["extractor"] == "pixels at 16 px"
    assert card["neighbours"]["samples"] == 30
    assert card["neighbours_by_features"]["extractor"] == "EfficientNet-Lite0 at 64 px, grain 4"
    assert len(card["neighbours"]["closest"]) == evaluation.CLOSEST


def test_a_network_that_cannot_be_built_again_has_no_q() -> None:
    card = report_card(PERFECT, dataset_of(colours(40, 0)), samples=20, size=32)
    assert card["q"] is card["baseline"] is None
    assert card["coverage"] > 0


def test_untrained_weights_are_new_and_leave_the_randomness_alone() -> None:
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, channel_base=32, channel_max=4)
    generator = StyleGAN2(config)
    before = torch.get_rng_state()
    fresh = evaluation.untrained(generator)
    assert fresh is not None
    assert torch.equal(before, torch.get_rng_state())
    z = torch.randn(2, 8)
    assert fresh(z).shape == generator(z).shape
    assert not torch.allclose(fresh(z), generator(z))
