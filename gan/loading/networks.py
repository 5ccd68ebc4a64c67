"""Finds the networks in what a file holds: modules of any class, tables of tensors, TensorFlow
variables, wrapped and nested as people's training programs leave them. The best comes first.

Which family a network is of is asked in `formats.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gan.generators.tensors import OTHER_NETWORK
from gan.loading.content import LazyTensor
from gan.loading.machine import Node, printable

_MOST_DEPTH = 4  # tables within tables
_MOST_NETWORKS = 200
_MOST_MODULES = 20_000
_LONGEST_NAME = 300  # characters
_MOST_VALUES = 50_000  # of a network's description
_LONGEST_TEXT = 200
_MOST_ITEMS = 64
_AVERAGED = re.compile(r"(.*[._-])?(ema|gs|averaged?)([._-].*)?|.*ema")
_GENERATOR = re.compile(r"g|gen|generator|net_?g|g_model|g_net|generator_.*|(net_?)?g_state.*")
_WRAPPINGS = ("module.", "_orig_mod.")
_PARTS = ("G_ema.", "g_ema.", "generator_ema.", "netG.", "net_g.", "generator.", "G.", "g.")
_BUFFERS = (
    *(".running_mean", ".running_var", ".num_batches_tracked", ".weight_u", ".weight_v"),
    *("._u", "._v"),
)


@dataclass(frozen=True)
class Network:
    """Tensors that belong together; `label` is where they were in the file, "" at its top, `kwargs`
    what the file says about them in plain values, `classes` the names of its modules' classes."""

    label: str
    tensors: dict[str, LazyTensor]
    kwargs: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def is_generator(self) -> bool:
        """As far as its label tells."""
        return not OTHER_NETWORK.fullmatch(_last(self.label))

    @property
    def is_called_generator(self) -> bool:
        """Does its label say so?"""
        return _rank(self) < 2


def networks_in(tree: Any) -> list[Network]:
    """All networks, those that are likeliest to be the generator first: averaged weights, then
    what is called a generator, then anything else, then discriminators. ValueError for a file
    that nests too many."""
    found = [part for network in _walk(tree, "", 0) for part in _parts(network)]
    return sorted(found, key=_rank)


def _last(label: str) -> str:
    return label.rpartition("/")[2].lower()


def _rank(network: Network) -> int:
    names = network.label.lower().split("/")
    if any(map(OTHER_NETWORK.fullmatch, names)):
        return 3
    if any(map(_AVERAGED.fullmatch, names)):
        return 0
    return 1 if any(map(_GENERATOR.fullmatch, names)) else 2


def _walk(value: Any, label: str, depth: int) -> Iterator[Network]:
    if depth > _MOST_DEPTH or label.count("/") > _MOST_DEPTH:
        return
    if isinstance(value, Node) and isinstance(value.state, dict):
        if "_modules" in value.state or "_parameters" in value.state:
            yield _from_modules(value, label)
        elif "variables" in value.state:
            yield Network(label, _from_tensorflow(value), {}, (value.name,))
    elif isinstance(value, dict):
        yield from _walk_table(value, label, depth)
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value[:_MOST_ITEMS]):
            # NVIDIA's TensorFlow files are (G, D, Gs), the last averaged.
            name = ("G", "D", "Gs")[place] if len(value) == 3 else f"{place}"
            yield from _walk(item, _join(label, name), depth + 1)


def _walk_table(table: dict[Any, Any], label: str, depth: int) -> Iterator[Network]:
    own = {
        printable(name): value
        for name, value in table.items()
        if isinstance(name, str) and isinstance(value, LazyTensor) and len(name) <= _LONGEST_NAME
    }
    if own:
        yield Network(label, own)
    average = own.get("latent_avg")
    for name, value in list(table.items())[:_MOST_NETWORKS]:
        if not isinstance(name, str) or isinstance(value, LazyTensor):
            continue
        if isinstance(value, list) and (whole := _with_parameters(table, name, value)):
            value = whole  # noqa: PLW2901
        for network in _walk(value, _join(label, printable(name)[:_LONGEST_NAME]), depth + 1):
            if average is not None and "latent_avg" not in network.tensors:
                network.tensors["latent_avg"] = average
            yield network


def _join(label: str, name: str) -> str:
    return f"{label}/{name}" if label else name


