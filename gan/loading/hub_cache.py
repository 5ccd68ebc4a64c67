"""What is here of the Hub: the official client's own cache, read and entered into.

Beside what the client keeps, a note says of each commit what the Hub said of it, for when it can't
be asked: the licence, the files, and whether everybody may see them.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.files import write_atomic
from gan.hub_ids import COMMIT
from gan.loading.hub_choice import candidates
from gan.loading.hub_names import HubFile, HubName

_MOST_REVISIONS = 1000  # remembered
_MOST_FILES = 100  # of a repository, noted

_revisions: dict[tuple[str, str], str] = {}  # (repository, commit) → the branch that is there


def root() -> Path:
    """The folder of the client's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def place_of(repo: str, cache: Path | None = None) -> Path:
    """The folder of a repository, in this cache or the client's."""
    return (cache or root()) / f"models--{repo.replace('/', '--')}"


def path_of(repo: str, commit: str, file: str, cache: Path | None = None) -> Path | None:
    """Where a file of a commit lies; None while it isn't here."""
    path = place_of(repo, cache) / "snapshots" / commit / file
    return path if path.is_file() else None


def pinned(asked: HubName) -> HubFile | None:
    """The cached file of a commit, where it came as public: nothing of it can have changed."""
    commit, file = asked.revision or "", asked.file or ""
    if not COMMIT.fullmatch(commit) or not file or not path_of(asked.repo, commit, file):
        return None
    said = _said(asked.repo, commit)
    if said.get("is_private") is not False:
        return None
    others = tuple(each for each in said["files"] if each != file)
    return replace(_cached_file(asked.repo, commit, file), others=others, was_offline=False)


def newest(asked: HubName, failure: Exception | None = None) -> HubFile:
    """What is here of a repository that can't be asked; `failure` is raised where nothing is and
    the Hub did answer."""
    snapshot = _snapshot(asked)
    if snapshot is None:
        if failure is not None and hasattr(failure, "response"):
            raise failure
        raise LabError("hub_unreachable", name=str(asked))
    files = [
        path.relative_to(snapshot).as_posix()
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    ]
    known = candidates(files)
    if (asked.file or None) not in (None, *files) or not known:
        shown = ", ".join(known[:8]) or "–"
        raise LabError("hub_not_downloaded", name=str(asked), known=shown)
    name = asked.file or known[0]
    others = tuple(each for each in known if each != name)
    return replace(_cached_file(asked.repo, snapshot.name, name), others=others)


def _snapshot(asked: HubName) -> Path | None:
    """The folder of the commit that is meant; where no revision was asked for and the client noted
    none, what came last."""
    folder, revision = place_of(asked.repo), asked.revision or "main"
    if COMMIT.fullmatch(revision):
        snapshot = folder / "snapshots" / revision
        return snapshot if snapshot.is_dir() else None
    ref = folder / "refs" / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    if COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir():
        return folder / "snapshots" / commit
    here = [each for each in folder.glob("snapshots/*") if COMMIT.fullmatch(each.name)]
    return (
        None if asked.revision else max(here, key=lambda each: each.stat().st_mtime, default=None)
    )


def _cached_file(repo: str, commit: str, name: str) -> HubFile:
    path = place_of(repo) / "snapshots" / commit / name
    blob = path.resolve().name
    companion = str(Path(name).parent / "config.json").replace(os.sep, "/")
    has_companion = path_of(repo, commit, companion) is not None
    said = _said(repo, commit)
    return HubFile(
        repo=repo,
        commit=commit,
        file=name,
        size_bytes=path.stat().st_size,
        sha256=blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None,
        licence=said.get("licence", ""),
        others=(),
        companions=(companion,) if has_companion else (),
        is_private=said.get("is_private", False),
        is_cached=True,
        was_offline=True,
    )


def with_digest(asked: HubName, digest: str) -> HubFile | None:
    """The cached file with these weights, in whatever commit."""
    snapshots = place_of(asked.repo) / "snapshots"
    for path in sorted(snapshots.rglob("*")) if snapshots.is_dir() else []:
        if path.is_file() and path.resolve().name.startswith(digest):
            commit, *parts = path.relative_to(snapshots).parts
            return _cached_file(asked.repo, commit, "/".join(parts))
    return None


def note_revision(asked: HubName, commit: str) -> None:
    """Remembers which commit a branch is at, until that is downloaded (`enter`): the page looks at
    a branch, then asks for the commit."""
    revision = asked.revision or "main"
    if not COMMIT.fullmatch(revision):
        if len(_revisions) >= _MOST_REVISIONS:
            _revisions.clear()
        _revisions[asked.repo, commit] = revision


def enter(found: HubFile, cache: Path) -> None:
    """Notes in the cache, for when the Hub can't be asked, which branch it is (where and as the
    client notes it) and what the Hub said of the file."""
    if found.was_offline:
        return
    if revision := _revisions.get((found.repo, found.commit)):
        ref = place_of(found.repo, cache) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(ref, found.commit.encode())
    said = {
        "licence": found.licence,
        "is_private": found.is_private,
        "files": [found.file, *found.others[:_MOST_FILES]],
    }
    note = _note(found.repo, found.commit, cache)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(note, json.dumps(said).encode())


def _note(repo: str, commit: str, cache: Path | None = None) -> Path:
    return place_of(repo, cache) / "latent-lab" / f"{commit}.json"


def _said(repo: str, commit: str) -> dict[str, Any]:
    """What the Hub said when the file came; empty where that isn't known."""
    try:
        said = json.loads(_note(repo, commit).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    kinds = {"licence": str, "is_private": bool, "files": list}
    is_sound = isinstance(said, dict) and all(
        isinstance(said.get(key), kind) for key, kind in kinds.items()
    )
    return said if is_sound else {}


def is_in_cache(name: str) -> bool:
    """Can this be opened without asking the Hub?"""
    try:
        return newest(HubName.parse(name)).is_cached
    except (LabError, OSError):
        return False
