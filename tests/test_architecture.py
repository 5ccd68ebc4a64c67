"""The house rules that a reader relies on: who may import whom, and what nobody does."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parents[1]

# From the ground up. A module imports from its own layer and from those below, never from above;
# the name of a type, for the type checker alone, may come from anywhere.
LAYERS = [
    {"locale"},
    {
        *("recipe", "latents", "lockstep", "images", "curves", "device", "files", "system", "host"),
        *("errors", "hub_ids"),
    },
    {"generators", "features"},
    {"directions", "training", "loading"},
    {
        *("rendering", "drawing", "pool", "costs", "openings", "control", "workshop", "moments"),
        *("runs", "cards", "converting", "publish", "jobs", "sinks"),
    },
    {"ui", "cli", "__main__"},
    {"app"},
]
RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
# Who draws and who trains know nothing of each other: they meet in checkpoint files.
DRAWING = ("rendering", "drawing", "pool", "costs", "openings")
STRANGERS = [pair for one in DRAWING for pair in ((one, "training"), ("training", one))]
LAZY = {
    "gan": {
        "Recipe": "recipe",
        "from_pretrained": "loading",
        "load_generator": "loading",
        "render": "rendering",
    }
}

PAGE_ONLY = {"gradio", "gradio_client", "fastapi", "starlette", "uvicorn"}
SLOW_TO_IMPORT = {"sklearn", "scipy", "pandas", "matplotlib", "huggingface_hub"}
TOP_LEVEL = {
    *("app.py", "requirements.txt", "gan", "assets", "tests", "README.md"),
    *("requirements-dev.txt", "pyproject.toml", "LICENSE", "benchmarks"),
    *(".ci", ".gitignore", ".gitattributes"),
}


class Import(NamedTuple):
    module: str  # who imports: "gan.ui.build", "app"
    line: int
    target: str  # what: "gan.recipe", "torch.nn"
    when: str  # "start", "call" (inside a function) or "typing" (for the type checker alone)

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files(*tops: str) -> list[Path]:
    found = [PROJECT / f"{top}.py" for top in tops if (PROJECT / f"{top}.py").exists()]
    return found + [path for top in tops for path in sorted((PROJECT / top).rglob("*.py"))]


def targets(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> Iterator[str]:
    """Full names of what a statement imports; `from gan import x` is gan.x, a module or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    origin = node.module or ""
    if node.level:
        base = module.split(".")[: len(module.split(".")) - node.level + is_package]
        origin = ".".join([*base, origin]).strip(".")
    yield from (f"{origin}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> Iterator[Import]:
    module, is_package = module_name(path), path.name == "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    when: dict[ast.AST, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            when.update((inner, "call") for inner in ast.walk(node))
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            when.update((inner, "typing") for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for target in targets(node, module, is_package):
                yield Import(module, node.lineno, target, when.get(node, "start"))


@cache
def all_imports() -> list[Import]:
    return [found for path in source_files("app", "gan") for found in imports_of(path)]


def part(name: str) -> str | None:
    """The part of the house that a module belongs to: "gan.ui.build" → "ui"; None for others."""
    pieces = name.split(".")
    if pieces[0] == "app":
        return "app"
    if pieces[0] != "gan" or len(pieces) == 1:
        return None
    return LAZY["gan"].get(pieces[1], pieces[1])


def test_the_parser_sees_imports_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The rules below are only as good as this."""
    monkeypatch.setattr(sys.modules[__name__], "PROJECT", tmp_path)
    folder = tmp_path / "gan" / "ui"
    folder.mkdir(parents=True)
    (folder / "page.py").write_text(
        "import torch.nn as nn\n"
        "from gan import rendering, Recipe\n"
        "from ..recipe import Edit\n"
        "from . import theme\n"
        "if TYPE_CHECKING:\n    import pandas\n"
        "def f():\n    from gan.training.loop import train\n"
    )
    (folder / "__init__.py").write_text("from .page import f\n")
    found = [(each.target, each.when) for each in imports_of(folder / "page.py")]
    assert sorted(found) == [
        ("gan.Recipe", "start"),
        ("gan.recipe.Edit", "start"),
        ("gan.rendering", "start"),
        ("gan.training.loop.train", "call"),
        ("gan.ui.theme", "start"),
        ("pandas", "typing"),
        ("torch.nn", "start"),
    ]
    assert [each.target for each in imports_of(folder / "__init__.py")] == ["gan.ui.page.f"]


def test_every_module_has_its_layer() -> None:
    homeless = [
        module_name(path)
        for path in source_files("gan")
        if path != PROJECT / "gan" / "__init__.py" and part(module_name(path)) not in RANKS
    ]
    assert homeless == []


def test_imports_go_downwards() -> None:
    upwards = []
    for found in all_imports():
        importer, imported = part(found.module), part(found.target)
        if found.when == "typing" or importer not in RANKS or imported not in RANKS:
            continue
        if RANKS[imported] > RANKS[importer] or (importer, imported) in STRANGERS:
            upwards.append(str(found))
    assert upwards == []


def rings(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that each reach all others of their group by what they import."""
    reached = {module: reachable(module, edges) for module in edges}
    groups = {
        tuple(sorted(other for other in reached[one] if one in reached[other]))
        for one in edges
        if one in reached[one]
    }
    return sorted(map(list, groups))


def reachable(module: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[module])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges[one]
    return found


def test_rings_of_any_length_are_found() -> None:
    chain = {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert rings(chain) == []
    assert rings(chain | {"d": {"b"}}) == [["b", "c", "d"]]
    assert rings(chain | {"b": {"a"}}) == [["a", "b"]]


def test_no_modules_import_each_other_not_even_in_a_ring() -> None:
    modules = {module_name(path) for path in source_files("app", "gan")}
    edges: dict[str, set[str]] = {module: set() for module in modules}
    for found in all_imports():
        target = found.target if found.target in modules else found.target.rpartition(".")[0]
        if found.when != "typing" and target in modules - {found.module, "gan"}:
            edges[found.module].add(target)
    assert rings(edges) == []


def test_every_part_of_the_layers_is_there() -> None:
    there = {part(module_name(path)) for path in source_files("app", "gan")}
    assert sorted(set(RANKS) - there) == []


def test_the_page_frameworks_stay_in_the_page() -> None:
    strays = [
        str(found)
        for found in all_imports()
        if found.target.split(".")[0] in PAGE_ONLY and part(found.module) not in ("app", "ui")
    ]
    assert strays == []


def test_the_page_knows_no_tensors() -> None:
    assert [
        str(found)
        for found in all_imports()
        if found.target.split(".")[0] == "torch" and part(found.module) in ("app", "ui")
    ] == []


def test_slow_libraries_wait_until_they_are_needed() -> None:
    early = [
        str(found)
        for found in all_imports()
        if found.when == "start" and found.target.split(".")[0] in SLOW_TO_IMPORT
    ]
    assert early == []


# What importing does: nothing


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    return set(shown.stdout.split())


def test_importing_gan_is_cheap() -> None:
    loaded = loaded_by("import gan")
    assert "gan" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "gradio", "gan.recipe", "gan.locale"}


def test_its_names_are_there_when_asked_for() -> None:
    import gan

    assert set(gan.__all__) == set(LAZY["gan"]) <= set(dir(gan))
    for name in gan.__all__:
        assert callable(getattr(gan, name))
    with pytest.raises(AttributeError, match="no_such_name"):
        gan.no_such_name  # noqa: B018


# Gradio reads this when it is imported.
BEFORE_GRADIO = "os.environ.setdefault('GRADIO_ANALYTICS_ENABLED'"


def test_modules_only_define() -> None:
    """At its top level a module has imports, definitions and constants: no work, no output."""
    working = [
        f"{module_name(path)}:{node.lineno}"
        for path in source_files("gan")
        if path.name != "__main__.py"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.For, ast.While, ast.With, ast.Try))
        or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
        if not ast.unparse(node).startswith(BEFORE_GRADIO)
    ]
    assert working == []


