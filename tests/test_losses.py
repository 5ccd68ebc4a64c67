"""Every loss against its equation, written out as in its paper; every penalty where D is known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.training.losses import (
    LOSSES,
    Loss,
    gradient_norm_squared,
    input_gradient,
    misread,
    r1,
    r2,
    wgan_gradient_penalty,
)

MEAN = torch.mean
ALL = list(LOSSES.values())
named = pytest.mark.parametrize("loss", ALL, ids=list(LOSSES))


def log_sigma(t: Tensor) -> Tensor:
    """The naive log σ(t), as printed in the papers; right in float64 for moderate t."""
    return torch.log(1 / (1 + torch.exp(-t)))


def log_not_sigma(t: Tensor) -> Tensor:
    return torch.log(1 - 1 / (1 + torch.exp(-t)))


def players(loss: Loss) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    return loss.discriminator, loss.generator


def cross_entropy(x: Tensor, g: Tensor) -> Tensor:
    return -(MEAN(log_sigma(x)) + MEAN(log_not_sigma(g)))  # minus what D maximises


# x are the logits of reals, g those of fakes: (discriminator, generator), to be minimised.
EQUATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "minimax": (cross_entropy, lambda g, x: MEAN(log_not_sigma(g))),
    "nonsaturating": (cross_entropy, lambda g, x: -MEAN(log_sigma(g))),
    "least_squares": (
        lambda x, g: MEAN((x - 1) ** 2) / 2 + MEAN(g**2) / 2,
        lambda g, x: MEAN((g - 1) ** 2) / 2,
    ),
    "hinge": (
        lambda x, g: -MEAN(torch.minimum(0 * x, x - 1)) - MEAN(torch.minimum(0 * g, -1 - g)),
        lambda g, x: -MEAN(g),
    ),
    "wgan_gp": (lambda x, g: MEAN(g) - MEAN(x), lambda g, x: -MEAN(g)),
    "relativistic": (
        lambda x, g: -MEAN(log_sigma(x - g)),
        lambda g, x: -MEAN(log_sigma(g - x)),
    ),
}


def logits(seed: int, n: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    """Away from ±1, where hinge has its corner."""
    values = 3 * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.where((values.abs() - 1).abs() < 0.05, values + 0.2, values).to(dtype)


def test_the_table_holds_the_six_losses_with_their_needs() -> None:
    assert set(LOSSES) == set(EQUATIONS)
    assert all(loss.name == name for name, loss in LOSSES.items())
    assert [loss.name for loss in ALL if loss.needs_real] == ["relativistic"]
    assert {loss.name: loss.critic_steps for loss in ALL if loss.critic_steps > 1} == {"wgan_gp": 5}
    assert {loss.name: loss.gradient_penalty for loss in ALL if loss.gradient_penalty} == {
        "wgan_gp": 10.0
    }
    assert LOSSES["relativistic"].penalties == ("r1", "r2")


# ── Recognising the class ────────────────────────────────────────────────────────────────────


def test_what_is_misread_costs_the_printed_equation_and_right_reading_nothing() -> None:
    fits = logits(8, 12).reshape(4, 3).requires_grad_()
    classes = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 2]]
    printed = -torch.log((torch.exp(fits) * classes).sum(1) / torch.exp(fits).sum(1)).mean()
    torch.testing.assert_close(misread(fits, classes), printed, rtol=0, atol=1e-8)
    (mine,) = torch.autograd.grad(misread(fits, classes), fits)
    torch.testing.assert_close(mine, (fits.softmax(1) - classes) / 4, rtol=0, atol=1e-8)
    assert misread(100 * classes, classes) < 1e-8


# ── Values and gradients ─────────────────────────────────────────────────────────────────────


@named
def test_values_and_gradients_equal_the_printed_equation(loss: Loss) -> None:
    for ours, printed in zip(players(loss), EQUATIONS[loss.name], strict=True):
        first, second = logits(1).requires_grad_(), logits(2).requires_grad_()
        assert math.isclose(ours(first, second).item(), printed(first, second).item(), abs_tol=1e-8)
        gradients = [
            torch.autograd.grad(f(first, second), (first, second), allow_unused=True)
            for f in (ours, printed)
        ]
        for mine, theirs in zip(*gradients, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-8)


@named
def test_gradients_equal_finite_differences(loss: Loss) -> None:
    first, second = logits(3, 6).requires_grad_(), logits(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(loss.discriminator, (first, second))
    real = second if loss.needs_real else None
    assert torch.autograd.gradcheck(lambda fake: loss.generator(fake, real), (first,))


SIGMA = torch.sigmoid
DERIVATIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # of the generator's, by g
    "minimax": lambda g, x: -SIGMA(g),
    "nonsaturating": lambda g, x: -SIGMA(-g),
    "least_squares": lambda g, x: g - 1,
    "hinge": lambda g, x: -torch.ones_like(g),
    "wgan_gp": lambda g, x: -torch.ones_like(g),
    "relativistic": lambda g, x: -SIGMA(x - g),
}


def generator_gradient(loss: Loss, fake: Tensor, real: Tensor) -> Tensor:
    """By each fake's own logit: the gradient of the mean, times N."""
    fake = fake.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss.generator(fake, real), fake)
    return gradient * fake.numel()


