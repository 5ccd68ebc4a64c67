"""Pictures out of a data set on the Hugging Face Hub: looked at, chosen, streamed, kept.

The package `datasets` finds the files and reads the rows; it is optional, and is only imported
when it is asked for. Nothing of a repository is ever executed: versions that ran scripts are
refused, and of the formats only those that hold pictures are read. A file that is not of the
repository itself (a path on this machine, an address elsewhere) is never opened, whoever names it.

Rows come from the first on, `most` of them at most, through the same `pictures` as a folder's. The
result is kept by commit, choices and resolution, so that to go on with a training needs no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from gan import files
from gan.errors import LabError
from gan.loading import hub_client
from gan.loading.hub_names import HOME, HubName
from gan.loading.policy import Policy
from gan.training import picture_cache, pictures
from gan.training.hub_names import (
    DEFAULT_MOST,
    FIRST_VERSION,
    NO_CLASSES,
    PACKAGE,
    PARTS,
    HubData,
)
from gan.training.picture_cache import OwnPictures

Progress = Callable[[int, int], None]  # rows done, rows in all

FORMATS = ("parquet", "arrow", "imagefolder", "webdataset")
EXCERPT = 64  # rows that decide the natural resolution, and are shown
FEWEST_PICTURES = 2
MOST_CLASSES = 1000
LARGEST_FILE = 64 << 20  # bytes of one picture
MOST_OFFERED = 200  # choices that are told
_SPARE_BYTES = 1 << 30  # that must stay free on the disk


@dataclass(frozen=True)
class Look:
    """What a repository holds, as far as the choices that were made tell.

    `source` has everything that was said or could only be one thing; `missing` names the first
    part for which one of `choices` has to be chosen: then nothing is known of the parts after it.
    """

    source: HubData
    licence: str  # "" where the repository doesn't tell
    is_private: bool
    repository_bytes: int
    rows: int | None
    choices: Mapping[str, tuple[str, ...]]
    missing: str | None

    @property
    def page(self) -> str:
        return page(self.source)


@dataclass(frozen=True)
class Facts:
    """What is kept of a complete source beside its pictures."""

    licence: str
    rows: int | None
    resolution: int  # px: what most of its pictures fill


def page(source: HubData) -> str:
    """The address of the data set's page."""
    return f"{HOME}/datasets/{source.repo}"


def attribution(source: HubData) -> str:
    return f"{source.repo} on the Hugging Face Hub, {page(source)}, commit {source.revision}"


def check_package() -> None:
    """LabError with the line that installs it, unless `datasets` is here."""
    try:
        version = metadata.version("datasets")
    except metadata.PackageNotFoundError as error:
        raise LabError("hub_data_package", line=f'pip install "{PACKAGE}"') from error
    if int(version.partition(".")[0]) < FIRST_VERSION:
        raise LabError("hub_data_old_package", version=version, line=f'pip install "{PACKAGE}"')


# Looking


def look(asked: HubData, policy: Policy | None = None) -> Look:
    """What `asked` means now. Asks the Hub; blocks; raises LabError."""
    policy = policy or Policy.from_environment()
    info = _repository(asked, policy)
    source = replace(asked, revision=info.sha, most=asked.most or DEFAULT_MOST)
    opened = _Opened(source, hub_client.token_for(policy, None))
    choices: dict[str, tuple[str, ...]] = {}
    missing = None
    with _readable(source):
        for part in PARTS:
            choices[part], obvious = getattr(opened, f"{part}_choices")(source)
            chosen = getattr(source, part) or obvious
            if chosen is None:
                missing = part
                break
            if chosen not in choices[part]:
                raise _not_there(source, part, chosen, choices[part])
            source = replace(source, **{part: chosen})
        rows = opened.rows(source) if source.split else None
    return Look(
        source=source,
        licence=hub_client.licence_of(info),
        is_private=bool(info.private or info.gated),
        repository_bytes=sum(each.size or 0 for each in info.siblings or []),
        rows=rows,
        choices=choices,
        missing=missing,
    )


