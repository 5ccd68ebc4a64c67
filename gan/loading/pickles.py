"""Reads pickles without running them, and the containers that torch puts them in.

Reads StyleGAN-style snapshots (with tensors as nested streams), torch's zip files and torch's older
streams. Nothing is imported, nothing is called (`machine.py`), and tensors stay in the file until
they are asked for. Which generator the result holds is the business of `formats.py`.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from gan.errors import LabError
from gan.loading.content import Blob, Content, LazyTensor, Storage
from gan.loading.machine import FindStorage, Machine, Name, Node, Reading, Refused, Stream, text_of

__all__ = ["Blob", "LazyTensor", "Name", "Node", "read"]

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_DEPTH = 2  # a stream within a pickle; none within that


def read(source: bytes | Path | Content) -> Any:
    """The object in a pickle or torch file, out of dicts, lists, tuples, plain values, `Node`,
    `Name`, `Blob` and `LazyTensor`.

    Raises LabError: "unsafe_pickle" with what was found, "damaged_pickle" for what can't be read.
    """
    content = source if isinstance(source, Content) else Content(source)
    try:
        with content.open() as file:
            return _read_any(Reading(content, file), 0, content.size, depth=0)
    except Refused as error:
        raise LabError("unsafe_pickle", path=content.name, found=error) from error
    except (
        *(ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError),
        *(EOFError, struct.error, zipfile.BadZipFile, NotImplementedError, RuntimeError),
    ) as error:
        reason = f"{error}" or type(error).__name__
        raise LabError("damaged_pickle", path=content.name, reason=reason) from error


def _read_any(reading: Reading, start: int, end: int, depth: int) -> Any:
    if depth == _MOST_DEPTH:
        raise Refused("a stream nested too deep")
    head = reading.content.read(start, min(len(LEGACY_MAGIC), end - start))
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(reading, start, end, depth)
    stream = Stream(reading.file, start, end)
    if head == LEGACY_MAGIC:
        return _read_legacy(reading, stream, depth)
    return Machine(reading, stream, depth, None, _read_any).run()


# The containers


def _read_legacy(reading: Reading, stream: Stream, depth: int) -> Any:
    """torch's older stream: magic, version, system, object, keys; then, for each key, a count
    and the bytes of a storage."""
    storages: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        return storages.setdefault(key, Storage(reading.content, dtype, count))

    def part(find: FindStorage | None = None) -> Any:
        return Machine(reading, stream, depth, find, _read_any).run()

    part()
    if part() != 1001:
        raise ValueError("an unknown version of torch's format")
    system = part()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise ValueError("its numbers are big-endian")
    result, keys = part(storage), part()
    if not isinstance(keys, list) or set(map(text_of, keys)) != set(storages):
        raise ValueError("its list of storages doesn't fit its tensors")
    for key in dict.fromkeys(keys):
        found = storages[key]
        if struct.unpack("<q", stream.read(8))[0] != found.count:
            raise ValueError("a storage of another length")
        found.start = stream.skip(found.size_bytes)
    return result


def _read_zip(reading: Reading, start: int, end: int, depth: int) -> Any:
    """torch's zip: an uncompressed archive of `<name>/data.pkl` and `<name>/data/<key>`."""
    with zipfile.ZipFile(_Window(reading.file, start, end)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError("a zip archive, but not one that torch.save writes")
    folder = pickles[0].removesuffix("data.pkl")
    if any(name.startswith((f"{folder}constants.pkl", f"{folder}code/")) for name in entries):
        raise Refused("a TorchScript program")

    def place(name: str) -> tuple[int, int]:
        return _place(reading, entries[name], start, end)

    if f"{folder}byteorder" in entries:
        first, size = place(f"{folder}byteorder")
        if reading.content.read(first, min(size, 16)) != b"little":
            raise ValueError("its numbers are big-endian")
    storages: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        if key not in storages:
            first, size = place(f"{folder}data/{key}")
            if size != count * dtype.itemsize:
                raise ValueError("a storage of another length")
            storages[key] = Storage(reading.content, dtype, count, first)
            stream.resume()
        return storages[key]

    first, size = place(pickles[0])
    stream = Stream(reading.file, first, first + size)
    return Machine(reading, stream, depth, storage, _read_any).run()


def _place(reading: Reading, entry: zipfile.ZipInfo, start: int, end: int) -> tuple[int, int]:
    """Where an entry's bytes are: first, count."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise Refused(f"the compressed entry {entry.filename}")
    reading.file.seek(start + entry.header_offset)
    header = reading.file.read(30)
    skipped = sum(struct.unpack("<HH", header[26:30]))
    first = start + entry.header_offset + 30 + skipped
    if header[:4] != b"PK\x03\x04" or first + entry.file_size > end:
        raise EOFError("an entry that reaches beyond the file")
    return first, entry.file_size


class _Window:
    """A part of a file, as `zipfile` reads one."""

    def __init__(self, file: BinaryIO, start: int, end: int):
        self.file, self.start, self.size, self.position = file, start, end - start, 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = (0, self.position, self.size)[whence] + offset
        if self.position < 0:
            raise ValueError("a place before the start of the file")
        return self.position

    def read(self, count: int = -1) -> bytes:
        left = max(self.size - self.position, 0)
        count = left if count < 0 else min(count, left)
        self.file.seek(self.start + self.position)
        self.position += count
        return self.file.read(count)
