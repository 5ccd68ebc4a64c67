"""A recipe: everything that determines one picture, as small JSON and as a link's short text.

A recipe is valid and canonical from the moment it exists: what doesn't change the picture is left
out, and numbers have four decimals at most. So the page, a link, a PNG, the API and the command
line mean the same picture by it. What depends on the model (how many rows it has, which directions
and classes) is checked in `gan.latents`.

The page has a twin in JavaScript; both are tested on `tests/data/recipes.json`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from numbers import Real
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from gan.errors import LabError

# The texts in gan/locale/texts/errors.json name these limits.
MOST_SEED: Final = 2**32 - 1
MOST_LABEL: Final = 99_999
MOST_ROWS: Final = 64  # rows of ws; the largest known network has 18
MOST_STRENGTH: Final = 10.0
MOST_EDITS: Final = 32
LONGEST_TEXT: Final = 16_384  # characters of a recipe's JSON or query

# Latin, Greek, Cyrillic, kana, Chinese and Hangul, as the same set in Python and in JavaScript.
_LETTER = r"0-9A-Za-z_\u00c0-\u052f\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_NAME = rf"[{_LETTER}](?:[{_LETTER}-]|\.(?!\.)){{0,95}}"  # no two dots in a row
_MODEL = re.compile(rf"{_NAME}(?:/{_NAME})?")
_DIRECTION = re.compile(rf"[{_LETTER}][{_LETTER}-]{{0,39}}")
_REVISION = re.compile(r"(?:[0-9a-f]{12})?")

_WHOLE_TEXT = re.compile(r"[0-9]{1,10}")
_NUMBER_TEXT = re.compile(r"-?[0-9]{1,4}(?:\.[0-9]{1,20})?")
_EDIT_TEXT = re.compile(r"([^:]*):([^:]*)(?::([0-9]{1,4})-([0-9]{0,4}))?")


@dataclass(frozen=True)
class Edit:
    """One direction, pulled: ws[:, start:end] += strength × direction.

    The range [start, end) counts rows of ws; None is the end of them. Raises LabError.
    """

    direction: str
    strength: float  # standard deviations, −10 … 10
    start: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        layers = LabError("bad_layers", value=f"{self.start}-{self.end}")
        unknown = LabError("bad_direction", value=self.direction)
        weak = LabError("bad_strength", value=self.strength)
        start = _whole(self.start, 0, MOST_ROWS - 1, layers)
        _set(
            self,
            direction=_matching(_DIRECTION, self.direction, unknown),
            strength=_number(self.strength, -MOST_STRENGTH, MOST_STRENGTH, weak),
            start=start,
            end=None if self.end is None else _whole(self.end, start + 1, MOST_ROWS, layers),
        )

    @classmethod
    def from_json(cls, given: object) -> "Edit":
        """From `{"direction", "strength", "start"?, "end"?}`; raises LabError."""
        if not isinstance(given, Mapping) or not {"direction", "strength"} <= given.keys():
            raise LabError("bad_edit", value=given)
        return cls(**_known_fields(cls, given))

    @classmethod
    def from_text(cls, text: str) -> "Edit":
        """From `direction:strength` or `direction:strength:start-end`; raises LabError."""
        found = _EDIT_TEXT.fullmatch(text)
        if not found:
            raise LabError("bad_edit", value=text)
        direction, strength, start, end = found.groups()
        number = _number_from(strength, LabError("bad_strength", value=strength))
        return cls(direction, number, int(start or 0), int(end) if end else None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; the layer range only where it isn't all rows."""
        return _without_defaults(self)

    def to_text(self) -> str:
        """A link's short form: `pca3:-2`, `pca0:1.5:0-8`, `pca1:0.25:4-`."""
        text = f"{self.direction}:{_decimal(self.strength)}"
        if self.start == 0 and self.end is None:
            return text
        return f"{text}:{self.start}-{'' if self.end is None else self.end}"


