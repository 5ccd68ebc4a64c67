"""PCA directions: right, the same for ever, and remembered."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.directions import pca as module
from gan.directions.closed_form import closed_form
from gan.directions.pca import Directions, pca, sample_w
from gan.features import Extractor, kid, nearest
from gan.generators.base import Generator
from gan.loading import load_generator
from gan.recipe import Edit, Recipe
from gan.rendering import draw_exact
from tests.families import tiny_biggan, tiny_dcgan, tiny_fastgan, tiny_r3gan, tiny_stylegan3
from tests.tiny import TINY, TINY_CLASSES, tiny_model, tiny_network


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    """A tiny model with a cache of its own."""
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "cache"))
    tiny_model(tmp_path / "m")
    return load_generator(tmp_path / "m")


def cached_files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.safetensors"))


def same(one: Directions, other: Directions) -> bool:
    vectors = all(torch.equal(one.vectors[name], other.vectors[name]) for name in one.vectors)
    names = list(one.vectors) == list(other.vectors)
    return vectors and names and (one.sigma, one.explained) == (other.sigma, other.explained)


def test_they_are_the_axes_of_w_in_standard_deviations(generator: Generator):
    found = pca(generator, count=4, samples=3000)
    w = sample_w(generator, 3000).double()
    variances, axes = np.linalg.eigh(np.cov(w.numpy().T))
    for number, (name, vector) in enumerate(found.vectors.items()):
        assert name == f"pca{number}"
        variance, axis = variances[-1 - number], axes[:, -1 - number]
        assert found.sigma[number] == pytest.approx(np.sqrt(variance), rel=1e-5)
        assert found.explained[number] == pytest.approx(variance / variances.sum(), rel=1e-5)
        assert abs(vector.numpy() @ axis) == pytest.approx(np.sqrt(variance), rel=1e-4)
        assert vector[vector.abs().argmax()] > 0
        # One step of a slider is one standard deviation of what w does along that direction.
        unit = vector.double() / vector.double().norm()
        assert ((w - w.mean(dim=0)) @ unit).std() == pytest.approx(vector.norm().item(), rel=1e-4)
    assert list(found.sigma) == sorted(found.sigma, reverse=True)


def test_a_small_w_has_fewer_directions(generator: Generator):
    assert len(pca(generator, count=100, samples=200).vectors) == TINY.w_dim


def test_all_classes_take_turns():
    network = tiny_network(TINY_CLASSES)
    w = sample_w(network, 30)
    zs = np.random.RandomState(0).randn(30, TINY_CLASSES.z_dim).astype(np.float32)
    for number in (0, 1, 2, 29):
        c = torch.eye(3)[[number % 3]]
        alone = network.mapping(torch.from_numpy(zs[[number]]), c)[0, 0]
        torch.testing.assert_close(w[number], alone)


def test_they_are_the_same_with_and_without_the_cache(generator: Generator, tmp_path: Path):
    first = pca(generator, samples=500)
    (file,) = cached_files(tmp_path)
    second = pca(generator, samples=500)
    assert same(first, second)
    file.unlink()
    assert same(first, pca(generator, samples=500))


def test_the_cache_saves_the_work(generator: Generator, monkeypatch: pytest.MonkeyPatch):
    first = pca(generator, samples=500)
    monkeypatch.setattr(module, "_compute", lambda *_: pytest.fail("computed again"))
    assert same(first, pca(generator, samples=500))


def test_another_model_is_another_entry(generator: Generator, tmp_path: Path):
    first = pca(generator, samples=500)
    tiny_model(tmp_path / "other", seed=1)
    second = pca(load_generator(tmp_path / "other"), samples=500)
    assert not same(first, second)
    assert len(cached_files(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b"", b"rubbish", None, "shorter", "nan"])
def test_a_damaged_cache_is_computed_again(
    generator: Generator, tmp_path: Path, damage: bytes | str | None
):
    first = pca(generator, samples=500)
    (file,) = cached_files(tmp_path)
    whole = file.read_bytes()
    if damage is None:
        file.write_bytes(whole[:-20])
    elif damage == "shorter":
        module._write(file, pca(generator, count=3, samples=500))
    elif damage == "nan":
        nowhere = {name: vector * torch.nan for name, vector in first.vectors.items()}
        module._write(file, Directions(nowhere, first.sigma, first.explained))
    else:
        assert isinstance(damage, bytes)
        file.write_bytes(damage)
    assert same(first, pca(generator, samples=500))
    assert file.read_bytes() == whole


def test_without_a_writable_cache_it_works_all_the_same(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "file" / "below"))
    assert len(pca(generator, samples=100).vectors) == 10


def test_a_generator_in_memory_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LATENT_LAB_CACHE", str(tmp_path / "cache"))
    assert len(pca(tiny_network(), count=2, samples=100).vectors) == 2
    assert cached_files(tmp_path) == []


# Where there is only z


class Known(Generator):
    """A generator whose first stage gives (z @ axes.T) * sizes, beside a constant."""

    latent_space = "z"

    def __init__(self, axes: Tensor, sizes: Tensor):
        super().__init__()
        self.z_dim, self.w_dim, self.c_dim = axes.shape[1], axes.shape[1] + 2, 0
        self.axes = torch.nn.Parameter(axes)
        self.sizes = sizes

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return torch.cat([z @ self.axes.T * self.sizes + 3, z.new_ones(len(z), 4)], dim=1)


def test_in_z_they_are_what_moves_the_first_stage_most():
    axes, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    sizes = torch.tensor([1.0, 9, 2, 6, 0.5, 4, 0.1, 0.2])
    found = pca(Known(axes, sizes), count=4, samples=5000)
    vectors = torch.stack(list(found.vectors.values()))
    assert vectors.shape == (4, 10)
    assert not vectors[:, 8:].any()
    assert found.sigma == (1.0, 1.0, 1.0, 1.0)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    for number, row in enumerate((1, 3, 5, 2)):  # from the largest
        assert abs(vectors[number, :8] @ axes[row]) > 0.995
        assert found.explained[number] == pytest.approx(float(sizes[row] ** 2 / 138.3), rel=0.1)
        assert vectors[number, vectors[number].abs().argmax()] > 0


@pytest.mark.parametrize(
    "network",
    [
        *(tiny_stylegan3(), tiny_stylegan3(c_dim=3), tiny_dcgan(), tiny_biggan()),
        *(tiny_r3gan(), tiny_r3gan(c_dim=3), tiny_fastgan()),
    ],
    ids=[
        *("stylegan3", "stylegan3 with classes", "dcgan", "biggan"),
        *("r3gan", "r3gan with classes", "fastgan"),
    ],
)
def test_every_family_has_its_directions(network: Generator):
    found = pca(network, samples=500)
    vectors = torch.stack(list(found.vectors.values()))
    assert vectors.shape == (min(10, network.z_dim), network.w_dim)
    assert not vectors[:, network.z_dim :].any()  # neither the class nor the truncation
    assert list(found.explained) == sorted(found.explained, reverse=True)
    label = 1 if network.c_dim else None
    still = draw_exact(network, Recipe("m", seed=1, psi=0.8, label=label))
    for name in found.vectors:
        pulled = Recipe("m", seed=1, psi=0.8, label=label, edits=(Edit(name, 2.0),))
        assert (draw_exact(network, pulled, found.vectors) != still).any()


# Real faces


def seeded(seed: int, count: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randn(count, 100)).float()


def changes(faces: Generator, z: Tensor, vectors: Tensor) -> Tensor:
    """What two standard deviations to and fro do to the pictures of z: [directions, everything]."""
    both = [
        faces.synthesis((z + 2 * v)[:, None]) - faces.synthesis((z - 2 * v)[:, None])
        for v in vectors
    ]
    return torch.stack(both).flatten(1)


@pytest.mark.parametrize("method", [pca, closed_form])
def test_the_first_directions_of_real_faces_are_large_and_differ(face_file: Path, method):
    """Measured: 52 … 90 of 255 levels (root mean square) along the first five, 26 … 36 along random
    ones; no two changes share more than a cosine of 0.28."""
    faces, z = load_generator(face_file), seeded(77, 16)
    found = changes(faces, z, torch.stack(list(method(faces).vectors.values())[:5]))
    arbitrary = torch.nn.functional.normalize(seeded(5, 6))
    usual = changes(faces, z, arbitrary).square().mean(dim=1).sqrt()
    sizes = found.square().mean(dim=1).sqrt()
    assert sizes.min() * 127.5 > 40
    assert sizes.min() > 1.3 * usual.max()
    unit = torch.nn.functional.normalize(found)
    assert (unit @ unit.T - torch.eye(5)).abs().max() < 0.4


@pytest.mark.slow
def test_directions_of_real_faces_lead_to_faces(face_file: Path):
    """Two standard deviations along any direction stay near the untouched pictures.

    Measured KID (EfficientNet-Lite0 at 64 px, grain 4): 0.1 … 6.7, of untouched pictures 0.1; of
    noise 22, of z four times too long 19. The nearest of 500 untouched pictures is 0.90 … 1.11
    times as far as from an untouched one; from z four times too long 1.30.
    """
    faces, look = load_generator(face_file), Extractor("efficientnet", 64)

    def features(z: Tensor) -> Tensor:
        return look(faces.synthesis(z[:, None]).clamp(-1, 1))

    usual = torch.cat([features(z) for z in seeded(1, 500).split(100)])
    z = seeded(77, 48)
    distance = nearest(features(z), usual)[0].mean()

    def is_like_them(pictures: Tensor) -> bool:
        far = nearest(pictures, usual)[0].mean() / distance
        return kid(usual, pictures) < 10 and bool(far < 1.2)

    assert is_like_them(features(seeded(78, 48)))
    assert not is_like_them(look(torch.rand(48, 3, 64, 64) * 2 - 1))
    assert not is_like_them(features(4 * z))
    for vector in pca(faces).vectors.values():
        for strength in (-2, 2):
            assert is_like_them(features(z + strength * vector))
