"""The bytes of a file, read piece by piece where they are needed, and tensors not yet read.

A snapshot of several hundred megabytes is mostly weights that nobody asks for: what is handed
around is where they are. This module owns reading bytes; what they mean is the readers' business.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from gan.errors import LabError

MOST_DIMENSIONS = 8
_CHUNK = 2**20


class Content:
    """A file, or bytes in memory; `name` is what error messages call it.

    A file is opened anew for each reading; one that has changed since is refused, so that all
    pieces are of the same file.
    """

    def __init__(self, source: bytes | Path, name: str | None = None):
        self.source = source
        self.name = name or (source.name if isinstance(source, Path) else "the file")
        self._stamp = None if isinstance(source, bytes) else self._stamped(source)
        self.size = self._stamp[0] if self._stamp else len(source)  # pyright: ignore

    def _stamped(self, path: Path) -> tuple[int, ...]:
        try:
            stat = path.stat()
        except OSError as error:
            raise LabError("damaged_model", path=self.name, reason=error.strerror) from error
        return stat.st_size, stat.st_mtime_ns, stat.st_ino

    def open(self) -> BinaryIO:
        """The bytes from the start; to be closed by the caller."""
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        try:
            file = self.source.open("rb")
        except OSError as error:
            raise LabError("damaged_model", path=self.name, reason=error.strerror) from error
        stat = os.fstat(file.fileno())
        if (stat.st_size, stat.st_mtime_ns, stat.st_ino) != self._stamp:
            file.close()
            raise LabError("model_changed", path=self.name)
        return file

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end."""
        with self.open() as file:
            file.seek(start)
            return file.read(min(length, max(self.size - start, 0)))

    def read_into(self, start: int, buffer: memoryview) -> None:
        with self.open() as file:
            file.seek(start)
            filled = file.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
        if filled != len(buffer):
            raise LabError("damaged_model", path=self.name, reason="it ends too early")

    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self.open() as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Blob:
    """A run of bytes in a file, not read yet."""

    content: Content
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def read(self) -> bytes:
        return self.content.read(self.start, self.length)


@dataclass(slots=True)
class Storage:
    """`count` numbers in a row; `start` is None until it is known where in the file they are."""

    content: Content
    dtype: torch.dtype
    count: int
    start: int | None = None

    @property
    def size_bytes(self) -> int:
        return self.count * self.dtype.itemsize


class LazyTensor:
    """A tensor that is still in its file: `shape` and `dtype` now, the numbers on `load()`.

    A view that would reach outside its storage, or count a number twice, is a ValueError.
    """

    __slots__ = ("offset", "shape", "storage", "stride")

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ):
        if len(shape) != len(stride) or len(shape) > MOST_DIMENSIONS or min(offset, 0, *shape) < 0:
            raise ValueError("a tensor of impossible sizes")
        if stride and min(stride) < 1:
            raise ValueError("a tensor with a zero or negative stride")
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride
        if offset + self._extent > storage.count or self.numel > storage.count:
            raise ValueError("a tensor reaching outside its storage")

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.numel * self.dtype.itemsize

    @property
    def _extent(self) -> int:
        """From the first number to behind the last one."""
        if not self.numel:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))

    def load(self) -> Tensor:
        """The numbers, in memory of their own."""
        assert self.storage.start is not None
        itemsize, extent = self.dtype.itemsize, self._extent
        raw = torch.empty(extent * itemsize, dtype=torch.uint8)
        if extent:
            start = self.storage.start + self.offset * itemsize
            self.storage.content.read_into(start, raw.numpy().data)
        tensor = raw.view(self.dtype).as_strided(self.shape, self.stride)
        return tensor.clone() if extent > self.numel else tensor


class Loaded(Mapping[str, Tensor]):
    """Lazy tensors as those who compute with them want them: each is read when it is asked for."""

    def __init__(self, lazy: Mapping[str, LazyTensor]):
        self.lazy = lazy

    def __getitem__(self, name: str) -> Tensor:
        return self.lazy[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lazy)

    def __len__(self) -> int:
        return len(self.lazy)

    def __contains__(self, name: object) -> bool:
        return name in self.lazy


def unread(tensors: Mapping[str, Tensor], name: str) -> Tensor | LazyTensor:
    """The tensor of that name, still in its file where it can be."""
    for each in getattr(tensors, "maps", [tensors]):
        if name in each:
            return each.lazy[name] if isinstance(each, Loaded) else each[name]
    raise KeyError(name)
