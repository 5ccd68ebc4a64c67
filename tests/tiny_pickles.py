"""Files as other programs write them, made from a tiny network: snapshots with tensors as nested
streams, TensorFlow's variables, and pickles put together by hand."""

import io
import pickle
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan.generators.base import Generator
from gan.generators.stylegan2 import StyleGAN2

HOSTILE_SOURCE = 'raise RuntimeError("the source in a file must never be run")\n'


class Called:
    """Pickles as a call of the function of that name, whatever it is."""

    def __init__(self, name: str, *args: Any, state: Any = None):
        self.name, self.args, self.state = name, args, state

    def __reduce__(self) -> tuple[Any, ...]:
        function = _function(self.name)
        return (function, self.args) if self.state is None else (function, self.args, self.state)


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules[module], attribute)


@contextmanager
def invented(*names: str) -> Iterator[None]:
    """Modules with functions of these names, for as long as something is pickled by them."""
    before = dict(sys.modules)
    for name in names:
        module, _, attribute = name.rpartition(".")
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            path = ".".join(parts[:depth])
            sys.modules.setdefault(path, types.ModuleType(path))
        if not hasattr(sys.modules[module], attribute):

            def function(*_: Any) -> None: ...

            function.__module__, function.__qualname__ = module, attribute
            function.__name__ = attribute
            setattr(sys.modules[module], attribute, function)
    try:
        yield
    finally:
        for name in set(sys.modules) - set(before):
            del sys.modules[name]


def nested(tensor: Tensor, legacy: bool = True) -> Called:
    """A parameter whose storage is a stream of its own, as in NVIDIA's snapshots."""
    stream = io.BytesIO()
    storage = tensor.contiguous().untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=tensor.dtype, _internal=True)
    torch.save(typed, stream, _use_new_zipfile_serialization=not legacy)
    return rebuilt(Called("torch.storage._load_from_bytes", stream.getvalue()), tensor)


def rebuilt(storage: Any, tensor: Tensor) -> Called:
    size, stride = tuple(tensor.shape), tensor.contiguous().stride()
    return Called("torch._utils._rebuild_tensor_v2", storage, 0, size, stride, False, {})


_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def snapshot(
    network: Generator,
    *,
    kwargs: Mapping[str, Any] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    others: Mapping[str, Any] | None = None,
    protocol: int = 4,
    legacy: bool = True,
    whole: bool = False,
) -> bytes:
    """NVIDIA's pickle of {"G", "D", "G_ema"}, with hostile source text; G and D hold nothing, or,
    `whole`, as much as G_ema."""
    attributes = attributes or {}

    def module(own: torch.nn.Module, path: str) -> Called:
        state = {
            "_parameters": {
                n: nested(p.detach(), legacy) for n, p in own._parameters.items() if p is not None
            },
            "_buffers": {n: nested(b, legacy) for n, b in own._buffers.items() if b is not None},
            "_modules": {
                n: module(child, f"{path}.{n}".strip("."))
                for n, child in own._modules.items()
                if child is not None
            },
            **_facts(own),
            **attributes.get(path, {}),
        }
        if not path:
            state["_init_kwargs"] = dict(kwargs or {})
        meta = {
            "type": "class",
            "version": 6,
            "module_src": HOSTILE_SOURCE,
            "class_name": type(own).__name__,
            "state": state,
        }
        return Called(_PERSISTENT, meta)

    with invented(_PERSISTENT):
        rest = {name: module(network, "") if whole else None for name in ("G", "D")}
        return pickle.dumps({**rest, "G_ema": module(network, ""), **(others or {})}, protocol)


def _facts(own: torch.nn.Module) -> dict[str, Any]:
    """The plain attributes that NVIDIA's layers have."""
    facts: dict[str, Any] = {}
    if hasattr(own, "bias_gain"):
        facts = {"activation": "linear", "bias_gain": own.bias_gain}
    elif hasattr(own, "affine"):
        gain = getattr(own, "gain", 2**0.5) / 2**0.5
        clamp = getattr(own, "clamp", None)
        facts = {"conv_clamp": None if clamp is None else clamp / gain}
    return facts


def tensorflow_pickle(network: StyleGAN2) -> bytes:
    """(G, D, Gs) as dnnlib's TensorFlow networks: the official layout undone."""
    parts: dict[str, list[tuple[str, np.ndarray]]] = {"mapping": [], "synthesis": []}
    for name, tensor in network.state_dict().items():
        if name.endswith("resample_filter") or name == "mapping.w_avg":
            continue
        part, renamed, array = _tensorflow(name, tensor)
        parts[part].append((renamed, array))
    average = [
        ("lod", np.float32(0) * np.ones(1, np.float32)),
        ("dlatent_avg", network.mapping.w_avg.numpy()),
    ]
    name = "dnnlib.tflib.network.Network"
    with invented(name):
        components = {
            part: Called(name, state={"variables": variables, "components": {}})
            for part, variables in parts.items()
        }
        state = {"variables": average, "components": components, "build_module_src": HOSTILE_SOURCE}
        empty = {"variables": [], "components": {}}
        networks = (Called(name, state=empty), Called(name, state=empty), Called(name, state=state))
        return pickle.dumps(networks, 3)


def _tensorflow(name: str, tensor: Tensor) -> tuple[str, str, np.ndarray]:
    part, _, rest = name.partition(".")
    if part == "mapping":
        layer, _, what = rest.partition(".")
        array = tensor.numpy().T if what == "weight" else tensor.numpy()
        return part, f"Dense{layer.removeprefix('fc')}/{what}", np.ascontiguousarray(array)
    block, _, rest = rest.partition(".")
    r = int(block[1:])
    if rest == "const":
        return part, "4x4/Const/const", tensor[None].numpy()
    layer, _, what = rest.partition(".")
    if what == "noise_const":
        first = 2 * (r.bit_length() - 1) - 5
        number = first if layer == "conv0" else first + 1
        return part, f"noise{number}", tensor[None, None].numpy()
    names = {"conv0": "Conv0_up", "conv1": "Conv" if r == 4 else "Conv1"}
    names |= {"torgb": "ToRGB", "skip": "Skip"}
    array = tensor.numpy()
    if what == "weight":
        array = array.transpose(2, 3, 1, 0)
        array = array[::-1, ::-1] if layer in ("conv0", "skip") else array
    elif what == "affine.weight":
        array = array.T
    elif what == "affine.bias":
        array = array - 1
    what = what.replace("affine.", "mod_")
    return part, f"{r}x{r}/{names[layer]}/{what}", np.array(array, order="C")
