"""The Explore page under a real hand: what is on the canvas is what was asked for."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Truth = Callable[[str], bytes]


def test_the_first_picture_is_there_without_a_click(lab: Any, truth: Truth) -> None:
    assert lab.pixels() == truth("m=tiny&s=0")
    assert lab.page.locator("#lab-picture .badge").text_content() == "AI生成 / AI-generated"
    label = lab.page.locator("#lab-canvas").get_attribute("aria-label")
    assert label == "Generated picture: Tiny colours, seed 0, ψ 0.7"


@pytest.mark.parametrize("drags", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_drags_end_on_their_last_position(lab: Any, truth: Truth, drags: int) -> None:
    for number in range(drags):
        lab.drag(lab.slider(1), to=0.06 + 0.88 * (number * 0.618 % 1), steps=8)
        strength = float(lab.slider(1).input_value())
        lab.rest()
        query = "m=tiny&s=0" + (f"&e=pca0:{strength:g}" if strength else "")
        assert lab.query == query
        assert lab.drawn.replace(lab.drawn.partition("&s=")[0], "m=tiny") == query
    assert lab.pixels() == truth(lab.query)


def test_while_dragging_the_pictures_move_too(lab: Any) -> None:
    page = lab.page
    page.evaluate(
        """() => {
          window.seen = new Set();
          const canvas = document.querySelector("#lab-canvas");
          new MutationObserver(() => seen.add(canvas.dataset.recipe + canvas.dataset.quality))
            .observe(canvas, { attributeFilter: ["data-drawn"] });
        }"""
    )
    page.clock.install()  # it stands still: a hand that rests would get the exact picture
    page.clock.pause_at(time.time() + 60)
    lab.pull(lab.slider(2), moved="(count) => seen.size >= count")
    assert all(each.endswith("preview") for each in page.evaluate("[...seen]"))
    page.clock.resume()
    page.mouse.up()
    lab.rest()
    seen = page.evaluate("[...seen]")
    assert len([each for each in seen if each.endswith("exact")]) == 1


def test_a_moving_hand_rewrites_only_what_changes(lab: Any) -> None:
    """The same text written once more costs a layout of the whole page, at every move."""
    rewritten = lab.slider(2).evaluate(
        """(slider) => {
          const move = (strength) => {
            slider.value = strength;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
          };
          move(1); // now it is pulled
          const watch = new MutationObserver(() => {});
          watch.observe(document.body, { subtree: true, childList: true, attributes: true });
          move(1.1);
          return watch.takeRecords().map(({ target }) => target.className);
        }"""
    )
    assert set(rewritten) == {"caption-rest", "slider strength"}


def test_undo_redo_and_reset(lab: Any, truth: Truth) -> None:
    lab.drag(lab.slider(1), to=0.8)
    lab.rest()
    first = lab.query
    lab.drag(lab.slider(3), to=0.2)
    second = lab.rest().query
    assert len({"m=tiny&s=0", first, second}) == 3
    lab.page.keyboard.press("Control+z")
    assert lab.rest().query == first
    lab.do("undo")
    assert lab.rest().query == "m=tiny&s=0"
    assert lab.page.locator("[data-do=undo]").is_disabled()
    lab.page.keyboard.press("Control+Shift+z")
    lab.do("redo")
    assert lab.rest().query == second
    lab.do("reset")
    assert lab.rest().query == "m=tiny&s=0"
    assert lab.pixels() == truth("m=tiny&s=0")


def test_seed_by_number_arrows_and_dice(lab: Any) -> None:
    seed = lab.page.locator("#lab-seed")
    seed.fill("41")
    seed.press("Enter")
    assert lab.rest().query == "m=tiny&s=41"
    lab.do("seed-more")
    assert lab.rest().query == "m=tiny&s=42"
    lab.do("seed-less")
    assert lab.rest().query == "m=tiny&s=41"
    lab.do("seed-dice")
    assert lab.rest().query != "m=tiny&s=41"
    seed.fill("-7")
    seed.press("Enter")
    assert lab.rest().query == "m=tiny&s=0"
    assert seed.input_value() == "0"


def test_an_arrow_that_is_held_runs_and_is_one_step_of_undo(lab: Any) -> None:
    box = lab.page.locator("[data-do=seed-more]").bounding_box()
    lab.page.mouse.move(box["x"] + 10, box["y"] + 10)
    lab.page.mouse.down()
    lab.page.wait_for_function("Number(document.querySelector('#lab-seed').value) >= 5")
    lab.page.mouse.up()
    lab.rest()
    lab.do("undo")
    assert lab.rest().query == "m=tiny&s=0"


def test_blend_two_seeds(lab: Any, truth: Truth) -> None:
    lab.do("blend-on")
    lab.page.locator("#lab-seed2").fill("9")
    lab.page.locator("#lab-seed2").press("Enter")
    lab.drag(lab.page.locator("#lab-blend"), to=0.25)
    lab.page.locator("input[name=lab-space][value=z]").check(force=True)
    lab.rest()
    assert lab.query.startswith("m=tiny&s=0&s2=9&b=0.")
    assert lab.query.endswith("&bs=z")
    assert lab.pixels() == truth(lab.query)
    lab.do("blend-off")
    assert lab.rest().query == "m=tiny&s=0"


def test_truncation_noise_and_layers(lab: Any, truth: Truth) -> None:
    page = lab.page
    page.locator("#lab-psi-value").fill("-0.4")
    page.locator("#lab-psi-value").press("Enter")
    page.locator("#lab-cutoff").select_option("3")
    page.locator("input[name=lab-noise][value=none]").check(force=True)
    assert lab.rest().query == "m=tiny&s=0&psi=-0.4&cut=3&n=none"
    page.locator("input[name=lab-noise][value=seed]").check(force=True)
    page.locator("#lab-noise-seed").fill("5")
    page.locator("#lab-noise-seed").press("Enter")
    page.locator("[data-direction=pca1] .number").click()
    lab.drag(lab.slider(2), to=0.9)
    low, high = (page.locator(f"[data-direction=pca1] .{name}") for name in ("from", "to"))
    low.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    high.focus()
    page.keyboard.press("ArrowLeft")
    lab.rest()
    assert lab.query.startswith("m=tiny&s=0&psi=-0.4&cut=3&n=5&e=pca1:")
    assert lab.query.endswith(":2-7")
    assert lab.pixels() == truth(lab.query)


def test_the_caption_says_all_that_was_set(new_lab: Callable[..., Any]) -> None:
    lab = new_lab().open("?m=tiny&s=3&psi=0.5&cut=4&n=none&e=pca0:1.5:2-6,pca3:-2:3-")
    lab.rest()
    said = "ψ 0.5 (first 4 layers) · Direction 1 +1.5σ (layers 3–6)"
    said += " · Direction 4 −2σ (layers 4–8) · no noise"
    assert lab.page.locator(".caption-rest").text_content() == said
    caption = lab.page.locator("#lab-caption")
    caption.hover()
    assert caption.get_attribute("title").endswith(said), "longer than the two lines that are shown"
    clamp = "(one) => getComputedStyle(one).webkitLineClamp"
    assert caption.locator("p > span").evaluate(clamp) == "2", "and an ellipsis says so"
    label = lab.page.locator("#lab-canvas").get_attribute("aria-label")
    assert label == f"Generated picture: Tiny colours, seed 3, {said}"
    lab.page.locator("input[name=lab-noise][value=seed]").check(force=True)
    assert lab.page.locator(".caption-rest").text_content().endswith(" · noise 3")


def test_classes_and_models(lab: Any, truth: Truth) -> None:
    lab.page.locator("#lab-model").select_option("tiny-classes")
    lab.rest()
    assert lab.query == "m=tiny-classes&s=0&c=0"
    lab.page.locator("#lab-classes").get_by_text("bee").click()
    lab.rest()
    assert lab.query == "m=tiny-classes&s=0&c=1"
    lab.page.wait_for_selector("#lab-directions[aria-busy=false]")
    assert lab.pixels() == truth(lab.query)
    lab.do("undo")
    lab.do("undo")
    assert lab.rest().query == "m=tiny&s=0"


def test_a_strip_shows_what_a_direction_does_and_can_be_pressed(lab: Any) -> None:
    lab.page.locator("[data-direction=pca0] .number").click()
    strip = lab.page.locator("[data-direction=pca0] .strip")
    lab.page.wait_for_function(
        "[...document.querySelectorAll('[data-direction=pca0] .strip img')].every((i) => i.src)"
    )
    images = strip.locator("img").evaluate_all("all => all.map((one) => one.src)")
    assert len(set(images)) == 5
    strip.locator("button").nth(3).click()
    assert lab.rest().query == "m=tiny&s=0&e=pca0:1"


def test_the_list_can_be_that_of_closed_form_directions(
    new_lab: Callable[..., Any], truth: Truth
) -> None:
    """Both kinds pull one picture; the switch changes no picture, says what hides in the other
    list, and a link shows the list that it pulls."""
    lab = new_lab(permissions=["clipboard-read", "clipboard-write"]).open()
    page, chosen = lab.page, "input[name=lab-method]:checked"
    lab.drag(lab.slider(1), to=0.8)
    first = lab.rest().query
    assert page.locator("#lab-directions-hint").text_content().startswith("What varies most")
    page.locator("input[name=lab-method][value=sefa]").check(force=True)
    lab.slider(1, "sefa").wait_for()
    assert lab.slider(1).count() == 0
    assert lab.rest().query == first
    hint = page.locator("#lab-directions-hint").text_content()
    assert "SeFa" in hint
    assert "one standard deviation" in hint
    count = page.locator("label:has([value=pca]) .count")
    assert (count.text_content(), count.get_attribute("title")) == ("1", "1 pulled in this list")
    page.locator("[data-direction=sefa1] .number").click()
    page.wait_for_function(
        "[...document.querySelectorAll('[data-direction=sefa1] .strip img')].every((i) => i.src)"
    )
    explained = page.locator("[data-direction=sefa1] .explained").text_content()
    assert "of the weights’ response" in explained
    page.locator("[data-direction=sefa1] .to").focus()
    page.keyboard.press("ArrowLeft")
    page.locator("[data-direction=sefa1] .strip button").nth(4).click()
    both = f"{first},sefa1:2:0-7"
    assert lab.rest().query == both
    assert lab.pixels() == truth(both)
    assert "Closed form 2 +2σ" in page.locator(".caption-rest").text_content()
    lab.do("python")
    lab.toast()
    assert "sefa1" in page.evaluate("navigator.clipboard.readText()")
    lab.do("undo")
    assert lab.rest().query == first
    lab.do("redo")
    assert lab.rest().query == both
    page.locator("[data-direction=sefa1] [data-row=reset]").click()
    assert lab.rest().query == first
    page.locator("#lab-model").select_option("tiny-classes")
    lab.slider(1, "sefa").wait_for()
    other = new_lab().open("?m=tiny&s=0&e=sefa0:1.5")
    assert other.page.locator(chosen).input_value() == "sefa"
    assert other.rest().pixels() == truth("m=tiny&s=0&e=sefa0:1.5")
    other.page.locator(chosen).focus()
    other.page.keyboard.press("ArrowLeft")
    other.slider(1).wait_for()
    assert other.page.locator(chosen).input_value() == "pca"


def test_compare_shows_the_unedited_picture_while_held(lab: Any, truth: Truth) -> None:
    button = lab.page.locator("[data-hold=compare]")
    assert button.is_disabled()
    lab.drag(lab.slider(1), to=0.95)
    edited = lab.rest().pixels()
    assert edited == truth(lab.query)
    box = button.bounding_box()
    lab.page.mouse.move(box["x"] + 9, box["y"] + 9)
    lab.page.mouse.down()
    lab.page.wait_for_selector(".unedited", state="visible")
    lab.wait_for_pixels(truth("m=tiny&s=0"))
    lab.page.mouse.up()
    lab.wait_for_pixels(edited)
    lab.page.locator("#lab-picture").focus()
    lab.page.keyboard.down(" ")
    lab.wait_for_pixels(truth("m=tiny&s=0"))
    lab.page.keyboard.up(" ")
    lab.wait_for_pixels(edited)


def test_keys_on_the_picture_and_on_a_slider(lab: Any, truth: Truth) -> None:
    lab.page.locator("#lab-picture").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowUp", "ArrowUp"):
        lab.page.keyboard.press(key)
    assert lab.rest().query == "m=tiny&s=1&psi=0.8"
    slider = lab.slider(4)
    slider.focus()
    lab.page.keyboard.press("ArrowRight")
    assert lab.rest().query == "m=tiny&s=1&psi=0.8&e=pca3:0.05"
    lab.page.keyboard.press("End")
    assert lab.rest().query == "m=tiny&s=1&psi=0.8&e=pca3:4"
    assert lab.pixels() == truth(lab.query)
    name = slider.get_attribute("aria-label")
    assert name == "Direction 4, in standard deviations"


def test_every_control_has_a_name(lab: Any) -> None:
    nameless = lab.page.evaluate(
        """() => [...document.querySelectorAll("#lab :is(button, input, select), header a")]
          .filter((one) => !one.matches("[type=file], [hidden] *"))
          .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.title
                             || one.labels?.length && one.labels[0].textContent.trim()))
          .map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


