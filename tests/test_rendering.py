"""The renderer: right pictures, shared batches, and nobody pays for a neighbour."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan import drawing, rendering
from gan.device import Device
from gan.errors import LabError
from gan.loading import load_generator
from gan.recipe import Edit, Recipe
from gan.rendering import Model, Renderer, draw_exact
from tests.tiny import TINY_CLASSES, tiny_model

CPU = Device("cpu", "float32", 2)
PULLED = Recipe("one", seed=3, edits=(Edit("pca0", 1.5), Edit("pca2", -1, 2, 4)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models that have names: "one", and "two" with classes."""
    monkeypatch.setenv("LATENT_LAB_MODELS", str(tmp_path / "models"))
    tiny_model(tmp_path / "models" / "one")
    tiny_model(tmp_path / "models" / "two", TINY_CLASSES)
    return tmp_path / "models"


@pytest.fixture
def renderer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    """A renderer of its own that draws float32 previews, as the process's shared one."""
    own = Renderer(CPU)
    monkeypatch.setattr(rendering, "_shared", [own])
    yield own
    own.close()
    for worker in [*own._quick.workers, *own._slow.workers]:
        worker.join(10)
        assert not worker.is_alive()


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    """Runs a coroutine, but not for ever."""

    async def bounded() -> Any:
        return await asyncio.wait_for(what(), 30)

    return asyncio.run(bounded())


