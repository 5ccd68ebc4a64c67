"""What all commands share: how they speak to a terminal, and flags that several have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.locale import terminal_language as language
from gan.locale import text

if TYPE_CHECKING:
    from gan.device import Device

FEWEST_SAMPLES = 10  # that an evaluation can say anything by
GRID_COLUMNS = 8  # of a sheet of pictures
INTERRUPTED = 130  # what a shell expects after Ctrl-C


def say(key: str, **values: object) -> str:
    """A text in the terminal's language."""
    return text(key, language(), **values)


def new_line() -> str:
    """Ends the line that a terminal shows the progress on."""
    return "\n" if sys.stdout.isatty() else ""


def duration(seconds: float) -> str:
    """3725 → "1:02:05", 65 → "1:05", unknown → "–"."""
    if seconds == float("inf"):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def add_command(
    commands: Any, name: str, key: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command that `run` carries out, explained by the text `key`; its flags are added to it."""
    flags = commands.add_parser(name, help=say(key), description=say(key))
    flags.set_defaults(run=run)
    return flags


def add_device(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--device", default="auto", help=say("cli.device"))
    flags.add_argument("--threads", type=int, help=say("cli.all_threads"))


def chosen_device(options: argparse.Namespace) -> Device:
    """What `add_device`'s flags say, and this process set up for it."""
    from gan import device

    chosen = device.choose(options.device, "float32", threads=options.threads)
    device.apply(chosen)
    return chosen


def check_samples(count: int) -> None:
    """LabError unless so many pictures can be measured."""
    from gan.training.evaluation import MOST_SAMPLES

    if not FEWEST_SAMPLES <= count <= MOST_SAMPLES:
        raise LabError(
            "bad_setting", name="samples", value=count, least=FEWEST_SAMPLES, most=MOST_SAMPLES
        )


def given_token(options: argparse.Namespace) -> str | None:
    """The first line of the standard input, where the flags say that it is one. LabError where the
    input ends before: whoever was to give it is gone, and this machine's own isn't meant."""
    if not options.token_stdin:
        return None
    line = sys.stdin.readline()
    if not line:
        raise LabError("publish_token_form")
    return line.strip()
