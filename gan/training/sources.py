"""Where a person's own pictures are: the files in a folder, or the members of a zip file.

Archives come from strangers: members are read in memory, one by one and bounded; nothing is ever
unpacked to disk. Whatever isn't a picture, nested archives too, is passed over.
"""

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from gan.errors import LabError
from gan.training import pictures


@dataclass(frozen=True)
class Limits:
    """What an archive, and any one file, may be at most."""

    members: int = 200_000
    index_bytes: int = 64 << 20  # of the archive's own table of contents
    file_bytes: int = 256 << 20
    total_bytes: int = 16 << 30  # unpacked
    ratio: int = 200  # unpacked by packed, of members above …
    ratio_from_bytes: int = 1 << 20  # a small file of one colour may well pack better


LIMITS = Limits()


class Source:
    """Named files that look like pictures. Names are relative, with "/", in ascending order."""

    names: Sequence[str]

    def content(self, name: str) -> bytes:
        """The file's bytes. Raises UnusablePicture if it is too large or can't be read."""
        raise NotImplementedError


class _Folder(Source):
    def __init__(self, path: Path) -> None:
        self.path = path
        files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        names = (file.relative_to(path).as_posix() for file in files)
        self.names = sorted(name for name in names if _is_picture(name) and (path / name).is_file())

    def content(self, name: str) -> bytes:
        with _unreadable_is_unusable(OSError), open(self.path / name, "rb") as file:
            return _bounded(file.read(LIMITS.file_bytes + 1))


class _Archive(Source):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        _check_archive(path, archive.infolist())
        members = (member.filename for member in archive.infolist() if not member.is_dir())
        self.names = sorted({name for name in members if _is_picture(name)})

    def content(self, name: str) -> bytes:
        failures = (
            *(OSError, EOFError, ValueError, NotImplementedError),
            *(zipfile.BadZipFile, zlib.error, struct.error),
        )
        with _unreadable_is_unusable(*failures), self.archive.open(name) as file:
            return _bounded(file.read(LIMITS.file_bytes + 1))


class _GuardedFile(io.FileIO):
    """A file of which nobody gets more than `most` bytes at once: zipfile reads its index so."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        asked = self.most + 1 if size is None or size < 0 else size
        content = super().read(min(asked, self.most + 1)) or b""
        if len(content) > self.most:
            raise zipfile.BadZipFile("too much at once")
        return content


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The pictures in a folder or a zip file, while the block runs. Raises LabError."""
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        file = _GuardedFile(path)
    except FileNotFoundError as error:
        raise LabError("data_missing", source=path) from error
    except OSError as error:
        raise LabError("data_unreadable", source=path, reason=error.strerror) from error
    with file, _archive(path, file) as archive:
        yield _Archive(path, archive)


def _archive(path: Path, file: _GuardedFile) -> zipfile.ZipFile:
    try:
        file.most = LIMITS.index_bytes
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise LabError("data_neither_folder_nor_zip", source=path) from error
    file.most = LIMITS.file_bytes + 1
    return archive


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in pictures.SUFFIXES


def _bounded(content: bytes) -> bytes:
    if len(content) > LIMITS.file_bytes:
        raise pictures.UnusablePicture("error.picture_file_too_large")
    return content


@contextlib.contextmanager
def _unreadable_is_unusable(*failures: type[Exception]) -> Iterator[None]:
    try:
        yield
    except failures as error:
        raise pictures.UnusablePicture("error.picture_broken") from error


# Hostile archives


def _check_archive(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses the whole archive for one member that no honest archive has. Raises LabError."""
    if len(members) > LIMITS.members:
        raise LabError("archive_too_many", source=path, count=len(members), most=LIMITS.members)
    for member in members:
        _check_member(path, member)
    total = sum(member.file_size for member in members if _is_picture(member.filename))
    if total > LIMITS.total_bytes:
        most = LIMITS.total_bytes >> 20
        raise LabError("archive_too_large", source=path, mebibytes=total >> 20, most=most)
    # Members that share their packed bytes are how a small file pretends to be a huge one.
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise LabError("archive_bomb", source=path, member=path.name)


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    name = PureWindowsPath(member.filename)  # knows "/" and "\\", and drives
    if name.anchor or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise LabError("archive_unsafe", source=path, member=member.filename)
    # Python unpacks other methods without a bound, whatever size the archive declares.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LabError("archive_method", source=path, member=member.filename)
    if member.flag_bits & 0x1:
        raise LabError("archive_encrypted", source=path, member=member.filename)
    large = _is_picture(member.filename) and member.file_size > LIMITS.ratio_from_bytes
    if large and member.file_size > LIMITS.ratio * member.compress_size:
        raise LabError("archive_bomb", source=path, member=member.filename)
