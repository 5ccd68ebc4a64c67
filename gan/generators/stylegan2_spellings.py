"""StyleGAN2 networks as they are published: their sizes, read from the tensors' shapes, and three
spellings of the tensors' names, all of which become the official one.

"official": NVIDIA's PyTorch code, ADA and later. "rosinality": the PyTorch code of that name.
"tensorflow": NVIDIA's first code; kernels are [height, width, in, out], dense layers transposed.
"""

from __future__ import annotations

import math
import re
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gan.errors import LabError
from gan.generators import stylegan2
from gan.generators.stylegan2 import StyleGAN2Config, clamped_layers, resample_filter

Shapes = Mapping[str, tuple[int, ...]]

# What a file may ask for: (least, most), or one of these. Checked before anything is built.
BOUNDS = {
    **stylegan2.MAPPING_BOUNDS,
    "codes": (1e-6, 1.0),
    "channel_base": (1, 2**17),
    "channel_max": (1, 2048),
    "conv_clamp": (1e-6, 1e6),
    "widths": (1, 2048),
    "layer_clamps": (1e-6, 1e6),
}
CHOICES = {
    "resolution": tuple(2**n for n in range(2, 11)),
    "img_channels": (1, 3, 4),
    "architecture": ("skip", "resnet", "orig"),
}


AVERAGED = 10_000  # latents, for a mean of w that a file leaves out
_LARGEST = 1024  # pixels
_MARKS = {
    "official": ("mapping.fc0.weight", "synthesis.b4.const", "synthesis.b4.conv1.affine.weight"),
    "rosinality": ("style.1.weight", "input.input", "conv1.conv.modulation.weight"),
    "tensorflow": (
        *("mapping/Dense0/weight", "synthesis/4x4/Const/const", "synthesis/4x4/Conv/mod_weight"),
    ),
}


def spelling(names: Iterable[str]) -> str | None:
    """ "official", "rosinality" or "tensorflow"; None where this isn't a whole StyleGAN2."""
    names = set(names)
    return next((each for each, marks in _MARKS.items() if names.issuperset(marks)), None)


def matches(shapes: Shapes) -> bool:
    """Whether these are the tensors of a whole StyleGAN2, in one of its spellings."""
    return spelling(shapes) is not None


def config_from(
    shapes: Shapes, tensors: Mapping[str, Tensor], kwargs: Mapping[str, Any]
) -> StyleGAN2Config:
    """The sizes, from the shapes. From `kwargs`, what the file says about its network, the clamps
    and the mapping's learning rate; under "attributes", what it says about each layer.

    Raises LabError for a network that isn't one of these.
    """
    try:
        shapes = _official_shapes(shapes)
        config = StyleGAN2Config(**_mapping_sizes(shapes), **_synthesis_sizes(shapes))
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        what = str(error).strip("'")
        raise LabError("network_incomplete", family="StyleGAN2", what=what) from error
    config = replace(config, mapping_lr=_mapping_lr(kwargs))
    _check_activations(kwargs)
    return _clamped(config, kwargs)


