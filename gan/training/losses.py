"""What the two players minimise: the adversarial losses, and the penalties on the gradient of D.

Owns equations on logits. It draws no z, knows no optimiser, and decides no schedule.

Notation: D(x) is the discriminator's *logit* (any real number, higher for "real"), σ the sigmoid,
so σ(D(x)) is the probability "x is real". Everything is written with

    softplus(t) = log(1 + eᵗ),    −log σ(t) = softplus(−t),    −log(1 − σ(t)) = softplus(t),

because in float32 σ(t) is exactly 1 for t > 18 and 0 for t < −104, and log 0 is −∞. softplus is
finite, and its gradient right, for every t.

Two slips are copied from article to article; both are set right here.

1. The generator's loss is an expectation over the *latent* z ∼ p_z, for instance
   E_{z∼p_z} log(1 − σ(D(G(z)))). Written E_{x∼p_data}, it is an average over data of an
   expression in which no x occurs: the generator never meets a real picture. (Only the
   relativistic loss below compares with real pictures, and there x does occur.)
2. E_x log σ(D(x)) + E_z log(1 − σ(D(G(z)))) is what the discriminator *maximises*. Printed as
   "the discriminator's loss" and handed to an optimiser, which minimises, it would train D to
   call the fakes real. The loss is its negative. Every function here returns what to MINIMISE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

LogitFunction = Callable[..., Tensor]  # (images [N, C, H, W][, labels]) → logits [N] or [N, 1]


@dataclass(frozen=True)
class Loss:
    """One row of the table: two functions of logits [N] or [N, 1], each → scalar to minimise.

    `discriminator(real_logits, fake_logits)`; `generator(fake_logits, real_logits)`, where
    real_logits may be None unless `needs_real`: then they are D's logits of *fresh* real
    pictures, as many as there are fakes (of the same classes, if there are classes: a pair is
    one question to D). `critic_steps` are D's steps for each one of G. `gradient_penalty` is
    the weight λ of `wgan_gradient_penalty`, which belongs to its loss; `penalties` are those of
    R1 and R2 that the loss was published with, or hardly trains without: both are switches, on
    any loss. Watching it saturate without them, then the cure, is the lesson.
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    needs_real: bool = False
    critic_steps: int = 1
    gradient_penalty: float = 0.0
    penalties: tuple[str, ...] = ()


# ── Goodfellow 2014: one discriminator, two generators ───────────────────────────────────────


def cross_entropy_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−E_x log σ(D(x)) − E_z log(1 − σ(D(G(z)))), Goodfellow 2014, eq. 1 with its sign turned.

    The paper's eq. 1 is the value V(D, G), which D maximises. This is the binary cross-entropy
    of "real = 1, fake = 0"; an undecided D (all logits 0) has 2 log 2 ≈ 1.386.
    """
    return softplus(-_wide(real_logits)).mean() + softplus(_wide(fake_logits)).mean()


def minimax_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """E_{z∼p_z} log(1 − σ(D(G(z)))) = −E softplus(D(G(z))), Goodfellow 2014, eq. 1.

    Saturates: the derivative by the logit is −σ(D(G(z))). While D recognises every fake
    (D → −∞, the usual state of an early training) it is ≈ e^D ≈ 0: the worse the picture, the
    less the generator is told. It is here to be watched failing, and to be cured with R1.
    """
    return -softplus(_wide(fake_logits)).mean()


def nonsaturating_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """−E_{z∼p_z} log σ(D(G(z))) = E softplus(−D(G(z))), Goodfellow 2014, section 3.

    The same fixed point as minimax, but the derivative is −σ(−D(G(z))): −1 for a fake that D
    recognises, 0 for one that already passes as real. It saturates where nothing is left to do.
    """
    return softplus(-_wide(fake_logits)).mean()


# ── Mao 2017 ─────────────────────────────────────────────────────────────────────────────────


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """½ E_x (D(x) − 1)² + ½ E_z D(G(z))², Mao 2017 (targets: 1 for real, 0 for fake).

    D's output is a score here, without a sigmoid. A score beyond its target is penalised too:
    D is not rewarded for being ever more certain.
    """
    real, fake = _wide(real_logits), _wide(fake_logits)
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """½ E_z (D(G(z)) − 1)², Mao 2017.

    Never saturates: the derivative D(G(z)) − 1 grows with the distance, so fakes far on the
    wrong side are pulled hardest, and fakes called "too real" are pulled back.
    """
    return 0.5 * (_wide(fake_logits) - 1).square().mean()


# ── Lim & Ye 2017, Miyato 2018 ───────────────────────────────────────────────────────────────


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E_x max(0, 1 − D(x)) + E_z max(0, 1 + D(G(z))), Lim & Ye 2017, Miyato 2018.

    A sample beyond the margin of ±1 contributes nothing, neither loss nor gradient: D spends
    itself on the undecided ones and stops running away from the generator.
    """
    return relu(1 - _wide(real_logits)).mean() + relu(1 + _wide(fake_logits)).mean()


