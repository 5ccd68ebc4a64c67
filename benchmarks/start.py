"""How long from `python app.py` to the first picture painted in a browser that is open already.

    python benchmarks/start.py [--times 3] [--model avatars]

The yardstick is `python -c "import torch, gradio"`, which nothing that uses both can beat. The
browser has seen the page before, so its cache is warm; it opens the page within 50 ms of the
server's listening.
"""

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

from browser import CHROMIUM, FLAGS, PROJECT, free_port

# Notes when the picture that came with the page is decoded and its frame has been produced.
WATCH = """
addEventListener("DOMContentLoaded", () => {
  const watch = new MutationObserver(async () => {
    const image = document.querySelector("#lab img.first");
    if (!image || window.painted) return;
    watch.disconnect();
    await image.decode();
    requestAnimationFrame(() => setTimeout(() => (window.painted = Date.now()), 0));
  });
  watch.observe(document.documentElement, { childList: true, subtree: true });
});
"""


def main() -> None:
    options = parse()
    from playwright.sync_api import sync_playwright

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(WATCH)
        port = free_port()
        start(page, port, options.model)  # fills the browser's cache, and the disk's
        rows = [(imports(), *start(page, port, options.model)) for _ in range(options.times)]
        browser.close()
    table(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--model", default="avatars")
    return parser.parse_args()


def imports() -> float:
    """Seconds that Python takes to import torch and gradio."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, gradio"], cwd=PROJECT, check=True)
    return time.perf_counter() - began


def start(page: Any, port: int, model: str) -> tuple[float, float]:
    """Seconds from starting the program to its first answer, and to the first painted picture."""
    began = time.time()
    command = [sys.executable, "app.py", "--port", str(port), "--model", model]
    with running(command):
        while not listens(port):
            time.sleep(0.05)
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        answered = time.time()
        page.wait_for_function("window.painted", polling=20, timeout=60_000)
        painted = page.evaluate("window.painted") / 1000
        page.wait_for_timeout(2000)  # what the page loads after its first picture
        page.goto("about:blank")
    return answered - began, painted - began


def listens(port: int) -> bool:
    """Asked of the system: a browser that fails to open a page uses a core to say so."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str]):
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


def table(rows: list[tuple[float, float, float]]) -> None:
    print("| | import torch, gradio (s) | page answers (s) | first picture (s) | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for number, (base, answered, painted) in enumerate(rows, start=1):
        print(f"| {number} | {base:.2f} | {answered:.2f} | {painted:.2f} | {painted / base:.2f} |")
    base, answered, painted = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"| median | {base:.2f} | {answered:.2f} | {painted:.2f} | {painted / base:.2f} |")


if __name__ == "__main__":
    main()