def settled(asked: HubData, policy: Policy | None = None) -> HubData:
    """With its commit and every choice made. A complete name is returned as it is; for any other
    the Hub is asked. LabError that names the choices where there is more than one."""
    return asked if asked.is_complete else _chosen(look(asked, policy))


def _chosen(found: Look) -> HubData:
    if found.missing:
        known = found.choices[found.missing]
        raise _not_there(found.source, found.missing, None, known)
    return found.source


def _not_there(source: HubData, part: str, value: str | None, known: tuple[str, ...]) -> LabError:
    if not known:
        if part == "column":
            return LabError("hub_data_no_column", repo=source.repo)
        return LabError("hub_data_empty", repo=source.repo)
    told = {"repo": source.repo, "part": part, "known": ", ".join(known[:20])}
    if value is None:
        return LabError("hub_data_choose", **told)
    return LabError("hub_data_no_such", value=value, **told)


def _check_may_ask(source: HubData, policy: Policy) -> None:
    """LabError where the host doesn't want it, or where the Hub can't be asked from here."""
    if not policy.hub:
        raise LabError("hub_off")
    if not policy.allows_data(source.repo):
        raise LabError("hub_data_not_allowed", repo=source.repo)
    check_package()
    if hub_client.is_offline():
        raise LabError("hub_data_unreachable", repo=source.repo)


def _repository(asked: HubData, policy: Policy) -> Any:
    """The Hub's answer about a repository at a revision."""
    _check_may_ask(asked, policy)
    try:
        with hub_client.understood(HubName(asked.repo, asked.revision)):
            return hub_client.client(hub_client.token_for(policy, None)).dataset_info(
                asked.repo, revision=asked.revision, files_metadata=True, timeout=hub_client.SECONDS
            )
    except LabError as error:
        if error.code == "hub_no_repo":
            raise LabError("hub_data_no_repo", repo=asked.repo) from error
        if error.code == "hub_unreachable":
            raise LabError("hub_data_unreachable", repo=asked.repo) from error
        raise


class _Opened:
    """The files of one commit, as `datasets` sees them. Everything is asked for once."""

    def __init__(self, source: HubData, token: str | bool):
        import datasets

        datasets.disable_progress_bars()
        self.token, self.commit, self.repo = token, source.revision, source.repo
        # A plain "owner/name" would first be looked for among the folders of this machine.
        self.place = f"hf://datasets/{source.repo}"
        self.root = f"{self.place}@{source.revision}/"
        self._builder: Any = None
        self._stream: Any = None

    def config_choices(self, _: HubData) -> tuple[tuple[str, ...], str | None]:
        import datasets

        names = tuple(
            datasets.get_dataset_config_names(self.place, revision=self.commit, token=self.token)
        )
        return names, _only(names) or ("default" if "default" in names else None)

    def split_choices(self, source: HubData) -> tuple[tuple[str, ...], str | None]:
        names = tuple(str(name) for name in self.builder(source).config.data_files)
        return names, _only(names) or ("train" if "train" in names else None)

    def column_choices(self, source: HubData) -> tuple[tuple[str, ...], str | None]:
        import datasets

        features = self.stream(source).features or {}
        names = tuple(name for name, kind in features.items() if isinstance(kind, datasets.Image))
        return names, _only(names)

    def classes_choices(self, source: HubData) -> tuple[tuple[str, ...], str | None]:
        """Columns of named classes first; a column of plain text or numbers only when asked."""
        import datasets

        features = self.stream(source).features
        named = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        plain = [
            name
            for name, kind in features.items()
            if isinstance(kind, datasets.Value) and kind.dtype.startswith(("string", "int", "bool"))
        ]
        choices = (*named, NO_CLASSES, *plain)[:MOST_OFFERED]
        return choices, (named or [NO_CLASSES])[0] if len(named) < 2 else None

    def rows(self, source: HubData) -> int | None:
        """As the repository tells; None where it doesn't."""
        splits = self.builder(source).info.splits or {}
        return splits[source.split].num_examples or None if source.split in splits else None

    def builder(self, source: HubData) -> Any:
        """Its files are found, none is opened. Raises LabError for a format that isn't read, and
        for a file that isn't the repository's own."""
        import datasets

        if self._builder is None:
            builder = datasets.load_dataset_builder(
                self.place, source.config, revision=self.commit, token=self.token
            )
            kind = type(builder).__module__.rpartition(".")[2]
            if kind not in FORMATS:
                raise LabError("hub_data_format", repo=self.repo, kind=kind)
            for name in itertools.chain.from_iterable((builder.config.data_files or {}).values()):
                if not self.owns(str(name)):
                    raise LabError("hub_data_foreign", repo=self.repo, file=name)
            self._builder = builder
        return self._builder

    def stream(self, source: HubData) -> Any:
        """Its rows as they are stored: pictures are not decoded, and no file is opened for one."""
        if self._stream is None:
            rows = self.builder(source).as_streaming_dataset(split=source.split)
            self._stream = rows.decode(False) if rows.features else rows
        return self._stream

    def owns(self, path: str) -> bool:
        """Whether a path, perhaps inside an archive ("zip://a.png::hf://…"), is in this commit."""
        *inside, outermost = path.split("::")
        return (
            outermost.startswith(self.root)
            and ".." not in outermost
            and all(each.startswith("zip://") for each in inside)
        )

    def content(self, value: Any) -> bytes:
        """A picture as it lies in a row, {"bytes", "path"} → its file's bytes."""
        from datasets import DownloadConfig
        from datasets.utils.file_utils import xopen

        value = value if isinstance(value, dict) else {}
        content, path = value.get("bytes"), value.get("path")
        if content is None:
            if not path or not self.owns(path):
                raise pictures.UnusablePicture("error.picture_elsewhere")
            with xopen(path, "rb", download_config=DownloadConfig(token=self.token)) as file:
                content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise pictures.UnusablePicture("error.picture_too_heavy")
        return content


