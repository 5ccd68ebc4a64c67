"""gan.lockstep: what goes side by side, and what a recipe means to the second model."""

from dataclasses import replace

import pytest

from gan import lockstep
from gan.errors import LabError
from gan.recipe import Edit, Recipe
from tests.tiny import TINY, TINY_CLASSES, tiny_network


def refusal(first: object, second: object) -> LabError:
    with pytest.raises(LabError) as caught:
        lockstep.check(first, second)  # type: ignore[arg-type]
    return caught.value


def test_networks_of_one_shape_go_together_also_at_another_resolution() -> None:
    first = tiny_network(TINY)
    lockstep.check(first, tiny_network(TINY, seed=1))
    lockstep.check(first, tiny_network(replace(TINY, resolution=8)))


def test_other_latents_are_refused_with_both_sizes() -> None:
    first = tiny_network(TINY)
    error = refusal(first, tiny_network(replace(TINY, w_dim=9)))
    assert error.code == "beside_latents"
    assert error.values == {"ours": "z 12, w 12", "theirs": "z 12, w 9"}
    assert refusal(first, tiny_network(replace(TINY, z_dim=9))).values["theirs"] == "z 9, w 12"


def test_where_w_is_z_that_is_another_space() -> None:
    first, second = tiny_network(TINY), tiny_network(TINY)
    second.latent_space = "z"
    assert refusal(first, second).values["theirs"] == "z 12"


def test_other_classes_are_refused() -> None:
    first = tiny_network(TINY_CLASSES)
    error = refusal(first, tiny_network(replace(TINY_CLASSES, c_dim=0)))
    assert error.code == "beside_classes"
    assert error.values == {"ours": 3, "theirs": 0}


def test_a_recipe_keeps_everything_but_the_model() -> None:
    edits = (Edit("pca0", 1.5, 1, 3), Edit("pca1", -2))
    given = Recipe("one", "a" * 12, 7, 9, 0.25, "z", 2, 0.5, 3, 11, edits)
    assert lockstep.fitted(given, 4, "two", "b" * 12) == replace(
        given, model="two", revision="b" * 12
    )


def test_rows_that_the_second_does_not_have_are_left_out() -> None:
    edits = (Edit("pca0", 1, 0, 6), Edit("pca1", 1, 2, 4), Edit("pca2", 1, 4), Edit("pca3", 1, 1))
    fitted = lockstep.fitted(Recipe("one", cutoff=7, edits=edits), 4, "two", "")
    assert fitted.edits == (Edit("pca0", 1), Edit("pca1", 1, 2), Edit("pca3", 1, 1))
    assert fitted.cutoff == 4