def critic_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """−E_z D(G(z)): the generator of hinge (Lim & Ye 2017) and WGAN (Arjovsky 2017).

    Its derivative by the logit is −1 everywhere: it can't saturate, so only D's slope, which
    the margin or the penalty keeps in bounds, limits the step.
    """
    return -_wide(fake_logits).mean()


# ── Arjovsky 2017, Gulrajani 2017 ────────────────────────────────────────────────────────────


def wasserstein_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E_z D(G(z)) − E_x D(x), Gulrajani 2017, eq. 3 without its penalty.

    Minus an estimate of the Wasserstein distance, if D has slope 1 at most: add
    10 · `wgan_gradient_penalty`, train D `critic_steps` times for each step of G,
    and keep batch norm out of D (the penalty is about one picture's gradient).
    """
    return _wide(fake_logits).mean() - _wide(real_logits).mean()


# ── Jolicoeur-Martineau 2018, Huang 2024 ─────────────────────────────────────────────────────


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E_{x,z} softplus(−(D(x) − D(G(z)))), Huang 2024 (R3GAN).

    Only the difference within a pair counts: D must rank the i-th real above the i-th fake,
    wherever both lie, so it can't win by calling everything of one mode fake.
    """
    return softplus(-_difference(real_logits, fake_logits)).mean()


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """E_{x,z} softplus(−(D(G(z)) − D(x))), Huang 2024 (R3GAN).

    x are fresh reals, not those that D has just been trained on. The derivative by a fake's
    logit is −σ(D(x) − D(G(z))): −1 while the fake is behind its partner, 0 once it is ahead.
    """
    assert real_logits is not None, "the relativistic generator compares with fresh real pictures"
    return softplus(-_difference(fake_logits, real_logits)).mean()


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("minimax", cross_entropy_discriminator, minimax_generator),
        Loss(
            "nonsaturating", cross_entropy_discriminator, nonsaturating_generator, penalties=("r1",)
        ),
        Loss("least_squares", least_squares_discriminator, least_squares_generator),
        Loss("hinge", hinge_discriminator, critic_generator),
        Loss(
            "wgan_gp",
            wasserstein_critic,
            critic_generator,
            critic_steps=5,
            gradient_penalty=10.0,
        ),
        Loss(
            "relativistic",
            relativistic_discriminator,
            relativistic_generator,
            needs_real=True,
            penalties=("r1", "r2"),
        ),
    )
}

# ── Odena 2017: recognising the class ────────────────────────────────────────────────────────


def misread(fits: Tensor, classes: Tensor) -> Tensor:
    """−E log softmax(fits) at the class: what is lost by recognising it (Odena 2017, AC-GAN).

    fits [N, classes], how well each picture fits each class, for D; classes [N, classes], one-hot.
    The discriminator alone learns it, from real pictures: on early fakes there is nothing to be
    read. The generator hears of it by what D makes of it. Told it directly, as in AC-GAN, it drew
    what is read most surely, which is one "0" for every z, and shapes that nobody writes.
    """
    return -(classes * _wide(fits).log_softmax(dim=1)).sum(dim=1).mean()


# ── Penalties: each can be added to any loss of the discriminator ────────────────────────────


def r1(
    discriminator: LogitFunction,
    real_images: Tensor,
    labels: Tensor | None = None,
    gamma: float = 1.0,
) -> Tensor:
    """γ/2 · E_x ‖∇ₓD(x)‖², Mescheder 2018: D is flat at the data, so it can come to rest.

    real_images [N, C, H, W] (un-augmented; no gradient flows to them), labels as D takes them
    → scalar float32, differentiable by D's parameters. Taken only every k-th step ("lazily",
    Karras 2020), γ is multiplied by k.
    """
    images = real_images.detach().requires_grad_(True)
    return 0.5 * gamma * gradient_norm_squared(_judge(discriminator, images, labels), images)


def r2(
    discriminator: LogitFunction,
    fake_images: Tensor,
    labels: Tensor | None = None,
    gamma: float = 1.0,
) -> Tensor:
    """γ/2 · E_z ‖∇D(G(z))‖², Mescheder 2018: R1 at the generated pictures.

    Shapes as in `r1`; the fakes are detached, so nothing of it reaches G. Huang 2024 needs
    both with the relativistic loss: on stacked MNIST it diverges with R1 alone.
    """
    return r1(discriminator, fake_images, labels, gamma)


def wgan_gradient_penalty(
    discriminator: LogitFunction,
    real_images: Tensor,
    fake_images: Tensor,
    rng: torch.Generator,
    labels: Tensor | None = None,
) -> Tensor:
    """E (‖∇D(x̂)‖₂ − 1)² with x̂ = εx + (1 − ε)G(z), Gulrajani 2017, eq. 3 (multiply by λ = 10).

    ε ∼ U[0, 1] is drawn from `rng` once per *sample* (not per batch, not per pixel), and the
    norm runs over all channels and pixels of one picture. Two pictures [N, C, H, W] of the same
    shape → scalar float32, differentiable by D's parameters only.
    """
    real, fake = real_images.detach(), fake_images.detach()
    shape = (len(real), *[1] * (real.dim() - 1))
    epsilon = torch.rand(shape, generator=rng, device=rng.device).to(real)
    between = (fake + epsilon * (real - fake)).requires_grad_(True)
    gradient = input_gradient(_judge(discriminator, between, labels), between)
    return (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()


def gradient_norm_squared(logits: Tensor, images: Tensor) -> Tensor:
    """E ‖∇D(x)‖², the bare square of R1 and R2, from logits that were computed from `images`.

    For a loop that has the logits at hand: `images` [N, C, H, W] must have had requires_grad
    set before D saw them. → scalar float32, differentiable by D's parameters.
    """
    return input_gradient(logits, images).square().flatten(1).sum(dim=1).mean()


def input_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """∇D at each picture, [N, C, H, W] in float32, itself differentiable (`create_graph`).

    Summing the logits gives all N gradients in one pass, since picture i moves logit i only
    (through a minibatch statistic also its neighbours' a little; that is counted with it).
    Squares of bf16 numbers are summed in float32: 12,288 of them in bf16 lose two digits.
    Autocast is off here: it speaks for the forward pass; a backward pass repeats its formats.
    """
    with torch.autocast(images.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(_wide(logits).sum(), images, create_graph=True)
    return _wide(gradient)


def _judge(discriminator: LogitFunction, images: Tensor, labels: Tensor | None) -> Tensor:
    return discriminator(images) if labels is None else discriminator(images, labels)


def _wide(values: Tensor) -> Tensor:
    """float32 at least: means of half-precision numbers are taken in single precision."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _difference(logits: Tensor, others: Tensor) -> Tensor:
    """Pairwise [N]. Flattened, because [N] − [N, 1] would quietly become [N, N]."""
    assert logits.numel() == others.numel(), "relativistic pairs: as many reals as fakes"
    return _wide(logits).flatten() - _wide(others).flatten()
