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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.hub_ids import COMMIT, REPO
from gan.loading.catalogue import catalogued
from gan.loading.hub_transfer import Progress, check_size, refuse_page, transfer
from gan.loading.policy import Policy

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HOME = "https://huggingface.co"
SECONDS = 10.0  # for an answer
COMMITS_SEARCHED = 30  # back in time, for the one that holds a recipe's weights
_MOST_COMPANION = 2**20  # config.json

_NAME = re.compile(
    rf"(?:hf://)?(?P<repo>{REPO})(?:@(?P<revision>[\w][\w./-]{{0,99}}))?(?::(?P<file>[^:]{{1,250}}))?",
    re.ASCII,
)
_LINK = re.compile(
    rf"{re.escape(HOME)}/(?P<repo>{REPO})"
    r"(?:/(?:resolve|blob|tree|raw)/(?P<revision>[\w][\w.-]{0,99})(?:/(?P<file>[^?#]{1,250}))?)?/?(?:[?#].*)?",
    re.ASCII,
)
_TOKEN = re.compile(r"[!-~]{1,4000}")  # printable ASCII: what a header may hold
_WEIGHTS = (".safetensors", ".pkl", ".pt", ".pth", ".bin", ".ckpt", ".tar")
# A repository holds more than its generator; these words tell, in a file's name.
_OTHERS = re.compile(
    r"discriminator|optimizer|optim|scheduler|training_args|encoder|e4e|lpips|vgg|inception"
    r"|(?:^|[^a-z])(?:net)?d(?:[^a-z]|$)",
    re.IGNORECASE,
)
_GENERATORS = re.compile(r"g_ema|ema|generator|(?:^|[^a-z])(?:net)?g(?:[^a-z]|$)", re.IGNORECASE)


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
        found = _NAME.fullmatch(text.strip()) or _LINK.fullmatch(text.strip())
        if not found or ".." in text or not _is_path(found["file"]):
            raise LabError("hub_bad_name", value=text)
        return cls(found["repo"], found["revision"], found["file"])

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
    """Might this be a name on the Hub? (A path may look like one: who asks looks there first.)"""
    return bool(_NAME.fullmatch(text.strip()) or _LINK.fullmatch(text.strip()))


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
    with understood(asked):
        if is_offline():
            return _from_cache(asked)
        api = client(token_for(policy, token))
        try:
            found = _ask(api, asked)
        except _unreachable():
            return _from_cache(asked)
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


def choose_file(files: Sequence[str]) -> str | None:
    """The file that most likely holds the generator; None where none looks like one.

    Safetensors before pickles, the averaged generator before others, the last snapshot before
    earlier ones, what lies on top before what lies deep.
    """
    candidates = _candidates(files)
    return candidates[0] if candidates else None


def _candidates(files: Sequence[str]) -> list[str]:
    """What may be a generator, the likeliest first."""
    weights = [name for name in files if name.lower().endswith(_WEIGHTS)]
    wanted = [name for name in weights if not _OTHERS.search(Path(name).stem)]
    return sorted(wanted, key=_likelihood)


def _likelihood(name: str) -> tuple[Any, ...]:
    stem, suffix = Path(name).stem.lower(), Path(name).suffix.lower()
    numbers = [int(number) for number in re.findall(r"\d{1,12}", stem)]
    return (
        name != "model.safetensors",
        suffix != ".safetensors",
        not (_GENERATORS.search(stem) or "final" in stem),
        name.count("/"),
        _WEIGHTS.index(suffix),
        re.sub(r"\d+", "", stem),
        [-number for number in numbers],
        name,
    )


def is_in_cache(repo: str) -> bool:
    """Is anything of a repository here?"""
    return (_folder(repo) / "snapshots").is_dir()


def is_reachable() -> bool:
    """Does the Hub answer at all, within some seconds? Blocks."""
    import httpx2
    from huggingface_hub.utils import get_session

    if is_offline():
        return False
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


def _unreachable() -> tuple[type[Exception], ...]:
    """The errors of a network that isn't there."""
    import httpx2

    return httpx2.ConnectError, httpx2.TimeoutException


def _ask(api: HfApi, asked: HubName) -> HubFile:
    """One question to the Hub: the files of a revision with their sizes and hashes."""
    info = api.model_info(asked.repo, revision=asked.revision, files_metadata=True, timeout=SECONDS)
    siblings = {each.rfilename: each for each in info.siblings or []}
    name = _pick(asked, list(siblings))
    listed = siblings[name]
    if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha):
        raise LabError("hub_strange_answer", repo=asked.repo)
    return HubFile(
        repo=asked.repo,
        commit=info.sha,
        file=name,
        size_bytes=listed.size,
        sha256=listed.lfs.sha256 if listed.lfs else None,
        licence=licence_of(info),
        others=tuple(each for each in _candidates(list(siblings)) if each != name),
        companions=_companions(name, siblings),
        is_private=bool(info.private or info.gated),
        is_cached=_in_cache(asked.repo, info.sha, name) is not None,
        was_offline=False,
    )


def _pick(asked: HubName, files: Sequence[str]) -> str:
    if asked.file:
        if asked.file not in files:
            known = ", ".join(_candidates(files)[:8]) or "–"
            raise LabError("hub_no_file", repo=asked.repo, file=asked.file, known=known)
        return asked.file
    chosen = choose_file(files)
    if chosen is None:
        shown = ", ".join(sorted(files)[:8]) or "–"
        raise LabError("hub_no_model", repo=asked.repo, files=shown)
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


def _from_cache(asked: HubName) -> HubFile:
    """What is here of a repository that can't be asked."""
    commit = asked.revision or "main"
    if not COMMIT.fullmatch(commit):
        ref = _folder(asked.repo) / "refs" / commit
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    snapshot = _folder(asked.repo) / "snapshots" / commit
    if not COMMIT.fullmatch(commit) or not snapshot.is_dir():
        raise LabError("hub_unreachable", name=str(asked))
    files = [
        path.relative_to(snapshot).as_posix()
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    ]
    name = _pick(asked, files)
    return _cached_file(asked.repo, commit, name)


def _cached_file(repo: str, commit: str, name: str) -> HubFile:
    path = _folder(repo) / "snapshots" / commit / name
    blob = path.resolve().name
    companion = str(Path(name).parent / "config.json").replace(os.sep, "/")
    has_companion = _in_cache(repo, commit, companion) is not None
    return HubFile(
        repo=repo,
        commit=commit,
        file=name,
        size_bytes=path.stat().st_size,
        sha256=blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None,
        licence="",
        others=(),
        companions=(companion,) if has_companion else (),
        is_private=False,
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


def _is_path(file: str | None) -> bool:
    return file is None or not (file.startswith("/") or "\\" in file or "//" in file)


# Errors: the client's, in our words


@contextlib.contextmanager
def understood(asked: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turns every failure of the Hub or of the way to it into a LabError that names the remedy."""
    import httpx2

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
