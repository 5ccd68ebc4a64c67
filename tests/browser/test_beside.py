"""Two pictures side by side: one recipe, two models, and both pictures are what was asked for."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .conftest import Lab, serving
from .test_look import CHINESE, CONTRAST, assert_fits

RUN = "run-00000000000000cc"
MOMENTS = (500, 2000)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders: "one", "later" with its latents, "unlike" with others; and a finished run
    whose networks are like "one", with two kept moments and its last state."""
    import torch

    from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
    from gan.loading import save_model
    from gan.workshop import TrainRequest
    from gan.workshop.records import About, owner_hash

    home, run = tmp_path_factory.mktemp("pair"), tmp_path_factory.mktemp("runs") / RUN
    small = StyleGAN2Config(32, z_dim=32, w_dim=32, channel_base=512, channel_max=32)

    def make(folder: Path, seed: int, config: StyleGAN2Config = small, **words: Any) -> Path:
        torch.manual_seed(seed)
        title = {"en": folder.name.capitalize(), "zh": f"模型 {folder.name}"}
        save_model(folder, StyleGAN2(config), name=folder.name, title=title, **words)
        return folder

    run.mkdir()
    request = TrainRequest("digits-tiny", images=9000)
    About("A long training", owner_hash("b" * 32), 1e9, request).write(run)
    told = {"state": "finished", "finished": "budget", "images_seen": 9000, "images": 9000}
    (run / "status.json").write_text(json.dumps(told))
    made = {"one": make(home / "one", 5), "later": make(home / "later", 6)}
    make(home / "unlike", 7, replace(small, z_dim=24, w_dim=24))
    for seen in MOMENTS:
        made[f"{seen}"] = make(
            run / "moments" / f"{seen:09d}", seen, training={"images_seen": seen}
        )
    made["newest"] = make(run / "latest", 9, training={"images_seen": 9000})
    return made


@pytest.fixture(scope="module")
def pair_app(places: dict[str, Path]) -> Iterator[str]:
    environment = {"LATENT_LAB_MODELS": str(places["one"].parent)}
    environment["LATENT_LAB_RUNS"] = str(places["newest"].parents[1])
    with serving(["app.py", "--model", "one", "--port"], **environment) as url:
        yield url


@pytest.fixture
def lab(new_lab: Callable[..., Lab], pair_app: str) -> Lab:
    return new_lab(url=pair_app)


@pytest.fixture(scope="module")
def beside(places: dict[str, Path]) -> Callable[[str, str, str], bytes]:
    """(query, first, second) → RGB of what the second draws, drawn here and not by the app."""
    from gan.directions.pca import pca
    from gan.loading import load_generator
    from gan.recipe import Recipe
    from gan.rendering import draw_exact

    networks = {name: load_generator(folder) for name, folder in places.items()}

    def draw(query: str, first: str, second: str) -> bytes:
        return draw_exact(
            networks[second], Recipe.from_query(query), pca(networks[first]).vectors
        ).tobytes()

    return draw


def revision(folder: Path) -> str:
    from gan.loading.native import read_info

    return read_info(folder / "model.safetensors").revision


def second_rests(lab: Lab) -> None:
    """Waits until the second canvas shows the exact picture of the first one's recipe."""
    lab.rest()
    lab.page.wait_for_function(
        """() => {
          const [first, second] = ["#lab-canvas", "#lab-second-canvas"]
            .map((one) => document.querySelector(one).dataset);
          return second.quality === "exact" && second.recipe === first.recipe;
        }"""
    )


def second_pixels(lab: Lab) -> bytes:
    return lab.pixels("#lab-second-canvas")


def test_a_drag_moves_both_and_both_end_on_its_last_position(
    lab: Lab, beside: Callable[[str, str, str], bytes]
) -> None:
    lab.open("?m=one&s=3")
    lab.do("beside")
    second_rests(lab)
    assert lab.page.locator("#lab-first-head b").text_content() == "One"
    assert lab.page.locator("#lab-second-model option:checked").text_content() == "Later"
    assert second_pixels(lab) == beside("m=one&s=3", "one", "later")
    lab.page.evaluate(
        """() => {
          window.seen = { first: new Set(), second: new Set() };
          for (const [name, id] of [["first", "#lab-canvas"], ["second", "#lab-second-canvas"]]) {
            const canvas = document.querySelector(id);
            new MutationObserver(() => seen[name].add(canvas.dataset.recipe))
              .observe(canvas, { attributeFilter: ["data-recipe"] });
          }
        }"""
    )
    lab.pull(lab.slider(1), "(count) => Math.min(seen.first.size, seen.second.size) >= count")
    lab.page.mouse.up()
    for number, to in enumerate((0.9, 0.2, 0.7)):
        lab.drag(lab.slider(1 + number), to=to)
        second_rests(lab)
        query = lab.query.partition("&vs=")[0]
        assert query.count("pca") == number + 1
        assert lab.pixels() == beside(query, "one", "one")
        assert second_pixels(lab) == beside(query, "one", "later")


