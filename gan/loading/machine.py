"""The stack machine that a pickle is a program for, without the power to import or to call.

It knows the opcodes of Python's own machine. A few names have handlers of ours, names of network
classes become inert nodes, every other name is refused. Source text inside a file is text.
What is copied and how many steps are made is bounded, so that a small file stays small.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from gan.loading.content import MOST_DIMENSIONS, Blob, Content, LazyTensor, Storage

MOST_STEPS = 1_000_000  # opcodes in a file; a snapshot of a 1024 px network has some 40,000
_LONGEST_LINE = 2**16
_LONGEST_NAME = 180  # characters
_SMALL = 1024  # bytes: shorter runs are read at once

_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMPY = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "b1": torch.bool,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
}
# Names that stay names: calling one makes a node and nothing else.
_INERT = re.compile(
    r"(torch\.nn|torch\.optim|training|torch_utils|dnnlib|R3GAN|__main__|models?|networks?)"
    r"(\.\w+)*\.\w+"
    r"|torch\.(cuda\.)?\w+Storage|torch\.(float|bfloat|int|uint|bool)\d*|torch\.(device|dtype)"
    r"|torch\.(strided|contiguous_format|channels_last|preserve_format)"
    r"|argparse\.Namespace|types\.SimpleNamespace|numpy\.ndarray"
    r"|builtins\.(object|dict|list|tuple|int|float|str|bool|slice)"
    r"|(pathlib|pathlib\._local)\.(Pure)?(Posix|Windows)?Path"
)
_RENAMED = {"numpy._core.": "numpy.core.", "__builtin__.": "builtins.", "copy_reg.": "copyreg."}


@dataclass(frozen=True, slots=True)
class Name:
    """What a file calls a class or a function: its name, nothing more."""

    text: str


@dataclass(slots=True, eq=False)
class Node:
    """An object of a class that isn't known here: what it was made from, as plain data."""

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None


@dataclass(slots=True, eq=False)
class _Dtype:
    """A numpy number format, "f4" with its byte order."""

    code: str
    order: str = "<"


class Refused(Exception):  # noqa: N818 - a step on the way to a LabError
    """Something that is never run, by its name."""

    def __str__(self) -> str:
        return printable(str(self.args[0]))


def printable(text: str) -> str:
    """A file's text as any terminal and any JSON can show it."""
    return text.encode("utf-8", "backslashreplace").decode()


@dataclass
class Reading:
    """One file being read; the steps of everything nested in it count together."""

    content: Content
    file: BinaryIO
    steps: int = 0
    copied: int = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Refused(f"more than {MOST_STEPS:,} steps")

    def charge(self, length: int) -> None:
        """A program can name the same text a million times: what is copied or read again counts,
        and all of it together is no more than the file."""
        self.copied += length
        if self.copied > self.content.size + _LONGEST_LINE:
            raise Refused("a program that makes more than the file holds")


class Stream:
    """A window on a file, as `pickletools` reads one: never beyond its end."""

    def __init__(self, file: BinaryIO, start: int, end: int):
        self.file, self.position, self.end = file, start, end
        file.seek(start)

    def read(self, count: int) -> bytes:
        if count > self.end - self.position:
            raise EOFError("it ends too early")
        self.position += count
        return self.file.read(count)

    def readline(self) -> bytes:
        line = self.file.readline(min(self.end - self.position, _LONGEST_LINE))
        self.position += len(line)
        return line

    def skip(self, count: int) -> int:
        """Passes over `count` bytes → where they start."""
        if not 0 <= count <= self.end - self.position:
            raise EOFError("it ends too early")
        start, self.position = self.position, self.position + count
        self.file.seek(self.position)
        return start

    def resume(self) -> None:
        """Back to where this stream is, after another one has used the file."""
        self.file.seek(self.position)


FindStorage = Callable[[str, torch.dtype, int], Storage]
ReadNested = Callable[[Reading, int, int, int], Any]