def test_surprise(lab: Any, truth: Truth) -> None:
    lab.do("surprise")
    lab.rest()
    assert 2 <= lab.query.count("pca") <= 3
    assert lab.pixels() == truth(lab.query)
    lab.do("undo")
    assert lab.rest().query == "m=tiny&s=0"


def test_the_shelf_survives_a_reload(lab: Any, truth: Truth) -> None:
    for seed in ("3", "8"):
        lab.page.locator("#lab-seed").fill(seed)
        lab.page.locator("#lab-seed").press("Enter")
        lab.rest()
        lab.do("keep")
        lab.page.locator(".kept[aria-current=true]").wait_for()
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    kept = lab.page.locator(".kept")
    assert kept.count() == 2
    assert kept.locator("img").first.get_attribute("alt") == "Kept picture, seed 8"
    kept.nth(1).click()
    assert lab.rest().query == "m=tiny&s=3"
    assert lab.pixels() == truth("m=tiny&s=3")
    lab.page.locator(".slot").nth(1).hover()
    lab.page.locator(".forget").nth(1).click()
    assert kept.count() == 1
    lab.page.locator(".toast button").first.click()
    assert kept.count() == 2


def test_two_people_do_not_mix(new_lab: Callable[..., Any], truth: Truth) -> None:
    one, other = new_lab().open("?m=tiny&s=1"), new_lab().open("?m=tiny&s=2")
    for step in range(6):
        one.drag(one.slider(1), to=0.1 + 0.12 * step, steps=5)
        other.drag(other.slider(1), to=0.9 - 0.12 * step, steps=5)
    for lab, seed in ((one, 1), (other, 2)):
        lab.rest()
        assert lab.query.startswith(f"m=tiny&s={seed}&e=pca0:")
        assert lab.pixels() == truth(lab.query)
    one.do("keep")
    assert other.page.locator(".kept").count() == 0


