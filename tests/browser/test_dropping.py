"""Files that are dragged over the window, by the browser's own drag and drop."""

from pathlib import Path
from typing import Any

import pytest

# Whatever the page hides it in, also when it is drawn anew.
SHOW_ZONE = "#train-drop, [hidden]:has(#train-drop) { display: block !important }"


class Drag:
    """A hand with files over the window."""

    def __init__(self, page: Any, *files: Path):
        self.cdp = page.context.new_cdp_session(page)
        items = {"items": [], "files": [str(path) for path in files]}
        self.data = items | {"dragOperationsMask": 1}
        self.is_over = False

    def at(self, x: float, y: float, kind: str = "dragOver") -> None:
        if not self.is_over:
            self.is_over = True
            self.at(x, y, "dragEnter")
        self.cdp.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": self.data})

    def drop(self, x: float, y: float) -> None:
        self.at(x, y)
        self.at(x, y, "drop")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK\x05\x06" + b"\0" * 18)
    return path


def middle(page: Any, selector: str) -> tuple[float, float]:
    locator = page.locator(selector)
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_cover_comes_with_files_and_goes_with_them(lab: Any, pictures: Path) -> None:
    cover, drag = lab.page.locator("#lab-drop"), Drag(lab.page, pictures)
    for x, y in ((300, 300), (900, 300), middle(lab.page, "#lab-picture"), (900, 700)):
        drag.at(x, y)
        assert cover.is_visible()
    drag.at(-5, -5)  # out of the window
    drag.at(-5, -5, "dragCancel")
    cover.wait_for(state="hidden")


def test_a_file_beside_the_train_pages_zone_opens_nothing(lab: Any, pictures: Path) -> None:
    """It was taken for a model, and a dialog of the hidden page froze the one that was shown."""
    page = lab.page
    page.locator("nav.pages a[data-page=train]").click()
    Drag(page, pictures).drop(1200, 780)
    page.wait_for_timeout(500)
    assert page.locator("dialog[open]").count() == 0
    assert page.url.startswith(lab.app), "the browser doesn't leave for the file"
    page.locator("nav.pages a[data-page=explore]").click()
    assert not page.locator("#lab-drop").is_visible()


def test_a_drag_over_the_zone_leaves_no_cover_on_explore(lab: Any, pictures: Path) -> None:
    page = lab.page
    page.locator("nav.pages a[data-page=train]").click()
    page.add_style_tag(content=SHOW_ZONE)  # strangers may not train here, and would see none
    zone, drag = middle(page, "#train-drop"), Drag(page, pictures)
    for x, y in ((1200, 780), zone, (1200, 780), zone):
        drag.at(x, y)
    drag.drop(*zone)
    page.locator("nav.pages a[data-page=explore]").click()
    assert not page.locator("#lab-drop").is_visible()