def test_a_link_opens_the_same_comparison_and_closing_it_takes_it_out(
    lab: Lab, new_lab: Callable[..., Lab], places: dict[str, Path]
) -> None:
    lab.open("?m=one&s=3&e=pca0:1.5&vs=later")
    second_rests(lab)
    later = f"later@{revision(places['later'])}"
    lab.page.wait_for_function("(vs) => location.search.endsWith(vs)", arg=f"&vs={later}")
    link = lab.page.evaluate("location.href")
    shown = second_pixels(lab)
    other = new_lab(url=lab.app).open(link.removeprefix(lab.app).removeprefix("/"))
    second_rests(other)
    assert second_pixels(other) == shown
    label = other.page.locator("#lab-second-canvas").get_attribute("aria-label")
    assert label == "Generated picture: Later, seed 3, ψ 0.7 · Direction 1 +1.5σ"
    other.page.locator("#lab-picture").focus()
    other.page.keyboard.press("c")
    other.page.wait_for_function("!location.search.includes('vs=')")
    assert other.page.locator("#lab-second").is_hidden()
    other.page.keyboard.press("c")
    second_rests(other)
    other.do("beside-close")
    assert other.page.locator("#lab-second").is_hidden()


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("nobody", "no model “nobody”"),
        ("run-00000000000000dd", "no such run"),
        (f"{RUN}@0123456789ab", "no longer keeps"),
        ("unlike", "z 32, w 32, those of the second z 24, w 24"),
    ],
)
def test_what_cannot_stand_beside_says_why(lab: Lab, second: str, told: str) -> None:
    lab.open(f"?m=one&s=3&vs={second}")
    note = lab.page.locator("#lab-second-note")
    lab.page.wait_for_function(
        "(told) => document.querySelector('#lab-second-note').textContent.includes(told)", arg=told
    )
    assert note.is_visible()
    lab.rest()
    lab.page.locator("#lab-second-model").select_option(label="Later")
    second_rests(lab)
    assert note.is_hidden()


def test_two_moments_of_one_training(
    lab: Lab, places: dict[str, Path], beside: Callable[[str, str, str], bytes]
) -> None:
    lab.open(f"?m={RUN}&r={revision(places['newest'])}&s=3")
    lab.page.wait_for_function("document.querySelector('#lab-moments').checkVisibility()")
    lab.do("beside")
    second_rests(lab)
    heads = lab.page.locator(".pane-head")
    assert "newest, 9,000 images seen" in (heads.nth(0).text_content() or "")
    assert lab.page.locator("#lab-second-seen").text_content() == "500 images seen"
    assert "w drifts" in (lab.page.locator("#lab-beside-hint").text_content() or "")
    lab.page.wait_for_selector("#lab-directions[aria-busy=false]")
    lab.drag(lab.slider(1), to=0.8)
    second_rests(lab)
    query = lab.query.partition("&vs=")[0]
    assert second_pixels(lab) == beside(query, "newest", "500")
    slider = lab.page.locator("#lab-second-moments input")
    slider.press("ArrowRight")
    shown = "document.querySelector('#lab-second-seen').textContent === '2,000 images seen'"
    lab.page.wait_for_function(shown)
    assert slider.get_attribute("aria-valuetext") == "at 2,000 images"
    wait_for_second(lab, beside(query, "newest", "2000"))
    assert lab.pixels() == beside(query, "newest", "newest"), "the first stays as it was"


def wait_for_second(lab: Lab, expected: bytes) -> None:
    lab.wait_for_pixels(expected, "#lab-second-canvas")


def test_without_edits_while_held_means_both(
    lab: Lab, beside: Callable[[str, str, str], bytes]
) -> None:
    lab.open("?m=one&s=3&e=pca0:2&vs=later")
    second_rests(lab)
    edited = second_pixels(lab)
    lab.page.locator("#lab-picture").focus()
    lab.page.keyboard.down(" ")
    wait_for_second(lab, beside("m=one&s=3", "one", "later"))
    assert lab.page.locator(".unedited:visible").count() == 2
    lab.page.keyboard.up(" ")
    wait_for_second(lab, edited)


def test_with_nothing_to_compare_there_is_no_button(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab().open("?m=tiny-classes&s=0")
    assert lab.page.locator("[data-do=beside]").is_hidden()
    lab.page.locator("#lab-picture").focus()
    lab.page.keyboard.press("c")
    assert lab.page.locator("#lab-second").is_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_two_pictures_fit_and_can_be_read(
    new_lab: Callable[..., Lab],
    pair_app: str,
    places: dict[str, Path],
    theme: str,
    width: int,
    tmp_path: Path,
) -> None:
    lab = new_lab(width, 844, url=pair_app, color_scheme=theme, locale="zh-CN")
    lab.open(f"?m=one&s=3&vs={RUN}@{revision(places['500'])}")
    second_rests(lab)
    assert_fits(lab, width)
    assert lab.page.evaluate(CONTRAST) == []
    first, second = (
        lab.page.locator(one).bounding_box() for one in ("#lab-picture", "#lab-second-picture")
    )
    assert first["width"] == first["height"] == second["width"] == second["height"] > 200
    if width == 390:
        assert second["y"] >= first["y"] + first["height"], "one above the other"
    else:
        assert second["x"] >= first["x"] + first["width"]
        assert second["y"] == first["y"]
    words = lab.page.locator("#lab-second, #lab-first-head, #lab-beside-hint").all_inner_texts()
    english = {each for text in words for each in text.splitlines() if re.search("[a-z]{3}", each)}
    assert {each for each in english if not CHINESE.search(each)} <= {
        "A long training",
        "StyleGAN2 · 32 px",
    }
    assert lab.page.screenshot(path=tmp_path / "beside.png")