def test_downloads_go_back_to_their_recipe(lab: Any, truth: Truth, tmp_path: Path) -> None:
    lab.drag(lab.slider(2), to=0.85)
    asked = lab.rest().query
    for scale, side in (("1", 32), ("4", 128), ("8", 256)):
        lab.do("download-menu")
        with lab.page.expect_download() as caught:
            lab.page.locator(f".menu-list [data-scale='{scale}']").click()
        path = tmp_path / caught.value.suggested_filename
        caught.value.save_as(path)
        with Image.open(path) as picture:
            assert picture.width == side
            if scale == "1":
                assert picture.convert("RGB").tobytes() == truth(asked)
            assert '"Label":"1"' in picture.info["AIGC"].replace(" ", "")
        lab.do("reset")
        assert lab.rest().query == "m=tiny&s=0"
        drop(lab, path)
        lab.becomes(asked)


def test_a_size_that_would_be_refused_is_not_offered(new_lab: Callable[..., Any]) -> None:
    """As for a model of 1024 px, whose eightfold is more than a download may have."""
    lab = new_lab()

    def page_of_less(route: Any) -> None:
        answer = route.fetch()
        body = re.sub(r'("most_pixels": ?)4096', r"\g<1>128", answer.text())
        route.fulfill(response=answer, body=body)

    lab.page.route(f"{lab.app}/", page_of_less)
    lab.open()
    lab.do("download-menu")
    items = lab.page.locator("#lab .menu-list button")
    assert [item.is_disabled() for item in items.all()] == [False, False, True]
    assert "128 px" in (items.last.get_attribute("title") or "")


