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
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.files import write_atomic
from gan.hub_ids import COMMIT
from gan.loading.catalogue import catalogued
from gan.loading.hub_choice import candidates, choose_file, no_model, refuse_what_is_no_gan
from gan.loading.hub_client import share_connections
from gan.loading.hub_names import HOME, HubName
from gan.loading.hub_transfer import Progress, check_size, refuse_page, transfer
from gan.loading.policy import Policy

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SECONDS = 10.0  # for an answer
COMMITS_SEARCHED = 30  # back in time, for the one that holds a recipe's weights
_MOST_COMPANION = 2**20  # config.json
_MOST_REVISIONS = 1000  # remembered
_MOST_FILES = 100  # of a repository, noted

_TOKEN = re.compile(r"[!-~]{1,4000}")  # printable ASCII: what a header may hold


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
    if digest and (known := _cached_digest(asked, digest)):
        return known
    if not digest and (known := _pinned(asked)):
        return known
    with understood(asked):
        if is_offline():
            return _from_cache(asked)
        api = client(token_for(policy, token))
        try:
            found = _ask(api, asked)
        except _failures() as error:
            if _is_refusal(error):
                raise
            return _from_cache(asked, error)
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
    cache = cache or _cache()
    _check_allowed(found.repo, policy)
    check_size(found.file, found.size_bytes, policy)
    asked = HubName(found.repo, found.commit, found.file)
    with _lent(token, asked), understood(asked):
        for companion in found.companions:
            _small_file(found, companion, token_for(policy, token), cache)
        here = _in_cache(found.repo, found.commit, found.file, cache)
        if here is None:
            here = _download(found, policy, token_for(policy, token), progress, cache)
        with here.open("rb") as file:
            refuse_page(file.read(512), found)
        _enter(found, cache)
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


def is_in_cache(name: str) -> bool:
    """Can this be opened without asking the Hub?"""
    try:
        return _from_cache(HubName.parse(name)).is_cached
    except (LabError, OSError):
        return False


def is_reachable() -> bool:
    """Does the Hub answer at all, within some seconds? Blocks."""
    import httpx2
    from huggingface_hub.utils import get_session

    if is_offline():
        return False
    share_connections()
    try:
        get_session().head(endpoint(), timeout=3)
    except (httpx2.HTTPError, OSError):
        return False
    return True


# Asking


def _check_allowed(repo: str, policy: Policy) -> None:
    if not policy.hub:
        raise LabError("hub_off")
    if not policy.allows(repo, catalogued(repo)):
        raise LabError("hub_not_allowed", repo=repo)


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HOME).rstrip("/")


def token_for(policy: Policy, token: str | None) -> str | bool:
    """The one given; else this machine's own where the host lets it; else none."""
    if token:
        return token
    if not policy.hub_token:
        return False
    return own_token() or False


def own_token() -> str | None:
    """The token that this machine is logged in with."""
    from huggingface_hub import get_token

    return get_token()