def _only(names: tuple[str, ...]) -> str | None:
    return names[0] if len(names) == 1 else None


@contextlib.contextmanager
def _readable(source: HubData) -> Iterator[None]:
    """Turns whatever readers of strangers' files raise into a LabError."""
    import httpx2

    try:
        yield
    except (LabError, KeyboardInterrupt):
        raise
    except (httpx2.HTTPError, ConnectionError) as error:
        raise LabError("hub_data_unreachable", repo=source.repo) from error
    except Exception as error:  # they raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LabError("hub_data_unreadable", repo=source.repo, reason=reason) from error


# Reading


@dataclass(frozen=True)
class _Row:
    number: int
    content: bytes | pictures.UnusablePicture
    told: str | None  # its class


def read(
    asked: HubData,
    resolution: int | None,
    cache: Path | None = None,
    progress: Progress | None = None,
    policy: Policy | None = None,
) -> OwnPictures:
    """The pictures, cropped to their middle square and resized to `resolution` (None: what most
    of them fill). From the cache where it holds them: then nothing is asked. Raises LabError."""
    source = settled(asked, policy)
    resolution = resolution or facts(source, cache, policy).resolution
    entry = _entry(source, cache, resolution)
    found = picture_cache.kept(entry)
    if found is None:
        rows, most = facts(source, cache, policy).rows, source.most or DEFAULT_MOST
        total = min(rows, most) if rows else most
        _check_disk(entry.parent, total * 3 * resolution**2)
        _prepare(source, _rows(source, policy), resolution, entry, total, progress)
        found = picture_cache.read_back(entry)
    return found


def excerpt(
    source: HubData, resolution: int | None = None, cache: Path | None = None
) -> OwnPictures:
    """The first pictures of a complete source."""
    return read(_few(source), resolution, cache)


def _few(source: HubData) -> HubData:
    return replace(source, most=min(EXCERPT, source.most or EXCERPT))


