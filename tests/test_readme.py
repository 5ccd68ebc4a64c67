"""The README is true: the files it names exist, and those that exist are named."""

import re
import shlex
from pathlib import Path

import pytest

from gan import cli

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
FENCE = "`" * 3
TREE = README.split("## The folder")[1].split(FENCE)[1]


def test_every_source_file_is_in_the_tree() -> None:
    sources = [*PROJECT.glob("gan/**/*.py"), *PROJECT.glob("benchmarks/*.py"), PROJECT / "app.py"]
    names = {path.name for path in sources if path.name != "__init__.py"}
    assert sorted(name for name in names if name not in TREE) == []


def test_the_tree_names_no_file_that_is_gone() -> None:
    named = set(re.findall(r"[\w]+\.py", TREE.replace("test_<module>.py", "")))
    there = {path.name for path in PROJECT.glob("**/*.py")}
    assert sorted(named - there) == []


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