# What nobody does

FORBIDDEN = {
    *("eval", "exec", "__import__", "os.system", "os.popen", "marshal.loads", "joblib.load"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.hub.load", "torch.jit.load"),
    *("shelve.open", "yaml.load", "dill.load", "dill.loads", "pandas.read_pickle"),
}


def dangers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that would run code out of a file or a string that someone gave us."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "torch.hub"):
            yield node.lineno, f"from {node.module} import …"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            called in FORBIDDEN
            or (called == "torch.load" and given.get("weights_only") != "True")
            or given.get("allow_pickle", "False") != "False"
            or given.get("shell", "False") != "False"
            or given.get("trust_remote_code", "False") != "False"
        ):
            yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    ("code", "dangerous"),
    [
        ("eval('1')", True),
        ("model.eval()", False),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("pickle.loads(data)", True),
        ("from pickle import loads", True),
        ("pickletools.genops(data)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path, allow_pickle=False)", False),
        ("subprocess.run(line, shell=True)", True),
    ],
)
def test_danger_is_recognised(code: str, dangerous: bool) -> None:
    assert bool(list(dangers(ast.parse(code)))) is dangerous


def test_no_strangers_code_is_run() -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{line} {what}"
        for path in source_files("app", "gan", "benchmarks")
        for line, what in dangers(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


# The folder


def tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=False, cwd=PROJECT
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return listed.stdout.rstrip("\0").split("\0")


def test_the_top_level_is_as_agreed() -> None:
    present = {name.split("/")[0] for name in tracked_files()}
    assert present - TOP_LEVEL == set()
    assert {"app.py", "requirements.txt", "gan", "assets", "tests", "README.md"} - present == set()


PRIVATE = re.compile(
    r"/(?:work|root|opt|mnt)/|/home/\w+/|/Users/\w+/|\bC:\\Users|index-url|find-links",
    re.IGNORECASE,
)


def test_no_file_names_a_place_on_someones_machine() -> None:
    found = []
    for name in tracked_files():
        path = PROJECT / name
        if path == Path(__file__) or not path.is_file():
            continue  # this file holds the pattern
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights
        found += [f"{name}: {match[0]}" for match in PRIVATE.finditer(content)]
    assert found == []


def test_no_package_folder_lacks_its_init() -> None:
    """A folder without one is invisible to the packager and works only by luck."""
    folders = {path.parent for path in source_files("gan")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []
