"""The command line: `python -m gan train | generate | …`, one command for each verb of the library.

Each command reads its flags, calls the library and prints. What is refused is one line on the
error stream and exit code 2; what is interrupted ends with 130, a training saves itself first.
"""

from __future__ import annotations

import argparse
import os
import sys

from gan.cli import jobs, looking, models, training
from gan.cli.terminal import INTERRUPTED, language, say
from gan.errors import LabError

__all__ = ["INTERRUPTED", "main", "parser", "say"]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except LabError as error:
        print(say("cli.refused", message=error.message(language())), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # who reads our output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands with their flags."""
    top = argparse.ArgumentParser(prog="python -m gan", description=say("cli.about"))
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for group in (training, looking, models, jobs):
        group.add_to(commands)
    return top