@dataclass(frozen=True)
class Recipe:
    """What determines one picture. Immutable, hashable, valid and canonical; raises LabError.

    Canonical means: `blend`, `psi` and strengths are rounded to 4 decimals (half away from zero),
    edits of strength 0 are dropped, and without `seed2` there is no blend.
    """

    model: str  # a bundled name, or a Hub id "owner/name"
    revision: str = ""  # first 12 hex digits of the model's sha256; "" takes whatever is there
    seed: int = 0  # 0 … 2**32 − 1
    seed2: int | None = None  # the other end of the blend
    blend: float = 0.0  # 0 … 1, from seed to seed2
    blend_space: str = "w"  # "w": straight line between ws, "z": great circle between zs
    label: int | None = None  # class index; None: class 0, or a model without classes
    psi: float = 0.7  # truncation, −1 … 1.5
    cutoff: int | None = None  # truncation acts on rows < cutoff; None: on all
    noise: int | str = "const"  # "const", "none", or a seed
    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        self._check_picture()
        self._check_blend()
        if not isinstance(self.edits, (tuple, list)) or len(self.edits) > MOST_EDITS:
            raise LabError("bad_edits", value=_count(self.edits))
        if not all(isinstance(edit, Edit) for edit in self.edits):
            raise TypeError("edits are Edit objects; use Recipe.from_json for plain JSON")
        _set(self, edits=tuple(edit for edit in self.edits if edit.strength != 0))

    def _check_picture(self) -> None:
        labels = LabError("bad_label", value=self.label)
        rows = LabError("bad_cutoff", value=self.cutoff)
        noise = LabError("bad_noise", value=self.noise)
        named = isinstance(self.noise, str) and self.noise in {"const", "none"}
        _set(
            self,
            model=_matching(_MODEL, self.model, LabError("bad_model", value=self.model)),
            revision=_matching(
                _REVISION, self.revision, LabError("bad_revision", value=self.revision)
            ),
            seed=_whole(self.seed, 0, MOST_SEED, LabError("bad_seed", value=self.seed)),
            label=None if self.label is None else _whole(self.label, 0, MOST_LABEL, labels),
            psi=_number(self.psi, -1, 1.5, LabError("bad_psi", value=self.psi)),
            cutoff=None if self.cutoff is None else _whole(self.cutoff, 0, MOST_ROWS, rows),
            noise=self.noise if named else _whole(self.noise, 0, MOST_SEED, noise),
        )

    def _check_blend(self) -> None:
        blend = _number(self.blend, 0, 1, LabError("bad_blend", value=self.blend))
        if not isinstance(self.blend_space, str) or self.blend_space not in {"w", "z"}:
            raise LabError("bad_blend_space", value=self.blend_space)
        if self.seed2 is None:
            _set(self, blend=0.0, blend_space="w")
        else:
            seed2 = _whole(self.seed2, 0, MOST_SEED, LabError("bad_seed", value=self.seed2))
            _set(self, seed2=seed2, blend=blend)

    @property
    def directions(self) -> tuple[str, ...]:
        """The names of the directions that are pulled."""
        return tuple(edit.direction for edit in self.edits)

    @classmethod
    def from_json(cls, given: object) -> "Recipe":
        """From plain JSON (parsed), the fields' names as keys; raises LabError."""
        if not isinstance(given, Mapping):
            raise LabError("bad_recipe", value=given)
        if "model" not in given:
            raise LabError("bad_model", value="")
        known = _known_fields(cls, given)
        if isinstance(edits := known.get("edits"), (list, tuple)) and len(edits) <= MOST_EDITS:
            known["edits"] = tuple(Edit.from_json(edit) for edit in edits)
        return cls(**known)

    @classmethod
    def from_text(cls, text: str) -> "Recipe":
        """From JSON text, which may come from anywhere; raises LabError."""
        if len(text) > LONGEST_TEXT:
            raise LabError("recipe_too_long", length=len(text))
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LabError("bad_recipe", value=text) from error
        return cls.from_json(given)

    @classmethod
    def from_query(cls, query: str) -> "Recipe":
        """From a link's query, with or without `?`; keys that aren't ours are ignored.

        Raises LabError, also where one of our keys appears twice.
        """
        if len(query) > LONGEST_TEXT:
            raise LabError("recipe_too_long", length=len(query))
        given: dict[str, Any] = {}
        for key, text in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
            if key not in _QUERY:
                continue
            name = _QUERY[key]
            if name in given:
                raise LabError("repeated_key", name=key)
            given[name] = _FROM_QUERY.get(name, str)(text)
        return cls.from_json(given)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: model and seed always, the rest where it isn't the default."""
        return _without_defaults(self, always=("seed",))

    def to_text(self) -> str:
        """The canonical JSON as one line of ASCII."""
        return json.dumps(self.to_json(), separators=(",", ":"))

    def to_query(self) -> str:
        """A link's query: `m=avatars&s=12&psi=0.5&e=pca0:1.5:0-8,pca3:-2`."""
        given = self.to_json()
        if self.edits:
            given["edits"] = ",".join(edit.to_text() for edit in self.edits)
        return "&".join(
            f"{key}={quote(_short(given[name]), safe=':,/')}"
            for key, name in _QUERY.items()
            if name in given
        )


