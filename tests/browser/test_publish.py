"""The dialogs that need the Hub, under a real hand: to publish a run, by the real client in the
real child process, to a Hub on this machine; and to train on a rented machine."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan.system import end_process
from gan.workshop import TrainRequest, publications
from gan.workshop.records import About, owner_hash
from tests.hub_server import TOKEN, USER, HubServer
from tests.jobs_server import JobsServer
from tests.tiny_run import CONFIG, tiny_run, train

from .conftest import serving
from .test_look import CONTRAST, assert_fits

PATIENCE = 300_000  # milliseconds: for machines that are busy with other things
MINE = "c" * 32


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsServer]:
    with JobsServer(tmp_path_factory.mktemp("machines")) as server:
        yield server


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of mine, that has learned for a second."""
    root = tmp_path_factory.mktemp("runs")
    folder = root / "run-00000000000000bb"
    train(tiny_run(folder))
    request = TrainRequest("digits-tiny", images=CONFIG.images)
    About("Tiny digits", owner_hash(MINE), 1e9, request).write(folder)
    return root


@pytest.fixture(scope="module")
def publishing_app(
    models: Path, runs: Path, hub: HubServer, tmp_path_factory: Any
) -> Iterator[str]:
    home = tmp_path_factory.mktemp("hub-home")
    environment = {
        "LATENT_LAB_MODELS": str(models),
        "LATENT_LAB_RUNS": str(runs),
        "LATENT_LAB_TRAINING": "on",
        "LATENT_LAB_LIMIT_CARD_SAMPLES": "20",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "",
    }
    with serving(["app.py", "--model", "tiny", "--port"], **environment) as url:
        yield url
    for run in runs.iterdir():  # uploads outlive their server
        process = publications.process_of(run)
        if process is not None:
            end_process(process, force=True)


@pytest.fixture
def page(new_lab: Callable[..., Any], publishing_app: str) -> Any:
    """The run's page, in the browser that it belongs to."""
    return watched(new_lab(url=publishing_app))


def watched(lab: Any) -> Any:
    lab.page.set_default_timeout(PATIENCE)
    lab.page.add_init_script(f"localStorage.setItem('latent-lab.token.v1', '{MINE}')")
    lab.page.goto(f"{lab.app}/?run=run-00000000000000bb#train")
    lab.page.wait_for_selector("#train-state[data-state=finished]")
    return lab.page


def open_dialog(page: Any) -> None:
    page.locator("[data-train=menu]").click()
    page.locator(".train-menu [data-train=publish]").click()
    page.locator("#train-publish[open]").wait_for()


@pytest.mark.slow  # the card is measured by a process of its own that has to load first
def test_publish_reload_and_find_it_again(
    page: Any, hub: HubServer, runs: Path, tmp_path: Path
) -> None:
    open_dialog(page)
    go = page.locator("[data-train=publish-go]")
    assert go.is_disabled()
    page.locator("#publish-repo").fill("no name")
    assert page.locator("#publish-repo").get_attribute("aria-invalid") == "true"
    page.locator("#publish-repo").fill(f"{USER}/tiny-digits")
    assert f"huggingface.co/{USER}/tiny-digits" in page.locator("#publish-repo-hint").inner_text()
    page.locator("#publish-form .publish-switch").click()
    assert go.is_disabled()  # no token yet
    page.locator("#publish-token").fill("hf_wrong")
    go.click()
    page.locator("#publish-why:not([hidden])", has_text="doesn’t know this token").wait_for()
    assert hub.repos == {}

    page.locator("[data-train=publish-again]").click()
    assert page.locator("#publish-token").input_value() == ""
    page.locator("#publish-token").fill(TOKEN)
    go.click()
    page.locator("[data-train=publish-stop]").wait_for()
    page.screenshot(path=tmp_path / "under-way.png")
    page.reload()  # the upload goes on, and is found again
    line = page.locator("#train-publication", has_text=f"Published as {USER}/tiny-digits")
    line.wait_for()
    line.click()
    page.screenshot(path=tmp_path / "done.png")
    link = page.locator("#publish-link")
    assert link.get_attribute("href") == f"{hub.url}/{USER}/tiny-digits"
    repo = hub.repos[f"{USER}/tiny-digits"]
    assert repo.private
    files = repo.commits[-1][1]
    assert {"model.safetensors", "README.md", "evaluation.json", "samples.png"} <= set(files)
    assert b"## Quality" in files["README.md"]
    told = json.loads((runs / "run-00000000000000bb" / "publish.json").read_text())
    assert told["state"] == "done"
    for path in runs.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_dialog_fits_and_can_be_read(
    new_lab: Callable[..., Any], publishing_app: str, width: int, scheme: str, tmp_path: Path
) -> None:
    lab = new_lab(width, 844, url=publishing_app, color_scheme=scheme)
    page = watched(lab)
    open_dialog(page)
    page.locator("#publish-repo").fill("someone/a-name")
    page.locator("#train-publish summary").click()
    box = page.locator("#train-publish").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert_fits(lab, width)
    assert page.evaluate(CONTRAST) == []
    assert page.screenshot(path=tmp_path / "dialog.png")
    weights = page.locator("#publish-files li").first.inner_text()
    assert re.fullmatch(r"model\.safetensors\s+up to [\d.]+ [kM]B", weights)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_a_rented_machine_tells_its_price_first(
    new_lab: Callable[..., Any], publishing_app: str, width: int, scheme: str, tmp_path: Path
) -> None:
    lab = new_lab(width, 844, url=publishing_app, color_scheme=scheme)
    page = lab.page
    page.set_default_timeout(PATIENCE)
    page.goto(f"{publishing_app}/#train")
    page.locator("[data-train=rent]").click()
    page.locator("#train-rent[open]").wait_for()
    page.locator("#rent-repo").fill(f"{USER}/rented")
    page.locator("#rent-machine").select_option("a10g-small")
    page.locator("#rent-hours").fill("3")
    told = page.locator("#rent-cost").inner_text()
    assert told == f"At most $3.00 for 3 h, at $1.00 an hour, paid to Hugging Face by {USER}."
    go = page.locator("[data-train=rent-go]")
    assert go.is_disabled()  # no token yet
    page.locator("#rent-token").fill("hf_something")
    assert go.is_enabled()
    assert_fits(lab, width)
    assert page.evaluate(CONTRAST) == []
    assert page.screenshot(path=tmp_path / "rent.png")


def test_somebody_elses_run_cannot_be_published(new_lab: Callable[..., Any], publishing_app: str):
    page = new_lab(url=publishing_app).page
    page.goto(f"{publishing_app}/?run=run-00000000000000bb#train")
    page.wait_for_selector("#train-state[data-state=finished]")
    assert page.locator(".train-menu [data-train=publish]").get_attribute("hidden") is not None
