"""Generators on the Hub that are worth a look: `catalogue.json`, read and checked.

Only what is known is told: `file` null lets the Hub's list decide; `megabytes` null and `licence`
"" mean that it isn't known. A licence comes with the page on which it was read, `licence_source`.
What counts is what the Hub says when the entry is chosen.

    {"repo": "owner/name", "file": "…" | null, "family": "stylegan2", "resolution": 64 | null,
     "draws": {"en": "…", "zh": "…"}, "licence": "", "licence_source": "https://…" (where there is
     a licence), "megabytes": 117 | null, "group": "faces"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

GROUPS = ("faces", "drawings", "things", "many")


@dataclass(frozen=True)
class Entry:
    """One generator on the Hub."""

    repo: str
    file: str | None
    family: str
    resolution: int | None  # pixels
    draws: Mapping[str, str] = field(hash=False)
    licence: str
    megabytes: float | None
    group: str
    licence_source: str = ""

    @property
    def name(self) -> str:
        """What `load_generator` and the page take."""
        return f"{self.repo}:{self.file}" if self.file else self.repo

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for the page."""
        return {**vars(self), "draws": dict(self.draws), "name": self.name}


@cache
def catalogue() -> tuple[Entry, ...]:
    """All entries, those of one group together."""
    path = Path(__file__).with_name("catalogue.json")
    entries = [Entry(**each) for each in json.loads(path.read_text(encoding="utf-8"))]
    return tuple(sorted(entries, key=lambda entry: GROUPS.index(entry.group)))


def catalogued(repo: str) -> bool:
    """Is "owner/name" in the catalogue?"""
    return any(entry.repo.lower() == repo.lower() for entry in catalogue())