class Machine:
    """Runs one pickle program: a method for each opcode that is allowed."""

    def __init__(
        self,
        reading: Reading,
        stream: Stream,
        depth: int,
        find_storage: FindStorage | None,
        read_nested: ReadNested,
    ):
        self.reading, self.stream, self.depth = reading, stream, depth
        self.find_storage, self.read_nested = find_storage, read_nested
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each open mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The program's result; the stream is left behind its end."""
        while True:
            code = self.stream.read(1).decode("latin-1")
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise ValueError(f"byte {ord(code)} is no opcode of a pickle")
            self.reading.step()
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _BYTES:
                self.stack.append(self._bytes(_BYTES[opcode.name]))
            elif opcode.name == "STRING":
                self.stack.append(self._line().strip("'\""))
            elif opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            else:
                argument = self._argument(opcode)
                if opcode.name in _VALUES:
                    self.stack.append(argument)
                elif (act := _ACTS.get(opcode.name)) is not None:
                    act(self, argument)
                else:
                    raise Refused(f"the opcode {opcode.name} {argument or ''}".strip())

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        if opcode.name in ("GLOBAL", "INST"):
            return f"{self._line()} {self._line()}"
        if opcode.name == "PERSID":  # pickletools would warn of a backslash in it
            return self._line()
        return opcode.arg.reader(cast(BinaryIO, self.stream)) if opcode.arg else None

    def _line(self) -> str:
        """A line of text, its escapes left as they are."""
        line = self.stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError("it ends too early")
        return line[:-1].decode("latin-1")

    def _bytes(self, width: int) -> bytes | Blob:
        length = int.from_bytes(self.stream.read(width), "little")
        if length <= _SMALL:
            return self.stream.read(length)
        return Blob(self.reading.content, self.stream.skip(length), length)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    # Building

    def mark(self, _: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop(self, _: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def pop_mark(self, _: None) -> None:
        self._since_mark()

    def duplicate(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def empty_list(self, _: None) -> None:
        self.stack.append([])  # a set too: nothing here asks whether something is in it

    def empty_dict(self, _: None) -> None:
        self.stack.append({})

    def tuple_of_marked(self, _: None) -> None:
        items = tuple(self._since_mark())
        self.stack.append(items)

    def list_of_marked(self, _: None) -> None:
        items = self._since_mark()
        self.stack.append(items)

    def dict_of_marked(self, _: None) -> None:
        made: dict[Any, Any] = {}
        _set_items(made, self._since_mark())
        self.stack.append(made)

    def tuple_of_last(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("nothing left to build from")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def append(self, _: None) -> None:
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    def appends(self, _: None) -> None:
        items = self._since_mark()
        _extend(self.stack[-1], items)

    def set_item(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def set_items(self, _: None) -> None:
        items = self._since_mark()
        _set_items(self.stack[-1], items)

    # Names and calls

    def global_name(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self.stack.append(_checked(module, attribute))

    def stack_global(self, _: None) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise ValueError("a name that is no text")
        self.stack.append(_checked(module, attribute))

    def reduce(self, _: None) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(function, args))

    def new_object_with_names(self, _: None) -> None:
        _named, args, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(cls, args))

    def build(self, _: None) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, _Array):
            made.fill(self.reading, state)
        elif isinstance(made, _Dtype):
            made.order = text_of(state[1])
        elif isinstance(made, Node):
            made.state = state
        elif not isinstance(made, dict):  # attributes of an OrderedDict: torch's versions
            raise ValueError("a state for what has none")

    def persistent(self, _: None) -> None:
        """A tensor's storage: ("storage", its class, key, place, count, view of another)."""
        kind, cls, key, _place, count, *view = self.stack.pop()
        dtype = _STORAGES.get(cls.text.rpartition(".")[2])
        if self.find_storage is None or kind != "storage" or any(view):
            raise Refused("a persistent object that is no storage")
        if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
            raise ValueError("a storage of an unknown kind")
        found = self.find_storage(key, dtype, count)
        if (found.dtype, found.count) != (dtype, count):
            raise ValueError("a storage of two kinds")
        self.stack.append(found)

    def call(self, function: Any, args: Any) -> Any:
        """What `function(*args)` makes, by our handlers alone."""
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise Refused(f"a call of {type(function).__name__}")
        sized = (arg for arg in args if isinstance(arg, (str, bytes, list, tuple, Blob)))
        self.reading.charge(len(args) + sum(map(len, sized)))
        if function.text == "torch.storage._load_from_bytes":
            return self._nested(*args)
        if (handler := _HANDLERS.get(function.text)) is not None:
            return handler(*args)
        return Node(function.text, args)

    def _nested(self, data: bytes | Blob) -> Any:
        """The storage in a stream within this one."""
        if isinstance(data, bytes):  # a short one: read from where it is
            content = Content(data, self.reading.content.name)
            with content.open() as file:
                inner = Reading(content, file, self.reading.steps, self.reading.copied)
                found = self.read_nested(inner, 0, len(data), self.depth + 1)
            self.reading.steps = inner.steps
        else:
            end = data.start + data.length
            found = self.read_nested(self.reading, data.start, end, self.depth + 1)
            self.stream.resume()
        if not isinstance(found, Storage):
            raise ValueError("a nested stream that is no storage")
        return found


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_BYTES = {"SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
}
_ACTS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": lambda _machine, _version: None,
    "FRAME": lambda _machine, _length: None,
    "MARK": Machine.mark,
    "POP": Machine.pop,
    "POP_MARK": Machine.pop_mark,
    "DUP": Machine.duplicate,
    "MEMOIZE": Machine.put,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), Machine.empty_list),
    "EMPTY_DICT": Machine.empty_dict,
    "TUPLE": Machine.tuple_of_marked,
    **dict.fromkeys(("LIST", "FROZENSET"), Machine.list_of_marked),
    "DICT": Machine.dict_of_marked,
    "TUPLE1": lambda machine, _: machine.tuple_of_last(1),
    "TUPLE2": lambda machine, _: machine.tuple_of_last(2),
    "TUPLE3": lambda machine, _: machine.tuple_of_last(3),
    "APPEND": Machine.append,
    **dict.fromkeys(("APPENDS", "ADDITEMS"), Machine.appends),
    "SETITEM": Machine.set_item,
    "SETITEMS": Machine.set_items,
    "GLOBAL": Machine.global_name,
    "STACK_GLOBAL": Machine.stack_global,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), Machine.reduce),
    "NEWOBJ_EX": Machine.new_object_with_names,
    "BUILD": Machine.build,
    "BINPERSID": Machine.persistent,
}


