"""Models in the page: found on a Hub on this machine, dropped, remembered, and offered to who opens
a link that needs one."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gan
from gan.workshop import TrainRequest
from gan.workshop.records import About, owner_hash
from tests.browser.conftest import Held, asks, serving, wait_until
from tests.hub_server import TOKEN, Fault, HubServer
from tests.tiny import TINY_CLASSES, tiny_model

MINE, RUN = "a" * 32, "run-00000000000000dd"
ONLINE = {"HF_HUB_OFFLINE": "0", "SPACE_ID": "", "HF_TOKEN_PATH": "/nonexistent"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub with "someone/small", of three classes."""
    folder = tmp_path_factory.mktemp("hub") / "small"
    tiny_model(folder, TINY_CLASSES)
    with HubServer() as server:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        server.commit("someone/small", files | {"older/G.pkl": bytes(900)}, licence="cc0-1.0")
        yield server


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training of mine that draws."""
    folder = tmp_path_factory.mktemp("runs") / RUN
    folder.mkdir()
    request = TrainRequest("digits-tiny", images=9000)
    About("My digits", owner_hash(MINE), 1e9, request).write(folder)
    told = {"state": "finished", "finished": "budget", "images_seen": 9000, "images": 9000}
    (folder / "status.json").write_text(json.dumps(told))
    tiny_model(folder / "latest", TINY_CLASSES, seed=12)
    return folder.parent


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def online(
    models: Path,
    hub: HubServer,
    runs: Path,
    uploads: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of an app that reaches the Hub."""
    cache = str(tmp_path_factory.mktemp("hub-cache"))
    places = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": cache, "LATENT_LAB_MODELS": str(models)}
    places |= {"LATENT_LAB_RUNS": str(runs), "GRADIO_TEMP_DIR": str(uploads)}
    with serving(["app.py", "--model", "tiny", "--port"], **ONLINE, **places) as url:
        yield url


def look_up(lab: Any, name: str) -> None:
    lab.do("models")
    lab.page.wait_for_selector("#lab-catalogue .model")
    lab.page.locator("#lab-find-name").fill(name)
    lab.page.keyboard.press("Enter")


def drawn(lab: Any, model: str) -> str:
    """Waits until a picture of `model` is on the canvas; → its recipe."""
    lab.page.wait_for_function(
        """(model) => {
          const { recipe, quality } = document.querySelector("#lab-canvas")?.dataset ?? {};
          return quality === "exact" && new URLSearchParams(recipe).get("m") === model;
        }""",
        arg=model,
    )
    return lab.drawn


def test_from_the_hub_to_the_picture_to_somebody_elses_screen(
    new_lab: Callable[..., Any], online: str, hub: HubServer
) -> None:
    lab = new_lab(url=online).open()
    look_up(lab, "someone/small")
    card = lab.page.locator("#lab-found")
    card.locator(".keep").wait_for()
    facts = card.text_content()
    assert "cc0-1.0" in facts
    assert "kB" in facts
    assert card.locator("select option").all_text_contents() == ["model.safetensors", "older/G.pkl"]
    assert hub.asked("GET", "cdn") == [], "something was downloaded before anybody agreed"
    card.locator(".keep").click()
    recipe = drawn(lab, "someone/small")
    assert "r=" in recipe
    assert not lab.page.locator("#lab-models").is_visible()
    assert "3 classes" in lab.page.locator(".model-facts").text_content()
    assert "someone/small" in lab.toast()
    lab.page.locator("#lab-classes").get_by_text("class 2").click()
    lab.page.wait_for_function("location.search.includes('c=2')")
    link = lab.page.evaluate("location.search")

    other = new_lab(url=online).open(link)
    assert "c=2" in drawn(other, "someone/small")
    lab.page.reload()
    assert "c=2" in drawn(lab, "someone/small")
    lab.do("models")
    lab.page.locator("#lab-models-here .model[aria-current=true]").wait_for()