@named
def test_the_generator_gradient_is_the_documented_derivative(loss: Loss) -> None:
    fake, real = logits(5), logits(6)
    expected = DERIVATIVES[loss.name](fake, real)
    torch.testing.assert_close(generator_gradient(loss, fake, real), expected, rtol=0, atol=1e-8)


def test_only_minimax_leaves_a_recognised_fake_without_a_gradient() -> None:
    """D is sure that the fakes are fake: that is when the generator most needs to be told."""
    fake, real = torch.full((4,), -20.0), torch.full((4,), 20.0)
    sizes = {loss.name: generator_gradient(loss, fake, real).abs().max().item() for loss in ALL}
    assert sizes.pop("minimax") < 1e-8
    assert min(sizes.values()) > 0.99


@named
def test_a_step_down_moves_the_logits_the_right_way(loss: Loss) -> None:
    """Minimising means: D raises reals and lowers fakes, G raises fakes. (An objective that is
    to be maximised, handed out as a loss, would fail here.)"""
    real, fake = torch.zeros(8, requires_grad=True), torch.zeros(8, requires_grad=True)
    by_real, by_fake = torch.autograd.grad(loss.discriminator(real, fake + 0.1), (real, fake))
    assert (by_real < 0).all()
    assert (by_fake > 0).all()
    assert (generator_gradient(loss, torch.zeros(8), torch.zeros(8)) < 0).all()


# ── Formats and extremes ─────────────────────────────────────────────────────────────────────


@named
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite_with_their_gradients(loss: Loss, dtype: torch.dtype) -> None:
    extremes = torch.tensor([1e4, -1e4, 1e4, -1e4, 0.0], dtype=dtype).requires_grad_()
    others = torch.tensor([1e4, 1e4, -1e4, -1e4, 0.0], dtype=dtype).requires_grad_()
    for function in players(loss):
        value = function(extremes, others)
        gradients = torch.autograd.grad(value, (extremes, others), allow_unused=True)
        assert value.isfinite()
        assert all(g is None or g.isfinite().all() for g in gradients)


def test_the_naive_logarithm_is_not_finite_where_softplus_is() -> None:
    """The reason for softplus, and the numbers that the module's docstring gives."""
    sure = torch.tensor([18.0, -104.5])
    assert SIGMA(sure).tolist() == [1.0, 0.0]
    assert torch.log(1 - SIGMA(sure[0])).isinf()
    assert LOSSES["minimax"].generator(sure[:1], None).item() == pytest.approx(-18.0)


@named
def test_logits_may_be_columns(loss: Loss) -> None:
    first, second = logits(7), logits(8)
    for function in players(loss):
        for a, b in ((first[:, None], second[:, None]), (first[:, None], second)):
            torch.testing.assert_close(function(a, b), function(first, second))


@named
def test_means_of_half_precision_logits_are_taken_in_float32(loss: Loss) -> None:
    """1024 logits near 300: a bf16 mean has steps of 2."""
    half = (300 + torch.linspace(0, 1, 1024)).to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for function in players(loss):
            value = function(half, -half)
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, function(half.float(), -half.float()))


