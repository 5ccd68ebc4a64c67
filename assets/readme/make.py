"""Makes the README's pictures from the running program: `python assets/readme/make.py`.

`explore.png` is a screenshot of the page, `drag.gif` what one sees while a direction's slider is
dragged there and back. Needs what the tests need (Playwright, a Chromium).
"""

import contextlib
import io
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
WIDTH, HEIGHT = 1280, 800
FRAMES, GIF_WIDTH, FRAME_MILLISECONDS = 28, 720, 70
LARGEST = 4.0  # σ
START = "?m=avatars&s=11&psi=0.7"


def main() -> None:
    with serving() as url, sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US")
        page.goto(f"{url}/{START}")
        page.wait_for_selector("#lab-canvas[data-drawn]")
        page.wait_for_selector("[data-direction=pca0]", timeout=120_000)
        time.sleep(3)  # the thumbnails of the directions
        page.screenshot(path=HERE / "explore.png")
        save_gif([frame(page, i) for i in range(FRAMES)])
        browser.close()


def frame(page: Page, index: int) -> Image.Image:
    """The page with the first direction's slider at one moment of a drag to and fro."""
    strength = LARGEST * math.sin(2 * math.pi * index / FRAMES)
    slider = page.locator("[data-direction=pca0] input[type=range]").first
    slider.evaluate(
        """(slider, value) => {
          slider.value = value;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        strength,
    )
    time.sleep(0.25)  # the picture has arrived
    shot = Image.open(io.BytesIO(page.screenshot()))
    return shot.resize((GIF_WIDTH, round(GIF_WIDTH * HEIGHT / WIDTH)), Image.Resampling.LANCZOS)


def save_gif(frames: list[Image.Image]) -> None:
    palette = frames[0].convert("RGB").quantize(160)
    indexed = [
        one.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for one in frames
    ]
    indexed[0].save(
        HERE / "drag.gif",
        save_all=True,
        append_images=indexed[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        comment=b"AI-generated",
    )


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The app on a free port, until the block ends."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "app.py", "--model", "avatars", "--port", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(15)


if __name__ == "__main__":
    main()