class Gate:
    """Holds every drawing of previews until it is opened; notes the batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.open = threading.Event()
        self.batches: list[list[Recipe]] = []
        draw = Model.draw_previews

        def gated(model: Model, recipes: list[Recipe], *lent: Any) -> np.ndarray:
            self.batches.append(list(recipes))
            assert self.open.wait(20)
            return draw(model, recipes, *lent)

        monkeypatch.setattr(Model, "draw_previews", gated)

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def occupy(renderer: Renderer, gate: Gate) -> list[asyncio.Task[Any]]:
    """Both workers at the gate, each with one picture, seeds 90 and 91 of "one"."""
    await asyncio.gather(renderer.info("one"), renderer.info("two"))
    tasks = []
    for seed in (90, 91):
        tasks.append(asyncio.ensure_future(renderer.draw(Recipe("one", seed=seed))))
        await until(lambda: len(gate.batches) == len(tasks))
    return tasks


def levels(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# Pictures


def test_an_exact_picture_is_the_networks_own(renderer: Renderer):
    generator = load_generator("one")
    ws = generator.mapping(torch.from_numpy(np.random.RandomState(3).randn(1, 12)).float(), psi=0.7)
    expected = (generator.synthesis(ws) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    drawn = run(lambda: renderer.draw(Recipe("one", seed=3), "exact")).pixels
    assert drawn.shape == (16, 16, 3)
    assert levels(drawn, expected[0].permute(1, 2, 0).numpy()) <= 1
    assert drawn.std() > 10


def test_the_same_recipe_gives_the_same_exact_picture_by_every_way(renderer: Renderer):
    async def crowd() -> list[np.ndarray]:
        others = [renderer.draw(Recipe("one", seed=seed)) for seed in range(20)]
        mine = [renderer.draw(PULLED, "exact") for _ in range(3)]
        drawn = await asyncio.gather(*mine, *others)
        return [picture.pixels for picture in drawn[:3]]

    expected = np.asarray(rendering.render(PULLED))
    for pixels in run(crowd):
        assert np.array_equal(pixels, expected)
    generator = load_generator("one")
    assert np.array_equal(draw_exact(generator, PULLED), expected)
    assert np.array_equal(np.asarray(rendering.render(PULLED, generator)), expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_exact_pictures_do_not_depend_on_the_threads(renderer: Renderer, threads: int):
    """How many there are decides the order of sums, so it is fixed while an exact picture is drawn
    (64 px, 1 thread against 2: one level on 6 of a million values)."""
    expected = np.asarray(rendering.render(PULLED))
    generator, used = load_generator("one"), []
    assert isinstance(generator.synthesis, torch.nn.Module)
    generator.synthesis.register_forward_hook(lambda *_: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert np.array_equal(draw_exact(generator, PULLED), expected)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert used == [1]


@pytest.mark.parametrize(
    "recipe",
    [
        PULLED,
        Recipe("one", seed=1, psi=-0.5, cutoff=2, noise="none"),
        Recipe("one", seed=1, seed2=2, blend=0.3, noise=9),
        Recipe("one", seed=1, seed2=2, blend=0.3, blend_space="z"),
        Recipe("two", seed=5, label=2, psi=1),
        Recipe("two", seed=5),
    ],
)
def test_a_preview_is_nearly_the_exact_picture(renderer: Renderer, recipe: Recipe):
    async def both() -> list[Any]:
        neighbours = [
            renderer.draw(Recipe(recipe.model, seed=s, noise=recipe.noise)) for s in (7, 8)
        ]
        return await asyncio.gather(
            renderer.draw(recipe), renderer.draw(recipe, "exact"), *neighbours
        )

    preview, exact, other, _ = run(both)
    assert preview.recipe == recipe
    assert preview.milliseconds > 0
    assert levels(preview.pixels, exact.pixels) <= 1
    assert levels(preview.pixels, other.pixels) > 8


def test_a_remembered_seed_gives_the_same_preview(renderer: Renderer):
    """ws are cached without their edits: pulling must not leave traces in the cache."""

    async def thrice() -> list[np.ndarray]:
        plain = Recipe("one", seed=3)
        return [(await renderer.draw(recipe)).pixels for recipe in (plain, PULLED, plain)]

    first, pulled, again = run(thrice)
    assert np.array_equal(first, again)
    assert levels(first, pulled) > 8


def test_the_memory_for_ws_is_bounded(renderer: Renderer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "REMEMBERED_WS", 4)

    async def many() -> list[Any]:
        return await asyncio.gather(*(renderer.draw(Recipe("one", seed=s)) for s in range(40)))

    for seed, picture in enumerate(run(many)):
        assert levels(picture.pixels, np.asarray(rendering.render(Recipe("one", seed=seed)))) <= 1
    assert len(renderer.model("one")._ws) <= 4


# Batches


def test_what_arrives_during_a_batch_is_drawn_together(renderer: Renderer, gate: Gate):
    async def crowd() -> list[Any]:
        first = await occupy(renderer, gate)
        rest = [asyncio.ensure_future(renderer.draw(Recipe("one", seed=s))) for s in range(10)]
        await until(lambda: len(renderer._quick.waiting) == 10)
        gate.open.set()
        return await asyncio.gather(*first, *rest)

    pictures = run(crowd)
    assert sum(gate.sizes) == 12
    assert max(gate.sizes[2:]) >= 5
    assert [picture.recipe.seed for picture in pictures] == [90, 91, *range(10)]
    for picture in pictures:
        assert levels(picture.pixels, np.asarray(rendering.render(picture.recipe))) <= 1


def test_a_batch_has_one_model_one_noise_and_a_limit(renderer: Renderer, gate: Gate):
    recipes = [Recipe("one", seed=s) for s in range(40)]
    recipes += [Recipe("one", seed=s, noise="none") for s in range(5)]
    recipes += [Recipe("two", seed=s) for s in range(5)]

    async def crowd() -> None:
        busy = await occupy(renderer, gate)
        tasks = [asyncio.ensure_future(renderer.draw(recipe)) for recipe in recipes]
        await until(lambda: len(renderer._quick.waiting) == len(recipes))
        gate.open.set()
        await asyncio.gather(*busy, *tasks)

    run(crowd)
    assert sum(gate.sizes) == 2 + len(recipes)
    assert max(gate.sizes) <= drawing.MOST_BATCH
    for batch in gate.batches:
        assert len({(recipe.model, recipe.noise) for recipe in batch}) == 1


def test_one_failing_picture_does_not_fail_its_neighbours(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
):
    draw = Model.draw_previews

    def fragile(model: Model, recipes: list[Recipe], *lent: Any) -> np.ndarray:
        if any(recipe.seed == 13 for recipe in recipes):
            raise RuntimeError("thirteen")
        return draw(model, recipes, *lent)

    monkeypatch.setattr(Model, "draw_previews", fragile)

    async def crowd() -> list[Any]:
        tasks = [renderer.draw(Recipe("one", seed=seed)) for seed in range(10, 20)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    for seed, result in zip(range(10, 20), run(crowd), strict=True):
        if seed == 13:
            assert isinstance(result, RuntimeError)
        else:
            assert result.recipe.seed == seed


def test_the_oldest_is_never_passed_over(
    renderer: Renderer, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    """A crowd that wants one model doesn't keep somebody waiting who wants another."""
    taken, take = [], renderer._quick._take
    monkeypatch.setattr(renderer._quick, "_take", lambda: taken.append(take()) or taken[-1])

    async def crowd() -> None:
        tasks = await occupy(renderer, gate)
        tasks += [asyncio.ensure_future(renderer.draw(Recipe("two")))]
        await asyncio.sleep(0)
        tasks += [asyncio.ensure_future(renderer.draw(Recipe("one", seed=s))) for s in range(60)]
        await until(lambda: len(renderer._quick.waiting) == 61)
        gate.open.set()
        await asyncio.gather(*tasks)

    run(crowd)
    assert [job.recipe.model for job in taken[2]] == ["two"]