def test_a_picture_without_a_recipe_is_refused_in_words(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "holiday.png"
    Image.new("RGB", (20, 20)).save(path)
    drop(lab, path)
    assert "holds no recipe" in lab.toast()
    lab.page.locator("#lab-file").set_input_files(
        {"name": "x.png", "mimeType": "image/png", "buffer": b"not one"}
    )
    lab.page.wait_for_function("saidInPassing.length === 2")
    assert lab.rest().query == "m=tiny&s=0"


def drop(lab: Any, path: Path) -> None:
    """Drops a file on the page as a hand does."""
    content = list(path.read_bytes())
    lab.page.evaluate(
        """([name, content]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(content)], name, { type: "image/png" }));
          const how = { dataTransfer: data, bubbles: true, cancelable: true };
          for (const type of ["dragenter", "dragover"]) {
            document.body.dispatchEvent(new DragEvent(type, how));
          }
          if (document.querySelector("#lab-drop").hidden) throw new Error("the cover is not shown");
          document.body.dispatchEvent(new DragEvent("drop", how));
          if (!document.querySelector("#lab-drop").hidden) throw new Error("the cover stays");
        }""",
        [path.name, content],
    )


def test_copied_python_draws_this_very_picture(
    new_lab: Callable[..., Any], truth: Truth, models: Path, tmp_path: Path, project: Path
) -> None:
    import os
    import subprocess
    import sys

    lab = new_lab(permissions=["clipboard-read", "clipboard-write"]).open("?m=tiny&s=6&psi=1")
    lab.drag(lab.slider(1), to=0.3)
    asked = lab.rest().query
    lab.do("python")
    assert "Python copied" in lab.toast()
    code = lab.page.evaluate("navigator.clipboard.readText()")
    environment = os.environ | {"LATENT_LAB_MODELS": str(models), "PYTHONPATH": str(project)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    (path,) = tmp_path.glob("*.png")
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        assert picture.convert("RGB").tobytes() == truth(asked)


def test_where_the_clipboard_is_closed_the_text_can_be_taken_by_hand(lab: Any) -> None:
    lab.page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('no')); 0")
    lab.do("link")
    area = lab.page.locator("#lab-sheet textarea")
    area.wait_for()
    assert area.input_value().startswith(f"{lab.app}/?m=tiny&")
    lab.do("sheet-close")
    assert not area.is_visible()


def test_crisp_and_smooth_and_the_read_out(lab: Any) -> None:
    canvas = lab.page.locator("#lab-canvas")
    lab.page.wait_for_function("document.querySelector('#lab-canvas').width > 300")
    lab.do("pixels")
    assert canvas.get_attribute("width") == "32"
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    lab.page.wait_for_function("document.querySelector('#lab-canvas').dataset.quality === 'exact'")
    assert canvas.get_attribute("width") == "32", "the choice is remembered"
    lab.drag(lab.slider(1), to=0.9, steps=30)
    meter = lab.page.locator("#lab-meter")
    meter.wait_for()
    assert " ms" in (meter.text_content() or "")
    lab.do("meter")
    assert not meter.is_visible()


def test_full_screen_and_back(lab: Any) -> None:
    lab.page.locator("#lab-picture").focus()
    lab.page.keyboard.press("f")
    lab.page.wait_for_function("document.fullscreenElement?.classList.contains('frame')")
    lab.page.keyboard.press("ArrowRight")
    lab.page.keyboard.press("f")
    lab.page.wait_for_function("document.fullscreenElement === null")
    assert lab.rest().query == "m=tiny&s=1"