def model_name(text: str) -> str:
    """The nearest name a recipe can hold, for any text, as a folder's name: "my run" → "my-run"."""
    return re.sub(rf"[^{_LETTER}.-]+|\.{{2,}}", "-", text).strip(".-")[:96].rstrip(".") or "model"


# Reading: each returns the value in its canonical form, or raises the error it was given.


def _matching(pattern: re.Pattern[str], value: object, error: LabError) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise error
    return value


def _whole(value: Any, low: int, high: int, error: LabError) -> int:
    """JSON knows one kind of number: 12.0 is whole, true isn't."""
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise error
    return int(value)


def _number(value: Any, low: float, high: float, error: LabError) -> float:
    """Rounded to 4 decimals, a half away from zero, as JavaScript's `toFixed(4)`; never −0."""
    if not _is_number(value) or not low <= value <= high:
        raise error
    return float(Decimal(float(value)).quantize(Decimal("0.0001"), ROUND_HALF_UP)) + 0.0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Real)) and not isinstance(value, bool)


def _whole_from(text: str, error: LabError) -> int:
    if not _WHOLE_TEXT.fullmatch(text):
        raise error
    return int(text)


def _number_from(text: str, error: LabError) -> float:
    if not _NUMBER_TEXT.fullmatch(text):
        raise error
    return float(text)


def _edits_from(text: str) -> list[dict[str, Any]]:
    if text.count(",") >= MOST_EDITS:
        raise LabError("bad_edits", value=text.count(",") + 1)
    return [vars(Edit.from_text(part)) for part in text.split(",")]


def _known_fields(cls: type, given: Mapping[Any, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(cls)}
    for name in given:
        if name not in known:
            raise LabError("unknown_field", name=name)
    return dict(given)


def _count(edits: object) -> object:
    return len(edits) if isinstance(edits, (tuple, list)) else edits


# Writing


def _without_defaults(value: Edit | Recipe, always: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(value, field.name))
        for field in fields(value)
        if field.default is MISSING
        or field.name in always
        or getattr(value, field.name) != field.default
    }


def _plain(value: Any) -> Any:
    """JSON as JavaScript writes it: 2, not 2.0."""
    if isinstance(value, tuple):
        return [edit.to_json() for edit in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(value: object) -> str:
    return _decimal(value) if isinstance(value, float) else str(value)


def _decimal(value: float) -> str:
    """At most 4 decimals, no trailing zeros, no exponent."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _set(value: Edit | Recipe, **changed: object) -> None:
    for name, new in changed.items():
        object.__setattr__(value, name, new)


_QUERY: Final = {
    "m": "model",
    "r": "revision",
    "s": "seed",
    "s2": "seed2",
    "b": "blend",
    "bs": "blend_space",
    "c": "label",
    "psi": "psi",
    "cut": "cutoff",
    "n": "noise",
    "e": "edits",
}
_FROM_QUERY: Final = {
    "seed": lambda text: _whole_from(text, LabError("bad_seed", value=text)),
    "seed2": lambda text: _whole_from(text, LabError("bad_seed", value=text)),
    "blend": lambda text: _number_from(text, LabError("bad_blend", value=text)),
    "label": lambda text: _whole_from(text, LabError("bad_label", value=text)),
    "psi": lambda text: _number_from(text, LabError("bad_psi", value=text)),
    "cutoff": lambda text: _whole_from(text, LabError("bad_cutoff", value=text)),
    "noise": lambda text: int(text) if _WHOLE_TEXT.fullmatch(text) else text,
    "edits": _edits_from,
}
