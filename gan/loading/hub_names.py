"""What people write for a model on the Hub: "owner/name" and its longer forms, links to its pages.

Links to what isn't a model there, a Space or a data set, are told apart; nothing is asked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from gan.errors import LabError
from gan.hub_ids import REPO

HOME = "https://huggingface.co"

_REVISION = r"[\w][\w./-]{0,99}"
_NAME = re.compile(
    rf"(?:hf://)?(?P<repo>{REPO})(?:@(?P<revision>{_REVISION}))?(?::(?P<file>[^:]{{1,250}}))?",
    re.ASCII,
)
_SITE = r"(?:https://)?(?:huggingface\.co|hf\.co)/"
_LINK = re.compile(
    rf"{_SITE}(?P<repo>{REPO})"
    r"(?:/(?:resolve|blob|tree|raw)/(?P<revision>[^/?#]{1,200})(?:/(?P<file>[^?#]{1,400}))?)?"
    r"/?(?:[?#].*)?",
    re.ASCII,
)
_ELSEWHERE = re.compile(rf"(?:{_SITE}|hf://)?(?P<kind>spaces|datasets)/(?P<repo>{REPO})(?:/.*)?")


@dataclass(frozen=True)
class HubName:
    """ "owner/name", with the revision (branch, tag or commit) and the file where they are told."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """From "owner/name", "owner/name@revision", "owner/name:file", with or without "hf://", or
        a link to the Hub's pages. Raises LabError."""
        text = text.strip()
        if elsewhere := _ELSEWHERE.match(text):
            if elsewhere["kind"] == "spaces":
                raise LabError("hub_link_to_space", repo=elsewhere["repo"])
            raise LabError("hub_link_to_data", repo=elsewhere["repo"])
        if found := _NAME.fullmatch(text):
            name = cls(found["repo"], found["revision"], found["file"])
        elif found := _LINK.fullmatch(text):
            name = cls(found["repo"], _decoded(found["revision"]), _decoded(found["file"]))
        else:
            raise LabError("hub_bad_name", value=text)
        if ".." in str(name) or not _is_revision(name.revision) or not _is_path(name.file):
            raise LabError("hub_bad_name", value=text)
        return name

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repo}{revision}{f':{self.file}' if self.file else ''}"


@dataclass(frozen=True)
class HubFile:
    """A file of one commit, as it is known before it is downloaded."""

    repo: str
    commit: str
    file: str
    size_bytes: int | None
    sha256: str | None  # of large files
    licence: str  # "" where the repository doesn't tell
    others: tuple[str, ...]  # files of the same commit that might be models too
    companions: tuple[str, ...]  # small files that belong to it
    is_private: bool  # not everybody may see it: private, or given on request
    is_cached: bool
    was_offline: bool  # known from the cache only

    @property
    def source(self) -> str:
        """Names the same bytes for ever."""
        return f"hf://{self.repo}@{self.commit}:{self.file}"


def is_hub_name(text: str) -> bool:
    """Is this written like something on the Hub? (A path may look like it: who asks looks there
    first.)"""
    text = text.strip()
    return bool(_NAME.fullmatch(text) or _LINK.fullmatch(text) or _ELSEWHERE.match(text))


def _decoded(part: str | None) -> str | None:
    return None if part is None else unquote(part)


def _is_revision(revision: str | None) -> bool:
    return revision is None or re.fullmatch(_REVISION, revision, re.ASCII) is not None


def _is_path(file: str | None) -> bool:
    return file is None or not (
        file.startswith("/") or "\\" in file or "//" in file or not file.isprintable()
    )
