"""Orders from whoever watches a run to the process that trains it: one small file, control.json.

Each line is an order. The watcher replaces the file, and keeps the lines that weren't noted yet;
the process reads it a few times a second, notes the orders' numbers in its status, and carries
them out between two steps, one after the other. An order names the process it is for, so one that
comes too late for it never reaches its successor.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gan.files import write_atomic

FILE = "control.json"
ACTIONS = ("pause", "resume", "save", "export", "stop")
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Order:
    """One order. `images` and `target_quality` change the budget and the target; a target of 0
    takes it away; None leaves what is."""

    id: int
    pid: int  # of the process that is to obey
    action: str | None = None
    images: int | None = None
    target_quality: float | None = None


def give(run: Path, *orders: Order) -> None:
    """Leaves orders in a run directory, the oldest first, in the place of those before."""
    lines = "".join(json.dumps(asdict(order)) + "\n" for order in orders)
    write_atomic(run / FILE, lines.encode())


def read(run: Path) -> list[Order]:
    """The orders that lie there, the oldest first; without those that make no sense."""
    try:
        lines = (run / FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return [order for order in map(_read, lines) if order is not None]


def _read(line: str) -> Order | None:
    try:
        stored = json.loads(line)
        order = Order(**{name: stored.get(name) for name in Order.__dataclass_fields__})
    except (ValueError, TypeError, AttributeError):
        return None
    return order if _makes_sense(order) else None


def _makes_sense(order: Order) -> bool:
    return (
        _whole(order.id)
        and _whole(order.pid)
        and (order.action is None or order.action in ACTIONS)
        and (order.images is None or (_whole(order.images) and order.images > 0))
        and (order.target_quality is None or _share(order.target_quality))
    )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _share(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value) and 0 <= value <= 1


class Listener:
    """Looks for orders to this process while the block runs, on a thread of its own, so that they
    are acknowledged in the middle of a long evaluation too.

    `noted(order)` is called once for each, on that thread; then `take()` hands it to the training:
    whoever sees that an order was carried out has seen it acknowledged.
    """

    def __init__(self, run: Path, noted: Callable[[Order], None]):
        self.run, self.noted = run, noted
        self.orders: deque[Order] = deque()
        self.arrived, self._closing = threading.Event(), threading.Event()
        self._last = 0
        self._thread = threading.Thread(target=self._listen, name="orders", daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_about: object) -> None:
        self._closing.set()
        self._thread.join()

    def take(self) -> Order | None:
        """The next order that wasn't carried out yet."""
        return self.orders.popleft() if self.orders else None

    def wait(self, seconds: float) -> None:
        """Sleeps, but not beyond the next order."""
        if self.arrived.wait(seconds):
            self.arrived.clear()

    def _listen(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            for order in read(self.run):
                if order.pid == os.getpid() and order.id > self._last:
                    self._last = order.id
                    self.noted(order)
                    self.orders.append(order)
                    self.arrived.set()