def client(token: str | bool) -> HfApi:
    """The official client, for the Hub that HF_ENDPOINT names."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint(), token=token)


def is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


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
    _note_revision(asked, info.sha)
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
        is_cached=_in_cache(asked.repo, info.sha, name) is not None,
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


def licence_of(info: Any) -> str:
    said = getattr(info.card_data, "license", None)
    if not said:
        tags = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
        said = tags[0] if tags else ""
    return ", ".join(map(str, said)) if isinstance(said, list) else str(said)


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


# The cache, which is the official client's


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _folder(repo: str, cache: Path | None = None) -> Path:
    return (cache or _cache()) / f"models--{repo.replace('/', '--')}"


def _in_cache(repo: str, commit: str, file: str, cache: Path | None = None) -> Path | None:
    path = _folder(repo, cache) / "snapshots" / commit / file
    return path if path.is_file() else None


def _pinned(asked: HubName) -> HubFile | None:
    """The cached file of a commit, where it came as public: nothing of it can have changed."""
    commit, file = asked.revision or "", asked.file or ""
    if not COMMIT.fullmatch(commit) or not file or not _in_cache(asked.repo, commit, file):
        return None
    said = _said(asked.repo, commit)
    if said.get("is_private") is not False:
        return None
    others = tuple(each for each in said["files"] if each != file)
    return replace(_cached_file(asked.repo, commit, file), others=others, was_offline=False)


def _from_cache(asked: HubName, failure: Exception | None = None) -> HubFile:
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
    folder, revision = _folder(asked.repo), asked.revision or "main"
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
    path = _folder(repo) / "snapshots" / commit / name
    blob = path.resolve().name
    companion = str(Path(name).parent / "config.json").replace(os.sep, "/")
    has_companion = _in_cache(repo, commit, companion) is not None
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


def _cached_digest(asked: HubName, digest: str) -> HubFile | None:
    """The cached file with these weights, in whatever commit."""
    snapshots = _folder(asked.repo) / "snapshots"
    for path in sorted(snapshots.rglob("*")) if snapshots.is_dir() else []:
        if path.is_file() and path.resolve().name.startswith(digest):
            commit, *parts = path.relative_to(snapshots).parts
            return _cached_file(asked.repo, commit, "/".join(parts))
    return None


def _note_revision(asked: HubName, commit: str) -> None:
    """Remembers which commit a branch is at, until that is downloaded (`_enter`): the page looks at
    a branch, then asks for the commit."""
    revision = asked.revision or "main"
    if not COMMIT.fullmatch(revision):
        if len(_revisions) >= _MOST_REVISIONS:
            _revisions.clear()
        _revisions[asked.repo, commit] = revision


def _enter(found: HubFile, cache: Path) -> None:
    """Notes in the cache, for when the Hub can't be asked, which branch it is (where and as the
    client notes it) and what the Hub said of the file."""
    if found.was_offline:
        return
    if revision := _revisions.get((found.repo, found.commit)):
        ref = _folder(found.repo, cache) / "refs" / revision
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
    return _folder(repo, cache) / "latent-lab" / f"{commit}.json"


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


_revisions: dict[tuple[str, str], str] = {}  # (repository, commit) → the branch that is there


# Downloading


def _small_file(found: HubFile, name: str, token: str | bool, cache: Path) -> None:
    from huggingface_hub import hf_hub_download

    if _in_cache(found.repo, found.commit, name, cache) is None:
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
    blob = _folder(found.repo, cache) / "blobs" / about.etag
    lock = cache / ".locks" / _folder(found.repo).name / f"{about.etag}.latent-lab.lock"
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


# Errors: the client's, in our words


@contextlib.contextmanager
def understood(asked: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turns every failure of the Hub or of the way to it into a LabError that names the remedy."""
    import httpx2

    share_connections()
    try:
        yield
    except LabError:
        raise
    except (httpx2.HTTPError, OSError, ValueError, TypeError, KeyError, RuntimeError) as failure:
        # The client tells of a failed upload by a RuntimeError that stands for the real one.
        error = failure
        if isinstance(failure, RuntimeError) and isinstance(failure.__cause__, Exception):
            error = failure.__cause__
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if writing and status in (401, 403, 404):
            raise _unwritable(status, asked) from error
        raise _in_our_words(error, asked) from error


def _unwritable(status: int, asked: HubName) -> LabError:
    """Why the Hub lets a token write nothing there."""
    if status == 401:
        return LabError("publish_bad_token")
    if status == 404:
        return LabError("publish_nowhere", repo=asked.repo)
    return LabError("publish_refused", repo=asked.repo)


def _in_our_words(error: Exception, asked: HubName) -> LabError:
    import httpx2
    from huggingface_hub import errors

    words = (  # the special before the general
        (errors.GatedRepoError, LabError("hub_gated", repo=asked.repo)),
        (
            errors.RevisionNotFoundError,
            LabError("hub_no_revision", repo=asked.repo, revision=asked.revision),
        ),
        (errors.RepositoryNotFoundError, LabError("hub_no_repo", repo=asked.repo)),
        (
            errors.EntryNotFoundError,
            LabError("hub_no_file", repo=asked.repo, file=asked.file, known="–"),
        ),
        (errors.HfHubHTTPError, _refusal(error, asked)),
        (errors.OfflineModeIsEnabled, LabError("hub_unreachable", name=str(asked))),
        (httpx2.HTTPError, LabError("hub_unreachable", name=str(asked))),
        (errors.HFValidationError, LabError("hub_bad_name", value=str(asked))),
        (errors.FileMetadataError, LabError("hub_strange_answer", repo=asked.repo)),
        (OSError, LabError("hub_disk", reason=getattr(error, "strerror", None) or error)),
    )
    strange = LabError("hub_strange_answer", repo=asked.repo)
    return next((told for kind, told in words if isinstance(error, kind)), strange)


def _refusal(error: Exception, asked: HubName) -> LabError:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 401:
        return LabError("hub_bad_token", repo=asked.repo)
    if status == 403:
        return LabError("hub_gated", repo=asked.repo)
    if status == 429:
        return LabError("hub_busy", repo=asked.repo)
    if status == 404:
        return LabError("hub_no_repo", repo=asked.repo)
    return LabError("hub_failed", repo=asked.repo, status=status)
