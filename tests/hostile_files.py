"""Run by test_hostile_files.py in a process of its own: reads tasks, one a line, and prints what it
saw of each as JSON. Each task is a fork, whose memory nobody else has grown, and which has already
imported what takes seconds to import.

mutate FILE COUNT    loads the file in COUNT damaged forms
peak WARM_UP FILE    the memory that loading FILE takes, after WARM_UP
"""

import io
import json
import os
import random
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from gan.errors import LabError
from gan.loading import load_generator
from gan.loading.content import Content
from gan.loading.families import FAMILIES
from gan.loading.formats import generator_from, open_file
from gan.loading.native import is_ours

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
FORBIDDEN += ("compile", "pickle.find_class", "socket.connect", "ctypes.dlopen")
TOKENS = [
    *(b"R", b"b", b"o", b".", b"2", b"0", b"(", b"t", b"\x85", b"\x86", b"\x87", b"\x93", b"\x94"),
    *(b"cposix\nsystem\n", b"cbuiltins\neval\n", b"\x8c\x05posix\x8c\x06system\x93", b"Q", b"P0\n"),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff" * 8, b"\x00" * 8, b"J\xff\xff\xff\x7f"),
    *(b"B\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"\x96" + b"\x7f" * 8),
    *(
        b"}",
        b"]",
        b"\x8f",
        b"N",
        b"\x88",
        b"K\x00",
        b"\x8a\x08" + b"\xff" * 8,
        b"h\x00",
        b"j\0\0\0\0",
    ),
]
LONGEST_SECONDS = 120  # for one load on a busy machine; a hang takes for ever


class Watched(Content):
    """A file in memory that notes which of its bytes are read as anything but weights."""

    def __init__(self, source: bytes, name: str):
        super().__init__(source, name)
        self.structure: set[int] = set()

    def open(self) -> BinaryIO:
        return _Noting(self)


class _Noting(io.BytesIO):
    def __init__(self, content: Watched):
        assert isinstance(content.source, bytes)
        super().__init__(content.source)
        self.noted = content.structure

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        piece = super().read(size)
        self.noted.update(range(start, start + len(piece)))
        return piece


def structure_of(content: bytes) -> list[int]:
    """Where the file says what it is; the rest is weights, in which damage is harmless."""
    watched = Watched(content, "watched")
    open_file(watched)
    return sorted(watched.structure)


def mutated(content: bytes, structure: list[int], rng: random.Random) -> bytes:
    """The bytes with one to four changes of all kinds; every other change is in what is read as
    structure, or where that was before the changes."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.choice(structure) if rng.random() < 0.5 else rng.randrange(len(made) or 1)
        at = min(at, max(len(made) - 1, 0))
        length = min(rng.choice((1, 2, 4, 8, 40, 300)), len(made) - at)
        piece = bytes(made[at : at + length])
        other = rng.randrange(len(made) or 1)
        match rng.randrange(8):
            case 0 if made:
                made[at] ^= 1 << rng.randrange(8)
            case 1 if made:
                made[at] = rng.randrange(256)
            case 2:
                made[at:at] = rng.choice(TOKENS)
            case 3:
                token = rng.choice(TOKENS)
                made[at : at + len(token)] = token
            case 4:
                del made[at : at + length]
            case 5:
                made[other:other] = piece
            case 6:
                made[other : other + length] = piece
            case _ if rng.random() < 0.3:
                del made[at:]
    return bytes(made)


def load(content: bytes, ours: bool, folder: Path) -> None:
    if ours:  # its reader takes a file
        file = folder / "mutated.safetensors"
        file.write_bytes(content)
        load_generator(file)
    else:
        generator_from(open_file(Content(content, "mutated")))


def mutate(file: Path, count: int) -> dict[str, Any]:
    content, rng = file.read_bytes(), random.Random(file.name)
    structure = structure_of(content)
    ours = file.suffix == ".safetensors" and is_ours(Content(content, file.name))
    load(content, ours, file.parent)  # imports what is imported at the first use
    before, seen, ran = peak_kilobytes(), {"loaded": 0}, []

    def watch(event: str, args: Any) -> None:
        if not watching:
            return
        if event in FORBIDDEN:
            ran.append(event)
        elif event == "import" and not str(args[0]).startswith("encodings"):
            ran.append(f"import {args[0]}")

    watching = True
    sys.addaudithook(watch)
    for number in range(count):
        signal.alarm(LONGEST_SECONDS)
        try:
            load(mutated(content, structure, rng), ours, file.parent)
        except LabError as error:
            error.message("en")  # which is a warning, so an error, if a value is missing
            seen[error.code] = seen.get(error.code, 0) + 1
        except Exception as error:
            raise RuntimeError(f"mutation {number} of {file.name}") from error
        else:
            seen["loaded"] += 1
        signal.alarm(0)
    watching = False
    return {"seen": seen, "ran": ran, "size": len(content), "grown": peak_kilobytes() - before}


def peak(warm_up: Path, file: Path) -> dict[str, Any]:
    load_generator(warm_up)
    before = peak_kilobytes()
    generator = load_generator(file)
    numbers = sum(tensor.numel() for tensor in generator.state_dict().values())
    return {
        "grown": peak_kilobytes() - before,
        "generator": 4 * numbers // 1024,
        "file": file.stat().st_size // 1024,
    }


def peak_kilobytes() -> int:
    """The most memory this process has had. (`ru_maxrss` begins at what its parent had.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)


def in_a_fork(task: str, first: str, second: str) -> bool:
    """Does the task and prints what it saw; False where it failed, or was killed for hanging."""
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    failed = 1
    try:
        done = (
            mutate(Path(first), int(second))
            if task == "mutate"
            else peak(Path(first), Path(second))
        )
        print(json.dumps(done), flush=True)
        failed = 0
    finally:  # nothing of the parent's goes on in the child
        if failed:
            traceback.print_exc()
        os._exit(failed)


def serve() -> None:
    for family in FAMILIES.values():  # a damaged file may look like any of them
        import_module(family.module)
        assert family.reader
    for line in sys.stdin:
        task, first, second = json.loads(line)
        if not in_a_fork(task, first, second):
            print(json.dumps({"failed": line}), flush=True)


if __name__ == "__main__":
    serve()
