"""The families of generators that can be loaded, and how one is built from tensors.

A family's modules are imported when a file asks for it. Sizes are checked, and compared with what
the file holds, before anything is allocated; then the tensors are read one at a time.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gan.errors import LabError
from gan.generators.base import Generator
from gan.loading.content import LazyTensor, unread

_MOST_ITEMS = 256  # of a list in a network's description
_MOST_LAYERS = 128
_LONGEST_WORD = 64
_LARGEST_NUMBER = 2**20
_SLACK = 2**20  # numbers that any network may have beside its tensors


@dataclass(frozen=True)
class Family:
    """Where a family's code is: `generator` names its class, `<generator>Config` is that of its
    sizes, `reading` the module with `matches`, `config_from` and, where published spellings
    differ from its own, `canonical`. That module may set `BOUNDS` and `CHOICES` for the sizes."""

    module: str
    generator: str
    reading: str | None = None

    @property
    def cls(self) -> type[Generator]:
        return getattr(import_module(self.module), self.generator)

    @property
    def config(self) -> type[Any]:
        return getattr(import_module(self.module), f"{self.generator}Config")

    @property
    def reader(self) -> types.ModuleType:
        return import_module(self.reading or self.module)


FAMILIES: dict[str, Family] = {
    "stylegan2": Family(
        "gan.generators.stylegan2", "StyleGAN2", "gan.generators.stylegan2_spellings"
    ),
    "stylegan3": Family("gan.generators.stylegan3", "StyleGAN3"),
    "biggan": Family("gan.generators.biggan", "BigGAN"),
    "r3gan": Family("gan.generators.r3gan", "R3GAN"),
    "fastgan": Family("gan.generators.fastgan", "FastGAN"),
    "dcgan": Family("gan.generators.dcgan", "DCGAN"),
}


def detect(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The family whose tensors these are."""
    return next((name for name, each in FAMILIES.items() if each.reader.matches(shapes)), None)


# A network's description as JSON


def config_from_json(family: str, given: object, path: object) -> Any:
    """The family's configuration from a description in a file of ours. LabError for one that is
    impossible."""
    cls = FAMILIES[family].config
    try:
        return _dataclass(cls, given, FAMILIES[family].reader)
    except _Impossible as error:
        name, value = error.args
        raise LabError("bad_network", path=path, name=name, value=value) from error


class _Impossible(Exception):  # noqa: N818 - a step on the way to a LabError
    """(name, value) of a setting that can't be."""


def _dataclass(cls: type[Any], given: object, reader: types.ModuleType) -> Any:
    fields = {each.name: each for each in dataclasses.fields(cls)}
    if not isinstance(given, dict):
        raise _Impossible("network", "missing")
    if strange := sorted(map(str, set(given) - set(fields))):
        raise _Impossible("network", strange)
    hints, values = _hints(cls), {}
    for name, field in fields.items():
        if name in given:
            values[name] = _value(name, hints[name], given[name], reader)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _Impossible(name, "missing")
    return cls(**values)


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _value(name: str, hint: Any, given: Any, reader: types.ModuleType) -> Any:
    """`given` as the type that the configuration wants, within the family's bounds."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if given is None and type(None) in options:
            return None
        hint = next(each for each in options if each is not type(None))
    if typing.get_origin(hint) is tuple:
        if not isinstance(given, list) or len(given) > _MOST_ITEMS:
            raise _Impossible(name, given)
        kinds = typing.get_args(hint)
        kinds = kinds[:1] * len(given) if kinds[1:] == (...,) else kinds
        if len(kinds) != len(given):
            raise _Impossible(name, given)
        return tuple(
            _value(name, kind, each, reader) for kind, each in zip(kinds, given, strict=True)
        )
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast("type[Any]", hint), given, reader)
    if not _is_possible(name, hint, given, reader):
        raise _Impossible(name, given)
    return hint(given)


def _is_possible(name: str, kind: type, given: Any, reader: types.ModuleType) -> bool:
    choices = getattr(reader, "CHOICES", {})
    if name in choices:
        return type(given) is kind and given in choices[name]
    if kind is bool or isinstance(given, bool):
        return kind is bool and isinstance(given, bool)
    if kind is str:
        return isinstance(given, str) and len(given) <= _LONGEST_WORD
    if not isinstance(given, int if kind is int else (int, float)) or not math.isfinite(given):
        return False
    most = _MOST_LAYERS if name.endswith("layers") else _LARGEST_NUMBER
    low, high = getattr(reader, "BOUNDS", {}).get(name, (-most, most))
    return low <= given <= high


# Building


def build(family: str, config: Any, tensors: Mapping[str, Tensor], path: object) -> Generator:
    """The generator with these tensors: on the CPU, float32, in evaluation mode, no gradients.

    Raises LabError where tensors are missing, too many, misshapen or not finite.
    """
    shapes = {name: tuple(unread(tensors, name).shape) for name in tensors}
    generator = unfilled(family, config, sum(map(math.prod, shapes.values())), path)
    _check_fit(generator, shapes, path)
    with torch.no_grad():
        for name, place in generator.state_dict().items():
            tensor = unread(tensors, name)
            place.copy_(_loaded(name, tensor, place.is_floating_point(), path))
    generator.eval().requires_grad_(False)
    generator.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return generator


def unfilled(family: str, config: Any, held: int, path: object) -> Generator:
    """The network's structure, its tensors not yet set: it says its sizes, but draws nothing.

    `held` is how many numbers the file has for it: a small file can't ask for a large network.
    """
    try:
        with _Unfilled(2 * held + _SLACK, path):
            return FAMILIES[family].cls(config)
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError, RuntimeError) as error:
        raise LabError("bad_network", path=path, name="network", value=error) from error


class _Unfilled(TorchFunctionMode):
    """New tensors are left unset (random numbers would be drawn for nothing), and counted before
    they are made."""

    def __init__(self, most: int, path: object):
        super().__init__()
        self.most, self.asked, self.path = most, 0, path

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.randn, torch.rand):
            func, kwargs = torch.empty, {k: v for k, v in kwargs.items() if k != "generator"}
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.eye):
            self._count(func, args, kwargs)
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **kwargs)

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        size = args or (kwargs.get("size", ()),)
        size = size[0] if isinstance(size[0], (list, tuple)) else size
        square = func is torch.eye and len(size) == 1
        self.asked += math.prod(size) ** (2 if square else 1)
        if self.asked > self.most:
            needed, held = f"{self.asked:,}", f"{(self.most - _SLACK) // 2:,}"
            raise LabError("wrong_size", path=self.path, needed=needed, held=held)


def _check_fit(generator: Generator, found: Mapping[str, tuple[int, ...]], path: object) -> None:
    expected = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    if wrong := sorted(expected.keys() ^ found.keys()):
        raise LabError("wrong_tensors", path=path, count=len(wrong), first=wrong[0])
    for name, shape in expected.items():
        if found[name] != shape:
            raise LabError(
                "wrong_shape",
                path=path,
                tensor=name,
                found=list(found[name]),
                expected=list(shape),
            )


def _loaded(name: str, tensor: LazyTensor | Tensor, is_float: bool, path: object) -> Tensor:
    tensor = tensor.load() if isinstance(tensor, LazyTensor) else tensor
    if tensor.is_floating_point() != is_float or not tensor.isfinite().all():
        raise LabError("damaged_model", path=path, reason=f"{name} holds no finite numbers")
    return tensor