def test_a_link_offers_the_model_that_it_needs(
    new_lab: Callable[..., Any], online: str, hub: HubServer
) -> None:
    """One that nobody has opened: nothing of it is here."""
    hub.commit("someone/linked", hub.repos["someone/small"].commits[-1][1])
    lab = new_lab(url=online).open(f"?m=someone/linked&r={'0' * 12}&s=4")
    card = lab.page.locator("#lab-found")
    card.locator(".found-error").wait_for()
    assert "no longer has the weights" in card.text_content()
    lab.page.close()
    lab = new_lab(url=online).open("?m=someone/linked&s=4")
    card = lab.page.locator("#lab-found")
    card.locator(".keep").click()
    assert "s=4" in drawn(lab, "someone/linked")


def test_what_fails_is_told_in_the_card(
    new_lab: Callable[..., Any], online: str, hub: HubServer, tmp_path: Path
) -> None:
    hub.commit("someone/broken", {"G.pkl": bytes(5000)})
    hub.faults["G.pkl"] = Fault(content=b"<!DOCTYPE html><title>Log in</title>")
    lab = new_lab(url=online).open()
    look_up(lab, "someone/nobody")
    error = lab.page.locator("#lab-found .found-error")
    error.wait_for()
    assert "no model someone/nobody" in error.text_content()
    lab.page.locator("#lab-find-name").fill("someone/broken")
    lab.page.keyboard.press("Enter")
    lab.page.locator("#lab-found .keep").click()
    error.wait_for()
    assert "A web page came" in error.text_content()
    lab.page.locator(".language").dispatch_event("click")
    assert lab.page.locator("#lab-models h2").text_content() == "模型"
    lab.page.keyboard.press("Escape")
    assert lab.page.locator("#lab-find-name").is_hidden()


def test_who_stops_is_at_the_card_at_once(
    new_lab: Callable[..., Any], online: str, hub: HubServer
) -> None:
    hub.commit("someone/slow", {"G.pkl": bytes(5000)})
    go_on = threading.Event()
    hub.faults["G.pkl"] = Fault(held=go_on)
    try:
        lab, other = new_lab(url=online).open(), new_lab(url=online).open()
        for each in (lab, other):
            look_up(each, "someone/slow")
            each.page.locator("#lab-found .keep").click()
            each.page.locator("#lab-found [role=progressbar]").wait_for()
        stop = lab.page.locator("#lab-found").get_by_text("Stop")
        stop.click()
        lab.page.locator("#lab-found .keep").wait_for()
        assert other.page.locator("#lab-found [role=progressbar]").is_visible()
        lab.page.locator("#lab-find-name").fill("someone/small")
        lab.page.keyboard.press("Enter")
        lab.page.get_by_text("cc0-1.0").wait_for()
        lab.page.locator("#lab-found .keep").click()
        drawn(lab, "someone/small")
        assert other.page.locator("#lab-found [role=progressbar]").is_visible()
    finally:
        go_on.set()
        del hub.faults["G.pkl"]
    other.page.locator("#lab-found .found-error").wait_for(timeout=60_000)
    assert lab.page.locator("#lab-models").is_hidden(), "the stopped one spoke up again"


def test_a_model_from_a_path_is_found_again_by_who_opened_it(
    new_lab: Callable[..., Any], online: str, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "elsewhere", seed=9)
    revision = gan.load_generator(tmp_path / "elsewhere").info.revision
    link = f"?m=elsewhere&r={revision}&s=4"
    stranger = new_lab(url=online).open(link)
    error = stranger.page.locator("#lab-found .found-error")
    error.wait_for()
    assert "Drop its file" in error.text_content()
    assert str(tmp_path) not in stranger.page.content()
    item = {"kind": "path", "name": str(tmp_path / "elsewhere"), "title": "Mine", "detail": ""}
    item |= {"model": "elsewhere", "revision": revision}
    owner = new_lab(url=online).open()
    owner.page.evaluate(
        "(item) => localStorage.setItem('latent-lab.models.v1', JSON.stringify([item]))", item
    )
    owner.page.goto(online + link)
    card = owner.page.locator("#lab-found")
    card.get_by_text("The recipe was made with this model").wait_for()
    card.locator(".keep").click()
    assert "s=4" in drawn(owner, "elsewhere")


