"""gan.latents: seeds, classes, truncation, blends and edits become the ws that they should."""

import dataclasses
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gan.errors import LabError
from gan.generators.stylegan2 import Mapping, StyleGAN2, StyleGAN2Config
from gan.latents import lerp, one_hot, recipe_to_ws, recipes_to_ws, seed_to_z, slerp
from gan.recipe import Edit, Recipe

W = 24  # size of both latent spaces here
ROWS = 6  # a 16 px generator


def make_generator(c_dim: int) -> StyleGAN2:
    torch.manual_seed(1)
    config = StyleGAN2Config(
        resolution=16, z_dim=W, w_dim=W, c_dim=c_dim, mapping_lr=1.0, channel_base=128
    )
    generator = StyleGAN2(config).eval().requires_grad_(False)
    network(generator).w_avg.normal_()
    return generator


def network(generator: StyleGAN2) -> Mapping:
    """The mapping as the module that it is here, not only as the function of the interface."""
    return cast(Mapping, generator.mapping)


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    return make_generator(c_dim=0)


@pytest.fixture(scope="module")
def conditional() -> StyleGAN2:
    return make_generator(c_dim=3)


@pytest.fixture(scope="module")
def directions() -> dict[str, Tensor]:
    drawn = torch.randn(2, W, generator=torch.Generator().manual_seed(2))
    return {"pca0": drawn[0], "pca1": drawn[1]}


def recipe(**fields: Any) -> Recipe:
    return Recipe(model="tiny", **fields)


# Seeds and classes


@pytest.mark.parametrize("seed", [0, 12, 2**32 - 1])
def test_a_seed_is_numpys_legacy_normal(seed: int) -> None:
    z = seed_to_z(seed, 5)
    expected = np.random.RandomState(seed).randn(1, 5).astype(np.float32)
    assert z.dtype == torch.float32
    assert np.array_equal(z.numpy(), expected)


def test_a_seeds_z_is_as_published() -> None:
    """The first normal numbers of seed 0, as anyone's NumPy gives them."""
    assert seed_to_z(0, 3).tolist() == [pytest.approx([1.7640524, 0.4001572, 0.978738])]


def test_nobody_can_spoil_a_seed() -> None:
    before = seed_to_z(3, 4).tolist()
    seed_to_z(3, 4).zero_()
    assert seed_to_z(3, 4).tolist() == before


