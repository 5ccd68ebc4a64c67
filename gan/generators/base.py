"""The small interface that every generator family offers; all that explores and trains uses it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

Noise = Literal["const", "none"] | int | torch.Generator
LatentSpace = Literal["w", "z"]


class MappingFunction(Protocol):
    """z → ws, truncated."""

    def __call__(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z [N, z_dim] float32, c [N, c_dim] one-hot or None → ws [N, num_ws, w_dim] float32.

        `psi` truncates: w_avg + psi·(w − w_avg), on rows < `cutoff` only (None: on all rows).
        """
        ...


class SynthesisFunction(Protocol):
    """ws → images."""

    def __call__(self, ws: Tensor, noise: Noise = "const", resolution: int | None = None) -> Tensor:
        """ws [N, num_ws, w_dim] float32 → images [N, img_channels, H, W] float32, about [−1, 1].

        `noise`: "const" adds the noise stored with the network, "none" adds nothing, an integer
        seeds one noise for all pictures, a `torch.Generator` draws a new one for each picture.
        `resolution` stops early, at the coarser picture that the network has by then.
        """
        ...


class Generator(nn.Module):
    """Draws pictures from latents in two steps: z → ws (`mapping`) → images (`synthesis`).

    A family sets the attributes below, `family` and `latent_space` on the class, the others in its
    constructor, which takes its configuration (`config`, a frozen dataclass of plain values).
    `latent_space` is "w" where the mapping makes a space of its own, truncated by pulling towards
    its mean; or "z" where ws is z itself, [N, 1, z_dim], and `psi` scales it.
    `z_dim` and `w_dim` are the sizes of the two latent spaces, `num_ws` the number of rows of w
    that synthesis takes (one a layer), `c_dim` the number of classes (0: unconditional),
    `resolution` the side of a picture in pixels, `img_channels` 1 (grey), 3 (RGB) or 4 (RGBA).
    `published_in_half`: whether its networks were trained with convolutions in a half-precision
    format, so that previews may be drawn so.
    """

    family: str
    published_in_half: bool = False
    latent_space: LatentSpace = "w"
    config: Any
    z_dim: int
    w_dim: int
    num_ws: int
    c_dim: int
    resolution: int
    img_channels: int
    info: Any  # `gan.loading.ModelInfo`, set where it is loaded
    mapping: MappingFunction
    synthesis: SynthesisFunction

    def layer_resolutions(self) -> list[int]:
        """The picture size (pixels) at which each of the `num_ws` rows acts."""
        raise NotImplementedError

    def early_resolutions(self) -> list[int]:
        """The coarser pictures (pixels) at which `synthesis` can stop: none, unless it says so."""
        return []

    def layer_names(self) -> list[str]:
        """The layers whose features can be read, coarse to fine."""
        raise NotImplementedError

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        """ws [N, num_ws, w_dim] → activations [N, C, H, W] float32 after `layer`.

        ValueError for a name that `layer_names` doesn't have.
        """
        raise NotImplementedError

    def style_weights(self) -> Tensor:
        """[rows, w_dim]: the weights by which w enters the layers, stacked (the first layer's,
        where w is z). Closed-form directions are the eigenvectors of AᵀA (Shen & Zhou 2021)."""
        raise NotImplementedError

    @property
    def has_style_weights(self) -> bool:
        """Does the family say its `style_weights`?"""
        return type(self).style_weights is not Generator.style_weights

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor | None:
        """What principal components are looked for in, where that isn't w: the first stage's
        activations [N, d] for z [N, z_dim]. None: in w."""
        return None

    def forward(self, z: Tensor, c: Tensor | None = None, psi: float = 1.0) -> Tensor:
        """z [N, z_dim] → images [N, img_channels, resolution, resolution]."""
        return self.synthesis(self.mapping(z, c, psi))
