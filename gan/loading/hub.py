"""Models from the Hugging Face Hub: named, looked at, then fetched, each step by itself.

`look_up` says what would come (which file at which commit, how large, under which licence) before
a byte of it is downloaded. `fetch` downloads it into the Hub's own cache: a file that is there
already is used, a download that was cut goes on where it stopped (also tomorrow, also after the
program ended), and what arrives is compared with the hash that the Hub gave for it. The official
client keeps the cache and talks to the Hub; only the transfer of the large file is ours, because
the client throws a half file away. What the bytes mean is not known here: see `gan.loading`.

A person may lend their own token for one look or one download. It goes into the requests to the Hub
and nowhere else. What isn't public and came by it never enters the cache, which answers everybody:
it lies in a folder of its own until it was read, then it is deleted (`fetched`).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.hub_ids import COMMIT
from gan.loading import hub_cache
from gan.loading.catalogue import catalogued
from gan.loading.hub_choice import candidates, choose_file, no_model, refuse_what_is_no_gan
from gan.loading.hub_client import (
    SECONDS,
    client,
    endpoint,
    is_offline,
    licence_of,
    token_for,
    understood,
)
from gan.loading.hub_names import HubFile, HubName
from gan.loading.hub_transfer import Progress, check_size, refuse_page, transfer
from gan.loading.policy import Policy

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMITS_SEARCHED = 30  # back in time, for the one that holds a recipe's weights
_MOST_COMPANION = 2**20  # config.json

_TOKEN = re.compile(r"[!-~]{1,4000}")  # printable ASCII: what a header may hold


def look_up(
    name: str | HubName, policy: Policy | None = None, *, digest: str = "", token: str | None = None
) -> HubFile:
    """What `name` means now: its commit, its file, size and licence; downloads nothing large.

    `digest`, the first digits of a sha256, asks for the very weights that a recipe names: they are
    searched in the cache, in the newest commit, then back in time. Without a network, what the
    cache holds. `token` is a person's own, for this question only: what it shows to them alone
    never counts as cached. Blocks; raises LabError that names the remedy.
    """
    policy = policy or Policy.from_environment()
    asked = HubName.parse(name) if isinstance(name, str) else name
    _check_allowed(asked.repo, policy)
    with _lent(token, asked):
        found = _look_up(asked, policy, digest, token)
    return replace(found, is_cached=False) if token and found.is_private else found


def _look_up(asked: HubName, policy: Policy, digest: str, token: str | None) -> HubFile:
    if digest and (known := hub_cache.with_digest(asked, digest)):
        return known
    if not digest and (known := hub_cache.pinned(asked)):
        return known
    with understood(asked):
        if is_offline():
            return hub_cache.newest(asked)
        api = client(token_for(policy, token))
        try:
            found = _ask(api, asked)
        except _failures() as error:
            if _is_refusal(error):
                raise
            return hub_cache.newest(asked, error)
        return _search(api, asked, digest) if digest and not _fits(found, digest) else found


def fetch(
    found: HubFile,
    policy: Policy | None = None,
    *,
    progress: Progress | None = None,
    token: str | None = None,
    cache: Path | None = None,
) -> Path:
    """Downloads the file and its companions into the Hub's cache, or `cache` → its path there.

    What is cached is not asked for again. `progress` may raise to stop: what has arrived stays, and
    the next call goes on from there. Blocks; raises LabError.
    """
    policy = policy or Policy.from_environment()
    cache = cache or hub_cache.root()
    _check_allowed(found.repo, policy)
    check_size(found.file, found.size_bytes, policy)
    asked = HubName(found.repo, found.commit, found.file)
    with _lent(token, asked), understood(asked):
        for companion in found.companions:
            _small_file(found, companion, token_for(policy, token), cache)
        here = hub_cache.path_of(found.repo, found.commit, found.file, cache)
        if here is None:
            here = _download(found, policy, token_for(policy, token), progress, cache)
        with here.open("rb") as file:
            refuse_page(file.read(512), found)
        hub_cache.enter(found, cache)
        return here


@contextlib.contextmanager
def fetched(
    found: HubFile,
    policy: Policy | None = None,
    *,
    progress: Progress | None = None,
    token: str | None = None,
) -> Iterator[Path]:
    """The file, as long as the block lasts. What not everybody may see and came by a person's
    `token` is gone from the disk afterwards; all else stays in the cache. Raises LabError."""
    if not token or not found.is_private:
        yield fetch(found, policy, progress=progress)
        return
    with tempfile.TemporaryDirectory(prefix="latent-lab-") as place:
        yield fetch(found, policy, progress=progress, token=token, cache=Path(place))


@contextlib.contextmanager
def _lent(token: str | None, asked: HubName) -> Iterator[None]:
    """Inside, a person's token is used: its refusal is told as theirs, and never quotes it."""
    if token and not _TOKEN.fullmatch(token):
        raise LabError("hub_token_form")
    try:
        yield
    except LabError as error:
        if not token or error.code != "hub_bad_token":
            raise
        raise LabError("hub_token_refused", repo=asked.repo) from None


