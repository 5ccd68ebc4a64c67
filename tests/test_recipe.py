"""gan.recipe: one picture, one recipe: valid, canonical, and the same as JSON, link and text."""

import contextlib
import dataclasses
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan import recipe as module
from gan.errors import LabError
from gan.recipe import Edit, Recipe, model_name

VECTORS = json.loads((Path(__file__).parent / "data" / "recipes.json").read_text(encoding="utf-8"))


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    """The code with which the call is refused; its text must be complete in both languages."""
    with pytest.raises(LabError) as caught:
        call(*args, **kwargs)
    assert caught.value.message("en") != caught.value.message("zh")
    json.dumps(caught.value.to_json(), allow_nan=False)
    return caught.value.code


# The vectors that the page's twin is tested on too


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["about"])
def test_valid_vectors(case: dict[str, Any]) -> None:
    also = case.get("also", {})
    recipes = [Recipe.from_json(one) for one in [case["json"], *also.get("json", [])]]
    recipes += [Recipe.from_query(one) for one in [case["query"], *also.get("query", [])]]
    for recipe in recipes:
        assert recipe == recipes[0]
        assert recipe.to_query() == case["query"]
        # As text, so that the order of fields and 1 instead of 1.0 count too.
        assert json.dumps(recipe.to_json()) == json.dumps(case["json"])


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: json.dumps(case)[:80])
def test_invalid_vectors(case: dict[str, Any]) -> None:
    if "query" in case:
        assert refusal(Recipe.from_query, case["query"]) == case["code"]
    else:
        assert refusal(Recipe.from_json, case["json"]) == case["code"]


def test_the_vectors_cover_everything() -> None:
    assert {name for case in VECTORS["valid"] for name in case["json"]} == {
        field.name for field in dataclasses.fields(Recipe)
    }
    refused = {case["code"] for case in VECTORS["invalid"]}
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'LabError\(\s*"(\w+)"', source)) - refused == {"recipe_too_long"}


# Properties

letters = st.sampled_from("abzAZ09_éßЯ猫한ネ")
names = st.text(letters, min_size=1, max_size=40)
seeds = st.integers(0, 2**32 - 1)


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.integers(int(low), int(high))


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    start = draw(st.integers(0, 63))
    end = draw(st.none() | st.integers(start + 1, 64))
    return Edit(draw(names), draw(numbers(-10, 10)), start, end)


recipes = st.builds(
    Recipe,
    model=names | st.builds("{}/{}".format, names, names),
    revision=st.just("") | st.text("0123456789abcdef", min_size=12, max_size=12),
    seed=seeds,
    seed2=st.none() | seeds,
    blend=numbers(0, 1),
    blend_space=st.sampled_from(["w", "z"]),
    label=st.none() | st.integers(0, 99_999),
    psi=numbers(-1, 1.5),
    cutoff=st.none() | st.integers(0, 64),
    noise=st.sampled_from(["const", "none"]) | seeds,
    edits=st.lists(edits(), max_size=4).map(tuple),
)


@given(recipes)
def test_every_form_gives_the_recipe_back(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_text(recipe.to_text()) == recipe
    assert Recipe.from_query(recipe.to_query()) == recipe
    assert dataclasses.replace(recipe) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert len({recipe, Recipe.from_query("?" + recipe.to_query())}) == 1


@given(recipes)
def test_the_forms_are_plain(recipe: Recipe) -> None:
    assert recipe.to_text().isascii()
    assert re.fullmatch(r"[\w.~%:,/=&-]+", recipe.to_query(), re.ASCII)
    assert not re.search(r"=-0(&|$)|\.\d*0(?=[&,:]|$)|\d\.\d{5}|\de[-+]\d", recipe.to_query())
    assert all(edit.strength != 0 for edit in recipe.edits)
    assert (recipe.blend, recipe.blend_space) == (0, "w") or recipe.seed2 is not None


@given(st.floats(-10, 10))
def test_rounding_moves_by_half_a_step_at_most(strength: float) -> None:
    rounded = Edit("pca0", strength).strength
    assert abs(rounded - strength) <= 0.5e-4 + 1e-15
    assert rounded == round(rounded, 4)
    assert Edit("pca0", -strength).strength == -rounded
    assert str(rounded) != "-0.0"


@given(st.text(max_size=40))
def test_no_query_can_break_it(text: str) -> None:
    for query in (text, "m=avatars&" + text, "m=avatars&e=" + text, "m=avatars&psi=" + text):
        with contextlib.suppress(LabError):
            recipe = Recipe.from_query(query)
            assert Recipe.from_query(recipe.to_query()) == recipe


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.sampled_from([field.name for field in dataclasses.fields(Recipe)]), json_values)
def test_no_json_can_break_it(name: str, value: object) -> None:
    for given_json in (value, {"model": "avatars", name: value}):
        with contextlib.suppress(LabError):
            recipe = Recipe.from_json(given_json)
            assert Recipe.from_json(recipe.to_json()) == recipe


