"""The difference that a head start learns from."""

import pytest
import torch

from gan.training.reconstruction import attention, reconstruction


def pictures(resolution: int = 32) -> torch.Tensor:
    return torch.rand(4, 3, resolution, resolution, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("resolution", [4, 8, 64])
def test_equal_pictures_have_none_and_others_some(resolution):
    real = pictures(resolution)
    assert reconstruction(real, real) == 0
    assert reconstruction(real + 0.1, real) > 0


def test_a_flat_difference_is_in_no_band():
    """Every band of a constant is 0: ½·E|d| and the square of what is left at 4 pixels remain."""
    real = pictures()
    value = reconstruction(real + 0.2, real)
    assert value.item() == pytest.approx(0.5 * 0.2 + 12 * 4 / 64 * 0.2**2, rel=1e-4)


def test_a_fine_difference_weighs_more_than_a_smooth_one_of_the_same_size():
    real = torch.zeros(1, 1, 64, 64)
    stripes = torch.ones(64).mul(0.1)
    fine, smooth = stripes.clone(), stripes.clone()
    fine[::2], smooth[:32] = -0.1, -0.1
    fine, smooth = (real + each for each in (fine, smooth))
    assert fine.abs().mean() == smooth.abs().mean()
    assert reconstruction(fine, real) > 1.5 * reconstruction(smooth, real)


def test_what_few_pictures_have_pulls_on_an_answer_for_all():
    """The best single answer to "one in four has it" is a quarter of it, not nothing."""
    real = torch.tensor([1.0, 0, 0, 0])[:, None, None, None].expand(4, 1, 8, 8)
    answers = torch.linspace(0, 1, 101)
    losses = torch.stack([reconstruction(torch.full_like(real, float(a)), real) for a in answers])
    absolute = torch.stack([(real - a).abs().mean() for a in answers])
    assert answers[absolute.argmin()] == 0
    assert 0.05 < answers[losses.argmin()] < 0.5


def test_what_is_still_wrong_gets_the_attention():
    difference = torch.full((2, 3, 16, 16), 0.01)
    difference[0, :, 4:7, 4:7] = 0.5
    weight = attention(difference.requires_grad_())
    assert weight.shape == (2, 1, 16, 16)
    assert not weight.requires_grad
    assert weight.mean().item() == pytest.approx(1)
    assert weight[0, 0, 5, 5] > 5 * weight[0, 0, 12, 12]
    assert torch.equal(weight[0, 0, 12:, 12:], weight[1, 0, 12:, 12:])
    assert torch.equal(attention(torch.zeros(1, 3, 8, 8)), torch.ones(1, 1, 8, 8))


def test_its_gradient_leads_to_the_picture():
    real, fake = pictures(16), torch.zeros(4, 3, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([fake], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        reconstruction(fake, real).backward()
        optimizer.step()
    assert (fake - real).abs().mean() < 0.02