def _checked(module: str, attribute: str) -> Name:
    if len(module) + len(attribute) > _LONGEST_NAME:
        raise Refused(f"{module[:100]}…")
    text = f"{module}.{attribute}"
    for old, new in _RENAMED.items():
        if text.startswith(old):
            text = new + text[len(old) :]
    known = text in _HANDLERS or text == "torch.storage._load_from_bytes"
    if "." in attribute or not (known or _INERT.fullmatch(text)):
        raise Refused(text)
    return Name(text)


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Node):  # a list or a set of a class of its own: its items don't matter
        return
    if not isinstance(target, list):
        raise ValueError("items for what is no list")
    target.extend(items)


def _set_items(target: Any, items: list[Any]) -> None:
    if len(items) % 2:
        raise ValueError("a key without a value")
    if isinstance(target, Node):
        return
    if not isinstance(target, dict):
        raise ValueError("entries for what is no table")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Keys that are cheap to hash, whatever is in them: a tuple of tuples of tuples isn't.
        is_small = isinstance(key, int) and abs(key) < 2**63
        if not is_small and not isinstance(key, (str, float, bytes, Name, Node, type(None))):
            raise ValueError(f"a key of the kind {type(key).__name__}")
        target[key] = value


# What the known names make


class _Array(LazyTensor):
    """A numpy array: made empty, filled by the state that follows."""

    def __init__(self) -> None:
        pass

    def fill(self, reading: Reading, state: Any) -> None:
        _version, shape, dtype, is_fortran, data = state
        content, dtype = reading.content, _number_format(dtype)
        if isinstance(data, str):
            reading.charge(len(data))
            data = data.encode("latin-1")
        if isinstance(data, bytes):
            content, start, length = Content(data, content.name), 0, len(data)
        elif isinstance(data, Blob):
            content, start, length = data.content, data.start, data.length
        else:
            raise ValueError("an array of objects")
        shape = _sizes(shape)
        steps, step = [], 1
        for side in shape if is_fortran else shape[::-1]:
            steps.append(step)
            step *= max(side, 1)
        storage = Storage(content, dtype, length // dtype.itemsize, start)
        stride = tuple(steps if is_fortran else steps[::-1])
        LazyTensor.__init__(self, storage, 0, shape, stride)


def _number_format(dtype: Any) -> torch.dtype:
    if not isinstance(dtype, _Dtype) or dtype.order not in ("<", "|", "="):
        raise ValueError("an array that isn't little-endian")
    if dtype.code not in _NUMPY:
        raise ValueError(f"an array of {dtype.code[:10]}")
    return _NUMPY[dtype.code]


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("something else than a text")
    return value


def _sizes(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, (tuple, list)) or len(sizes) > MOST_DIMENSIONS:
        raise ValueError("a tensor of impossible sizes")
    if not all(type(size) is int and abs(size) < 2**62 for size in sizes):
        raise ValueError("a tensor of impossible sizes")
    return tuple(sizes)


def _scalar(dtype: Any, data: bytes | str) -> int | float | bool:
    data = data.encode("latin-1") if isinstance(data, str) else data
    _number_format(dtype)
    return np.frombuffer(data, np.dtype("<" + dtype.code), count=1)[0].item()


def _tensor(storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    return LazyTensor(storage, _sizes((offset,))[0], _sizes(shape), _sizes(stride))


def _typed(function: Any, _cls: Any, args: tuple[Any, ...], _state: Any = None) -> Any:
    if not isinstance(function, Name) or function.text not in _REBUILDERS:
        raise Refused("a tensor made in an unknown way")
    return _REBUILDERS[function.text](*args)


def _no_bytes(*args: Any) -> bytes:
    """Protocol 2 calls `bytes()` for empty ones; with a number it would take as much memory."""
    if args:
        raise Refused("builtins.bytes")
    return b""


def _pairs(pairs: Any = ()) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        _set_items(made, [key, value])
    return made


def _persistent_object(meta: dict[str, Any]) -> Node:
    """NVIDIA's modules carry their source text with them: it stays text, and unread."""
    return Node(text_of(meta["class_name"]), (), meta["state"])


_REBUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
}
_HANDLERS: dict[str, Callable[..., Any]] = {
    **_REBUILDERS,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch.torch_version.TorchVersion": lambda version="": text_of(version),
    "torch.Size": lambda sizes=(): _sizes(sizes),
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "collections.OrderedDict": _pairs,
    "collections.defaultdict": lambda *_: {},
    "dnnlib.util.EasyDict": dict,
    "dnnlib.EasyDict": dict,
    "builtins.set": lambda items=(): items,  # nothing here asks whether something is in it
    "builtins.frozenset": lambda items=(): items,
    "builtins.bytes": _no_bytes,
    "copyreg._reconstructor": lambda cls, *_: Node(cls.text),
    "_codecs.encode": lambda text, _encoding: text_of(text).encode("latin-1"),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.dtype": lambda code, *_: _Dtype(text_of(code)),
}
