"""What the host allows: which models may come to this machine, from where, and how large.

Set by environment variables; without them the program knows one thing, whether it is public. A
program that only its owner can reach opens everything. A public one (a Space, a host other than
this machine, a shared link) opens what the catalogue lists, never with the host's own token, and
no path on the host's disks.

    LATENT_LAB_PUBLIC=on|off      who reaches this page is a stranger (app.py knows)
    LATENT_LAB_HUB=on|off         the Hugging Face Hub at all
    LATENT_LAB_HUB_ALLOW=…        "catalogue", or patterns: "owner/*,other/one", "*"
    LATENT_LAB_HUB_DATA=…         data sets to train on: patterns as above, or "off"
    LATENT_LAB_HUB_MAX_MB=…       the largest file from the Hub
    LATENT_LAB_HUB_TOKEN=on|off   use the token that this machine is logged in with
    LATENT_LAB_UPLOAD_MAX_MB=…    the largest file that is dropped on the page; 0: none
    LATENT_LAB_PATHS=on|off       the page may open a folder or a file of this machine
    LATENT_LAB_MODELS_MB=…        memory for open models
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gan.errors import LabError
from gan.host import is_public, switch

CATALOGUE = "catalogue"
MEGABYTE = 2**20


@dataclass(frozen=True)
class Policy:
    """What may be opened. Sizes in bytes."""

    public: bool = False
    hub: bool = True
    hub_allow: tuple[str, ...] = ("*",)
    hub_data: tuple[str, ...] = ("*",)
    hub_most_bytes: int = 4096 * MEGABYTE
    hub_token: bool = True
    upload_most_bytes: int = 2048 * MEGABYTE
    paths: bool = True
    models_bytes: int = 2048 * MEGABYTE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Policy:
        """The host's words over the defaults; LabError for a word that can't be read."""
        given = os.environ if environment is None else environment
        public = is_public(given)
        allow = given.get("LATENT_LAB_HUB_ALLOW") or (CATALOGUE if public else "*")
        data = given.get("LATENT_LAB_HUB_DATA") or ("off" if public else "*")
        return cls(
            public=public,
            hub=switch("LATENT_LAB_HUB", True, given),
            hub_allow=_patterns(allow),
            hub_data=() if data.strip().lower() == "off" else _patterns(data),
            hub_most_bytes=_megabytes(given, "LATENT_LAB_HUB_MAX_MB", 512 if public else 4096),
            hub_token=switch("LATENT_LAB_HUB_TOKEN", not public, given),
            upload_most_bytes=_megabytes(
                given, "LATENT_LAB_UPLOAD_MAX_MB", 512 if public else 2048
            ),
            paths=switch("LATENT_LAB_PATHS", not public, given),
            models_bytes=_megabytes(given, "LATENT_LAB_MODELS_MB", 2048),
        )

    def allows(self, repo: str, catalogued: bool) -> bool:
        """May "owner/name" come from the Hub? `catalogued`: whether the catalogue lists it."""
        return any(
            catalogued if pattern == CATALOGUE else fnmatchcase(repo.lower(), pattern.lower())
            for pattern in self.hub_allow
        )

    def allows_data(self, repo: str) -> bool:
        """May the data set "owner/name" come from the Hub?"""
        return self.hub and any(fnmatchcase(repo.lower(), each.lower()) for each in self.hub_data)


def _patterns(said: str) -> tuple[str, ...]:
    """ "owner/*, other/one" → ("owner/*", "other/one"); "on" is "*"."""
    parts = [part.strip() for part in said.split(",")]
    return tuple("*" if part.lower() == "on" else part for part in parts if part)


def _megabytes(given: Mapping[str, str], name: str, default: int) -> int:
    word = given.get(name, "").strip()
    if word and not (word.isascii() and word.isdecimal()):
        raise LabError("bad_megabytes", name=name, value=word)
    return (int(word) if word else default) * MEGABYTE