def test_the_same_weights_under_another_name_draw_the_recipe(
    new_lab: Callable[..., Any], online: str, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "mine", seed=10)
    file = tmp_path / "faces (1).safetensors"
    file.write_bytes((tmp_path / "mine" / "model.safetensors").read_bytes())
    revision = gan.load_generator(file).info.revision
    lab = new_lab(url=online).open(f"?m=_file/faces&r={revision}&s=7")
    lab.page.locator("#lab-found .found-error").wait_for()
    lab.page.locator("#lab-model-file").set_input_files(file)
    assert "s=7" in drawn(lab, "_file/faces-1")


def test_a_private_model_opens_with_ones_own_token(
    new_lab: Callable[..., Any], online: str, hub: HubServer, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "secret", seed=6)
    files = {path.name: path.read_bytes() for path in (tmp_path / "secret").iterdir()}
    hub.commit("someone/secret", files, private=True)
    lab = new_lab(url=online).open("?m=someone/secret&s=4&psi=0.5")
    card = lab.page.locator("#lab-found")
    field = card.locator(".token input")
    field.wait_for()
    assert field.get_attribute("type") == "password"
    assert "never stored" in card.text_content()
    field.fill("hf_wrong")
    field.press("Enter")
    card.get_by_text("doesn’t accept that token").wait_for()
    assert field.input_value() == ""
    field.fill(TOKEN)
    field.press("Enter")
    card.get_by_text("for you alone").wait_for()
    card.locator(".keep").click()
    lab.page.wait_for_function("location.search.startsWith('?m=_private.someone/secret-')")
    lab.rest()
    assert "s=4&psi=0.5" in lab.query
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    lab.page.wait_for_function("location.search.startsWith('?m=_private.someone/secret-')")
    lab.page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('no')); 0")
    lab.do("link")
    area = lab.page.locator("#lab-sheet textarea")
    area.wait_for()
    link = area.input_value()
    assert "m=someone/secret&" in link
    kept = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"
    assert TOKEN not in lab.page.evaluate(kept)
    other = new_lab(url=online).open(link[len(online) + 1 :])
    other.page.locator("#lab-found .token input").wait_for()
    assert "secret" not in other.page.locator("#lab-models-here").text_content()


def test_a_recent_model_is_removed_and_brought_back(
    new_lab: Callable[..., Any], online: str
) -> None:
    lab = new_lab(url=online).open()
    items = [
        {"kind": "hub", "name": f"someone/n{n}", "title": f"Model {n}", "model": f"someone/n{n}"}
        | {"revision": "0" * 12, "detail": "DCGAN"}
        for n in (1, 2, 3)
    ]
    stored = "(items) => localStorage.setItem('latent-lab.models.v1', JSON.stringify(items))"
    lab.page.evaluate(stored, items)
    lab.do("models")
    lab.page.locator("#lab-catalogue .model").first.wait_for()
    titles = lab.page.locator("#lab-models-recent .model-title")
    remove = lab.page.locator("#lab-models-recent .forget")
    remove.nth(1).focus()
    assert remove.nth(1).get_attribute("aria-label") == "Remove from this list: Model 2"
    lab.page.keyboard.press("Enter")
    assert titles.all_text_contents() == ["Model 1", "Model 3"]
    assert lab.page.locator("#lab-models-forgotten").text_content().startswith("Model 2 removed")
    lab.page.keyboard.press("Enter")  # "Undo" has the focus
    assert titles.all_text_contents() == ["Model 1", "Model 2", "Model 3"]
    for _ in range(3):
        remove.first.click(force=True)
    assert titles.count() == 0
    assert lab.page.locator("#lab-models-forgotten button").is_visible()
    lab.page.reload()
    lab.page.wait_for_selector("#lab[data-state=ready]")
    lab.do("models")
    lab.page.wait_for_selector("#lab-catalogue .model")
    assert not lab.page.locator("#lab-models-recent").is_visible()