@given(st.text(max_size=200))
def test_any_name_becomes_a_models_name(text: str) -> None:
    name = model_name(text)
    assert Recipe(model=name).model == name
    assert model_name(name) == name


# What hypothesis wouldn't think of


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
@pytest.mark.parametrize("name", ["blend", "psi", "seed", "seed2", "label", "cutoff", "noise"])
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    wanted = "bad_seed" if name == "seed2" else f"bad_{name}"
    fields = {"model": "avatars", "seed2": 1, name: value}
    assert refusal(Recipe.from_json, fields) == wanted
    assert refusal(Edit, "pca0", value) == "bad_strength"


def test_numpys_numbers_are_numbers() -> None:
    recipe = Recipe("avatars", seed=np.int64(3), psi=np.float32(0.3), label=np.uint8(2))  # pyright: ignore[reportArgumentType]
    assert recipe == Recipe("avatars", seed=3, psi=0.3, label=2)
    assert [type(value) for value in (recipe.seed, recipe.psi, recipe.label)] == [int, float, int]
    assert refusal(Recipe, "avatars", seed=np.bool_(True)) == "bad_seed"


@pytest.mark.parametrize(
    "text",
    ["", "{", "nonsense", "[" * 10_000, '{"a":' * 3_000, "1" * 5_000, "\ud800", '"' + "x" * 9_000],
)
def test_hostile_text_is_refused(text: str) -> None:
    assert refusal(Recipe.from_text, text) == "bad_recipe"


@pytest.mark.parametrize("read", [Recipe.from_text, Recipe.from_query])
def test_long_text_is_not_even_read(read: Any) -> None:
    assert refusal(read, "m=avatars&x=" + "x" * module.LONGEST_TEXT) == "recipe_too_long"


def test_the_longest_recipe_can_be_read_back() -> None:
    pulled = tuple(Edit("d" * 40, -9.1234, 10, 11) for _ in range(module.MOST_EDITS))
    owned, most = "m" * 96 + "/" + "m" * 96, module.MOST_SEED
    recipe = Recipe(owned, "0" * 12, most, most, 0.1234, "z", 99_999, -0.1234, 64, most, pulled)
    assert Recipe.from_text(recipe.to_text()) == recipe == Recipe.from_query(recipe.to_query())
    scripted = dataclasses.replace(
        recipe, edits=tuple(dataclasses.replace(edit, direction="笑" * 40) for edit in pulled)
    )
    assert Recipe.from_text(scripted.to_text()) == scripted
    assert Recipe.from_query(scripted.to_query()) == scripted


def test_a_recipe_without_a_model_says_so() -> None:
    assert refusal(Recipe.from_query, "") == refusal(Recipe.from_query, "?x=1") == "bad_model"


def test_edits_of_another_kind_are_a_mistake_in_our_own_code() -> None:
    with pytest.raises(TypeError, match="from_json"):
        Recipe("avatars", edits=({"direction": "pca0", "strength": 1},))  # pyright: ignore[reportArgumentType]


def test_nothing_can_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe("avatars").seed = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("code", "limits"),
    [
        ("bad_seed", [module.MOST_SEED]),
        ("bad_noise", [module.MOST_SEED]),
        ("bad_label", [module.MOST_LABEL]),
        ("bad_cutoff", [module.MOST_ROWS]),
        ("bad_layers", [module.MOST_ROWS, module.MOST_ROWS - 1]),
        ("bad_strength", [int(module.MOST_STRENGTH)]),
        ("bad_edits", [module.MOST_EDITS]),
        ("recipe_too_long", [module.LONGEST_TEXT]),
    ],
)
def test_the_texts_name_the_limits(code: str, limits: list[int]) -> None:
    error = LabError(code, value="?", length="?")
    for lang in ("en", "zh"):
        assert set(limits) <= {int(number) for number in re.findall(r"\d+", error.message(lang))}
