"""How the page looks and speaks: two languages, light and dark, phone and desktop."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows(
    new_lab: Callable[..., Any], theme: str, width: int, tmp_path: Path
) -> None:
    height = 844 if width == 390 else 800
    lab = new_lab(width, height, color_scheme=theme, has_touch=width == 390)
    lab.open("?m=tiny&s=3&s2=4294967295&b=0.5&e=pca0:1.5,pca1:-2.25,pca2:3.1")
    lab.page.locator("[data-direction=pca0] .number").click()
    for page in ("explore", "train", "about"):
        lab.page.locator(f"nav.pages a[data-page={page}]").click()
        assert_fits(lab, width)
        assert lab.page.screenshot(path=tmp_path / f"{page}.png")
    assert lab.page.evaluate("document.documentElement.dataset.theme") == theme
    assert lab.page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")


def assert_fits(lab: Any, width: int) -> None:
    """No part of the visible page is wider than the window, nor sticks out of it; what scrolls
    sideways by itself is left out."""
    wide = lab.page.evaluate(
        """(width) => [...document.querySelectorAll("body *")]
          .filter((one) => one.checkVisibility())
          .filter((one) => !one.closest(".shelf, .train-side, .caption span, .equation, svg"))
          .map((one) => [one, one.getBoundingClientRect()])
          .filter(([, box]) => box.width && (box.right > width + 1 || box.left < -1))
          .map(([one]) => one.outerHTML.slice(0, 90))""",
        width,
    )
    assert wide == []
    assert lab.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 390])
def test_the_game_is_read_whole_on_a_phone(new_lab: Callable[..., Any], width: int) -> None:
    """What D and G play for ended beyond the edge."""
    lab = new_lab(width, 844, has_touch=True).open()
    lab.page.locator("nav.pages a[data-page=about]").click()
    game = lab.page.locator(".equation").first
    assert game.evaluate("(one) => one.scrollWidth <= one.clientWidth")


def test_a_seed_is_read_whole(new_lab: Callable[..., Any]) -> None:
    """The last of its ten digits was cut off."""
    lab = new_lab(1280, 800).open("?m=tiny&s=4294967295&s2=4000000000&b=0.5")
    for seed in ("#lab-seed", "#lab-seed2"):
        assert lab.page.locator(seed).evaluate("(one) => one.scrollWidth <= one.clientWidth")


def test_which_end_of_the_layers_has_the_keyboard_is_seen(lab: Any) -> None:
    lab.page.locator("[data-direction=pca0] .number").click()
    lab.rest()
    ends = lab.page.locator("[data-direction=pca0] .range2")
    ends.scroll_into_view_if_needed()
    ends.locator(".from").focus()
    looks = []
    for key in ("Tab", "Shift+Tab"):
        lab.page.keyboard.press(key)
        looks.append(ends.screenshot())
    assert looks[0] != looks[1]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [320, 360, 390])
def test_the_header_is_in_sight_on_every_phone(
    new_lab: Callable[..., Any], width: int, locale: str
) -> None:
    """The switches lay beyond the edge of the narrowest ones."""
    lab = new_lab(width, 568, has_touch=True, locale=locale).open()
    parts = lab.page.locator(".lab-header :is(.brand, .pages a, .switch)")
    boxes = [part.bounding_box() for part in parts.all()]
    assert len(boxes) == 6
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    for one, other in pairwise(boxes):
        assert one["x"] + one["width"] <= other["x"] + 0.5
        assert other["height"] >= 32, "in one line, and large enough for a finger"
    assert_fits(lab, width)


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280])
def test_every_tool_is_in_sight(new_lab: Callable[..., Any], width: int) -> None:
    """Six of them lay beyond the edge of a phone."""
    lab = new_lab(width, 844, has_touch=width < 900).open()
    lab.page.evaluate("document.querySelector('[data-do=beside]').hidden = false")
    tools = lab.page.locator(".tools :is(.tool, .keep)")
    boxes = [tool.bounding_box() for tool in tools.all()]
    assert len(boxes) == 13
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert len({round(box["y"] + box["height"] / 2) for box in boxes}) <= 2, "in two rows"
    for one, other in pairwise(boxes):
        same_row = abs(one["y"] - other["y"]) < one["height"] / 2
        assert not same_row or one["x"] + one["width"] <= other["x"] + 0.5


def test_on_a_phone_the_picture_stays_in_view(new_lab: Callable[..., Any]) -> None:
    lab = new_lab(390, 844, has_touch=True).open()
    picture = lab.page.locator("#lab-picture")
    before = picture.bounding_box()
    lab.slider(10).scroll_into_view_if_needed()
    after = picture.bounding_box()
    assert after["y"] >= 0
    assert after["y"] <= before["y"]
    assert after["height"] == before["height"] > 300
    slider = lab.slider(10).bounding_box()
    assert slider["y"] > after["y"] + after["height"], "the slider is not under the picture"


def test_touch_moves_a_slider_and_compares(
    new_lab: Callable[..., Any], truth: Callable[[str], bytes]
) -> None:
    lab = new_lab(390, 844, has_touch=True, is_mobile=True).open()
    slider = lab.slider(1)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    lab.page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    lab.rest()
    assert "e=pca0:" in lab.query
    edited = lab.pixels()
    picture = lab.page.locator("#lab-picture")
    box = picture.bounding_box()
    touch = lab.page.context.new_cdp_session(lab.page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    picture.locator(".unedited").wait_for()
    lab.wait_for_pixels(truth("m=tiny&s=0"))
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    picture.locator(".unedited").wait_for(state="hidden")
    lab.wait_for_pixels(edited)


def test_the_language_follows_the_browser_and_can_be_switched(new_lab: Callable[..., Any]) -> None:
    lab = new_lab(locale="zh-CN").open()
    assert lab.page.evaluate("document.documentElement.lang") == "zh-CN"
    assert lab.page.locator(".surprise").text_content().strip() == "给我惊喜"
    assert "小小色彩" in lab.page.locator("#lab-model option[value=tiny]").text_content()
    lab.page.locator(".language").click()
    assert lab.page.locator(".surprise").text_content().strip() == "Surprise me"
    assert lab.page.evaluate("document.documentElement.lang") == "en"
    assert lab.page.evaluate("document.title") == "Latent Lab: steer a GAN live"
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    assert lab.page.locator(".surprise").text_content().strip() == "Surprise me"


def test_in_chinese_nothing_stays_english(new_lab: Callable[..., Any]) -> None:
    lab = new_lab(locale="zh-CN").open("?m=tiny&s=3&s2=9&b=0.5&e=pca0:1.5")
    lab.page.locator("[data-direction=pca0] .number").click()
    lab.rest()
    seen = lab.page.evaluate(
        """() => {
          const texts = [];
          const ours = ":is(.lab, .lab-header, .lab-about)";
          for (const one of document.querySelectorAll(`${ours}, ${ours} *`)) {
            for (const name of ["title", "aria-label", "alt", "placeholder"]) {
              if (one.getAttribute(name)) texts.push(one.getAttribute(name));
            }
            if (!one.closest("select, math, svg, .sources, .command")) {
              const words = [...one.childNodes].filter((node) => node.nodeType === 3);
              texts.push(...words.map((node) => node.textContent.trim()));
            }
          }
          return [...new Set(texts)].filter(Boolean);
        }"""
    )
    english = [
        text for text in seen if re.search(r"[A-Za-z]{3,}", text) and not CHINESE.search(text)
    ]
    names = {"Latent Lab", "StyleGAN2 · 32 px", "PCA", "owner/name"}
    assert set(english) <= names, "but for names"
    assert len(seen) > 60


def test_the_choice_of_light_and_dark_is_remembered(new_lab: Callable[..., Any]) -> None:
    lab = new_lab().open()
    ink = "getComputedStyle(document.querySelector('.caption-seed')).color"
    light = lab.page.evaluate(ink)
    lab.page.locator(".switch.theme").click()
    dark = lab.page.evaluate(ink)
    assert light != dark
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    assert lab.page.evaluate(ink) == dark


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(new_lab: Callable[..., Any], theme: str) -> None:
    """Contrast of at least 4.5 : 1 (WCAG AA) for every text on a plain ground."""
    lab = new_lab(color_scheme=theme).open("?m=tiny&s=3&e=pca0:1.5")
    poor = []
    for page in ("explore", "train", "about"):
        lab.page.locator(f"nav.pages a[data-page={page}]").click()
        poor += lab.page.evaluate(CONTRAST)
    assert poor == []


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(one).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const one of document.querySelectorAll(".lab *, .lab-header *, .lab-about *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const isOther = one.closest(":disabled, .picture, .sheet-frame, svg, .wrong, option");
    if (!own || isOther || !one.checkVisibility()) continue;
    const text = light(numbers(getComputedStyle(one).color));
    const [dark, bright] = [text, light(ground(one))].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    if (ratio < 4.5) poor.push([ratio.toFixed(2), one.className, one.textContent.slice(0, 30)]);
  }
  return poor;
}"""


def test_rows_of_directions_line_up(lab: Any) -> None:
    boxes = [lab.slider(number).bounding_box() for number in range(1, 11)]
    assert len({(box["x"], box["width"]) for box in boxes}) == 1
    gaps = {round(b["y"] - a["y"]) for a, b in pairwise(boxes)}
    assert len(gaps) == 1


def test_without_a_model_the_page_says_what_to_do(
    new_lab: Callable[..., Any], serve_empty: Callable[[], Any]
) -> None:
    with serve_empty() as url:
        lab = new_lab(url=url)
        lab.page.goto(url)
        empty = lab.page.locator(".empty")
        empty.wait_for()
        assert "No model yet" in (empty.text_content() or "")
        assert "python -m gan train" in (empty.text_content() or "")
        assert "again" not in (empty.text_content() or ""), "nothing has to be started again"
        lab.page.locator("nav.pages a[data-page=about]").click()
        assert lab.page.locator(".lab-about h1").is_visible()
