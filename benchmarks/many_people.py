"""Thirty people drag at once: how much of the generator's own speed do they get, and how soon?

    python benchmarks/many_people.py [--people 30] [--seconds 10] [--model avatars] [--line both]

Starts the real program, and in this process as many clients as there are people. Each drags a PCA
slider of a seed of its own, as the page does: one request in flight, the next position at once
after the answer, at most 60 a second. *socket* is the page's live line, *function* the server
function that it falls back to. The recipe in each reply is compared with the one that was sent,
and pictures are drawn again afterwards, to be sure that nobody was sent another's.

The yardstick is the generator alone, previews in the way and the batch size in which it is fastest
(`generator_alone`), measured before and after in a process of its own; the faster one counts.
Clients and server share the machine, so two shares are given: per second of the server's processor
time (what the clients use counts apart), and per second on the clock.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

EVENTS_A_SECOND = 60
SETTLE_SECONDS = 3.0  # not counted: models open, directions are found, kernels are built
CHECKED = 60  # pictures drawn again
_TEXT, _BINARY, _PING, _PONG = 1, 2, 9, 10  # kinds of WebSocket messages (RFC 6455)


@dataclass
class Person:
    """One client: a seed of its own, one request in flight."""

    number: int
    latencies: list[float] = field(default_factory=list)  # seconds
    wrong: int = 0
    refused: int = 0
    kept: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)

    def recipe(self, turn: int) -> dict[str, Any]:
        """The position of the slider: to and fro over ±2 σ, in canonical JSON."""
        strength = round(4 * abs((turn * 0.013 + self.number / 30) % 2 - 1) - 2, 4) or 0.5
        strength = int(strength) if strength == int(strength) else strength
        edits = [{"direction": "pca0", "strength": strength}]
        return {"model": OPTIONS.model, "seed": 1000 + self.number, "edits": edits}

    def note(self, asked: dict[str, Any], head: dict[str, Any], picture: bytes) -> None:
        if "error" in head:
            self.refused += 1
        elif head["id"] != asked["id"] or head["recipe"] != asked["recipe"]:
            self.wrong += 1
        elif random.random() < 0.02:
            self.kept.append((asked["recipe"], picture))


async def drag(person: Person, line: Any, until: float) -> None:
    """Moves the slider until the time is up, counting after the settling."""
    counts_from = time.perf_counter() + SETTLE_SECONDS
    turn = 0
    while (started := time.perf_counter()) < until:
        turn += 1
        asked = {"id": turn, "recipe": person.recipe(turn), "quality": "preview"}
        head, picture = await line.ask(asked)
        taken = time.perf_counter() - started
        if started >= counts_from:
            person.latencies.append(taken)
            person.note(asked, head, picture)
        await asyncio.sleep(max(0.0, 1 / EVENTS_A_SECOND - taken))


class SocketLine:
    """The live line, with no more of the WebSocket protocol (RFC 6455) than it needs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, _: int) -> "SocketLine":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in status.split(b"\r\n")[0]:
            raise SystemExit("the server opens no WebSocket: is the package “websockets” there?")
        return cls(reader, writer)

    async def ask(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._send(_TEXT, json.dumps(asked).encode())
        kind, content = await self._receive()
        while kind == _PING:  # the server asks now and then whether we are there
            self._send(_PONG, content)
            kind, content = await self._receive()
        if kind != _BINARY:
            raise SystemExit(f"the server closed the line ({kind})")
        head, _, picture = content.partition(b"\n")
        return json.loads(head), picture

    def _send(self, kind: int, content: bytes) -> None:
        mask = b"\0\0\0\0"  # a mask must be there; zeros leave the content as it is
        size = len(content)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        self.writer.write(bytes([0x80 | kind]) + length + mask + content)

    async def _receive(self) -> tuple[int, bytes]:
        first, length = await self.reader.readexactly(2)
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 15, await self.reader.readexactly(length)


class FunctionLine:
    """The component's server function `draw`, over one HTTP connection kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, component: int):
        self.reader, self.writer, self.component = reader, writer, component

    @classmethod
    async def connect(cls, port: int, component: int) -> "FunctionLine":
        return cls(*await asyncio.open_connection("127.0.0.1", port), component)

    async def ask(self, asked: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        call = {"data": asked, "component_id": self.component, "fn_name": "draw"}
        body = json.dumps(call | {"session_hash": "many"}).encode()
        self.writer.write(
            b"POST /gradio_api/component_server HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = json.loads(await self.reader.readexactly(length))
        picture = answer.pop("image", ",").partition(",")[2]
        return answer, base64.b64decode(picture)


# The server, in a process of its own


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """The real program → (its process, its port)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)]
    program = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if program.poll() is not None:
                raise SystemExit("the program ended before it served")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                break
            except OSError:
                time.sleep(0.1)
        yield program.pid, port
    finally:
        program.terminate()
        program.wait(20)


def explore_component(port: int) -> int:
    """The number of the component whose server functions the page calls."""
    config = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/config"))
    for component in config["components"]:
        if "draw" in component["props"].get("server_fns", []):
            return component["id"]
    raise SystemExit("the page has no component with a server function “draw”")


