"""BigGAN-deep: exact against the published computation, its truncation in every row of ws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.errors import LabError
from gan.generators import biggan
from gan.generators.biggan import BigGAN
from gan.loading import load_generator
from tests.families import error_of, shapes_of, tiny_biggan


@pytest.fixture(scope="module")
def reference(oracles: Path) -> dict[str, Tensor]:
    stored = np.load(oracles / "biggan_deep_tiny" / "reference.npz")
    return {name: torch.from_numpy(stored[name]) for name in stored}


@pytest.fixture(scope="module")
def published(oracles: Path) -> BigGAN:
    generator = load_generator(oracles / "biggan_deep_tiny")
    assert isinstance(generator, BigGAN)
    return generator


@pytest.mark.parametrize("truncation", [1.0, 0.4, 0.375, 0.02])
def test_published_weights_give_the_published_pictures(
    published: BigGAN, reference: dict[str, Tensor], truncation: float
):
    ws = published.mapping(reference["z"][:2], reference["y"][:2], psi=truncation)
    expected = reference[f"img_trunc{truncation}"]
    assert error_of(published.synthesis(ws), expected) < 1e-4


def test_classes_can_be_mixed(published: BigGAN, reference: dict[str, Tensor]):
    ws = published.mapping(reference["z"][:2], reference["y_mix"][:2], psi=0.5)
    assert error_of(published.synthesis(ws), reference["img_ymix_trunc0.5"]) < 1e-4


def test_condition_and_features_are_the_published_ones(
    published: BigGAN, reference: dict[str, Tensor]
):
    ws = published.mapping(reference["z"], reference["y"])
    assert error_of(ws[:, 0, :-1], reference["cond"]) < 1e-4
    assert error_of(ws[:, 0, 16:-1], reference["embed"]) < 1e-4
    names = [name for name in reference if name.startswith("feat_")]
    assert len(names) == 5
    for name in names:
        layer = name.removeprefix("feat_")
        assert layer in published.layer_names()
        assert error_of(published.features(ws[:1], layer), reference[name]) < 1e-4


def test_it_is_recognised_and_described(published: BigGAN, oracles: Path, tmp_path: Path):
    info = published.info
    assert (info.family, info.latent_space, info.resolution) == ("biggan", "z", 128)
    assert (info.z_dim, info.c_dim, info.num_ws) == (16, 20, published.num_ws)
    assert published.layer_resolutions() == [4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128]
    # Without the config beside it, the published pattern is assumed.
    shutil.copy(oracles / "biggan_deep_tiny" / "pytorch_model.bin", tmp_path / "alone.bin")
    assert load_generator(tmp_path / "alone.bin").config == published.config


def test_a_config_may_double_at_other_blocks(oracles: Path, tmp_path: Path):
    folder = oracles / "biggan_deep_tiny"
    shutil.copy(folder / "pytorch_model.bin", tmp_path / "pytorch_model.bin")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["layers"][-1][0], config["eps"] = False, 0.01
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    generator = load_generator(tmp_path)
    assert (generator.resolution, generator.config.epsilon) == (64, 0.01)


# Truncation


def test_every_row_carries_its_truncation():
    network, z, c = tiny_biggan(), torch.randn(2, 6), torch.eye(4)[:2]
    full, half = network.mapping(z, c), network.mapping(z, c, psi=0.5)
    cut = network.mapping(z, c, psi=0.5, cutoff=1)
    assert torch.equal(cut[:, :1], half[:, :1])
    assert torch.equal(cut[:, 1:], full[:, 1:])
    assert half[0, :, -1].tolist() == [0.5] * network.num_ws
    # Pictures of different truncations can be drawn in one batch.
    together = network.synthesis(torch.cat([full, half]))
    assert torch.allclose(together[2:], network.synthesis(half), atol=1e-5)
    assert torch.allclose(together[:2], network.synthesis(full), atol=1e-5)


def test_latents_are_held_within_two_deviations():
    z = torch.tensor([[-3.0, -2.0, 0.5, 1.9, 2.0, 7.0]])
    row = tiny_biggan().mapping(z, torch.eye(4)[:1], psi=0.5)[0, 0, :6]
    assert row.tolist() == pytest.approx([-1.0, -1.0, 0.25, 0.95, 1.0, 1.0])


def test_statistics_are_interpolated_with_the_published_weights():
    norm = tiny_biggan().generator.bn  # 11 statistics: a step is 0.1
    means, _ = norm.at(torch.tensor([0.0, 0.3, 1.0, 0.325, -0.3, 1.5]))
    stored = norm.running_means
    for row, place in ((0, 0), (1, 3), (2, 10), (4, 3), (5, 10)):
        assert torch.equal(means[row], stored[place])
    expected = 0.25 * stored[3] + 0.75 * stored[4]  # 0.325 is a quarter of a step above 0.3
    torch.testing.assert_close(means[3], expected)


def test_a_class_must_be_given():
    with pytest.raises(ValueError, match="class-conditional"):
        tiny_biggan().mapping(torch.randn(1, 6))


# The interface


def test_features_lead_to_the_picture():
    network = tiny_biggan()
    ws = network.mapping(torch.randn(2, 6), torch.eye(4)[:2])
    assert network.layer_names() == ["layers.0", "layers.1", "layers.2"]
    sizes = [network.features(ws, name).shape[1:] for name in network.layer_names()]
    assert sizes == [(16, 4, 4), (16, 4, 4), (8, 8, 8)]  # the second is attention
    assert network.synthesis(ws).shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match="layers"):
        network.features(ws, "layers.3")


def test_style_weights_read_z_and_leave_class_and_truncation_alone():
    network = tiny_biggan()
    weights = network.style_weights()
    # The first linear, and scale and offset of 2 × 4 norms with 16 + 4 + 4 + 4 channels.
    assert weights.shape == (16 * 16 + 2 * 2 * 28, network.w_dim)
    assert not weights[:, 6:].any()
    assert torch.equal(weights[:256, :6], network.generator.gen_z.weight[:, :6])
    z = torch.randn(3, 6).clamp(-2, 2)
    first = z @ network.generator.gen_z.weight[:, :6].T
    torch.testing.assert_close(torch.pdist(network.direction_activations(z)), torch.pdist(first))


# Refusals


def spectral(name: str = "generator.layers.0.conv_0") -> dict[str, Tensor]:
    """A network's tensors, one of them still under spectral norm."""
    tensors = dict(tiny_biggan().state_dict())
    weight = tensors.pop(f"{name}.weight")
    tensors[f"{name}.weight_orig"] = weight
    tensors[f"{name}.weight_u"] = torch.ones(4)
    tensors[f"{name}.weight_v"] = torch.ones(16)
    return tensors


