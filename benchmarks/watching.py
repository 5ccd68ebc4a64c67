"""What a watched minute costs the page's process: CPU seconds while a browser follows a training.

    python benchmarks/watching.py [--seconds 60] [--data digits-tiny] [--watchers 1] [--url URL]

Starts the app and a training, watches it in a headless Chromium, and reads the processor time of
the app's process (not of the training's, nor of the browser's) before and after. Then the same with
the page hidden: it should ask for nothing.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser import CHROMIUM, FLAGS, PROJECT, free_port, served

SHOW = """
seen => {
  Object.defineProperty(document, "visibilityState", { get: () => seen, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def main() -> None:
    options = parse()
    asyncio.run(measure(options))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data", default="digits-tiny")
    parser.add_argument("--url", help="an app that is running already, instead of starting one")
    parser.add_argument("--watchers", type=int, default=1)
    return parser.parse_args()


async def measure(options: argparse.Namespace) -> None:
    from playwright.async_api import async_playwright

    port = urlsplit(options.url).port if options.url else free_port()
    assert port is not None, "the address has a port"
    with tempfile.TemporaryDirectory() as runs:
        os.environ["LATENT_LAB_RUNS"] = runs
        command = [sys.executable, "app.py", "--port", str(port)]
        async with served(command, port, options.url) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=FLAGS, timeout=600_000
            )
            owner, pages = await watched(browser, url, options)
            process = page_process(port)
            shown = await cost(process, pages, options.seconds)
            requests = sum(page.asked for page in pages)
            for page in pages:
                await page.page.evaluate(SHOW, "hidden")
                page.asked = 0
            hidden = await cost(process, pages, options.seconds)
            asked = sum(page.asked for page in pages)
            await owner.evaluate(SHOW, "visible")  # a hidden page wouldn't see that it stopped
            await owner.locator("[data-train=stop]").click()
            await owner.wait_for_selector("#train-state[data-state=stopped]", timeout=60_000)
            await browser.close()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {options.watchers} watching")
    print(f"watched: {shown:5.2f} CPU-s a minute, {requests} requests in {options.seconds:.0f} s")
    print(f"hidden:  {hidden:5.2f} CPU-s a minute, {asked} requests in {options.seconds:.0f} s")


class Watcher:
    """A page, and how many looks it has asked for."""

    def __init__(self, page: Any):
        self.page, self.asked = page, 0
        page.on("request", self._count)

    def _count(self, request: Any) -> None:
        self.asked += "component_server" in request.url


async def watched(browser: Any, url: str, options: argparse.Namespace) -> tuple[Any, list[Watcher]]:
    """→ the owner's page, and the pages that watch a training that has begun."""
    owner = await new_page(browser)
    await owner.goto(f"{url}/#train")
    await owner.locator(f".data-tiles [value={options.data}]").check(force=True)
    await owner.locator("#train-more summary").click()
    await owner.locator("#train-images").fill("50000000")
    await owner.locator("[data-train=start]").click()
    await owner.wait_for_selector("#train-canvas[data-seen]")
    run = await owner.evaluate("new URLSearchParams(location.search).get('run')")
    pages = [Watcher(owner)]
    for _ in range(options.watchers - 1):
        page = await new_page(browser)
        await page.goto(f"{url}/?run={run}#train")
        await page.wait_for_selector("#train-canvas[data-seen]")
        pages.append(Watcher(page))
    await owner.wait_for_timeout(5000)
    return owner, pages


async def new_page(browser: Any) -> Any:
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(600_000)
    return await context.new_page()


async def cost(process: int, pages: list[Watcher], seconds: float) -> float:
    """CPU seconds a minute of a process, over `seconds`."""
    for page in pages:
        page.asked = 0
    before, started = cpu_seconds(process), time.monotonic()
    await asyncio.sleep(seconds)
    return (cpu_seconds(process) - before) * 60 / (time.monotonic() - started)


def page_process(port: int) -> int:
    """The process that listens on a port (Linux): the app's."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {f[9] for f in map(str.split, lines) if f[1].endswith(wanted) and f[3] == "0A"}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return int(link.parts[2])
    raise SystemExit(f"nobody listens on port {port}")


def cpu_seconds(process: int) -> float:
    """Processor time of a process and all its threads so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(f"{PROJECT.name}: {(__doc__ or '').partition(chr(10))[0]}")
    main()
