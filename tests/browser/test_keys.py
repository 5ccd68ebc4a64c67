"""Keys: where they work, what they leave alone, and what undo makes of a key that is held."""

from typing import Any

TAKEN_BACK = "document.querySelector('[data-do=undo]').disabled"


def test_letters_work_wherever_the_focus_is(lab: Any) -> None:
    page = lab.page
    page.keyboard.press("r")  # on the page itself, right after it has come
    first = lab.rest().query
    assert first != "m=tiny&s=0"
    lab.slider(2).focus()
    page.keyboard.press("s")
    assert lab.rest().query != first
    page.locator("[data-do=link]").focus()
    page.keyboard.press("k")
    page.locator(".kept").wait_for()
    page.keyboard.press("p")
    assert page.locator("[data-do=pixels]").get_attribute("aria-pressed") == "true"


def test_letters_stay_letters_where_a_person_types(lab: Any) -> None:
    page = lab.page
    page.locator("#lab-seed").focus()
    page.keyboard.press("k")
    page.locator("[data-do=models]").click()
    page.locator("#lab-find-name").fill("")
    page.keyboard.type("srkpf")
    assert page.locator("#lab-find-name").input_value() == "srkpf"
    page.locator("#lab-models h2").focus()
    page.keyboard.press("r")
    page.locator("[data-models=close]").click()
    assert lab.rest().query == "m=tiny&s=0"
    assert page.locator(".kept").count() == 0


def test_undo_on_another_page_leaves_explore_alone(lab: Any) -> None:
    lab.do("seed-more")
    assert lab.rest().query == "m=tiny&s=1"
    for name in ("about", "train"):
        lab.page.locator(f"nav.pages a[data-page={name}]").click()
        for key in ("Control+z", "s", "r"):
            lab.page.keyboard.press(key)
    lab.page.locator("nav.pages a[data-page=explore]").click()
    assert lab.rest().query == "m=tiny&s=1"
    lab.page.keyboard.press("Control+z")
    assert lab.rest().query == "m=tiny&s=0"


def test_a_key_that_is_held_on_a_slider_is_one_step_of_undo(lab: Any) -> None:
    page, slider = lab.page, lab.slider(1)
    slider.focus()
    for _ in range(8):
        page.keyboard.down("ArrowRight")  # without keyup these are repeats
    page.wait_for_function("document.querySelector('#lab-canvas').dataset.recipe.includes('pca0')")
    page.keyboard.up("ArrowRight")
    assert lab.rest().query == "m=tiny&s=0&e=pca0:0.4"
    lab.do("undo")
    assert lab.rest().query == "m=tiny&s=0"
    assert page.evaluate(TAKEN_BACK), "the history holds nothing else"


def test_the_layer_sliders_say_the_layer_that_is_written(lab: Any) -> None:
    row = lab.page.locator("[data-direction=pca0]")
    row.locator(".number").click()
    assert row.locator(".from").get_attribute("aria-valuetext") == "1"
    assert row.locator(".layers-text").text_content().startswith("all, 1–8 ")
    row.locator(".from").focus()
    lab.page.keyboard.press("ArrowRight")
    assert row.locator(".from").get_attribute("aria-valuetext") == "2"
    assert row.locator(".layers-text").text_content().startswith("2–8 ")