# Crowds and people who leave


def test_a_newer_wish_of_the_same_client_replaces_the_older(renderer: Renderer, gate: Gate):
    async def drag() -> list[Any]:
        busy = await occupy(renderer, gate)
        tasks = []
        for seed in range(5):
            wish = renderer.draw(Recipe("one", seed=seed), client="hand")
            tasks.append(asyncio.ensure_future(wish))
            await asyncio.sleep(0)
        other = asyncio.ensure_future(renderer.draw(Recipe("one", seed=50), client="other"))
        await asyncio.sleep(0)
        assert len(renderer._quick.waiting) == 2
        gate.open.set()
        await asyncio.gather(*busy, other)
        return await asyncio.gather(*tasks, return_exceptions=True)

    *older, newest = run(drag)
    assert newest.recipe.seed == 4
    assert [error.code for error in older] == ["overtaken"] * 4
    assert {recipe.seed for batch in gate.batches for recipe in batch} == {90, 91, 4, 50}


# Side by side


@pytest.fixture
def pair(renderer: Renderer, tmp_path: Path) -> tuple[str, str]:
    """Name and revision of a second model with the latents of "one"; other weights."""
    later = tmp_path / "later"
    tiny_model(later, seed=8)
    info = renderer.add(later, name="later")
    return info.name, info.revision


def test_a_second_model_draws_the_recipe_with_the_vectors_of_the_first(
    renderer: Renderer, pair: tuple[str, str]
):
    beside = run(lambda: renderer.draw(PULLED, "exact", by=pair)).pixels
    first, second = renderer.model("one"), renderer.model(*pair)
    same = draw_exact(second.generator, PULLED, first.directions().vectors)
    own = draw_exact(second.generator, PULLED, second.directions().vectors)
    assert np.array_equal(beside, same)
    assert levels(beside, own) > 4, "its own directions are others"
    assert levels(beside, first.draw_exact(PULLED)) > 4


def test_a_preview_beside_is_nearly_the_exact_picture(renderer: Renderer, pair: tuple[str, str]):
    preview = run(lambda: renderer.draw(PULLED, by=pair)).pixels
    exact = run(lambda: renderer.draw(PULLED, "exact", by=pair)).pixels
    assert levels(preview, exact) <= 1
    plain = run(lambda: renderer.draw(replace(PULLED, edits=()), "exact", by=pair)).pixels
    assert levels(exact, plain) > 4


def test_the_same_model_beside_itself_draws_the_same_picture(renderer: Renderer):
    first = run(lambda: renderer.draw(PULLED, "exact")).pixels
    beside = run(lambda: renderer.draw(PULLED, "exact", by=("one", ""))).pixels
    assert np.array_equal(first, beside)


def test_lent_vectors_never_mix_with_a_models_own_in_one_batch(
    renderer: Renderer, gate: Gate, pair: tuple[str, str]
):
    async def asked() -> list[Any]:
        waiting = await occupy(renderer, gate)
        own = replace(PULLED, model=pair[0], revision=pair[1])
        await asyncio.gather(renderer.directions("one"), renderer.directions(*pair))
        both = [renderer.draw(own), renderer.draw(PULLED, by=pair)]
        tasks = [asyncio.ensure_future(each) for each in both]
        await until(lambda: len(renderer._quick.waiting) == 2)
        gate.open.set()
        drawn = await asyncio.gather(*tasks)
        await asyncio.gather(*waiting)
        return drawn

    own, beside = (each.pixels for each in run(asked))
    assert gate.sizes == [1, 1, 1, 1]
    assert levels(own, beside) > 4