def _with_parameters(table: dict[Any, Any], name: str, values: list[Any]) -> dict[str, Any] | None:
    """FastGAN's averaged weights are a bare list of parameters: named as those of the network
    beside them ("g_ema" as "g")."""
    named = table.get(name.removesuffix("_ema"))
    if not name.endswith("_ema") or not isinstance(named, dict):
        return None
    names = [key for key in named if isinstance(key, str) and not key.endswith(_BUFFERS)]
    if len(names) != len(values):
        return None
    for key, value in zip(names, values, strict=True):
        if not isinstance(value, LazyTensor) or not isinstance(named[key], LazyTensor):
            return None
        if value.shape != named[key].shape:
            return None
    return {**named, **dict(zip(names, values, strict=True))}


def _parts(network: Network) -> Iterator[Network]:
    """The network without what wraps all its names, then its parts if it holds several."""
    tensors = network.tensors
    for wrapping in (*_WRAPPINGS, *_WRAPPINGS):
        if all(name.startswith(wrapping) or name == "latent_avg" for name in tensors):
            tensors = {name.removeprefix(wrapping): tensor for name, tensor in tensors.items()}
    yield Network(network.label, tensors, network.kwargs, network.classes)
    for part in _PARTS:
        inside = {
            name.removeprefix(part): tensor
            for name, tensor in tensors.items()
            if name.startswith(part)
        }
        if inside:
            yield Network(_join(network.label, part[:-1]), inside, {}, network.classes)


# Modules


def _from_modules(root: Node, label: str) -> Network:
    """A tree of modules → its tensors, by their dotted names; what its classes say about it."""
    tensors: dict[str, LazyTensor] = {}
    attributes: dict[str, Any] = {}
    classes: dict[str, None] = {}
    budget = _Budget(_MOST_VALUES)
    waiting, seen = [("", root)], 0
    while waiting:
        prefix, node = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES:
            raise ValueError("more modules than a network has")
        state = node.state if isinstance(node.state, dict) else {}
        classes[node.name] = None
        for kind in ("_parameters", "_buffers"):
            for name, value in _named(state.get(kind)):
                if isinstance(value, LazyTensor):
                    tensors[f"{prefix}{name}"] = value
        own = {name: value for name, value in _named(state) if not name.startswith("_")}
        attributes[prefix[:-1]] = plain(own, budget, depth=2)
        children = [each for each in _named(state.get("_modules")) if isinstance(each[1], Node)]
        waiting += [(_longer(prefix, name), child) for name, child in reversed(children)]
    stated = root.state.get("_init_kwargs")
    kwargs = plain(stated, budget, depth=5) if isinstance(stated, dict) else {}
    return Network(
        label, tensors, {**kwargs, "attributes": attributes}, tuple(classes)[:_MOST_ITEMS]
    )


def _named(table: Any) -> list[tuple[str, Any]]:
    if not isinstance(table, dict):
        return []
    return [(printable(name), value) for name, value in table.items() if isinstance(name, str)]


def _longer(prefix: str, name: str) -> str:
    if len(prefix) + len(name) > _LONGEST_NAME:
        raise ValueError("modules nested deeper than a network's")
    return f"{prefix}{name}."


def _from_tensorflow(root: Node) -> dict[str, LazyTensor]:
    """A dnnlib network → its variables, those of its components under their names."""
    tensors: dict[str, LazyTensor] = {}
    waiting, seen = [("", root)], 0
    while waiting:
        prefix, node = waiting.pop()
        seen += 1
        if seen > _MOST_ITEMS:
            raise ValueError("more components than a network has")
        state = node.state if isinstance(node.state, dict) else {}
        for entry in state.get("variables") or ():
            if not isinstance(entry, (tuple, list)) or len(entry) != 2:
                raise ValueError("a variable without a name")
            if isinstance(entry[0], str) and isinstance(entry[1], LazyTensor):
                tensors[prefix + printable(entry[0])[:_LONGEST_NAME]] = entry[1]
        components = _named(state.get("components"))
        waiting += [(f"{prefix}{n[:80]}/", c) for n, c in components if isinstance(c, Node)]
    return tensors


# Plain values


@dataclass
class _Budget:
    """How many values may still be copied: nested tuples can be exponential."""

    left: int


def plain(value: Any, budget: _Budget | None = None, depth: int = 5) -> Any:
    """The numbers, short texts, lists and tables in `value`; None for anything else, for what is
    nested deeper than `depth`, and for what is too much."""
    budget = budget or _Budget(_MOST_VALUES)
    budget.left -= 1
    if budget.left < 0 or depth < 0:
        return None
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else None
    if isinstance(value, str):
        return printable(value) if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, (list, tuple)):
        return [plain(item, budget, depth - 1) for item in value[:_MOST_ITEMS]]
    if isinstance(value, Mapping):
        items = _named(value)[:_MOST_ITEMS]
        return {name[:_LONGEST_TEXT]: plain(item, budget, depth - 1) for name, item in items}
    return None