def test_spectral_norm_is_folded_in_either_spelling():
    tensors, name = spectral(), "generator.layers.0.conv_0"
    weight = tensors[f"{name}.weight_orig"]
    folded = biggan.canonical(tensors)
    torch.testing.assert_close(folded[f"{name}.weight"], weight / weight.sum())
    assert set(folded) == set(tiny_biggan().state_dict())
    newer = dict(tensors)
    newer[f"{name}.parametrizations.weight.original"] = newer.pop(f"{name}.weight_orig")
    for part in "uv":
        vector = newer.pop(f"{name}.weight_{part}")
        newer[f"{name}.parametrizations.weight.0._{part}"] = vector
    again = biggan.canonical(newer)
    assert set(again) == set(folded)
    assert torch.equal(again[f"{name}.weight"], folded[f"{name}.weight"])


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ({"generator.layers.0.conv_0.weight_u": None}, "network_lacks"),
        ({"generator.layers.0.conv_0.weight_v": torch.ones(5)}, "network_shape"),
        ({"embeddings.weight": None}, "network_lacks"),
        ({"embeddings.weight": torch.ones(5)}, "network_shape"),
        ({"generator.layers.2.conv_3.weight": None}, "network_lacks"),
        ({"generator.layers.0.conv_3.weight": torch.ones(9, 4, 1, 1)}, "bad_network"),
        ({"generator.layers.1.gamma": None}, "network_lacks"),
    ],
)
def test_incomplete_files_are_refused_by_name(damage: dict, code: str, tmp_path: Path):
    tensors = spectral() | damage
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    assert biggan.matches(shapes_of(kept))
    torch.save(kept, tmp_path / "pytorch_model.bin")
    with pytest.raises(LabError) as caught:
        load_generator(tmp_path / "pytorch_model.bin")
    assert caught.value.code == code
