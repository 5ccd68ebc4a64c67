"""The README is true: the files it names exist, and those that exist are named."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from gan import cli

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
FENCE = "`" * 3
TREE = README.split("## The folder")[1].split(FENCE)[1]


NAME = re.compile(r"[\w./-]+(?:\.\w+|/)")  # of a file, or of a folder with its "/"
SCRIPTS = ("assets/**/*.py", "assets/**/*.mjs", "gan/ui/live/*")


def paths_in(tree: str) -> list[str]:
    """Full paths of what a tree names: two spaces a level, names first on their line, then, after
    two spaces or more, what they are."""
    found: list[str] = []
    folders: list[str] = []
    for line in filter(str.strip, tree.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        for name in takewhile(NAME.fullmatch, re.split(r"\s{2,}", line.strip())):
            found.append("".join([*folders[:depth], name]))
            if name.endswith("/"):
                folders[depth:] = [name]
    return found


def test_paths_are_read_off_a_tree() -> None:
    tree = """
app.py   flags, see cli.py
lib/
  a.py  b.py   both
  in/ner/   deep
    c.js
  d.py
"""
    inner = ["lib/in/ner/", "lib/in/ner/c.js"]
    names = ["app.py", "lib/", "lib/a.py", "lib/b.py", *inner, "lib/d.py"]
    assert paths_in(tree) == names


def test_every_source_file_is_in_the_tree_once() -> None:
    patterns = ("*.py", "gan/**/*.py", "benchmarks/*.py", *SCRIPTS)
    sources = {path for pattern in patterns for path in PROJECT.glob(pattern)}
    named, files = paths_in(TREE), {path for path in sources if path.name != "__init__.py"}
    there = {path.relative_to(PROJECT).as_posix() for path in files if path.is_file()}
    assert sorted(there - set(named)) == []
    assert sorted({path for path in named if named.count(path) > 1}) == []


def test_the_tree_names_no_file_that_is_gone() -> None:
    assert [path for path in paths_in(TREE) if not (PROJECT / path).exists()] == []


def test_its_pictures_are_there() -> None:
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert len(shown) >= 2
    assert [name for name in shown if not (PROJECT / name).is_file()] == []


@pytest.mark.parametrize(
    "line", [line for line in README.splitlines() if line.startswith("python -m gan ")]
)
def test_its_commands_are_understood(line: str) -> None:
    arguments = shlex.split(line, comments=True)[3:]
    assert callable(cli.parser().parse_args(arguments).run)


@pytest.mark.parametrize("command", re.findall(r"^(?:.*&& )?(hf .*)$", README, re.MULTILINE))
def test_its_commands_for_the_hub_are_understood(command: str) -> None:
    """By the client that is installed: its help knows the verb and every flag."""
    hf = shutil.which("hf", path=str(Path(sys.executable).parent))
    assert hf, "the Hub's client comes with the requirements"
    words = shlex.split(command)[1:]
    verb = list(takewhile(re.compile(r"[a-z-]+").fullmatch, words))
    shown = subprocess.run(
        [hf, *verb, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
    )
    assert shown.returncode == 0, shown.stderr
    flags = [word for word in words if word.startswith("--")]
    assert [flag for flag in flags if not re.search(rf"{flag}\b", shown.stdout)] == []
