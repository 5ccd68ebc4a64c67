"""Our own model folders: written here, read here, and checked before a byte is believed.

    model.safetensors   the generator's tensors; in its metadata, under "latent_lab", the JSON below
    config.json         the same JSON, for people and for lists; titles may be edited here

    {"format": 1, "family": "stylegan2", "name": "avatars", "title": {"en": "…", "zh": "…"},
     "dataset": "…", "licence": "…", "classes": null | ["…"], "network": {…}, "training": {…},
     "source": "…"}

The network's sizes (`families.py`) come from the weights' own metadata only. They are bounded, and
compared with what the file holds, before anything is allocated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import save
from torch import Tensor

from gan.errors import LabError
from gan.files import write_atomic
from gan.generators.base import Generator, LatentSpace
from gan.loading import tables
from gan.loading.content import Content, Loaded
from gan.loading.families import FAMILIES, build, config_from_json, unfilled
from gan.recipe import model_name

FORMAT = 1
KEY = "latent_lab"
MOST_BYTES = 2 * 2**30
LONGEST_TEXT = 2000  # characters of a name, a title, a licence
_LARGEST_HALF = 65504.0
_ATTEMPTS = 5  # at a file that is replaced while it is read
Read = TypeVar("Read")


@dataclass(frozen=True)
class ModelInfo:
    """What a model is, without its weights. `hash` is the sha256 (hex) of its file, `size_bytes`
    the file's size, `source` where it came from before it was here; `layers` the picture size
    (pixels) at which each of its `num_ws` rows acts."""

    name: str
    hash: str
    family: str
    classes: tuple[str, ...] | None
    dataset: str
    licence: str
    path: Path
    resolution: int
    layers: tuple[int, ...]
    title: Mapping[str, str] = field(default_factory=dict, hash=False)
    img_channels: int = 3
    latent_space: LatentSpace = "w"
    z_dim: int = 0
    w_dim: int = 0
    c_dim: int = 0
    source: str = ""
    size_bytes: int = 0
    has_style_weights: bool = False
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)  # how it was made

    @property
    def revision(self) -> str:
        """The first 12 digits of the hash: what a recipe names."""
        return self.hash[:12]

    @property
    def num_ws(self) -> int:
        return len(self.layers)


def save_model(
    folder: str | Path,
    generator: Generator,
    *,
    name: str,
    dataset: str = "",
    classes: Sequence[str] | None = None,
    licence: str = "",
    title: Mapping[str, str] | None = None,
    training: Mapping[str, Any] | None = None,
    source: str = "",
    half: bool = False,
) -> str:
    """Writes `generator` as a model folder, each file whole or not at all; returns its hash.

    `name` becomes the nearest one that a recipe can hold. `half` stores the large tensors in
    float16: half the file, and pictures that differ by rounding (`benchmarks/exactness.py`).
    """
    if getattr(generator, "family", None) not in FAMILIES:
        raise TypeError(f"{type(generator).__name__} is of no family that could be read again")
    name = model_name(name)
    description = {
        "format": FORMAT,
        "family": generator.family,
        "name": name,
        "title": dict(title or dict.fromkeys(("en", "zh"), name)),
        "dataset": dataset,
        "licence": licence,
        "classes": [str(each) for each in classes] if classes and generator.c_dim else None,
        "network": dataclasses.asdict(generator.config),
        "training": dict(training or {}),
        "source": source,
    }
    tensors = {key: _stored(value, half) for key, value in generator.state_dict().items()}
    content = save(tensors, {KEY: json.dumps(description, ensure_ascii=False)})
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "model.safetensors", content)
    text = json.dumps(description, indent=2, ensure_ascii=False)
    write_atomic(folder / "config.json", (text + "\n").encode())
    return hashlib.sha256(content).hexdigest()


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """Vectors stay in float32: they weigh nothing, and w_avg moves every picture."""
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor.contiguous()
    tensor = tensor.float()
    if half and tensor.ndim >= 2 and tensor.abs().max() <= _LARGEST_HALF:
        tensor = tensor.half()
    return tensor.contiguous()


def read_model(file: Path, name: str | None = None) -> Generator:
    """The generator in a .safetensors file of ours, on the CPU in float32, in evaluation mode and
    without gradients. `name` overrides the stored one. Raises LabError."""
    return _unchanged(_read_model, file, name)


def _read_model(content: Content, file: Path, name: str | None) -> Generator:
    tensors, metadata = tables.read(content)
    description = _description(metadata, file)
    family = _family(description, file)
    config = config_from_json(family, description.get("network"), file)
    generator = build(family, config, Loaded(tensors), file)
    generator.info = _info(file, name, content.sha256(), description, generator, content.size)
    return generator


def read_info(file: Path, name: str | None = None) -> ModelInfo:
    """What the file holds, without its weights; remembered as long as the files don't change.
    Raises LabError."""
    stamps = tuple(_stamp(each) for each in (file, file.with_name("config.json")))
    return _read_info(file, name, stamps)


@lru_cache(maxsize=256)
def _read_info(file: Path, name: str | None, stamps: tuple[object, ...]) -> ModelInfo:
    return _unchanged(_read_description, file, name)


def _read_description(content: Content, file: Path, name: str | None) -> ModelInfo:
    tensors, metadata = tables.read(content)
    description = _description(metadata, file)
    family = _family(description, file)
    config = config_from_json(family, description.get("network"), file)
    held = sum(tensor.numel for tensor in tensors.values())
    structure = unfilled(family, config, held, file)
    return _info(file, name, content.sha256(), description, structure, content.size)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


# Reading, from the outside in


def is_ours(content: Content) -> bool:
    """Whether this safetensors file was written here. Raises LabError where it is none."""
    return KEY in tables.read(content)[1]


def _unchanged(read: Callable[[Content, Path, str | None], Read], file: Path, name: Any) -> Read:
    """What is hashed is what is used, even while a training replaces the file: it is then read
    anew. Read piece by piece: a whole file in memory would be a second generator."""
    for attempt in range(1, _ATTEMPTS + 1):
        content = Content(file, str(file))
        if content.size > MOST_BYTES:
            gigabytes = round(content.size / 2**30, 1)
            raise LabError("model_too_large", path=file, gigabytes=gigabytes)
        try:
            return read(content, file, name)
        except LabError as error:
            if error.code != "model_changed" or attempt == _ATTEMPTS:
                raise
    raise AssertionError


def _description(metadata: Mapping[str, str], file: Path) -> dict[str, Any]:
    """Our description from a file's metadata."""
    try:
        description = json.loads(metadata.get(KEY, "null"))
    except (ValueError, RecursionError) as error:
        raise LabError("damaged_model", path=file, reason=error) from error
    if not isinstance(description, dict):
        raise LabError("not_our_model", path=file)
    return description