def canonical(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under the official names, with what some files leave out: low-pass filters
    (all alike), noise where there is none, and w's mean, estimated over `AVERAGED` latents."""
    kind = spelling(tensors)
    named = tensors if kind == "official" else _renamed(tensors, kind)
    added: dict[str, Tensor] = {}
    for name in named:
        layer, _, part = name.rpartition(".")
        if part != "weight" or not (found := re.fullmatch(r"synthesis\.b(\d+)\.(\w+)", layer)):
            continue
        r, what = min(int(found[1]), _LARGEST), found[2]
        added[f"synthesis.b{r}.resample_filter"] = resample_filter()
        if what != "torgb":
            added[f"{layer}.resample_filter"] = resample_filter()
        if what in ("conv0", "conv1"):
            added[f"{layer}.noise_const"] = torch.zeros(r, r)
            added[f"{layer}.noise_strength"] = torch.zeros([])
    added = {name: tensor for name, tensor in added.items() if name not in named}
    if "mapping.w_avg" not in named:
        added["mapping.w_avg"] = estimated_w_avg(named)
    return ChainMap(added, dict(named) if kind != "official" else named)  # pyright: ignore


def estimated_w_avg(tensors: Mapping[str, Tensor], seed: int = 0) -> Tensor:
    """The mean of w [w_dim] over `AVERAGED` latents of that seed, and classes in turn."""
    own = {name: tensors[name] for name in tensors if name.startswith("mapping.")}
    sizes = _mapping_sizes({name: tuple(tensor.shape) for name, tensor in own.items()})
    mapping = stylegan2.Mapping(StyleGAN2Config(resolution=4, **sizes))
    weights = {name.removeprefix("mapping."): tensor.float() for name, tensor in own.items()}
    mapping.load_state_dict(weights | {"w_avg": torch.zeros(sizes["w_dim"])}, strict=True)
    z = torch.randn(AVERAGED, sizes["z_dim"], generator=torch.Generator().manual_seed(seed))
    classes = sizes["c_dim"]
    c = torch.eye(classes)[torch.arange(AVERAGED) % classes] if classes else None
    with torch.no_grad():
        return mapping.w(z, c).mean(dim=0)


# Sizes


def _official_shapes(shapes: Shapes) -> Shapes:
    kind = spelling(shapes)
    if kind == "official":
        return shapes
    hollow = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return {name: tuple(tensor.shape) for name, tensor in _renamed(hollow, kind).items()}


def _mapping_sizes(shapes: Shapes) -> dict[str, Any]:
    layers = 0
    while f"mapping.fc{layers}.weight" in shapes:
        layers += 1
    w_dim, width = shapes[f"mapping.fc{layers - 1}.weight"][0], shapes["mapping.fc0.weight"][1]
    embed = shapes.get("mapping.embed.weight")
    sizes = {
        "z_dim": width - (embed[0] if embed else 0),
        "w_dim": w_dim,
        "c_dim": embed[1] if embed else 0,
        "mapping_layers": layers,
    }
    for name, size in sizes.items():
        low, high = BOUNDS[name]
        if not low <= size <= high:
            raise ValueError(f"{name} = {size}")
    return sizes


def _synthesis_sizes(shapes: Shapes) -> dict[str, Any]:
    resolution = 4
    while f"synthesis.b{2 * resolution}.conv1.weight" in shapes:
        resolution *= 2
    if resolution > _LARGEST:
        raise ValueError(f"{resolution} px")
    blocks = [2**i for i in range(2, int(math.log2(resolution)) + 1)]
    widths = tuple(shapes[f"synthesis.b{r}.conv1.weight"][0] for r in blocks)
    # min(base / r, most): where it holds, the last width tells the base.
    base, most = widths[-1] * resolution, max(widths)
    regular = all(width == min(base // r, most) for r, width in zip(blocks, widths, strict=True))
    architecture = "skip" if "synthesis.b4.torgb.weight" in shapes else "orig"
    if "synthesis.b8.skip.weight" in shapes:
        architecture = "resnet"
    img_channels = shapes[f"synthesis.b{resolution}.torgb.weight"][0]
    if img_channels not in CHOICES["img_channels"]:
        raise ValueError(f"{img_channels} colours")
    if not 1 <= most <= BOUNDS["channel_max"][1]:
        raise ValueError(f"{most} channels")
    return {
        "resolution": resolution,
        "img_channels": img_channels,
        "channel_base": base if regular else max(base, 1),
        "channel_max": most,
        "architecture": architecture,
        "widths": None if regular else widths,
    }


# What a file says beside its tensors


def _attributes(kwargs: Mapping[str, Any], layer: str) -> Mapping[str, Any]:
    found = kwargs.get("attributes")
    found = found.get(layer) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _number(value: Any, bounds: tuple[float, float]) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and bounds[0] <= value <= bounds[1] else None


def _mapping_lr(kwargs: Mapping[str, Any]) -> float:
    stated = kwargs.get("mapping_kwargs")
    stated = stated.get("lr_multiplier") if isinstance(stated, Mapping) else None
    stated = _attributes(kwargs, "mapping.fc0").get("bias_gain", stated)
    return _number(stated, BOUNDS["mapping_lr"]) or StyleGAN2Config.mapping_lr


def _check_activations(kwargs: Mapping[str, Any]) -> None:
    for layer, said in (kwargs.get("attributes") or {}).items():
        activation = said.get("activation", "linear") if isinstance(said, Mapping) else "linear"
        if activation not in ("linear", "lrelu"):
            raise LabError("network_differs", family="StyleGAN2", layer=layer, what=activation)


def _clamped(config: StyleGAN2Config, kwargs: Mapping[str, Any]) -> StyleGAN2Config:
    """Each layer says where it clamps; where none does, the network's own word counts."""
    nested = kwargs.get("synthesis_kwargs")
    stated = nested if isinstance(nested, Mapping) else kwargs
    general = _number(stated.get("conv_clamp"), BOUNDS["conv_clamp"])
    clamps = []
    for name in clamped_layers(config.block_resolutions, config.architecture):
        said = _attributes(kwargs, f"synthesis.{name}")
        own = _number(said["conv_clamp"], BOUNDS["conv_clamp"]) if "conv_clamp" in said else general
        clamps.append(own)
    if len(set(clamps)) == 1:
        return replace(config, conv_clamp=clamps[0])
    return replace(config, conv_clamp=general, layer_clamps=tuple(clamps))


# Other spellings


def _renamed(tensors: Mapping[str, Tensor], kind: str | None) -> dict[str, Tensor]:
    """All tensors under their official names and in their official layout; ValueError for a name
    that has none."""
    rename = {"rosinality": _rosinality, "tensorflow": _tensorflow}[kind or ""]
    found = (rename(name, tensor) for name, tensor in tensors.items())
    return dict(each for each in found if each is not None)


_ROSINALITY_PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.blur.kernel": "resample_filter",
    "activate.bias": "bias",
    "noise.weight": "noise_strength",
    "bias": "bias",
}


def _rosinality(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
    if name == "latent_avg":
        return "mapping.w_avg", tensor.flatten()
    if found := re.fullmatch(r"style\.(\d\d?)\.(weight|bias)", name):
        return f"mapping.fc{int(found[1]) - 1}.{found[2]}", tensor
    if name == "input.input":
        return "synthesis.b4.const", tensor[0]
    if found := re.fullmatch(r"noises\.noise_(\d\d?)", name):
        return f"synthesis.{_nth_conv(int(found[1]) - 1)}.noise_const", tensor[0, 0]
    if found := re.fullmatch(r"to_rgbs\.(\d\d?)\.upsample\.kernel", name):
        return f"synthesis.b{8 << int(found[1])}.resample_filter", tensor / 4
    layer, part = _rosinality_layer(name)
    official = f"synthesis.{layer}.{_ROSINALITY_PARTS[part]}"
    if part == "conv.weight":
        tensor = tensor[0]
    elif part == "noise.weight":
        tensor = tensor.reshape([])
    elif part == "bias":
        tensor = tensor.flatten()
    elif part == "conv.blur.kernel":
        tensor = tensor / 4
    return official, tensor


def _rosinality_layer(name: str) -> tuple[str, str]:
    """ "convs.2.conv.weight" → ("b16.conv0", "conv.weight")."""
    for pattern, layer in ((r"conv1\.(.+)", "b4.conv1"), (r"to_rgb1\.(.+)", "b4.torgb")):
        if found := re.fullmatch(pattern, name):
            return layer, found[1]
    if found := re.fullmatch(r"convs\.(\d\d?)\.(.+)", name):
        return _nth_conv(int(found[1])), found[2]
    if found := re.fullmatch(r"to_rgbs\.(\d\d?)\.(.+)", name):
        return f"b{8 << int(found[1])}.torgb", found[2]
    raise ValueError(name)


def _nth_conv(n: int) -> str:
    """−1 → "b4.conv1", 0 → "b8.conv0", 1 → "b8.conv1", 2 → "b16.conv0" …"""
    return "b4.conv1" if n < 0 else f"b{8 << (n // 2)}.conv{n % 2}"


_TENSORFLOW_LAYERS = {
    "Conv": "conv1",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
    "ToRGB": "torgb",
    "Skip": "skip",
}
_TENSORFLOW_PARTS = {
    "weight": "weight",
    "bias": "bias",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
    "noise_strength": "noise_strength",
}


def _tensorflow(name: str, tensor: Tensor) -> tuple[str, Tensor] | None:
    if name == "lod" or name.endswith("/lod"):
        return None  # how far a progressive training is: all the way
    if name == "dlatent_avg":
        return "mapping.w_avg", tensor
    if found := re.fullmatch(r"mapping/(?:Dense(\d\d?)|LabelEmbed)/(weight|bias)", name):
        layer = f"fc{found[1]}" if found[1] else "embed"
        return f"mapping.{layer}.{found[2]}", tensor.T if found[2] == "weight" else tensor
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", tensor[0]
    if found := re.fullmatch(r"synthesis/noise(\d\d?)", name):
        return f"synthesis.{_nth_conv(int(found[1]) - 1)}.noise_const", tensor[0, 0]
    found = re.fullmatch(r"synthesis/(\d{1,4})x\1/(\w+)/(\w+)", name)
    if not found or found[2] not in _TENSORFLOW_LAYERS or found[3] not in _TENSORFLOW_PARTS:
        raise ValueError(name)
    layer = f"synthesis.b{found[1]}.{_TENSORFLOW_LAYERS[found[2]]}"
    return f"{layer}.{_TENSORFLOW_PARTS[found[3]]}", _transposed(found[2], found[3], tensor)


def _transposed(layer: str, part: str, tensor: Tensor) -> Tensor:
    """A TensorFlow layer's tensor in the official layout."""
    if part == "weight":
        if layer in ("Conv0_up", "Skip"):  # there a true convolution, here a correlation
            tensor = tensor.flip(0, 1)
        return tensor.permute(3, 2, 0, 1)  # [k, k, I, O] → [O, I, k, k]
    if part == "mod_weight":
        return tensor.T
    return tensor + 1 if part == "mod_bias" else tensor
