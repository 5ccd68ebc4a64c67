"""Run by test_hostile_files.py in a process of its own; prints what it saw as JSON.

hostile_files.py mutate FILE COUNT    loads the file in COUNT damaged forms
hostile_files.py peak WARM_UP FILE    the memory that loading FILE takes, after WARM_UP
"""

import json
import random
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

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


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four changes of all kinds."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) or 1)
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
    ours = file.suffix == ".safetensors" and is_ours(Content(content, file.name))
    load(content, ours, file.parent)  # imports what is imported at the first use
    for family in FAMILIES.values():  # a damaged file may look like any of them
        import_module(family.module)
        assert family.reader
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
            load(mutated(content, rng), ours, file.parent)
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


if __name__ == "__main__":
    task, first, second = sys.argv[1:]
    done = mutate(Path(first), int(second)) if task == "mutate" else peak(Path(first), Path(second))
    print(json.dumps(done))
