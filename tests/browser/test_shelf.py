"""The shelf keeps what was asked for, knows it again, and says what it lets go."""

import json
from typing import Any

FULL = """(recipe) => {
  const pixel = document.createElement("canvas").toDataURL("image/jpeg");
  const items = Array.from({ length: 60 }, (_, seed) =>
    ({ id: `old${seed}`, recipe: { ...recipe, seed: 1000 + seed }, thumbnail: pixel }));
  localStorage.setItem("latent-lab.shelf.v1", JSON.stringify(items));
}"""


def reload(lab: Any) -> None:
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    lab.rest()


def shelf(lab: Any) -> list[dict[str, Any]]:
    return json.loads(lab.page.evaluate("localStorage.getItem('latent-lab.shelf.v1')"))


def test_a_reload_knows_the_kept_picture_again(lab: Any) -> None:
    """The address names the model's revision; what was kept didn't, and was taken for another."""
    lab.do("seed-more")
    lab.rest()
    lab.do("keep")
    current = lab.page.locator(".kept[aria-current=true]")
    current.wait_for()
    assert len(shelf(lab)[0]["recipe"]["revision"]) == 12
    reload(lab)
    assert current.count() == 1
    lab.do("keep")
    lab.page.wait_for_timeout(300)
    assert lab.page.locator(".kept").count() == 1


def test_keep_takes_the_picture_of_that_moment(lab: Any) -> None:
    """Also where the next one is asked for while it is being drawn."""
    lab.page.evaluate(
        """() => {
          const click = (name) => document.querySelector(`[data-do=${name}]`).click();
          click("seed-more");
          click("keep");
          click("seed-more");
        }"""
    )
    lab.page.locator(".kept").wait_for()
    assert lab.rest().query == "m=tiny&s=2"
    (item,) = shelf(lab)
    assert item["recipe"]["seed"] == 1
    lab.page.locator(".kept").click()
    assert lab.rest().query == "m=tiny&s=1"


def test_a_full_shelf_says_what_it_lets_go_and_takes_it_back(lab: Any) -> None:
    lab.page.evaluate(FULL, {"model": "tiny"})
    reload(lab)
    assert lab.page.locator(".kept").count() == 60
    lab.do("keep")
    assert "holds 60 pictures" in lab.toast()
    assert {"old59"} == {f"old{n}" for n in range(60)} - {item["id"] for item in shelf(lab)}
    lab.page.locator(".toast button").first.click()
    assert [item["id"] for item in shelf(lab)] == [f"old{n}" for n in range(60)]


def test_the_focus_stays_on_the_shelf(lab: Any) -> None:
    focused = "document.activeElement.className"
    for _ in range(2):
        lab.do("seed-more")
        lab.rest()
        lab.do("keep")
        lab.page.locator(".kept[aria-current=true]").wait_for()
    lab.page.locator(".forget").last.focus()
    lab.page.keyboard.press("Enter")
    assert lab.page.evaluate(focused) == "kept"
    lab.page.locator(".forget").focus()
    lab.page.keyboard.press("Enter")
    assert lab.page.evaluate("document.activeElement.dataset.do") == "keep"


def test_a_message_can_be_closed(lab: Any) -> None:
    lab.do("keep")
    lab.page.locator(".forget").focus()
    lab.page.keyboard.press("Enter")
    close = lab.page.locator(".toast-close")
    assert close.get_attribute("aria-label") == "Close"
    close.click()
    assert lab.page.locator(".toast").count() == 0