def test_a_page_without_a_model_opens_one(
    new_lab: Callable[..., Any], empty_app: str, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "mine", seed=8)
    lab = new_lab(url=empty_app)
    lab.page.goto(empty_app)
    lab.page.locator(".empty button").click()
    lab.page.wait_for_selector("#lab-catalogue .model", state="attached")
    lab.page.locator("#lab-model-file").set_input_files(tmp_path / "mine/model.safetensors")
    drawn(lab, "_file/model")
    lab.page.wait_for_selector(".direction .strength")
    assert not lab.page.locator("#lab-models").is_visible()
    assert not lab.page.locator(".empty").is_visible()
    lab.drag(lab.slider(1), to=0.9)
    lab.page.wait_for_function("location.search.includes('e=pca0')")


def test_a_dropped_model_is_ones_own(new_lab: Callable[..., Any], app: str, tmp_path: Path) -> None:
    tiny_model(tmp_path / "mine", seed=8)
    content = base64.b64encode((tmp_path / "mine" / "model.safetensors").read_bytes()).decode()
    lab = new_lab().open()
    lab.page.evaluate(
        """(content) => {
          const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "My faces.safetensors"));
          for (const type of ["dragenter", "drop"])
            window.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true }));
        }""",
        content,
    )
    recipe = drawn(lab, "_file/My-faces")
    assert "r=" in recipe
    other = new_lab().open()
    other.do("models")
    other.page.wait_for_selector("#lab-catalogue .model", state="attached")
    assert "My-faces" not in other.page.locator("#lab-models").text_content()
    assert "My faces" not in other.page.locator("#lab-models").text_content()
    lab.page.reload()
    assert drawn(lab, "_file/My-faces") == recipe, "a link with its revision finds it again"


def test_ones_own_trainings_are_in_the_list(new_lab: Callable[..., Any], online: str) -> None:
    lab = new_lab(url=online)
    lab.page.add_init_script(f"localStorage.setItem('latent-lab.token.v1', '{MINE}')")
    lab.open().do("models")
    mine = lab.page.locator("#lab-models-runs .model")
    mine.get_by_text("My digits").dblclick()  # it is opened once
    drawn(lab, RUN)
    assert lab.page.locator("#lab-models").is_hidden()
    assert "3 classes" in lab.page.locator(".model-facts").text_content()
    lab.do("models")
    lab.page.locator("#lab-models-runs .model[aria-current=true]").wait_for()
    assert "My digits" not in lab.page.locator("#lab-models-here").text_content()
    other = new_lab(url=online).open()
    other.do("models")
    other.page.wait_for_selector("#lab-catalogue .model")
    assert "My digits" not in other.page.locator("#lab-models").text_content()


