"""The page's own JavaScript, styles and markup, from the files in `live/`.

The scripts are ES modules, so that `node --test` and an editor read them as they are. Gradio takes
one script for a component, so here the modules become one: each in a function of its own, in the
order of their imports. No build step, nothing to install.
"""

import re
from functools import cache
from pathlib import Path

LIVE = Path(__file__).parent / "live"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


@cache
def read(name: str) -> str:
    """The text of `live/<name>`."""
    return (LIVE / name).read_text(encoding="utf-8")


def script(entry: str, call: str) -> str:
    """One script: the module `entry` with all that it imports, then the statement `call`, which
    sees the entry's exports."""
    order = _in_order(entry)
    modules = "\n".join(_as_function(name) for name in order)
    exports = ", ".join(_exports(entry))
    return (
        f"const modules = {{}};\n{modules}\nconst {{ {exports} }} = modules[{entry!r}];\n{call}\n"
    )


def _in_order(entry: str) -> list[str]:
    """The modules that `entry` needs, each after those that it imports, `entry` last."""
    found: list[str] = []

    def visit(name: str, above: tuple[str, ...] = ()) -> None:
        if name in above:
            raise ValueError(f"modules import each other: {' → '.join([*above, name])}")
        for _, imported in _IMPORT.findall(read(name)):
            visit(imported, (*above, name))
        if name not in found:
            found.append(name)

    visit(entry)
    return found


def _exports(name: str) -> list[str]:
    return [export for _, export in _EXPORT.findall(read(name))]


def _as_function(name: str) -> str:
    body = _IMPORT.sub(r"const {\1} = modules['\2'];\n", read(name))
    body = _EXPORT.sub(r"\1", body)
    return (
        f"modules[{name!r}] = (() => {{\n{body}\nreturn {{ {', '.join(_exports(name))} }};\n}})();"
    )