def test_one_hot() -> None:
    assert one_hot([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot([], 3).shape == (0, 3)


# Lines and circles

dims = st.integers(2, 64)
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)


@given(seeds, seeds, dims)
def test_both_are_exact_at_the_ends(seed_a: int, seed_b: int, dim: int) -> None:
    a, b = seed_to_z(seed_a, dim), seed_to_z(seed_b, dim)
    for between in (lerp, slerp):
        assert torch.equal(between(a, b, 0.0), a)
        assert torch.equal(between(a, b, 1.0), b)


@given(seeds, seeds, dims, shares)
def test_slerp_moves_evenly_on_the_sphere(seed_a: int, seed_b: int, dim: int, t: float) -> None:
    a, b = (
        z / z.norm() for z in (seed_to_z(seed_a, dim).double(), seed_to_z(seed_b, dim).double())
    )
    whole = math.acos(max(-1.0, min(1.0, float((a * b).sum()))))
    if not 0.01 < whole < math.pi - 0.01:
        return  # the same seed twice
    between = slerp(a, b, t)
    assert float(between.norm()) == pytest.approx(1, abs=1e-9)
    assert float((a * between).sum()) == pytest.approx(math.cos(t * whole), abs=1e-9)


def test_slerp_follows_its_equation_row_by_row() -> None:
    a, b, t = torch.randn(4, 9).double(), 3 * torch.randn(4, 9).double(), 0.3
    omega = torch.nn.functional.cosine_similarity(a, b).acos()[:, None]
    expected = (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()
    assert torch.allclose(slerp(a, b, t), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 1 + 1e-7])
def test_slerp_of_parallel_vectors_is_the_straight_line(factor: float) -> None:
    a = seed_to_z(1, 8)
    assert torch.allclose(slerp(a, factor * a, 0.25), lerp(a, factor * a, 0.25), atol=1e-6)


def test_slerp_at_zero_length_stays_finite() -> None:
    assert slerp(torch.zeros(1, 4), torch.ones(1, 4), 0.5).isfinite().all()


# One recipe


def test_the_plain_recipe_is_the_mapping_of_its_seed(generator: StyleGAN2) -> None:
    ws = recipe_to_ws(generator, recipe(seed=5), {})
    assert ws.shape == (1, ROWS, W)
    assert torch.equal(ws, generator.mapping(seed_to_z(5, W), psi=0.7))


@pytest.mark.parametrize("psi", [-1.0, 0.0, 0.35, 1.0, 1.5])
@pytest.mark.parametrize("cutoff", [None, 0, 2, ROWS])
def test_truncation(generator: StyleGAN2, psi: float, cutoff: int | None) -> None:
    ws = recipe_to_ws(generator, recipe(seed=5, psi=psi, cutoff=cutoff), {})
    whole = generator.mapping(seed_to_z(5, W))
    average = network(generator).w_avg
    rows = ROWS if cutoff is None else cutoff
    assert torch.allclose(ws[:, :rows], average + psi * (whole[:, :rows] - average), atol=1e-5)
    assert torch.equal(ws[:, rows:], whole[:, rows:])


@pytest.mark.parametrize("space", ["w", "z"])
def test_a_blend_begins_and_ends_at_its_seeds(generator: StyleGAN2, space: str) -> None:
    def at(blend: float) -> Tensor:
        both = recipe(seed=1, seed2=2, blend=blend, blend_space=space)
        return recipe_to_ws(generator, both, {})

    assert torch.equal(at(0.0), recipe_to_ws(generator, recipe(seed=1), {}))
    assert torch.equal(at(1.0), recipe_to_ws(generator, recipe(seed=2), {}))


def test_a_blend_in_w_is_straight_and_one_in_z_is_not(generator: StyleGAN2) -> None:
    ends = [generator.mapping(seed_to_z(seed, W), psi=0.5, cutoff=3) for seed in (1, 2)]
    both = recipe(seed=1, seed2=2, blend=0.25, psi=0.5, cutoff=3)
    in_w = recipe_to_ws(generator, both, {})
    assert torch.allclose(in_w, 0.75 * ends[0] + 0.25 * ends[1], atol=1e-6)
    in_z = recipe_to_ws(generator, dataclasses.replace(both, blend_space="z"), {})
    z = slerp(seed_to_z(1, W), seed_to_z(2, W), 0.25)
    assert torch.equal(in_z, generator.mapping(z, psi=0.5, cutoff=3))
    assert not torch.allclose(in_z, in_w, atol=1e-2)


def test_classes(conditional: StyleGAN2) -> None:
    drawn = [recipe_to_ws(conditional, recipe(seed=5, label=label), {}) for label in range(3)]
    expected = conditional.mapping(seed_to_z(5, W), torch.tensor([[0.0, 0.0, 1.0]]), psi=0.7)
    assert torch.equal(drawn[2], expected)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-2)
    assert torch.equal(recipe_to_ws(conditional, recipe(seed=5), {}), drawn[0])


def test_edits_add_to_their_rows_only(generator: StyleGAN2, directions: dict[str, Tensor]) -> None:
    pulled = (Edit("pca0", 2.5), Edit("pca1", -1.5, 2, 4), Edit("pca1", 0.5, 5))
    difference = recipe_to_ws(generator, recipe(edits=pulled), directions) - recipe_to_ws(
        generator, recipe(), directions
    )
    expected = 2.5 * directions["pca0"].repeat(ROWS, 1)
    expected[2:4] -= 1.5 * directions["pca1"]
    expected[5:] += 0.5 * directions["pca1"]
    assert torch.allclose(difference[0], expected, atol=1e-5)


def test_strength_zero_changes_nothing(generator: StyleGAN2, directions: dict[str, Tensor]) -> None:
    plain = recipe_to_ws(generator, recipe(seed=9), directions)
    none = recipe_to_ws(generator, recipe(seed=9, edits=(Edit("pca0", 0.0),)), directions)
    assert torch.equal(plain, none)


def test_an_edit_leaves_the_mappings_own_tensor_alone(directions: dict[str, Tensor]) -> None:
    """A family may hand out the same rows again and again, or rows that share memory."""
    generator = make_generator(c_dim=0)
    shared = torch.zeros(1, 1, W)
    network(generator).forward = lambda *_, **__: shared.expand(1, ROWS, W)
    edited = recipe(edits=(Edit("pca0", 1.0, 0, 1),))
    single = recipe_to_ws(generator, edited, directions)
    for ws in (single, recipes_to_ws(generator, [edited], directions)):
        assert torch.equal(ws[0, 0], directions["pca0"])
        assert not ws[0, 1:].any()
    assert not shared.any()


def test_the_same_recipe_gives_the_same_bits_and_no_gradients(
    generator: StyleGAN2, directions: dict[str, Tensor]
) -> None:
    again = recipe(seed=3, seed2=4, blend=0.3, edits=(Edit("pca0", 1.5, 1, 3),))
    ws = recipe_to_ws(generator, again, directions)
    assert torch.equal(ws, recipe_to_ws(generator, again, directions))
    assert (ws.dtype, ws.requires_grad) == (torch.float32, False)


# Many recipes


def mixed(count: int, labels: bool) -> list[Recipe]:
    """Recipes that share some truncations, blends, classes and edits, and not others."""
    return [
        recipe(
            seed=i,
            seed2=i + 7 if i % 3 == 0 else None,
            blend=i % 5 / 4,
            blend_space="wz"[i % 2],
            label=i % 3 if labels and i % 4 else None,
            psi=(0.7, 1.0, 0.25)[i % 3],
            cutoff=2 if i % 4 == 0 else None,
            edits=(Edit("pca0", (i - 12) / 4), Edit("pca1", 0.5, i % ROWS))[: i % 3],
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 24])
@pytest.mark.parametrize("labels", [False, True])
def test_a_batch_is_its_singles(
    generator: StyleGAN2,
    conditional: StyleGAN2,
    directions: dict[str, Tensor],
    labels: bool,
    count: int,
) -> None:
    which, recipes = conditional if labels else generator, mixed(count, labels)
    singles = torch.cat([recipe_to_ws(which, one, directions) for one in recipes])
    batch = recipes_to_ws(which, recipes, directions)
    assert batch.shape == (count, ROWS, W)
    assert torch.allclose(batch, singles, atol=1e-5)
    # Nobody gets another's row: the nearest single of each row is its own.
    assert torch.cdist(batch.flatten(1), singles.flatten(1)).argmin(1).tolist() == [*range(count)]


def test_a_batch_maps_once_for_each_truncation(
    generator: StyleGAN2, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    mapping = network(generator).forward
    monkeypatch.setattr(
        network(generator),
        "forward",
        lambda z, c=None, **options: (sizes.append(len(z)), mapping(z, c, **options))[1],
    )
    recipes_to_ws(generator, [recipe(seed=i, psi=i % 2, seed2=3, blend=0.5) for i in range(9)], {})
    assert sorted(sizes) == [8, 10]


# Refusals


def refusal(*args: Any) -> LabError:
    with pytest.raises(LabError) as caught:
        recipe_to_ws(*args)
    with pytest.raises(LabError) as again:
        recipes_to_ws(args[0], [recipe(), args[1]], args[2])
    assert again.value.to_json() == caught.value.to_json()
    assert caught.value.message("en") != caught.value.message("zh")
    return caught.value


def test_an_unknown_direction_names_those_there_are(
    generator: StyleGAN2, directions: dict[str, Tensor]
) -> None:
    error = refusal(generator, recipe(edits=(Edit("smile", 1.0),)), directions)
    assert error.code == "unknown_direction"
    assert "smile" in str(error)
    assert "pca0, pca1" in str(error)
    assert refusal(generator, recipe(edits=(Edit("smile", 1.0),)), {}).values["known"] == "–"


@pytest.mark.parametrize("shape", [(W + 1,), (1, W), (ROWS, W), ()])
def test_a_direction_of_another_size_is_refused(generator: StyleGAN2, shape: Any) -> None:
    error = refusal(generator, recipe(edits=(Edit("pca0", 1.0),)), {"pca0": torch.zeros(shape)})
    assert error.code == "direction_size"
    assert error.values["wanted"] == W


@pytest.mark.parametrize(
    ("start", "end"), [(ROWS, None), (0, ROWS + 1), (ROWS, ROWS + 1), (63, 64)]
)
def test_layers_outside_are_refused(
    generator: StyleGAN2, directions: dict[str, Tensor], start: int, end: int | None
) -> None:
    error = refusal(generator, recipe(edits=(Edit("pca0", 1.0, start, end),)), directions)
    assert (error.code, error.values["rows"]) == ("layers_outside", ROWS)


def test_a_cutoff_outside_is_refused(generator: StyleGAN2) -> None:
    assert refusal(generator, recipe(cutoff=ROWS + 1), {}).code == "cutoff_outside"


def test_labels_that_the_model_lacks_are_refused(
    generator: StyleGAN2, conditional: StyleGAN2
) -> None:
    assert refusal(generator, recipe(label=0), {}).code == "label_without_classes"
    error = refusal(conditional, recipe(label=3), {})
    assert (error.code, error.values["last"]) == ("label_outside", 2)