@pytest.mark.parametrize(
    ("by", "code"),
    [
        (("two", ""), "beside_latents"),
        (("nobody", ""), "unknown_model"),
        (("one", "0" * 12), "other_revision"),
    ],
)
def test_what_cannot_stand_beside_is_refused(renderer: Renderer, by: tuple[str, str], code: str):
    with pytest.raises(LabError) as caught:
        run(lambda: renderer.draw(PULLED, "exact", by=by))
    assert caught.value.code == code


def test_too_many_are_told_so_and_the_others_are_served(
    renderer: Renderer, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(drawing, "MOST_WAITING", 3)

    async def crowd() -> list[Any]:
        busy = await occupy(renderer, gate)
        tasks = [asyncio.ensure_future(renderer.draw(Recipe("one", seed=s))) for s in range(5)]
        await until(lambda: sum(task.done() for task in tasks) == 2)
        gate.open.set()
        return await asyncio.gather(*busy, *tasks, return_exceptions=True)

    results = run(crowd)
    assert [r.recipe.seed for r in results[:5]] == [90, 91, 0, 1, 2]
    assert [r.code for r in results[5:]] == ["busy", "busy"]


def test_who_leaves_is_not_drawn_for(renderer: Renderer, gate: Gate):
    async def crowd() -> Any:
        busy = await occupy(renderer, gate)
        gone = [asyncio.ensure_future(renderer.draw(Recipe("one", seed=s))) for s in range(4)]
        await until(lambda: len(renderer._quick.waiting) == 4)
        for task in (*gone, busy[0]):  # one of them is being drawn already
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        gate.open.set()
        await busy[1]
        return await renderer.draw(Recipe("one", seed=77))

    assert run(crowd).recipe.seed == 77
    assert {recipe.seed for batch in gate.batches for recipe in batch} == {90, 91, 77}


def test_an_event_loop_that_ends_does_not_stop_the_renderer(renderer: Renderer, gate: Gate):
    async def impatient() -> None:
        await renderer.info("one")
        task = asyncio.ensure_future(renderer.draw(Recipe("one")))
        await until(lambda: len(gate.batches) == 1)
        task.cancel()

    run(impatient)
    gate.open.set()
    assert run(lambda: renderer.draw(Recipe("one", seed=5))).recipe.seed == 5


def test_closing_lets_go_of_who_still_waits(home: Path, gate: Gate):
    renderer = Renderer(CPU)

    async def crowd() -> list[Any]:
        tasks = await occupy(renderer, gate)
        tasks += [asyncio.ensure_future(renderer.draw(Recipe("one", seed=5)))]
        await until(lambda: len(renderer._quick.waiting) == 1)
        renderer.close()
        gate.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    *drawn, dropped = run(crowd)
    assert [picture.recipe.seed for picture in drawn] == [90, 91]
    assert isinstance(dropped, asyncio.CancelledError)
    with pytest.raises(RuntimeError):
        run(lambda: renderer.draw(Recipe("one")))


# Models


def test_a_model_is_opened_once(renderer: Renderer, monkeypatch: pytest.MonkeyPatch):
    opened = []
    monkeypatch.setattr(
        rendering, "load_generator", lambda *a: opened.append(a) or load_generator(*a)
    )

    async def crowd() -> None:
        await asyncio.gather(*(renderer.draw(Recipe("one", seed=seed)) for seed in range(8)))

    run(crowd)
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("recipe", "code"),
    [
        (Recipe("nobody"), "unknown_model"),
        (Recipe("one", revision="0123456789ab"), "other_revision"),
        (Recipe("one", label=1), "label_without_classes"),
        (Recipe("two", label=3), "label_outside"),
        (Recipe("one", cutoff=20), "cutoff_outside"),
        (Recipe("one", edits=(Edit("smile", 1),)), "unknown_direction"),
        (Recipe("one", edits=(Edit("pca0", 1, 6),)), "layers_outside"),
    ],
)
@pytest.mark.parametrize("quality", ["preview", "exact"])
def test_what_cannot_be_drawn_is_refused(
    renderer: Renderer, recipe: Recipe, code: str, quality: Any
):
    for attempt in (
        lambda: run(lambda: renderer.draw(recipe, quality)),
        lambda: rendering.render(recipe),
    ):
        with pytest.raises(LabError) as caught:
            attempt()
        assert caught.value.code == code
    assert "nobody" not in renderer._named


