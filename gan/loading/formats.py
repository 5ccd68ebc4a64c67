"""Opens other people's files: what format, which of its networks is the generator, of what family.

    sniff the first bytes → tensors (still in the file) and plain facts → family → generator

Reads StyleGAN-style pickles, torch's files and safetensors. What can't be opened is explained by
`unknown.py`; files of our own are `native.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.generators.base import Generator
from gan.loading import pickles, tables, unknown
from gan.loading.content import Content, LazyTensor, Loaded
from gan.loading.families import FAMILIES, build, detect
from gan.loading.native import info_of
from gan.loading.networks import Network, networks_in, plain
from gan.loading.sniffing import sniff
from gan.recipe import model_name

Room = Callable[[int], None]  # told how many numbers a generator has; raises where that is too much

MOST_BYTES = 4 * 2**30  # a snapshot of a 1024 px network with its discriminator has 0.4
_MOST_CONFIG = 2**20
_WORDLESS = {"model", "pytorch_model", "network", "generator", "checkpoint", "weights", "g_ema"}
_CODE_SLIPS = (  # of code that reads what a hostile file says about itself
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RuntimeError),
)


@dataclass(frozen=True)
class Opened:
    """A file whose generator has been found. `kind` is its format, `network` where in it the
    generator was, `tensors` are not yet read, `kwargs` is what the file says about the network."""

    content: Content
    kind: str
    family: str
    network: str
    tensors: Mapping[str, LazyTensor]
    kwargs: Mapping[str, Any]


def open_file(source: Path | Content) -> Opened:
    """Finds the generator in a file, and reads none of its weights. Raises LabError."""
    content = source if isinstance(source, Content) else Content(source, str(source))
    if content.size > MOST_BYTES:
        gigabytes = round(content.size / 2**30, 1)
        raise LabError("file_too_large", path=content.name, gigabytes=gigabytes, most=4)
    kind = sniff(content)
    try:
        if kind == "safetensors":
            tree: Any = tables.read(content)[0]
        else:
            tree = pickles.read(content)
        found = networks_in(tree)
        for network in found:
            if (family := detect(network.shapes)) is not None:
                if family == "dcgan" and unknown.decodes(network, found):
                    raise LabError("looks_like_autoencoder", path=content.name)
                _check_amount(network, content)
                kwargs = network.kwargs or _beside(content)
                return Opened(content, kind, family, network.label, network.tensors, kwargs)
    except _CODE_SLIPS as error:
        reason = f"{error}" or type(error).__name__
        raise LabError("damaged_model", path=content.name, reason=reason) from error
    raise unknown.explained(content.name, found)


def load_file(file: Path, name: str | None = None, room: Room | None = None) -> Generator:
    """The generator in somebody else's file, on the CPU in float32, in evaluation mode and without
    gradients, with its `.info`. `room` is told before they are read how many numbers its tensors
    hold, and may raise. Raises LabError."""
    opened = open_file(file)
    if room:
        room(sum(tensor.numel for tensor in opened.tensors.values()))
    generator = generator_from(opened)
    name = model_name(name or _name(file))
    generator.info = info_of(
        generator,
        name=name,
        hash=opened.content.sha256(),
        classes=tuple(map(str, range(generator.c_dim))) or None,
        dataset="",
        licence="",
        path=file,
        title=dict.fromkeys(("en", "zh"), name),
        source=file.name,
        size_bytes=opened.content.size,
    )
    return generator


def generator_from(opened: Opened) -> Generator:
    """The generator that was found, its weights read. Raises LabError."""
    reader, tensors = FAMILIES[opened.family].reader, Loaded(opened.tensors)
    shapes = {key: tensor.shape for key, tensor in opened.tensors.items()}
    path = opened.content.name
    try:
        config = reader.config_from(shapes, tensors, opened.kwargs)
        named = reader.canonical(tensors) if hasattr(reader, "canonical") else tensors
    except _CODE_SLIPS as error:
        reason = f"{error}" or type(error).__name__
        raise LabError("damaged_model", path=path, reason=reason) from error
    return build(opened.family, config, named, path)


def _check_amount(network: Network, content: Content) -> None:
    """Many tensors can share the same bytes: all of them together are no more than the file."""
    held = sum(tensor.size_bytes for tensor in network.tensors.values())
    if held > content.size:
        raise ValueError("its tensors are larger than the file")


def _beside(content: Content) -> Mapping[str, Any]:
    """What a config.json beside the file says, as Transformers' models have one."""
    if not isinstance(content.source, Path):
        return {}
    path = content.source.with_name("config.json")
    try:
        if path.stat().st_size > _MOST_CONFIG:
            return {}
        stated = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return plain(stated) if isinstance(stated, dict) else {}


def _name(file: Path) -> str:
    """The file's name, or its folder's where the file is called as they all are."""
    stem = file.stem
    is_wordless = stem.lower() in _WORDLESS or stem.lower().startswith("network-snapshot")
    return file.resolve().parent.name or stem if is_wordless else stem