def processor_seconds(process: int) -> float:
    """Processor time that a process has used so far, all its threads (Linux; else NaN)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The yardstick


def generator_alone(model: str, seconds: float = 6.0) -> tuple[float, float]:
    """→ (pictures a second, processor seconds a picture) of batched previews, nothing around."""
    command = [sys.executable, __file__, "--alone", str(seconds), "--model", model]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as app.py sets it
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=PROJECT, env=environment
    )
    rate, cost = json.loads(shown.stdout)
    return rate, cost


def measure_alone(model: str, seconds: float) -> tuple[float, float]:
    """The fastest of all cores on one batch and of one batch a core, of 8, 16 or 32 pictures:
    synthesis from ws that are there."""
    import torch

    from gan import device as devices
    from gan.generators.prepared import prepare
    from gan.loading import load_generator

    device = devices.choose()
    generator = load_generator(model)
    synthesis = prepare(generator, getattr(torch, device.dtype))
    ways = itertools.product({(1, device.threads), (device.threads, 1)}, (8, 16, 32))
    found = []
    for (workers, threads), batch in ways:
        ws = generator.mapping(torch.randn(batch, generator.z_dim), _classes(generator, batch))

        def draw(until: float, ws: Any = ws, threads: int = threads) -> int:
            torch.set_num_threads(threads)
            drawn = 0
            with torch.inference_mode():
                while time.perf_counter() < until:
                    synthesis(ws)
                    drawn += len(ws)
            return drawn

        found.append(_rate_and_cost(draw, workers, seconds / 6))
    return max(found)


def _rate_and_cost(
    draw: Callable[[float], int], workers: int, seconds: float
) -> tuple[float, float]:
    """→ (pictures a second, processor seconds a picture) of so many threads that draw."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(draw, [time.perf_counter() + 0.2] * workers))  # builds the kernels
        start, used = time.perf_counter(), time.process_time()
        drawn = sum(pool.map(draw, [start + seconds] * workers))
        return drawn / (time.perf_counter() - start), (time.process_time() - used) / drawn


def _classes(generator: Any, batch: int) -> Any:
    from gan.latents import one_hot

    labels = [number % max(generator.c_dim, 1) for number in range(batch)]
    return one_hot(labels, generator.c_dim) if generator.c_dim else None


# Putting it together


async def crowd(line: Any, port: int, server_process: int) -> tuple[list[Person], dict[str, float]]:
    component = explore_component(port)
    people = [Person(number) for number in range(OPTIONS.people)]
    lines = [await line.connect(port, component) for _ in people]
    until = time.perf_counter() + SETTLE_SECONDS + OPTIONS.seconds
    drags = [drag(person, one, until) for person, one in zip(people, lines, strict=True)]
    crowded = asyncio.gather(*drags)
    await asyncio.sleep(SETTLE_SECONDS)
    before = processor_seconds(server_process), time.process_time(), time.perf_counter()
    await asyncio.sleep(OPTIONS.seconds - 0.5)
    after = processor_seconds(server_process), time.process_time(), time.perf_counter()
    await crowded
    names = ("server", "clients", "clock")
    return people, {n: b - a for n, a, b in zip(names, before, after, strict=True)}


def others_pictures(people: list[Person]) -> int:
    """How many of the kept pictures aren't those of their recipes, of `CHECKED` drawn again."""
    import io

    import numpy as np
    from PIL import Image

    import gan

    kept = [each for person in people for each in person.kept]
    wrong = 0
    for recipe, picture in random.sample(kept, min(CHECKED, len(kept))):
        exact = np.asarray(gan.render(gan.Recipe.from_json(recipe))).astype(float)
        shown = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(float)
        # A preview's JPEG is within a few levels on the mean; another seed's picture is not.
        wrong += float(np.abs(exact - shown).mean()) > 8
    return wrong


def measure(name: str, line: Any) -> tuple[dict[str, Any], float, float]:
    """→ what to print, pictures a second, the server's processor seconds a picture."""
    with server() as (process, port):
        people, used = asyncio.run(crowd(line, port, process))
    taken = sorted(1000 * each for person in people for each in person.latencies)
    rate = len(taken) / OPTIONS.seconds
    cost = used["server"] / (rate * used["clock"])
    row = {
        "line": name,
        "pictures/s": f"{rate:.0f}",
        "p50 ms": f"{statistics.median(taken):.0f}",
        "p95 ms": f"{taken[int(0.95 * len(taken))]:.0f}",
        "slowest person p95": f"{max(_p95(person.latencies) for person in people):.0f}",
        "server CPU ms/picture": f"{1000 * cost:.2f}",
        "clients' CPU": f"{100 * used['clients'] / used['clock']:.0f} %",
        "refused": sum(person.refused for person in people),
        "wrong recipe": sum(person.wrong for person in people),
        "wrong picture": others_pictures(people),
    }
    return row, rate, cost


def _p95(latencies: list[float]) -> float:
    return 1000 * sorted(latencies)[int(0.95 * len(latencies))]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Thirty people drag at once.")
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--model", default="avatars")
    parser.add_argument("--line", choices=("socket", "function", "both"), default="both")
    parser.add_argument("--alone", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    if OPTIONS.alone:
        print(json.dumps(measure_alone(OPTIONS.model, OPTIONS.alone)))
        return
    lines = {"socket": SocketLine, "function": FunctionLine}
    chosen = lines if OPTIONS.line == "both" else {OPTIONS.line: lines[OPTIONS.line]}
    print(f"{OPTIONS.people} people, {OPTIONS.seconds:g} s, {os.cpu_count()} cores")
    rows = []
    for name, line in chosen.items():
        before = generator_alone(OPTIONS.model)
        row, rate, cost = measure(name, line)
        after = generator_alone(OPTIONS.model)
        row["alone before/after"] = f"{before[0]:.0f}/{after[0]:.0f} a second"
        row["alone CPU ms/picture"] = f"{1000 * before[1]:.2f}/{1000 * after[1]:.2f}"
        row["share by CPU"] = f"{100 * min(before[1], after[1]) / cost:.0f} %"
        row["share by clock"] = f"{100 * rate / max(before[0], after[0]):.0f} %"
        rows.append(row)
    for title in rows[0]:
        print(f"{title:24}" + "".join(f"{row[title]!s:>20}" for row in rows))


if __name__ == "__main__":
    OPTIONS = parse()
    main()
