"""How fast a slider moves the picture: from the input event to the picture drawn, in a browser.

    python benchmarks/latency.py [--seconds 5] [--drags 20] [--model avatars] [--url URL]

A real Chromium, headless, drags the first PCA slider to and fro with a mouse that reports 125 times
a second; the browser hands them on once a frame, at most 60 times a second. A move's latency runs
from its input event to the moment when a picture at least as new is decoded and drawn. Then twenty
short drags, each ending with a jump: is the last position the one that is drawn? Beside it, the
same model behind the common pattern: `gr.Image`, a slider's `.change`, the queue.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.browser import Browser, Page, chromium, free_port, served

MOUSE_RATE = 125  # reports a second, as an ordinary mouse's
SWEEP = 1.2  # seconds from one end of the slider to the other

# Notes every input event of the slider, and every picture drawn with the value that it shows.
WATCH_LIVE = """
(slider) => {
  const log = (window.log = { moves: [], pictures: [] });
  const moved = (event) => log.moves.push([event.timeStamp, Number(slider.value)]);
  slider.addEventListener("input", moved, true);
  const canvas = document.querySelector("#lab-canvas");
  new MutationObserver(() => {
    const found = /pca0:([-.0-9]+)/.exec(canvas.dataset.recipe);
    log.pictures.push([performance.now(), found ? Number(found[1]) : 0]);
  }).observe(canvas, { attributeFilter: ["data-drawn"] });
}
"""

# The common pattern's picture carries the slider's position as eight bars along its upper edge.
WATCH_COMMON = """
(slider) => {
  const log = (window.log = { moves: [], pictures: [] });
  const moved = (event) => log.moves.push([event.timeStamp, Number(slider.value)]);
  slider.addEventListener("input", moved, true);
  const canvas = new OffscreenCanvas(64, 64);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  document.addEventListener("load", async (event) => {
    const image = event.target;
    if (image.tagName !== "IMG" || !image.closest("#picture")) return;
    await image.decode().catch(() => {});
    const time = performance.now();
    context.drawImage(image, 0, 0, 64, 64);
    let code = 0;
    for (let bit = 0; bit < 8; bit++) {
      code |= (context.getImageData(bit * 8 + 4, 3, 1, 1).data[0] > 127) << bit;
    }
    log.pictures.push([time, Math.round((code * 0.05 - 4) * 100) / 100]);
  }, true);
}
"""


def main() -> None:
    options = parse()
    if options.serve_common:
        serve_common(options.model, options.serve_common)
        return
    asyncio.run(compare(options))


async def compare(options: argparse.Namespace) -> None:
    async with chromium() as browser:
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {browser.version}")
        rows = [await measure_live(browser, options)]
        if not options.only_live:
            rows.append(await measure_common(browser, options))
    table(rows)
    if len(rows) == 2:
        print(f"{rows[1]['p50 ms'] / rows[0]['p50 ms']:.1f} times faster (p50)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="avatars")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--drags", type=int, default=20)
    parser.add_argument("--url", help="an app that is running already, instead of starting one")
    parser.add_argument("--only-live", action="store_true", help="leave the common pattern out")
    parser.add_argument("--serve-common", type=int, metavar="PORT", help=argparse.SUPPRESS)
    return parser.parse_args()


# The two pages


async def measure_live(browser: Browser, options: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, "app.py", "--port", str(port), "--model", options.model]
    async with served(command, port, options.url) as url, browser.page() as page:
        slider = ".direction .strength"
        is_ready = f"document.querySelector('#lab[data-state=ready] {slider}')"
        await page.open(f"{url}/?m={options.model}&s=4", is_ready)
        await asyncio.sleep(3)  # the small pictures beside the sliders
        hand = await Hand.on(page, slider, WATCH_LIVE)
        return {"page": "Explore"} | await measure(hand, options)


async def measure_common(browser: Browser, options: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, __file__, "--serve-common", str(port), "--model", options.model]
    async with served(command, port) as url, browser.page() as page:
        await page.open(url, "document.querySelector('#picture img')")
        await asyncio.sleep(1)
        hand = await Hand.on(page, "#slider input[type=range]", WATCH_COMMON)
        return {"page": "gr.Image, .change, queue"} | await measure(hand, options)


class Hand:
    """A mouse on a slider."""

    def __init__(self, page: Page, slider: str, box: tuple[float, ...]):
        x, y, width, height = box
        self.page, self.slider = page, f"document.querySelector({json.dumps(slider)})"
        self.left, self.width, self.y = x + 10, width - 20, y + height / 2

    @classmethod
    async def on(cls, page: Page, slider: str, watch: str) -> "Hand":
        hand = cls(page, slider, await page.box(slider))
        await page.evaluate(f"({watch})({hand.slider})")
        return hand

    async def drag(self, seconds: float, end: float = 0.5) -> None:
        """Presses in the middle, moves to and fro, jumps to `end` (0 … 1 of the track), lets go."""
        await self.report("mousePressed", 0.5)
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            phase = (passed / SWEEP + 0.5) % 2
            place = 0.02 + 0.96 * (phase if phase < 1 else 2 - phase)
            await self.report("mouseMoved", place)
            await asyncio.sleep(1 / MOUSE_RATE)
        await self.report("mouseMoved", end)
        await self.report("mouseReleased", end)

    async def report(self, kind: str, place: float) -> None:
        await self.page.mouse(kind, self.left + place * self.width, self.y)

    async def is_last_drawn(self, number: int) -> bool:
        """After a short drag that ends elsewhere: is the picture that of the last position?"""
        await self.drag(0.25, end=0.1 + 0.8 * (number * 0.618 % 1))
        await asyncio.sleep(1.2)
        last = await self.page.evaluate("log.pictures.at(-1)")
        return bool(last) and same(last[1], float(await self.page.evaluate(f"{self.slider}.value")))


async def measure(hand: Hand, options: argparse.Namespace) -> dict[str, Any]:
    await hand.drag(1.0)
    await asyncio.sleep(0.8)
    await hand.page.evaluate("log.moves.length = log.pictures.length = 0")
    await hand.drag(options.seconds)
    await asyncio.sleep(1.5)
    log = await hand.page.evaluate("log")
    lasts = [await hand.is_last_drawn(number) for number in range(options.drags)]
    return summary(log) | {"last drawn": f"{sum(lasts)} of {len(lasts)}"}


def summary(log: dict[str, list[list[float]]]) -> dict[str, Any]:
    """Latencies in milliseconds: each move with the first picture at least as new as it."""
    latencies: list[float] = []
    waiting = log["moves"]
    for drawn, value in log["pictures"]:
        shown = [i for i, (moved, at) in enumerate(waiting) if moved <= drawn and same(at, value)]
        if shown:
            latencies += [drawn - moved for moved, _ in waiting[: shown[-1] + 1]]
            waiting = waiting[shown[-1] + 1 :]
    moves = log["moves"]
    during = [drawn for drawn, _ in log["pictures"] if drawn <= moves[-1][0]]
    seconds = (moves[-1][0] - moves[0][0]) / 1000
    cuts = statistics.quantiles(latencies, n=20)
    return {
        "moves/s": round(len(moves) / seconds, 1),
        "pictures/s": round(len(during) / seconds, 1),
        "p50 ms": round(statistics.median(latencies), 1),
        "p95 ms": round(cuts[18], 1),
    }


def same(one: float, other: float) -> bool:
    return abs(one - other) < 1e-6


# The common pattern


def serve_common(model: str, port: int) -> None:
    """What most demos of a generator look like, with the same network behind it."""
    import gradio as gr
    import torch

    import gan
    from gan.directions.pca import pca
    from gan.latents import seed_to_z

    generator = gan.load_generator(model)
    direction = pca(generator).vectors["pca0"]
    ws = generator.mapping(seed_to_z(4, generator.z_dim), psi=0.7)

    @torch.inference_mode()
    def draw(strength: float) -> Any:
        image = generator.synthesis(ws + strength * direction)[0]
        pixels = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        code = round((strength + 4) / 0.05)
        for bit in range(8):
            pixels[:6, bit * 8 : bit * 8 + 8] = 255 * (code >> bit & 1)
        return pixels

    with gr.Blocks() as demo:
        picture = gr.Image(value=draw(0.0), elem_id="picture")
        slider = gr.Slider(-4, 4, 0, step=0.05, label="Strength", elem_id="slider")
        slider.change(draw, slider, picture)
    demo.launch(server_port=port, quiet=True)


def table(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