def facts(source: HubData, cache: Path | None = None, policy: Policy | None = None) -> Facts:
    """What is known of a complete source; found out once, with the first rows. Raises LabError."""
    place = _entry(replace(source, most=None), cache, 0).with_suffix(".facts.json")
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Facts(**json.loads(place.read_bytes()))
    found = look(source, policy)
    first = list(itertools.islice(_rows(_chosen(found), policy), EXCERPT))
    sides = []
    for row in first:
        with contextlib.suppress(pictures.UnusablePicture):
            sides.append(pictures.short_side(_content(row)))
    known = Facts(found.licence, found.rows, picture_cache.natural_resolution(sides))
    few = _few(source)
    _prepare(few, first, known.resolution, _entry(few, cache, known.resolution), len(first), None)
    files.write_atomic(place, json.dumps(asdict(known)).encode())
    return known


def _entry(source: HubData, cache: Path | None, resolution: int) -> Path:
    """Where the pictures of a complete source are kept."""
    key = hashlib.sha256(f"{picture_cache.RECIPE} {source} {resolution}".encode()).hexdigest()
    return picture_cache.folder(cache) / f"hub-{key[:32]}"


def _check_disk(place: Path, needed: int) -> None:
    """The colours are written twice while it is prepared."""
    free = shutil.disk_usage(place).free
    if 2 * needed + _SPARE_BYTES > free:
        raise LabError("hub_data_no_room", megabytes=2 * needed >> 20, free=free >> 20)


def _rows(source: HubData, policy: Policy | None) -> Iterator[_Row]:
    """The first `most` rows of a complete source, as they arrive."""
    policy = policy or Policy.from_environment()
    _check_may_ask(source, policy)
    assert source.column is not None
    wanted = [source.column] + ([source.classes] if source.classes != NO_CLASSES else [])
    with _readable(source):
        opened = _Opened(source, hub_client.token_for(policy, None))
        stream = opened.stream(source).select_columns(wanted)
        names = getattr(stream.features.get(source.classes), "names", None)
        for number, row in enumerate(stream.take(source.most)):
            try:
                content = opened.content(row[source.column])
            except pictures.UnusablePicture as unusable:
                content = unusable
            yield _Row(number, content, _class(row.get(source.classes), names))


def _class(value: Any, names: list[str] | None) -> str | None:
    """A class's name; None for a picture whose class isn't told."""
    if value is None or names is None:
        return None if value is None else str(value)
    return names[value] if 0 <= value < len(names) else None


def _content(row: _Row) -> bytes:
    if isinstance(row.content, pictures.UnusablePicture):
        raise row.content
    return row.content


def _prepare(
    source: HubData,
    rows: Iterable[_Row],
    resolution: int,
    entry: Path,
    total: int,
    progress: Progress | None,
) -> None:
    told: list[str | None] = []
    skipped: list[tuple[str, str]] = []
    has_classes = source.classes != NO_CLASSES

    def squares() -> Iterator[np.ndarray]:
        for row in rows:
            try:
                if has_classes and row.told is None:
                    raise pictures.UnusablePicture("error.picture_without_class")
                yield pictures.square(_content(row), resolution)
                told.append(row.told)
            except pictures.UnusablePicture as unusable:
                skipped.append((f"{source.repo} #{row.number}", unusable.reason))
            if progress:
                progress(row.number + 1, total)

    def describe() -> dict[str, Any]:
        if len(told) < FEWEST_PICTURES:
            counts = {"usable": len(told), "least": FEWEST_PICTURES, "skipped": len(skipped)}
            raise LabError("hub_data_too_few", repo=source.repo, **counts)
        classes = sorted({name for name in told if name is not None}, key=_in_order)
        if len(classes) > MOST_CLASSES:
            raise LabError(
                "hub_data_too_many_classes",
                column=source.classes,
                count=len(classes),
                most=MOST_CLASSES,
            )
        if len(classes) < 2:
            return {"classes": None, "labels": None, "skipped": skipped}
        at = {name: index for index, name in enumerate(classes)}
        labels = [at[name] for name in told if name is not None]
        return {"classes": classes, "labels": labels, "skipped": skipped}

    picture_cache.prepare(entry, resolution, squares(), describe)


def _in_order(name: str) -> tuple[int, str]:
    """Numbers by their value, before words."""
    return (int(name), "") if name.isascii() and name.isdecimal() else (1 << 62, name)