def _family(description: Mapping[str, Any], file: Path) -> str:
    family = description.get("family")
    if description.get("format") != FORMAT or family not in tuple(FAMILIES):
        raise LabError("unknown_family", path=file, family=f"{family} {description.get('format')}")
    return str(family)


def _info(
    file: Path,
    name: str | None,
    digest: str,
    description: dict[str, Any],
    generator: Generator,
    size_bytes: int,
) -> ModelInfo:
    description = description | _edited(file)
    name = model_name(name or _text(description.get("name")) or file.stem)
    titles = description.get("title")
    titles = titles if isinstance(titles, dict) else {}
    return info_of(
        generator,
        name=name,
        hash=digest,
        classes=_classes(description.get("classes"), generator.c_dim),
        dataset=_text(description.get("dataset")),
        licence=_text(description.get("licence")),
        path=file,
        title={lang: _text(titles.get(lang)) or name for lang in ("en", "zh")},
        source=_text(description.get("source")),
        size_bytes=size_bytes,
        training=_training(description.get("training")),
    )


def info_of(generator: Generator, **words: Any) -> ModelInfo:
    """The facts that the network itself tells, with the words given."""
    return ModelInfo(
        family=generator.family,
        resolution=generator.resolution,
        layers=tuple(generator.layer_resolutions()),
        img_channels=generator.img_channels,
        latent_space=generator.latent_space,
        z_dim=generator.z_dim,
        w_dim=generator.w_dim,
        c_dim=generator.c_dim,
        has_style_weights=generator.has_style_weights,
        **words,
    )


def _edited(file: Path) -> dict[str, Any]:
    """The words in config.json, which people may edit; an unreadable one counts as none."""
    if file.name != "model.safetensors":
        return {}
    try:
        stored = json.loads(file.with_name("config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    words = ("name", "title", "dataset", "licence", "classes")
    return {key: stored[key] for key in words if key in stored} if isinstance(stored, dict) else {}


def _text(value: object) -> str:
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _training(given: object) -> Mapping[str, Any]:
    """How a model was made, as plain JSON: passed on as it is, believed by nobody."""
    return given if isinstance(given, dict) else {}


def _classes(given: object, c_dim: int) -> tuple[str, ...] | None:
    """A name for each class; their numbers where the names are missing or too few."""
    if not c_dim:
        return None
    if isinstance(given, list) and len(given) == c_dim:
        return tuple(_text(name) or str(number) for number, name in enumerate(given))
    return tuple(str(number) for number in range(c_dim))