def test_a_file_on_its_way_says_how_far_it_is_and_can_be_stopped(
    new_lab: Callable[..., Any], online: str, uploads: Path, tmp_path: Path
) -> None:
    (tmp_path / "large.pkl").write_bytes(bytes(8_000_000))
    tiny_model(tmp_path / "mine", seed=13)
    lab = new_lab(url=online).open()
    lab.do("models")
    lab.page.wait_for_selector("#lab-catalogue .model")
    slowly = {"offline": False, "latency": 0, "downloadThroughput": -1}
    line = lab.page.context.new_cdp_session(lab.page)
    line.send("Network.emulateNetworkConditions", slowly | {"uploadThroughput": 200_000})
    lab.page.locator("#lab-model-file").set_input_files(tmp_path / "large.pkl")
    card = lab.page.locator("#lab-found")
    bar = card.locator("[role=progressbar]:not(.is-endless)")
    lab.page.wait_for_function(
        "Number(document.querySelector('#lab-found [aria-valuenow]')?.ariaValueNow) >= 20"
    )
    arriving = lambda: list(uploads.rglob("*.pkl"))  # noqa: E731
    wait_until(lab.page, arriving)
    assert 20 <= int(bar.get_attribute("aria-valuenow")) < 100
    assert "of 8.0 MB" in card.text_content()
    card.get_by_text("Stop").click()
    card.wait_for(state="hidden")
    line.send("Network.emulateNetworkConditions", slowly | {"uploadThroughput": -1})
    lab.page.locator("#lab-model-file").set_input_files(tmp_path / "mine" / "model.safetensors")
    drawn(lab, "_file/model")
    assert lab.page.locator("#lab-models").is_hidden()
    wait_until(lab.page, lambda: not arriving())  # what was stopped stays on no disk


def test_who_stops_a_file_is_told_again_which_model_the_link_waits_for(
    new_lab: Callable[..., Any], online: str, tmp_path: Path
) -> None:
    (tmp_path / "wrong.pkl").write_bytes(bytes(8_000_000))
    lab = new_lab(url=online).open("?m=elsewhere&r=0123456789ab&s=4")
    card = lab.page.locator("#lab-found")
    card.locator(".found-error").wait_for()
    asked_for = card.text_content()
    assert "elsewhere" in asked_for
    slowly = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 10_000}
    line = lab.page.context.new_cdp_session(lab.page)
    line.send("Network.emulateNetworkConditions", slowly)
    lab.page.locator("#lab-model-file").set_input_files(tmp_path / "wrong.pkl")
    card.get_by_text("Stop").click()
    card.locator(".found-error").wait_for()
    assert card.text_content() == asked_for


def test_a_recent_model_that_must_be_downloaded_again_shows_its_size_first(
    new_lab: Callable[..., Any], online: str, hub: HubServer, tmp_path: Path
) -> None:
    tiny_model(tmp_path / "far", seed=14)
    files = {path.name: path.read_bytes() for path in (tmp_path / "far").iterdir()}
    hub.commit("someone/far", files, licence="mit")
    item = {"kind": "hub", "name": "someone/far", "title": "Far", "detail": ""}
    item |= {"model": "someone/far", "revision": "0" * 12}
    lab = new_lab(url=online).open()
    lab.page.evaluate(
        "(item) => localStorage.setItem('latent-lab.models.v1', JSON.stringify([item]))", item
    )
    lab.do("models")
    lab.page.locator("#lab-models-recent .model").click()
    card = lab.page.locator("#lab-found")
    card.get_by_text("Download").wait_for()
    assert "mit" in card.text_content()
    card.locator(".keep").click()
    drawn(lab, "someone/far")


def test_of_two_questions_the_newer_answer_is_shown(
    new_lab: Callable[..., Any], online: str, hub: HubServer
) -> None:
    hub.commit("someone/first", {"G.pkl": bytes(5000)}, licence="licence-of-the-first")
    lab = new_lab(url=online).open()
    held = Held(lab.page, "look")
    look_up(lab, "someone/first")
    lab.page.locator("#lab-find-name").fill("someone/small")
    lab.page.keyboard.press("Enter")
    held.wait(2)
    card = lab.page.locator("#lab-found")
    held.routes[1].continue_()
    card.get_by_text("cc0-1.0").wait_for()
    held.let_go(0)
    lab.page.wait_for_timeout(100)
    assert "licence-of-the-first" not in card.text_content()
    assert "cc0-1.0" in card.text_content()


