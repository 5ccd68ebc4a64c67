"""R3GAN: exact against the published network, all sizes from shapes alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.errors import LabError
from gan.generators import r3gan
from gan.generators.r3gan import R3GAN
from gan.loading import load_generator
from tests.families import error_of, shapes_of, tiny_r3gan


@pytest.fixture(scope="module")
def published(oracles: Path) -> R3GAN:
    generator = load_generator(oracles / "r3gan_32" / "network.pkl")
    assert isinstance(generator, R3GAN)
    return generator


@pytest.fixture(scope="module")
def reference(oracles: Path) -> dict[str, Tensor]:
    stored = np.load(oracles / "r3gan_32" / "reference.npz")
    return {name: torch.from_numpy(stored[name]) for name in stored}


def test_published_weights_give_the_published_pictures(
    published: R3GAN, reference: dict[str, Tensor]
):
    ws = published.mapping(reference["z"])
    assert error_of(published.synthesis(ws[:2]), reference["img"]) < 1e-4
    names = [name for name in reference if name.startswith("feat_")]
    assert len(names) == 3
    for name in names:
        features = published.features(ws[:1], name.removeprefix("feat_"))
        assert error_of(features, reference[name]) < 1e-4


def test_it_is_described(published: R3GAN):
    info = published.info
    assert (info.family, info.latent_space, info.resolution) == ("r3gan", "z", 32)
    assert (info.z_dim, info.num_ws, info.c_dim, info.img_channels) == (16, 1, 0, 3)


@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize("prefix", ["Model.", "", "module.Model.", "G_ema.Model."])
def test_all_sizes_are_in_the_shapes(c_dim: int, prefix: str):
    network = tiny_r3gan(c_dim)
    tensors = {
        prefix + name.removeprefix("Model."): tensor
        for name, tensor in network.state_dict().items()
    }
    assert r3gan.matches(shapes_of(tensors))
    assert r3gan.config_from(shapes_of(tensors), tensors, {}) == network.config
    named = r3gan.canonical(tensors)
    assert set(named) == set(network.state_dict())


def test_a_class_enters_beside_z():
    """Written out once more, from the paper's equations."""
    network = tiny_r3gan(c_dim=3)
    z, c = torch.randn(2, 7), torch.eye(3)[[2, 0]]
    ws = network.mapping(z, c, psi=0.5)
    tensors = {k.removeprefix("Model."): v for k, v in network.state_dict().items()}
    latent = torch.cat([0.5 * z, c @ tensors["EmbeddingLayer.weight"].T], dim=1)
    assert torch.allclose(ws, latent[:, None])
    first = "MainLayers.0.Layers.0"
    scales = latent @ tensors[f"{first}.LinearLayer.weight"].T
    x = tensors[f"{first}.Basis"] * scales[:, :, None, None]

    def block(x: Tensor, name: str, groups: int) -> Tensor:
        y = F.conv2d(x, tensors[f"{name}.LinearLayer1.Layer.weight"])
        y = F.leaky_relu(y + tensors[f"{name}.NonLinearity1.Bias"].view(1, -1, 1, 1), 0.2)
        y = F.conv2d(y, tensors[f"{name}.LinearLayer2.Layer.weight"], padding=1, groups=groups)
        y = F.leaky_relu(y + tensors[f"{name}.NonLinearity2.Bias"].view(1, -1, 1, 1), 0.2)
        return x + F.conv2d(y, tensors[f"{name}.LinearLayer3.Layer.weight"])

    x = block(x, "MainLayers.0.Layers.1", 4)
    assert error_of(network.features(ws, "MainLayers.0"), x) < 1e-5
    x = F.conv2d(x, tensors["MainLayers.1.Layers.0.LinearLayer.Layer.weight"])
    # [1, 3, 3, 1] after zero insertion is bilinear interpolation in a border of zeros.
    x = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[:, :, 2:-2, 2:-2]
    for i in (1, 2):
        x = block(x, f"MainLayers.1.Layers.{i}", 3)
    image = F.conv2d(x, tensors["AggregationLayer.Layer.weight"])
    assert error_of(network.synthesis(ws), image) < 1e-5


def test_a_class_must_be_given():
    with pytest.raises(ValueError, match="class-conditional"):
        tiny_r3gan(c_dim=3).mapping(torch.randn(1, 7))


def test_psi_scales_z_only_below_the_cutoff():
    network, z = tiny_r3gan(), torch.randn(2, 7)
    assert torch.equal(network.mapping(z, psi=0.3), 0.3 * z[:, None])
    assert torch.equal(network.mapping(z, psi=0.3, cutoff=0), z[:, None])
    assert network.layer_resolutions() == [4]


@pytest.mark.parametrize("c_dim", [0, 3])
def test_style_weights_are_what_z_enters_by(c_dim: int):
    network, z = tiny_r3gan(c_dim), torch.randn(4, 7)
    basis = network.Model.get_submodule("MainLayers.0.Layers.0")
    c = torch.eye(3)[[1] * 4] if c_dim else None
    given = basis(network.mapping(z, c)[:, 0]).flatten(1)
    weights = network.style_weights()
    assert weights.shape == (12, network.w_dim)
    assert not weights[:, 7:].any()
    for few in (z @ weights[:, :7].T, network.direction_activations(z)):
        torch.testing.assert_close(torch.pdist(few), torch.pdist(given))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ({"Model.MainLayers.0.Layers.0.LinearLayer.weight": None}, "network_lacks"),
        ({"Model.MainLayers.1.Layers.1.LinearLayer2.Layer.weight": None}, "network_lacks"),
        ({"Model.AggregationLayer.Layer.weight": torch.ones(3)}, "network_shape"),
        ({"Model.MainLayers.1.Layers.1.NonLinearity1.Bias": None}, "wrong_tensors"),
        ({"Model.MainLayers.0.Layers.0.Basis": torch.ones(12, 5, 5)}, "wrong_shape"),
        ({f"Model.MainLayers.{i}.Layers.1": torch.ones(1) for i in range(12)}, "network_too_large"),
    ],
)
def test_incomplete_files_are_refused_by_name(damage: dict, code: str, tmp_path: Path):
    tensors = dict(tiny_r3gan().state_dict()) | damage
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    torch.save(kept, tmp_path / "r3gan.pt")
    with pytest.raises(LabError) as caught:
        load_generator(tmp_path / "r3gan.pt")
    assert caught.value.code == code