def test_relativistic_counts_only_differences_and_swaps_with_its_players() -> None:
    loss = LOSSES["relativistic"]
    real, fake = logits(9), logits(10)
    shifted = loss.discriminator(real + 5, fake + 5)
    torch.testing.assert_close(loss.discriminator(real, fake), shifted)
    torch.testing.assert_close(loss.generator(fake, real), loss.discriminator(fake, real))
    # softplus(−t) − softplus(t) = −t: the two players' losses differ by the mean margin.
    margin = (real - fake).mean()
    difference = loss.generator(fake, real) - loss.discriminator(real, fake)
    torch.testing.assert_close(difference, margin, rtol=0, atol=1e-8)
    undecided = loss.discriminator(real, real)
    assert undecided.item() == pytest.approx(math.log(2))


def test_relativistic_refuses_what_it_cannot_pair() -> None:
    loss = LOSSES["relativistic"]
    with pytest.raises(AssertionError, match="fresh real"):
        loss.generator(logits(1), None)
    with pytest.raises(AssertionError, match="as many reals"):
        loss.discriminator(logits(1, 4), logits(2, 1))


# ── Penalties ────────────────────────────────────────────────────────────────────────────────


class Linear(nn.Module):
    """D(x) = ⟨a, x⟩, plus the label if there is one: ∇D = a everywhere."""

    def __init__(self, shape: tuple[int, ...] = (3, 4, 4), dtype: torch.dtype = torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.a = nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = (images * self.a).flatten(1).sum(dim=1)
        return logits if labels is None else logits * labels


def quadratic(images: Tensor, labels: Tensor | None = None) -> Tensor:
    """D(x) = ½‖x‖², as a column: ∇D = x."""
    return 0.5 * images.square().flatten(1).sum(dim=1, keepdim=True)


def pictures(seed: int, n: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 4, 4, generator=generator, dtype=dtype)


@pytest.mark.parametrize("penalty", [r1, r2])
def test_r1_and_r2_of_known_gradients(penalty: Callable[..., Tensor]) -> None:
    D, images = Linear(), pictures(1)
    square = D.a.square().sum()
    torch.testing.assert_close(penalty(D, images), 0.5 * square)
    torch.testing.assert_close(penalty(D, images, gamma=3.0), 1.5 * square)
    labels = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(penalty(D, images, labels), 0.5 * 6 * square)  # mean of squares: 6
    expected = 0.5 * images.square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(penalty(quadratic, images), expected)


@pytest.mark.parametrize("penalty", [r1, r2])
def test_r1_and_r2_reach_the_parameters_of_d_and_nothing_else(
    penalty: Callable[..., Tensor],
) -> None:
    D, source = Linear(), pictures(1).requires_grad_()
    images = source * 2
    penalty(lambda x: D(x) + quadratic(x)[:, 0], images, gamma=4.0).backward()
    # ∇D = a + x, and γ/2·E‖a + x‖² has the gradient γ·(a + E x) by a.
    torch.testing.assert_close(D.a.grad, 4 * (D.a + images.mean(dim=0)).detach())
    assert source.grad is None


def test_gradients_come_from_logits_at_hand_too() -> None:
    images = pictures(2).requires_grad_()
    logits = quadratic(images)
    torch.testing.assert_close(input_gradient(logits, images), images)
    expected = images.square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(gradient_norm_squared(logits, images), expected)


def test_wgan_gp_of_a_linear_critic() -> None:
    D = Linear()
    norm = D.a.square().sum().sqrt()
    value = wgan_gradient_penalty(D, pictures(1), pictures(2), torch.Generator())
    torch.testing.assert_close(value, (norm - 1) ** 2)
    value.backward()
    torch.testing.assert_close(D.a.grad, 2 * (norm - 1).detach() * (D.a / norm).detach())
    with torch.no_grad():
        D.a.div_(norm)
    one = wgan_gradient_penalty(D, pictures(1), pictures(2), torch.Generator())
    assert one.item() == pytest.approx(0.0, abs=1e-12)


def seen_between(real: Tensor, fake: Tensor, seed: int) -> Tensor:
    seen: list[Tensor] = []

    def watch(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return quadratic(images)

    wgan_gradient_penalty(watch, real, fake, torch.Generator().manual_seed(seed))
    return seen[0]


def test_wgan_gp_draws_one_epsilon_a_sample() -> None:
    real, fake = torch.ones(64, 3, 4, 4), torch.zeros(64, 3, 4, 4)
    epsilon = seen_between(real, fake, 0)  # εx + (1 − ε)G(z) = ε
    assert (epsilon == epsilon[:, :1, :1, :1]).all()
    one_each = epsilon[:, 0, 0, 0]
    assert len(one_each.unique()) == 64
    assert one_each.min() >= 0
    assert one_each.max() <= 1
    assert 0.35 < one_each.mean() < 0.65
    assert torch.equal(epsilon, seen_between(real, fake, 0))
    assert not torch.equal(epsilon, seen_between(real, fake, 1))


def test_wgan_gp_takes_the_norm_over_all_pixels_and_channels() -> None:
    real = pictures(3)
    expected = (real.flatten(1).norm(dim=1) - 1).square().mean()  # ∇D = x̂ = x
    torch.testing.assert_close(
        wgan_gradient_penalty(quadratic, real, real, torch.Generator()), expected
    )


def test_wgan_gp_hands_on_labels_and_leaves_the_pictures_alone() -> None:
    D, real, fake = Linear(), pictures(1).requires_grad_(), pictures(2).requires_grad_()
    labels = torch.full((5,), 2.0, dtype=torch.float64)
    value = wgan_gradient_penalty(D, real, fake, torch.Generator(), labels)
    torch.testing.assert_close(value, (2 * D.a.square().sum().sqrt() - 1) ** 2)
    value.backward()
    assert real.grad is None
    assert fake.grad is None


def test_wgan_gp_of_a_flat_critic_is_one_with_finite_gradients() -> None:
    """‖0‖ has no derivative; a critic that begins with zeros must not end with NaN."""
    D = Linear()
    nn.init.zeros_(D.a)
    value = wgan_gradient_penalty(D, pictures(1), pictures(2), torch.Generator())
    value.backward()
    assert value.item() == 1.0
    assert D.a.grad is not None
    assert D.a.grad.isfinite().all()


def small_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 16, 3, stride=2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(16 * 7 * 7, 1),
        )


PENALTIES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "r1": r1,
    "r2": r2,
    "wgan_gp": lambda D, x: wgan_gradient_penalty(D, x, -x, torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_work_under_bf16_autocast(name: str) -> None:
    """Double backward through bf16 convolutions; the result is float32 and close to float32's."""
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    results = []
    for enabled in (False, True):
        D = small_network()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = PENALTIES[name](D, images)
        value.backward()
        assert value.dtype == torch.float32
        # The last bias shifts D everywhere: no gradient penalty depends on it, all else counts.
        weights = [p.grad for key, p in D.named_parameters() if key.endswith("weight")]
        gradients = [g.flatten() for g in weights if g is not None and g.abs().max() > 0]
        assert len(gradients) == len(weights) == 3
        results.append((value, torch.cat(gradients)))
    (value, exact), (half_value, half) = results
    torch.testing.assert_close(half_value, value, rtol=0.05, atol=0)
    assert torch.cosine_similarity(half, exact, dim=0) > 0.99


def test_squares_of_half_precision_gradients_are_summed_in_float32() -> None:
    """12,288 equal numbers: a bf16 sum would stop growing at 256 of them."""
    images = torch.zeros(2, 3, 64, 64, dtype=torch.bfloat16).requires_grad_()
    value = gradient_norm_squared(images.flatten(1).sum(dim=1), images)
    assert value.dtype == torch.float32
    assert value.item() == 3 * 64 * 64


@named
def test_each_loss_takes_r1_and_r2_beside_it(loss: Loss) -> None:
    D, real, fake = small_network(), torch.rand(4, 3, 16, 16), -torch.rand(4, 3, 16, 16)
    total = loss.discriminator(D(real), D(fake)) + r1(D, real) + r2(D, fake)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())
