"""How a data set on the Hugging Face Hub is named where data is asked for.

    hub:owner/name
    hub:owner/name@revision,config=…,split=…,column=…,classes=…,most=…

Every part but the repository may be left out: where there is only one choice it is made. "," and
"=", because a shell takes them as they are; whatever else a value holds is percent-encoded. What a
name means is found out by `hub_data`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import quote, unquote

from gan.errors import LabError
from gan.hub_ids import COMMIT, REPO

PREFIX = "hub:"
# What reads it: version 5 runs no scripts, and opens nothing that isn't on the Hub.
PACKAGE, FIRST_VERSION = "datasets>=5,<6", 5
PARTS = ("config", "split", "column", "classes")  # in the order in which they are chosen
NO_CLASSES = "none"
DEFAULT_MOST, LEAST, MOST = 10_000, 2, 1_000_000  # rows that are read, from the first one on

_NAME = re.compile(
    rf"(?:{PREFIX})?(?P<repo>{REPO})(?:@(?P<revision>[\w][\w./-]{{0,99}}))?(?:,(?P<parts>.+))?",
    re.ASCII,
)
_LINK = re.compile(
    rf"https://(?:huggingface\.co|hf\.co)/datasets/(?P<repo>{REPO})"
    r"(?:/(?:tree|blob|resolve)/(?P<revision>[\w][\w.-]{0,99}))?(?:[/?#].*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubData:
    """A data set on the Hub, and what of it is meant; None is not said."""

    repo: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    column: str | None = None  # of the pictures
    classes: str | None = None  # the column that tells the class, or NO_CLASSES
    most: int | None = None  # rows to read

    @classmethod
    def parse(cls, text: str) -> HubData:
        """From its name, with or without "hub:", or a link to its page. Raises LabError."""
        found = _NAME.fullmatch(text.strip())
        link = None if found else _LINK.fullmatch(text.strip())
        if link:
            return cls(link["repo"], link["revision"])
        if not found or ".." in (found["revision"] or "") or ".." in found["repo"]:
            raise LabError("hub_data_name", value=text)
        return cls(found["repo"], found["revision"], **_parts(text, found["parts"] or ""))

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        told = [(field.name, getattr(self, field.name)) for field in fields(self)[2:]]
        parts = [f",{name}={quote(str(value))}" for name, value in told if value is not None]
        return f"{PREFIX}{self.repo}{revision}{''.join(parts)}"

    @property
    def is_complete(self) -> bool:
        """Whether it names the same pictures for ever."""
        chosen = all(getattr(self, field.name) is not None for field in fields(self))
        return chosen and bool(COMMIT.fullmatch(self.revision or ""))

    def covers(self, other: HubData) -> bool:
        """Whether `other` is one of those that this name may mean: a branch may mean any commit."""
        return all(
            mine in (None, its) or (name == "revision" and not COMMIT.fullmatch(mine))
            for name in (field.name for field in fields(self))
            for mine, its in [(getattr(self, name), getattr(other, name))]
        )


def is_hub_data(source: object) -> bool:
    """Whether `--data` names a data set on the Hub."""
    return isinstance(source, str) and source.startswith(PREFIX)


def _parts(text: str, given: str) -> dict[str, Any]:
    """ "split=train,most=500" → {"split": "train", "most": 500}."""
    found: dict[str, Any] = {}
    for part in filter(None, given.split(",")):
        name, equals, value = part.partition("=")
        value = unquote(value)
        if name not in (*PARTS, "most") or not equals or not value or name in found:
            raise LabError("hub_data_name", value=text)
        found[name] = _rows(value) if name == "most" else value
    return found


def _rows(value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or not LEAST <= int(value[:9]) <= MOST:
        raise LabError("bad_setting", name="most", value=value, least=LEAST, most=MOST)
    return int(value)
