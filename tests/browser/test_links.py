"""A picture is an address: in a new browser, in a Space's iframe, with the server gone and back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Truth = Callable[[str], bytes]

QUERY = "m=tiny&s=12&s2=7&b=0.25&bs=z&psi=0.5&cut=4&n=5&e=pca0:1.5:0-6,pca3:-2"


def test_a_link_opens_the_same_exact_picture_in_another_browser(
    new_lab: Callable[..., Any], truth: Truth
) -> None:
    lab = new_lab(permissions=["clipboard-read", "clipboard-write"]).open(f"?{QUERY}")
    assert lab.rest().query == QUERY
    first = lab.pixels()
    assert first == truth(QUERY)
    lab.do("link")
    lab.toast()
    link = lab.page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(lab.app)
    other = new_lab(locale="zh-CN").open(link.removeprefix(lab.app).removeprefix("/"))
    assert other.rest().query == QUERY
    assert other.pixels() == first
    assert other.page.locator("#lab-seed").input_value() == "12"
    assert float(other.slider(4).input_value()) == -2


def test_other_keys_of_the_address_stay(new_lab: Callable[..., Any]) -> None:
    lab = new_lab().open("?__theme=dark&m=tiny&s=4", "#about")
    lab.page.locator("nav.pages a[data-page=explore]").click()
    lab.do("seed-more")
    lab.page.wait_for_function("location.search.includes('s=5')")
    assert "__theme=dark" in lab.page.evaluate("location.search")
    assert lab.page.evaluate("location.hash") == "#explore"
    assert lab.page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?m=tiny&s=-1", "-1 is no seed"),
        ("?m=tiny&psi=9", "9 is no truncation psi"),
        ("?m=tiny&s=1&e=zz:1", "zz"),
        ("?m=%3Cscript%3Ealert(1)%3C/script%3E", "is no model’s name"),
    ],
)
def test_a_broken_link_says_what_is_wrong_and_shows_a_picture(
    new_lab: Callable[..., Any], query: str, told: str
) -> None:
    lab = new_lab().open(query)
    assert told in lab.toast()
    lab.do("seed-more")
    assert lab.rest().query == "m=tiny&s=1"


def test_a_link_to_a_model_that_nobody_knows_asks_for_it(new_lab: Callable[..., Any]) -> None:
    lab = new_lab().open("?m=no-such-model&s=1")
    lab.page.wait_for_selector("#lab-models[open] .found-error")
    assert "no-such-model" in lab.page.locator(".found-error").inner_text()
    lab.page.keyboard.press("Escape")
    lab.do("seed-more")
    assert lab.rest().query == "m=tiny&s=1"


def test_a_link_to_another_version_of_the_model_is_drawn_with_a_warning(
    new_lab: Callable[..., Any],
) -> None:
    lab = new_lab().open("?m=tiny&r=0123456789ab&s=3")
    assert "another version" in lab.toast()
    assert lab.rest().query == "m=tiny&s=3"


PARENT = """<!doctype html><title>Space</title>
<iframe name="app" src="{src}" allow="clipboard-write" style="width:1200px;height:780px"></iframe>
<script>
  window.told = [];
  addEventListener("message", (event) => {{
    const {{ queryString, hash }} = event.data;
    if (queryString === undefined) return;
    told.push(queryString);
    history.replaceState(null, "", "?" + queryString + hash);
  }});
</script>"""


def test_inside_a_spaces_iframe_the_parents_address_holds_the_recipe(
    new_lab: Callable[..., Any], space: str
) -> None:
    lab = new_lab(permissions=["clipboard-read", "clipboard-write"])
    page, address = lab.page, f"https://huggingface.co/spaces/{space}"
    lab.expected = [f"asked {address}"]

    def space_page(route: Any) -> None:
        """As the Hub does: the parent's query goes to the iframe at load."""
        query = route.request.url.partition("?")[2]
        src = f"{lab.app}/?{query}"
        route.fulfill(body=PARENT.format(src=src), content_type="text/html")

    page.route("https://huggingface.co/**", space_page)
    page.goto(f"{address}?m=tiny&s=21")
    frame = page.frame_locator("iframe")
    frame.locator("#lab[data-state=ready]").wait_for()
    frame.locator("[data-do=seed-more]").click()
    page.wait_for_function("told.length > 0 && told.at(-1).includes('s=22')")
    assert "s=22" in page.url
    assert page.url.startswith(address)
    frame.locator("[data-do=link]").click()
    frame.locator(".toast, #lab-sheet[open]").first.wait_for()
    sheet = frame.locator("#lab-sheet textarea")
    link = (
        sheet.input_value()
        if sheet.is_visible()
        else page.evaluate("navigator.clipboard.readText()")
    )
    assert link.startswith(f"{address}?m=tiny&")
    page.goto(link)
    frame.locator("#lab[data-state=ready]").wait_for()
    assert frame.locator("#lab-seed").input_value() == "22"


def test_in_a_strangers_iframe_nothing_is_told_and_links_lead_to_the_app(
    new_lab: Callable[..., Any],
) -> None:
    lab = new_lab()
    lab.expected = ["/school", "Clipboard API has been blocked"]
    parent = PARENT.format(src=f"{lab.app}/").replace("clipboard-write", "")
    lab.page.route("**/school", lambda route: route.fulfill(body=parent, content_type="text/html"))
    lab.page.goto(lab.app.replace("127.0.0.1", "localhost") + "/school")
    frame = lab.page.frame_locator("iframe")
    frame.locator("#lab[data-state=ready]").wait_for()
    frame.locator("[data-do=seed-more]").click()
    frame.locator("[data-do=link]").click()
    area = frame.locator("#lab-sheet textarea")
    area.wait_for()
    assert area.input_value().startswith(f"{lab.app}/?m=tiny&")
    assert lab.page.evaluate("told") == []


def test_a_lost_line_comes_back_by_itself(new_lab: Callable[..., Any], truth: Truth) -> None:
    lab = new_lab().open()
    lab.expected = ["ERR_INTERNET_DISCONNECTED", "Failed to fetch"]
    lab.page.evaluate("WebSocket.prototype.send = function () { this.close(); }; 0")
    lab.page.context.set_offline(True)
    lab.slider(1).focus()
    lab.page.keyboard.press("ArrowRight")
    assert "No answer from the server" in lab.toast()
    lab.page.context.set_offline(False)
    lab.becomes("m=tiny&s=0&e=pca0:0.05")
    assert lab.pixels() == truth(lab.query)


def test_without_web_sockets_the_page_works_too(
    new_lab: Callable[..., Any], truth: Truth, models: Path
) -> None:
    lab = new_lab()
    lab.page.add_init_script(
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose?.(), 5); } };"
    )
    lab.open()
    lab.drag(lab.slider(1), to=0.8)
    lab.rest()
    assert lab.pixels() == truth(lab.query)
