"""Directions along which a generator varies most: principal components (Härkönen et al. 2020,
"GANSpace"), found by scikit-learn for fixed seeds, each one standard deviation long.

Where there is a w they are those of w. Where there is only z, which is alike in all directions,
they are those of the activations a of the first stage, taken back to z by least squares: z ≈ A·a.

The same model has the same directions everywhere and for ever, because recipes name them by
number. They are computed once and remembered on disk under the model's hash.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gan.directions.naming import PCA as NAME
from gan.directions.naming import direction_name
from gan.errors import LabError
from gan.files import user_cache_dir, write_atomic
from gan.generators.base import Generator
from gan.latents import one_hot

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

SAMPLES = 10_000  # ws
_CHUNK = 1000  # ws mapped at a time
_VERSION = 1  # a change of the method must change every cached file's name


@dataclass(frozen=True)
class Directions:
    """`vectors`: name ("pca0", "pca1", …) → [w_dim] float32, one standard deviation long.

    `sigma` is that length, the standard deviation of w (or z) along the direction; `explained` the
    share of the whole that lies along it: for principal components of the variance (of w, or of
    the activations), for closed-form directions of the eigenvalues. Both are in the order of
    `vectors`, most important first.
    """

    vectors: Mapping[str, Tensor]
    sigma: tuple[float, ...]
    explained: tuple[float, ...]


def pca(generator: Generator, count: int = 10, samples: int = SAMPLES) -> Directions:
    """The first `count` principal directions (fewer where w has fewer dimensions) of `samples` ws.

    Read from the cache where `generator.info` says which model it is, else computed (0.3 s for
    10,000 ws of a small model) and written there. A damaged cache is computed again.
    """
    info = getattr(generator, "info", None)
    if info is None:
        return _compute(generator, count, samples)
    shape = (_most(generator, count), generator.w_dim)
    try:
        path = _cache_path(info.hash, count, samples)
    except LabError:  # a read-only machine: computed at every start
        return _compute(generator, count, samples)
    cached = _read(path, shape)
    if cached is None:
        cached = _compute(generator, count, samples)
        with contextlib.suppress(OSError):
            _write(path, cached)
    return cached


@torch.inference_mode()
def sample_w(generator: Generator, samples: int) -> Tensor:
    """w [samples, w_dim] float32 of fixed latents, without truncation; classes take turns."""
    found, start = [], 0
    for z in _fixed_z(generator, samples).split(_CHUNK):
        c = None
        if generator.c_dim:
            labels = [number % generator.c_dim for number in range(start, start + len(z))]
            c = one_hot(labels, generator.c_dim).to(z.device)
        found.append(generator.mapping(z, c)[:, 0].float().cpu())
        start += len(z)
    return torch.cat(found)


def upright(axes: np.ndarray) -> np.ndarray:
    """axes [count, dim] → the same, their largest entries positive: an axis has no sign of its
    own."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return axes * np.sign(largest)


def named(
    method: str, vectors: np.ndarray | Tensor, sigma: list[float], explained: list[float]
) -> Directions:
    """vectors [count, w_dim] that `method` found → Directions."""
    rows = torch.as_tensor(vectors).float()
    by_name = {direction_name(method, number): vector for number, vector in enumerate(rows)}
    return Directions(by_name, tuple(sigma), tuple(explained))


def _fixed_z(generator: Generator, samples: int) -> Tensor:
    """z [samples, z_dim] float32, the same for ever, on the generator's device."""
    zs = np.random.RandomState(0).randn(samples, generator.z_dim).astype(np.float32)
    return torch.from_numpy(zs).to(next(generator.parameters()).device)


def _compute(generator: Generator, count: int, samples: int) -> Directions:
    if generator.latent_space == "z":
        return _compute_in_z(generator, count, samples)
    found = _components(sample_w(generator, samples), _most(generator, count))
    sigma = np.sqrt(np.asarray(found.explained_variance_))
    axes = upright(np.asarray(found.components_)) * sigma[:, None]  # [count, w_dim]
    return named(NAME, axes, sigma.tolist(), np.asarray(found.explained_variance_ratio_).tolist())


@torch.inference_mode()
def _compute_in_z(generator: Generator, count: int, samples: int) -> Directions:
    zs = _fixed_z(generator, samples)
    activations = generator.direction_activations(zs)
    if activations is None:
        raise TypeError(f"{generator.family} says neither w nor activations")
    found = _components(activations.float().cpu(), _most(generator, count))
    along = found.transform(activations.double().cpu().numpy())  # [samples, count]
    in_z = np.linalg.lstsq(along, zs.double().cpu().numpy(), rcond=None)[0]  # [count, z_dim]
    unit = in_z / np.linalg.norm(in_z, axis=1, keepdims=True)  # z's standard deviation is 1
    axes = np.pad(upright(unit), ((0, 0), (0, generator.w_dim - generator.z_dim)))
    explained = np.asarray(found.explained_variance_ratio_).tolist()
    return named(NAME, axes, [1.0] * len(axes), explained)


def _components(samples: Tensor, count: int) -> PCA:
    """samples [N, dim] → its principal components, in float64."""
    from sklearn.decomposition import PCA

    return PCA(n_components=count, svd_solver="full").fit(samples.double().numpy())


def _most(generator: Generator, count: int) -> int:
    return min(count, generator.w_dim if generator.latent_space == "w" else generator.z_dim)


# The cache


def _cache_path(digest: str, count: int, samples: int) -> Path:
    return user_cache_dir() / "pca" / f"{digest}-{count}-{samples}-v{_VERSION}.safetensors"


def _read(path: Path, shape: tuple[int, int]) -> Directions | None:
    try:
        content = path.read_bytes()
        vectors = load(content)["vectors"]
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
        sigma, explained = ([float(n) for n in facts[name]] for name in ("sigma", "explained"))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged
    is_whole = tuple(vectors.shape) == shape and len(sigma) == len(explained) == shape[0]
    is_sound = vectors.dtype == torch.float32 and bool(vectors.isfinite().all())
    return named(NAME, vectors, sigma, explained) if is_whole and is_sound else None


def _write(path: Path, directions: Directions) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = torch.stack(list(directions.vectors.values()))
    facts = json.dumps({"sigma": directions.sigma, "explained": directions.explained})
    write_atomic(path, save({"vectors": vectors}, {"facts": facts}))
