"""What can go wrong because of what a person gave us: a code with values.

The texts are in `gan/locale/texts/errors*.json`; the page and the command line say them in the
person's language. Errors of our own making are ordinary Python exceptions, not these.
"""

import math
from typing import Any

from gan.locale import text

_LONGEST_VALUE = 200  # characters: an error echoes input, and input may be megabytes


class LabError(Exception):
    """Refused input: `LabError("bad_seed", value=-1)` reads as the text `error.bad_seed`."""

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code, values)
        self.code = code
        self.values = {name: _plain(value) for name, value in values.items()}

    def __str__(self) -> str:
        return self.message()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.code, self.values)

    def message(self, lang: str = "en") -> str:
        """What was wrong, with what, and what to do, in `lang`."""
        return text(f"error.{self.code}", lang, **self.values)

    def to_json(self) -> dict[str, Any]:
        """`{"code", "values"}`, plain JSON: what the page receives."""
        return {"code": self.code, "values": self.values}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "LabError":
        """That of `to_json`, of another process of ours."""
        return cls(told["code"], **told["values"])


def _rebuild(code: str, values: dict[str, Any]) -> LabError:
    return LabError(code, **values)


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    shown = str(value)
    return shown if len(shown) <= _LONGEST_VALUE else shown[: _LONGEST_VALUE - 1] + "…"
