"""Closed-form directions: eigenvectors of what reads the latent, in every family; and how a recipe
names them beside principal components."""

import json
from pathlib import Path

import pytest
import torch

from gan.directions import methods
from gan.directions.closed_form import closed_form
from gan.directions.naming import METHODS, direction_name, method_of
from gan.directions.pca import SAMPLES, pca, sample_w
from gan.errors import LabError
from gan.generators.base import Generator
from tests.families import tiny_biggan, tiny_dcgan, tiny_fastgan, tiny_r3gan, tiny_stylegan3
from tests.tiny import TINY, tiny_network

FAMILIES = {
    "stylegan2": tiny_network(),
    "stylegan3": tiny_stylegan3(),
    "dcgan": tiny_dcgan(),
    "biggan": tiny_biggan(),
    "r3gan": tiny_r3gan(),
    "r3gan with classes": tiny_r3gan(c_dim=3),
    "fastgan": tiny_fastgan(),
}


@pytest.mark.parametrize("network", FAMILIES.values(), ids=FAMILIES)
def test_they_are_the_right_singular_vectors_of_the_weights(network: Generator):
    found = closed_form(network, count=4)
    assert list(found.vectors) == ["sefa0", "sefa1", "sefa2", "sefa3"]
    weights = network.style_weights().double()
    _, sizes, rows = torch.linalg.svd(weights, full_matrices=False)
    shares = sizes.square() / sizes.square().sum()
    for number, vector in enumerate(found.vectors.values()):
        assert vector.dtype == torch.float32
        unit = torch.nn.functional.normalize(vector.double(), dim=0)
        assert abs(unit @ rows[number]) == pytest.approx(1, abs=1e-5)
        assert found.explained[number] == pytest.approx(shares[number].item(), rel=1e-6)
        assert found.sigma[number] == pytest.approx(vector.norm().item(), rel=1e-5)
        assert vector[vector.abs().argmax()] > 0


def test_in_w_they_are_one_standard_deviation_long():
    network = tiny_network()
    w = sample_w(network, SAMPLES)  # those that PCA looks at
    for vector in closed_form(network, count=3).vectors.values():
        unit = torch.nn.functional.normalize(vector, dim=0)
        assert vector.norm().item() == pytest.approx((w @ unit).std().item(), rel=1e-4)


def test_in_z_they_are_as_long_as_a_step_of_one_deviation():
    assert closed_form(tiny_dcgan(), count=3).sigma == (1.0, 1.0, 1.0)


def test_there_are_no_more_than_the_weights_have():
    assert len(closed_form(tiny_network(), count=100).vectors) == TINY.w_dim
    # Of BigGAN's rows only what belongs to z moves: six numbers, not the class or the truncation.
    found = closed_form(tiny_biggan(), count=100)
    assert len(found.vectors) == 6
    assert not torch.stack(list(found.vectors.values()))[:, 6:].any()


def test_the_first_moves_the_first_layer_more_than_any_other_direction():
    network = tiny_dcgan()
    weights, first = network.style_weights(), next(iter(closed_form(network).vectors.values()))
    others = torch.nn.functional.normalize(torch.randn(50, 9), dim=1)
    assert (weights @ first).norm() > (others @ weights.T).norm(dim=1).max()


# Names and methods

TABLE = json.loads((Path(__file__).parent / "data/directions.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["name"])
def test_names_are_read_as_on_the_page(case: dict):
    assert method_of(case["name"]) == case["method"]
    if case["method"]:
        assert direction_name(case["method"], case["number"] - 1) == case["name"]


@pytest.mark.parametrize("network", FAMILIES.values(), ids=FAMILIES)
def test_every_family_offers_both(network: Generator):
    assert methods.offered(network) == METHODS
    for method in METHODS:
        found = methods.find(network, method)
        assert {method_of(name) for name in found.vectors} == {method}


class Unsaid(Generator):
    """A family that doesn't say its style weights."""


def test_a_family_that_says_no_weights_offers_pca_only():
    plain = Unsaid()
    assert not plain.has_style_weights
    assert methods.offered(plain) == ("pca",)
    for asked in ("sefa", "magic", None, ["pca"]):
        with pytest.raises(LabError) as caught:
            methods.check(asked, plain)
        assert caught.value.code == "bad_method"
        assert caught.value.values["known"] == "pca"


def test_only_what_a_recipe_names_is_looked_for():
    both, one = tiny_dcgan(), Unsaid()
    assert methods.needed(["pca1", "pca0"], both) == ("pca",)
    assert methods.needed(["sefa0"], both) == ("sefa",)
    assert methods.needed(["sefa0", "pca0"], both) == ("pca", "sefa")
    assert methods.needed(["smile"], both) == ("pca", "sefa"), "so that the refusal lists them all"
    assert methods.needed(["sefa0"], one) == ("pca",)


def test_vectors_of_both_kinds_are_those_of_each():
    network = tiny_network()
    found = methods.find_vectors(network, ["pca0", "sefa1"])
    for name, vector in {**pca(network).vectors, **closed_form(network).vectors}.items():
        assert torch.equal(found.pop(name), vector)
    assert not found
