"""Files that are whole or absent, on Linux, macOS and Windows; and the folders that are ours.

Nothing here knows about pictures, models or runs.
"""

import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gan.errors import LabError

_PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A new binary file that takes `path`'s place, whole and on disk, when the block ends well.

    After an exception, a kill or a power cut, `path` is what it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Inside, a disk that is full or closed to us is a LabError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LabError("run_unwritable", path=path, reason=reason) from error


def write_atomic(path: str | Path, content: bytes) -> None:
    """`path` holds all of `content` afterwards, or is untouched. Its folder must exist."""
    with atomic_file(path) as file:
        file.write(content)


def sweep_temporaries(
    folder: str | Path, older_than_seconds: float = 600.0, spare: str | None = None
) -> int:
    """Removes what killed writers left in `folder`; returns how many files.

    A living writer's file is younger than the default. Pass 0 where no one else writes, or only
    the file called `spare`.
    """
    latest = time.time() - older_than_seconds
    swept = 0
    for path in Path(folder).glob(f".*{_PARTIAL}"):
        if spare and path.name.startswith(f".{spare}."):
            continue
        with contextlib.suppress(FileNotFoundError):  # its writer finished in between
            if path.stat().st_mtime <= latest:
                path.unlink()
                swept += 1
    return swept


@contextlib.contextmanager
def file_lock(path: str | Path) -> Iterator[None]:
    """Inside, no one else holds the lock of this name: no thread, and no process on this machine.

    The file stays. A holder that dies lets go of it.
    """
    with open(path, "ab") as file:
        _take_lock(file.fileno())
        try:
            yield
        finally:
            _drop_lock(file.fileno())


def user_cache_dir() -> Path:
    """The folder for what can be computed again; made if need be, LATENT_LAB_CACHE overrides."""
    folder = _default_cache_dir()
    if chosen := os.environ.get("LATENT_LAB_CACHE"):
        folder = Path(chosen).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError("cache_unwritable", path=folder, reason=error.strerror) from error
    return folder


def user_runs_dir() -> Path:
    """The folder of the runs that people start from the page; LATENT_LAB_RUNS overrides.

    Not made here: whoever writes first makes it.
    """
    if chosen := os.environ.get("LATENT_LAB_RUNS"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir()))
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "latent-lab" / "runs"


def _replace(temporary: Path, path: Path) -> None:
    """Renames over `path`. Windows refuses while someone reads it, which is over in a moment."""
    for _ in range(50 if sys.platform == "win32" else 0):
        with contextlib.suppress(PermissionError):
            temporary.replace(path)
            return
        time.sleep(0.02)
    temporary.replace(path)


def _take_lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        while True:
            with contextlib.suppress(OSError):  # it gives up after ten seconds
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
                return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)


def _drop_lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable. Windows has no such call; some network file systems refuse it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _default_cache_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "latent-lab" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "latent-lab"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latent-lab"
