"""The tile for a data set from the Hub: named, looked at, chosen, and what would then run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub_pictures import README, parquet, png, stored
from tests.hub_server import HubServer

from .conftest import serving
from .test_look import assert_fits

PATIENCE = 240_000  # milliseconds: looking starts a process, and machines may be busy


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub with a data set that leaves one choice open."""
    datasets = pytest.importorskip("datasets", reason="the optional package isn't installed")
    columns = {
        "photo": [stored(png(number, 32)) for number in range(24)],
        "mask": [stored(png(number, 32, grey=True)) for number in range(24)],
        "kind": [number % 3 for number in range(24)],
    }
    kinds = {
        "photo": datasets.Image(),
        "mask": datasets.Image(),
        "kind": datasets.ClassLabel(names=["ant", "bee", "cat"]),
    }
    with HubServer() as server:
        files = {"data/train-00000-of-00001.parquet": parquet(columns, kinds), "README.md": README}
        server.commit("datasets/someone/insects", files, licence="cc-by-4.0")
        yield server


@pytest.fixture(scope="module")
def hub_app(
    models: Path, hub: HubServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A public host that lets data sets from that Hub in."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "LATENT_LAB_MODELS": str(models),
        "LATENT_LAB_RUNS": str(home / "runs"),
        "LATENT_LAB_TRAINING": "on",
        "LATENT_LAB_HUB_DATA": "on",
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home / "hub"),
    }
    with serving(["app.py", "--model", "tiny", "--port"], **environment) as url:
        yield url


@pytest.mark.slow  # an app of its own, and looking is a process that has to load first
def test_a_data_set_from_the_hub_is_looked_at_and_chosen(
    new_lab: Callable[..., Any], hub_app: str, hub: HubServer
) -> None:
    lab = new_lab(url=hub_app)
    page = lab.page
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab.app}/#train")
    page.locator("#train-data [value=hub]").check(force=True)
    assert page.locator("[data-train=start]").is_disabled()
    assert page.locator("#train-command").is_hidden(), "it is the digits' command"
    assert "Name a data set" in page.text_content("#train-estimate")
    page.fill("#train-hub-name", "https://huggingface.co/datasets/someone/insects")
    page.click("#train-hub-look")
    page.locator("#train-hub-found").wait_for()
    assert "cc-by-4.0" in page.text_content("#train-hub-licence")
    assert page.locator("#train-hub-missing").is_visible()  # "photo" or "mask"?
    assert page.locator("[data-train=start]").is_disabled()
    page.focus("select[name=hub-column]")
    page.select_option("select[name=hub-column]", "photo")
    page.locator("#train-hub-pictures").wait_for()
    assert page.evaluate("document.activeElement.name") == "hub-column", "the keyboard stays"
    assert page.input_value("select[name=hub-classes]") == "kind"
    assert page.locator("[data-train=start]").is_enabled()
    commit = hub.repos["datasets/someone/insects"].commits[-1][0]
    page.locator("#train-command").wait_for()
    page.wait_for_function(
        "(part) => document.querySelector('#train-command').textContent.includes(part)",
        arg=f"hub:someone/insects@{commit},config=default,split=train,column=photo,classes=kind",
    )
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fits(lab, width)
