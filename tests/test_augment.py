"""Augmentations change what they say, for each picture by itself, and let gradients through."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan.errors import LabError
from gan.training.augment import (
    AUGMENTATIONS,
    POLICIES,
    AugmentConfig,
    DiffAugment,
    augmentation_for,
)

EVERY = tuple(POLICIES)
each = pytest.mark.parametrize("name", EVERY)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 16, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, size, size, generator=rng(seed)) * 2 - 1


def changed(before: Tensor, after: Tensor) -> Tensor:
    return (before != after).flatten(1).any(dim=1)


# ── What holds for each of them ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("augment", [DiffAugment(EVERY, 0.0), DiffAugment((), 1.0)])
def test_nothing_to_do_is_exactly_the_identity(augment: DiffAugment) -> None:
    images, generator = pictures(), rng()
    state = generator.get_state()
    assert augment(images, generator) is images
    assert torch.equal(generator.get_state(), state)


@each
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_range_and_a_change_in_most_pictures(name: str, channels: int) -> None:
    images = pictures(64, channels)
    result = DiffAugment((name,), 1.0)(images, rng())
    assert result.shape == images.shape
    assert changed(images, result).float().mean() > 0.9
    # Brightness ±.5 on top of contrast × saturation ≤ 1.5 · 2 about a grey within ±1.
    assert result.abs().max() <= (4.5 if name == "color" else 1.0)


@each
def test_the_state_of_the_generator_decides(name: str) -> None:
    images, augment = pictures(), DiffAugment((name,), 0.7)
    generator = rng(5)
    first, second = augment(images, generator), augment(images, generator)
    assert torch.equal(first, augment(images, rng(5)))
    assert not torch.equal(first, second)


@each
def test_pictures_change_independently_with_probability_p(name: str) -> None:
    images = pictures(1).expand(400, -1, -1, -1)
    result = DiffAugment((name,), 0.5)(images, rng())
    touched = changed(images, result)
    assert 0.4 < touched.float().mean() < 0.6
    assert len(result[touched].flatten(1).unique(dim=0)) > 12  # not one change for all
    assert torch.equal(result[~touched], images[~touched])  # an unchosen picture is exact


def test_policies_are_chosen_independently_of_each_other() -> None:
    images = pictures(1).expand(800, -1, -1, -1)
    share = changed(images, DiffAugment(EVERY, 0.5)(images, rng())).float().mean()
    assert share == pytest.approx(1 - 0.5**3, abs=0.05)


@each
def test_a_picture_does_not_depend_on_its_neighbours(name: str) -> None:
    images, others = pictures(), pictures(seed=1)
    others[3] = images[3]
    augment = DiffAugment((name,), 1.0)
    torch.testing.assert_close(augment(images, rng())[3], augment(others, rng())[3])


@each
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_equal_finite_differences_twice(name: str, channels: int) -> None:
    """Twice: a gradient penalty may be taken through the augmentation."""
    images = pictures(2, channels, 8)[:, :, :, :4].double().requires_grad_()
    augment = DiffAugment((name,), 1.0)
    assert torch.autograd.gradcheck(lambda x: augment(x, rng()), (images,))
    assert torch.autograd.gradgradcheck(lambda x: augment(x, rng()), (images,))


def test_gradients_reach_the_pictures_through_all_of_them() -> None:
    images = pictures().requires_grad_()
    DiffAugment(EVERY, 1.0)(images, rng()).square().sum().backward()
    assert images.grad is not None
    assert (images.grad != 0).flatten(1).any(dim=1).all()


@each
@pytest.mark.parametrize("autocast", [False, True])
def test_number_format_stays_and_bf16_does_the_same(name: str, autocast: bool) -> None:
    images = pictures()
    augment = DiffAugment((name,), 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        full = augment(images, rng())
        half = augment(images.bfloat16(), rng())
    assert full.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(full, augment(images, rng()), rtol=0, atol=0)
    torch.testing.assert_close(half.float(), full, rtol=0.02, atol=0.05)


@each
def test_memory_format_does_not_matter(name: str) -> None:
    images, augment = pictures(), DiffAugment((name,), 1.0)
    last = augment(images.contiguous(memory_format=torch.channels_last), rng())
    torch.testing.assert_close(last, augment(images, rng()))


# ── What each of them does ───────────────────────────────────────────────────────────────────


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    """Against the three steps one after the other, from the same draws."""
    images = pictures()
    generator = rng(3)
    torch.rand(16, generator=generator)  # who is chosen: everybody
    b, s, c = (torch.rand(16, generator=generator)[:, None, None, None] for _ in range(3))
    x = images + (b - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + 2 * s * (x - grey)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (c + 0.5) * (x - mean)
    torch.testing.assert_close(DiffAugment(("color",), 1.0)(images, rng(3)), x)


def test_color_of_one_channel_has_brightness_and_contrast_only() -> None:
    images = pictures(32, 1)
    result = DiffAugment(("color",), 1.0)(images, rng())
    spread = result.std(dim=(1, 2, 3)) / images.std(dim=(1, 2, 3))
    shift = (result.mean(dim=(1, 2, 3)) - images.mean(dim=(1, 2, 3))).abs()
    assert 0.5 <= spread.min() < 0.7
    assert 1.3 < spread.max() <= 1.5001
    assert 0.3 < shift.max() <= 0.5001


@pytest.mark.parametrize("size", [8, 12, 32])
def test_translation_moves_every_way_by_an_eighth_at_most(size: int) -> None:
    n, most = 600, size // 8
    images = torch.zeros(n, 1, size, size)
    images[:, :, size // 2, size // 2] = 1
    moved = DiffAugment(("translation",), 1.0)(images, rng())
    assert (moved.sum(dim=(1, 2, 3)) == 1).all()
    at = moved.flatten(1).argmax(dim=1)
    for offset in (at // size - size // 2, at % size - size // 2):
        assert set(offset.tolist()) == set(range(-most, most + 1))
    assert len(at.unique()) == (2 * most + 1) ** 2  # both axes, independently


def test_translation_lets_zeros_in_and_moves_the_rest_whole() -> None:
    images = pictures(64, 3, 16) + 3  # nowhere 0
    moved = DiffAugment(("translation",), 1.0)(images, rng())
    for before, after in zip(images, moved, strict=True):
        rows, columns = (after[0] != 0).any(dim=1), (after[0] != 0).any(dim=0)
        height, width = int(rows.sum()), int(columns.sum())
        assert min(height, width) >= 14
        kept = after[:, rows][:, :, columns]
        top, left = (0 if rows[0] else 16 - height), (0 if columns[0] else 16 - width)
        # Zeros above: it moved down, so what is left is the original's upper part.
        y, x = 0 if top else 16 - height, 0 if left else 16 - width
        assert torch.equal(kept, before[:, y : y + height, x : x + width])


def test_cutout_is_a_square_of_zeros_that_may_leave_the_picture() -> None:
    size, n = 16, 500
    holes = DiffAugment(("cutout",), 1.0)(torch.ones(n, 3, size, size), rng()) == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    rows, columns = holes[:, 0].any(dim=2), holes[:, 0].any(dim=1)
    area = rows.sum(dim=1) * columns.sum(dim=1)
    assert torch.equal(area, holes[:, 0].sum(dim=(1, 2)))  # a full rectangle
    for side in (rows.sum(dim=1), columns.sum(dim=1)):
        assert side.max() == size // 2
        assert side.min() == size // 4
    assert rows.float().mean(dim=0).min() > 0.2  # everywhere
    assert columns.float().mean(dim=0).min() > 0.2


# ── Configuration ────────────────────────────────────────────────────────────────────────────


@given(start=st.floats(0, 1), end=st.floats(0, 1), a=st.floats(-0.5, 1.5), b=st.floats(-0.5, 1.5))
def test_p_goes_from_start_to_end_without_turning(
    start: float, end: float, a: float, b: float
) -> None:
    config = AugmentConfig(EVERY, start, end)
    assert config.p_at(0.0) == pytest.approx(start)
    assert config.p_at(1.0) == pytest.approx(end)
    assert config.p_at(0.5) == pytest.approx((start + end) / 2)
    low, high = sorted((a, b))
    rise = config.p_at(high) - config.p_at(low)
    assert rise * (end - start) >= -1e-12
    assert config.at(a) == DiffAugment(EVERY, config.p_at(a))  # and p stays a probability


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(LabError, match=r"“mirror”.*color, translation, cutout"):
        DiffAugment(("color", "mirror"), 0.5)


def test_presets_stay_below_the_p_that_leaks() -> None:
    for config in AUGMENTATIONS.values():
        assert 0 <= config.p_start <= config.p_end < 0.8
        assert set(config.policy) <= set(POLICIES)


def test_few_pictures_get_much_and_many_get_nothing() -> None:
    assert augmentation_for(500).policy == EVERY
    assert augmentation_for(500).p_end > augmentation_for(5_000).p_end > 0
    assert augmentation_for(24_000).p_end == 0
    assert augmentation_for(5_000, digits=True).policy == ("translation",)
