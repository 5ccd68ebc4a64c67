"""Every text that a person reads, in every language: `texts/<area>.json`.

An area is `{"key": {"en": "…", "zh": "…"}}`; a text may hold `{name}` placeholders. The page gets
the same tables and fills them by the same rule, so Python and the browser say the same.
A missing text or value never stops the program: it warns, and shows the key or the placeholder.
"""

import json
import locale as system_locale
import os
import re
import warnings
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class MissingText(UserWarning):
    """A key that no table has, or a placeholder that was given no value."""


def text(key: str, lang: str = "en", **values: object) -> str:
    """The text of `key` in `lang` (English where `lang` is unknown), placeholders filled."""
    entry = _entries().get(key)
    if entry is None:
        warnings.warn(f"no text for {key!r}", MissingText, stacklevel=2)
        return key
    return _fill(key, entry.get(lang) or entry["en"], values)


def table(lang: str) -> dict[str, str]:
    """All texts in one language, by key, placeholders unfilled: what the page ships."""
    return {key: entry.get(lang) or entry["en"] for key, entry in _entries().items()}


def choose_language(header: str | None) -> str:
    """The language for an `Accept-Language` header, "en" where none of ours is asked for."""
    best, best_quality = "en", 0.0
    for part in (header or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        language, quality = tag.strip().lower().split("-")[0], _quality(parameters)
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


def terminal_language() -> str:
    """The language of the terminal: from LC_ALL, LC_MESSAGES or LANG."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    chosen = next((name for name in names if name), None) or system_locale.getlocale()[0] or ""
    return choose_language(chosen.partition(".")[0].replace("_", "-"))


def _fill(key: str, template: str, values: dict[str, object]) -> str:
    missing = set(_PLACEHOLDER.findall(template)) - values.keys()
    if missing:
        names = ", ".join(sorted(missing))
        warnings.warn(f"{key!r} was given no {names}", MissingText, stacklevel=3)
    return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), template)


def _quality(parameters: str) -> float:
    name, _, value = parameters.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@cache
def _entries() -> dict[str, dict[str, str]]:
    merged: dict[str, dict[str, str]] = {}
    for path in sorted((Path(__file__).parent / "texts").glob("*.json")):
        merged.update(json.loads(path.read_text(encoding="utf-8")))
    return merged
