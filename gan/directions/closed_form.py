"""Directions found in the weights alone (Shen & Zhou 2021, "SeFa"): along which the first thing
that reads the latent changes most. No samples decide which they are; they decide the lengths.

One unit is one standard deviation of w along the direction, over the very latents that PCA looks
at, so that a strength means as much for the one as for the other: how far from the middle pictures
go by themselves. Where there is only z, it is a step of length 1, which is z's standard deviation
in every direction.
"""

from __future__ import annotations

import numpy as np
import torch

from gan.directions.naming import CLOSED_FORM
from gan.directions.pca import SAMPLES, Directions, named, sample_w, upright
from gan.generators.base import Generator

_NOTHING = 1e-9  # of the largest eigenvalue


@torch.inference_mode()
def closed_form(generator: Generator, count: int = 10, samples: int = SAMPLES) -> Directions:
    """The first `count` eigenvectors of AᵀA, A [rows, w_dim] the generator's stacked style
    weights, named "sefa0", "sefa1", … and one standard deviation of w (or z) long, which is
    measured on `samples` ws (and takes most of the time).

    `explained` is each one's share of all eigenvalues. There are fewer than `count` where A has
    a smaller rank.
    """
    weights = generator.style_weights().double().cpu()
    eigenvalues, vectors = torch.linalg.eigh(weights.T @ weights)  # ascending
    shares = (eigenvalues / eigenvalues.sum()).flip(0)[:count]
    shares = shares[shares > _NOTHING * shares[0]]
    axes = upright(vectors.T.flip(0)[: len(shares)].numpy())  # [count, w_dim], of length 1
    sigma = np.ones(len(axes))
    if generator.latent_space == "w":
        sigma = (sample_w(generator, samples).double().numpy() @ axes.T).std(axis=0, ddof=1)
    return named(CLOSED_FORM, axes * sigma[:, None], sigma.tolist(), shares.tolist())
