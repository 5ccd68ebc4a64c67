"""What tests wait for, and the programs that they run beside themselves."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gan.system import Process, end_process
from gan.workshop import Workshop
from gan.workshop.records import read_status

PROJECT = Path(__file__).parents[1]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def python(script: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", script]


def run(script: str) -> subprocess.CompletedProcess[str]:
    """Runs a script that can import gan, wherever the tests were started from."""
    return subprocess.run(
        python(script), capture_output=True, text=True, check=False, cwd=PROJECT, timeout=60
    )


def end_trainings(shop: Workshop) -> None:
    """Ends the processes that train for a workshop."""
    for run in shop.queue.at_work():
        status = read_status(run)
        end_process(Process(status["pid"], status["started"]), force=True)


def _pause() -> None:
    time.sleep(0.01)


def wait_until(
    condition: Callable[[], object], seconds: float = 20.0, pause: Callable[[], object] = _pause
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        pause()