def test_the_right_revision_is_drawn(renderer: Renderer):
    info = run(lambda: renderer.info("one"))
    recipe = Recipe("one", revision=info.revision)
    assert run(lambda: renderer.draw(recipe)).recipe == recipe


def test_an_open_model_stays_what_it_is(renderer: Renderer, home: Path):
    before = run(lambda: renderer.info("one")).revision
    assert tiny_model(home / "one", seed=9)[:12] != before
    assert {info.name: info.revision for info in renderer.models()}["one"] == before
    assert run(lambda: renderer.draw(Recipe("one", revision=before))).recipe.revision == before


def test_a_model_that_appears_later_can_be_drawn(renderer: Renderer, home: Path):
    with pytest.raises(LabError):
        run(lambda: renderer.draw(Recipe("late")))
    tiny_model(home / "late")
    assert run(lambda: renderer.draw(Recipe("late"))).recipe.model == "late"


def test_a_model_from_anywhere_can_be_added(renderer: Renderer, tmp_path: Path):
    tiny_model(tmp_path / "elsewhere", seed=4)
    info = renderer.add(tmp_path / "elsewhere")
    assert info.name in {each.name for each in renderer.models()}
    drawn = run(lambda: renderer.draw(Recipe(info.name, seed=2), "exact")).pixels
    assert np.array_equal(
        drawn, draw_exact(load_generator(tmp_path / "elsewhere"), Recipe("x", seed=2))
    )


def test_the_first_picture_does_not_wait_for_directions(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
):
    found, find = threading.Event(), rendering.methods.find

    def slow(*args: Any) -> Any:
        assert found.wait(20)
        return find(*args)

    monkeypatch.setattr(rendering.methods, "find", slow)

    async def explore() -> Any:
        directions = asyncio.ensure_future(renderer.directions("one"))
        pulled = asyncio.ensure_future(renderer.draw(PULLED))
        first = await renderer.draw(Recipe("one"))
        assert not directions.done()
        assert not pulled.done()
        found.set()
        assert (await pulled).recipe == PULLED
        assert len((await directions).vectors) == 10
        return first

    assert run(explore).recipe == Recipe("one")


def test_directions_of_both_kinds_pull_one_picture(renderer: Renderer, tmp_path: Path):
    """Previews, exact pictures and a picture without the renderer agree, whatever was found first;
    what isn't named isn't looked for."""
    edits = (Edit("sefa1", 1.5), Edit("pca0", -1.0, 2, 5))
    recipe = Recipe("one", seed=3, edits=edits)
    model = renderer.model("one")
    run(lambda: renderer.draw(replace(recipe, edits=edits[:1])))
    assert model.known_directions("sefa")
    assert model.known_directions("pca") is None
    exact = run(lambda: renderer.draw(recipe, "exact")).pixels
    assert np.array_equal(exact, draw_exact(model.generator, recipe))
    preview = run(lambda: renderer.draw(recipe)).pixels
    assert np.abs(preview.astype(int) - exact).max() <= 8
    for fewer in (edits[:1], edits[1:], ()):
        assert (draw_exact(model.generator, replace(recipe, edits=fewer)) != exact).any()
    unknown = Recipe("one", edits=(Edit("smile", 1.0),))
    with pytest.raises(LabError) as caught:
        run(lambda: renderer.draw(unknown))
    assert caught.value.code == "unknown_direction"
    assert {"pca0", "sefa0"} <= set(str(caught.value.values["known"]).split(", "))


def test_warming_up_draws(renderer: Renderer):
    model = renderer.model("one")
    assert model._synthesis is None
    renderer.warm_up("one")
    renderer._background.shutdown(wait=True)
    assert model._synthesis is not None


def test_there_is_one_shared_renderer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "_shared", [])
    first = rendering.shared(CPU)
    assert rendering.shared() is first
    assert first.device == CPU
    first.close()