def test_an_answer_that_comes_late_leaves_the_keyboard_where_it_is(
    new_lab: Callable[..., Any], online: str
) -> None:
    lab = new_lab(url=online).open()
    held = Held(lab.page, "picker")
    lab.do("models")
    here = lab.page.locator("#lab-models-here .model").first
    here.focus()
    held.wait(1)
    before = here.element_handle()
    held.routes[0].continue_()
    lab.page.locator("#lab-catalogue .model").first.wait_for()
    assert not before.evaluate("(node) => node.isConnected"), "nothing was written anew"
    assert here.evaluate("(node) => node === document.activeElement")


def test_a_list_that_comes_during_a_press_leaves_the_click(
    new_lab: Callable[..., Any], online: str
) -> None:
    lab = new_lab(url=online).open()
    held = Held(lab.page, "picker")
    lab.do("models")
    other = lab.page.locator("#lab-models-here .model:not([aria-current=true])").first
    chosen = lab.page.locator("#lab-model")
    before = chosen.input_value()
    other.hover()
    lab.page.mouse.down()
    held.wait(1)
    held.let_go(0)
    lab.page.wait_for_timeout(100)
    lab.page.mouse.up()
    lab.page.locator("#lab-models").wait_for(state="hidden")
    assert chosen.input_value() != before


def test_a_late_list_leaves_the_keyboard_at_a_class(
    new_lab: Callable[..., Any], online: str
) -> None:
    lab = new_lab(url=online).open("?m=tiny-classes&s=0")
    held = Held(lab.page, "picker")
    lab.do("models")
    lab.page.keyboard.press("Escape")
    bee = lab.page.locator("#lab-classes input").nth(1)
    bee.focus()
    held.wait(1)
    before = bee.element_handle()
    held.routes[0].continue_()
    wait_until(lab.page, lambda: not before.evaluate("(node) => node.isConnected"))
    assert bee.evaluate("(node) => node === document.activeElement")


def test_two_clicks_open_once_and_who_stopped_before_the_ticket_gives_it_back(
    new_lab: Callable[..., Any], online: str
) -> None:
    lab = new_lab(url=online).open()
    held = Held(lab.page, "open_model")
    look_up(lab, "someone/small")
    card = lab.page.locator("#lab-found")
    card.locator(".keep").wait_for()
    lab.page.evaluate(
        "() => { const b = document.querySelector('#lab-found .keep'); b.click(); b.click(); }"
    )
    held.wait(1)
    card.get_by_text("Stop").click()
    card.locator(".keep").wait_for()
    with lab.page.expect_request(lambda one: asks(one, "stop_opening")):
        held.routes[0].continue_()
    assert len(held.routes) == 1
    assert lab.page.locator("#lab-models").is_visible(), "what was stopped isn't shown"
    card.locator(".keep").click()
    held.wait(2)
    held.routes[1].continue_()
    drawn(lab, "someone/small")


def test_without_a_network_the_catalogue_is_grey_and_says_why(lab: Any) -> None:
    lab.do("models")
    entries = lab.page.locator("#lab-catalogue .model")
    entries.first.wait_for()
    assert entries.count() >= 15
    assert lab.page.locator("#lab-catalogue .model:not(:disabled)").count() == 0
    assert "can’t be reached" in lab.page.locator("#lab-absent").text_content()
    assert "Hub" in entries.first.get_attribute("title")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_dialog_fits(new_lab: Callable[..., Any], theme: str, width: int) -> None:
    lab = new_lab(width, 844, color_scheme=theme, has_touch=width == 390, locale="zh-CN").open()
    lab.do("models")
    lab.page.wait_for_selector("#lab-catalogue .model")
    wide = lab.page.evaluate(
        """(width) => [...document.querySelectorAll("#lab-models, #lab-models *")]
          .filter((one) => one.checkVisibility() && !one.closest("svg, .visually-hidden"))
          .filter((one) => one.getBoundingClientRect().right > width + 1)
          .map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    assert wide == []
