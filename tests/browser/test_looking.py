"""Full screen, real and pretended, and the picture without its edits by other means than a hand."""

import time
from collections.abc import Callable
from typing import Any

import pytest

Truth = Callable[[str], bytes]
NO_FULL_SCREEN = "Element.prototype.requestFullscreen = undefined;"


@pytest.fixture
def phone(new_lab: Callable[..., Any]) -> Any:
    """As on an iPhone: without full screen for anything but videos."""
    lab = new_lab(390, 844, has_touch=True, is_mobile=True)
    lab.page.add_init_script(NO_FULL_SCREEN)
    return lab.open()


def is_full(lab: Any) -> bool:
    return lab.page.locator(".frame.is-full").count() == 1


def test_pretended_full_screen_has_a_button_that_leaves_it(phone: Any) -> None:
    leave = phone.page.locator("[data-do=full-leave]")
    assert not leave.is_visible()
    phone.do("full")
    assert is_full(phone)
    box = leave.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    leave.tap()
    phone.page.wait_for_selector(".frame:not(.is-full)")


def test_a_tap_leaves_it_and_a_finger_that_rests_compares(phone: Any) -> None:
    phone.do("full")
    box = phone.page.locator("#lab-picture").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch(phone, x, y, seconds=0.5)
    assert is_full(phone), "a finger that rests looks, and doesn't leave"
    touch(phone, x, y, seconds=0.1)
    phone.page.wait_for_selector(".frame:not(.is-full)")


def touch(lab: Any, x: float, y: float, seconds: float) -> None:
    """A finger that rests so long, however long the browser takes; until it has been heard."""
    lab.page.evaluate(CLICKS)
    cdp = lab.page.context.new_cdp_session(lab.page)
    begin = time.time()
    for kind, points, at in (("Start", [{"x": x, "y": y}], begin), ("End", [], begin + seconds)):
        told = {"type": f"touch{kind}", "touchPoints": points, "timestamp": at}
        cdp.send("Input.dispatchTouchEvent", told)
    lab.page.wait_for_function("clicked")


CLICKS = "window.clicked = false, addEventListener('click', () => (clicked = true))"


def test_the_button_leaves_real_full_screen_too(lab: Any) -> None:
    lab.do("full")
    lab.page.wait_for_function("document.fullscreenElement?.classList.contains('frame')")
    lab.do("full-leave")
    lab.page.wait_for_function("document.fullscreenElement === null")


def test_enter_switches_the_edits_off_and_on(lab: Any) -> None:
    """A screen reader can press a button, but not hold it."""
    lab.drag(lab.slider(1), to=0.95)
    lab.rest()
    button = lab.page.locator("[data-hold=compare]")
    button.focus()
    for pressed in ("true", "false"):
        lab.page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == pressed
        assert lab.page.locator("#lab-picture .unedited").is_visible() is (pressed == "true")
    button.evaluate("(one) => one.click()")
    assert button.get_attribute("aria-pressed") == "true"
    lab.page.locator("#lab-picture").focus()
    assert button.get_attribute("aria-pressed") == "false", "what is left is over"