# Asking


def _check_allowed(repo: str, policy: Policy) -> None:
    if not policy.hub:
        raise LabError("hub_off")
    if not policy.allows(repo, catalogued(repo)):
        raise LabError("hub_not_allowed", repo=repo)


def _failures() -> tuple[type[Exception], ...]:
    """The errors of a network that isn't there, and of what the Hub answers in place of a yes."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return httpx2.TransportError, HfHubHTTPError


def _is_refusal(error: Exception) -> bool:
    """Did the Hub itself say no, rather than fail?"""
    status = getattr(getattr(error, "response", None), "status_code", 500)
    return status < 500


def _ask(api: HfApi, asked: HubName) -> HubFile:
    """One question to the Hub: the files of a revision with their sizes and hashes."""
    info = api.model_info(asked.repo, revision=asked.revision, files_metadata=True, timeout=SECONDS)
    siblings = {each.rfilename: each for each in info.siblings or []}
    name = _pick(asked, list(siblings), info.library_name)
    listed = siblings[name]
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
        raise LabError("hub_strange_answer", repo=asked.repo)
    hub_cache.note_revision(asked, info.sha)
    return HubFile(
        repo=asked.repo,
        commit=info.sha,
        file=name,
        size_bytes=listed.size,
        sha256=listed.lfs.sha256 if listed.lfs else None,
        licence=licence_of(info),
        others=tuple(each for each in candidates(list(siblings)) if each != name),
        companions=_companions(name, siblings),
        is_private=bool(info.private or info.gated),
        is_cached=hub_cache.path_of(asked.repo, info.sha, name) is not None,
        was_offline=False,
    )


def _pick(asked: HubName, files: Sequence[str], library: str | None = None) -> str:
    if asked.file:
        if asked.file not in files:
            known = ", ".join(candidates(files)[:8]) or "–"
            raise LabError("hub_no_file", repo=asked.repo, file=asked.file, known=known)
        return asked.file
    refuse_what_is_no_gan(asked.repo, files, library)
    chosen = choose_file(files)
    if chosen is None:
        raise no_model(asked.repo, files)
    return chosen


def _companions(name: str, siblings: dict[str, Any]) -> tuple[str, ...]:
    """What stands beside the weights and tells of them: config.json."""
    beside = str(Path(name).parent / "config.json").replace(os.sep, "/")
    listed = siblings.get(beside)
    return (beside,) if listed and (listed.size or 0) <= _MOST_COMPANION else ()


def _fits(found: HubFile, digest: str) -> bool:
    return bool(found.sha256 and found.sha256.startswith(digest))


def _search(api: HfApi, asked: HubName, digest: str) -> HubFile:
    """The commit and the file whose weights have this hash: the newest first."""
    newest = api.list_repo_commits(asked.repo, revision=asked.revision)[:COMMITS_SEARCHED]
    for commit in newest:
        at = replace(asked, revision=commit.commit_id)
        with contextlib.suppress(LabError):  # a commit before there was a model
            found = _ask(api, at)
            for name in (found.file, *found.others):
                one = found if name == found.file else _ask(api, replace(at, file=name))
                if _fits(one, digest):
                    return one
    raise LabError("hub_revision_gone", repo=asked.repo, revision=digest)


# Downloading


def _small_file(found: HubFile, name: str, token: str | bool, cache: Path) -> None:
    from huggingface_hub import hf_hub_download

    if hub_cache.path_of(found.repo, found.commit, name, cache) is None:
        hf_hub_download(
            found.repo,
            name,
            revision=found.commit,
            cache_dir=cache,
            endpoint=endpoint(),
            token=token,
        )


def _download(
    found: HubFile, policy: Policy, token: str | bool, progress: Progress | None, cache: Path
) -> Path:
    """Our transfer to where the client's cache keeps the bytes; the client then finds them there
    and enters them under their name."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import WeakFileLock

    url = hf_hub_url(found.repo, found.file, revision=found.commit, endpoint=endpoint())
    about = get_hf_file_metadata(url, token=token, timeout=SECONDS, endpoint=endpoint())
    if not about.etag or not re.fullmatch(r"[\w.-]{1,128}", about.etag):
        raise LabError("hub_strange_answer", repo=found.repo)
    check_size(found.file, about.size, policy)
    blob = hub_cache.place_of(found.repo, cache) / "blobs" / about.etag
    lock = cache / ".locks" / hub_cache.place_of(found.repo).name / f"{about.etag}.latent-lab.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if not blob.exists():
            transfer(url, blob, about.size, found, policy, token, progress)
    return Path(
        hf_hub_download(
            found.repo,
            found.file,
            revision=found.commit,
            cache_dir=cache,
            endpoint=endpoint(),
            token=token,
        )
    )
