"""What published tensors have in common, whatever the family: wrappings around their names,
spectral norm, batch norm with fixed statistics. Files are read elsewhere (`gan.loading`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import LabError

Shapes = Mapping[str, tuple[int, ...]]
# What people call the networks beside a generator, and what trains them; in small letters.
OTHER_NETWORK = re.compile(
    r"d|dis|disc|discriminator.*|critic.*|net_?d.*|d_.*|.*optim.*|opt_.*|.*scheduler.*|augment_pipe"
    r"|e|encoder.*"
)
_ORIGINAL, _PARAMETRIZED = ".weight_orig", ".parametrizations.weight.original"


def wrapping(names: Iterable[str], anchor: str) -> str | None:
    """The prefix before `anchor` in the names: "" or "netG.model."; None: no such name."""
    found = [name.removesuffix(anchor) for name in names if name.endswith(anchor)]
    return next((prefix for prefix in found if prefix == "" or prefix.endswith(".")), None)


def unwrapped(names: Iterable[str], prefix: str) -> dict[str, str]:
    """The names under `prefix` without it → as they are; batch norms' counters are left out."""
    return {
        name.removeprefix(prefix): name
        for name in names
        if name.startswith(prefix) and not name.endswith(".num_batches_tracked")
    }


def dimensions(shapes: Shapes, name: str, count: int, family: str) -> tuple[int, ...]:
    """The `count` sizes of that tensor. Raises LabError where it is missing or has others."""
    if name not in shapes:
        raise LabError("network_lacks", family=family, tensor=name)
    shape = shapes[name]
    if len(shape) != count or min(shape) < 1:
        raise LabError("network_shape", family=family, tensor=name, shape=list(shape))
    return shape


class Renamed(Mapping[str, Tensor]):
    """Tensors by other names, each of them read when it is asked for: files can be large.

    A weight under spectral norm (both of torch's spellings are known) is given as it is at
    evaluation: W / (uᵀ W v) with the stored u and v (Miyato 2018). W is [outputs, everything
    else]; for the layers that `transposed` names, transposed convolutions, the outputs are the
    second dimension. LabError where u or v is missing or of another size.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        names: Mapping[str, str],
        family: str,
        transposed: Iterable[str] = (),
    ):
        """`names`: the new name of each tensor → the name it has in `tensors`."""
        self.tensors, self.family = tensors, family
        self.names = {_evaluated(new): old for new, old in names.items() if not _is_vector(new)}
        self.transposed = {names.get(f"{layer}.weight_orig") for layer in transposed} | {
            names.get(f"{layer}.parametrizations.weight.original") for layer in transposed
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Tensor:
        stored = self.names[name]
        weight = self.tensors[stored]
        vectors = _vectors(stored)
        if vectors is None:
            return weight
        matrix = weight.transpose(0, 1) if stored in self.transposed else weight
        matrix = matrix.reshape(len(matrix), -1)
        u, v = (self._vector(each, n) for each, n in zip(vectors, matrix.shape, strict=True))
        return weight / torch.dot(u, torch.mv(matrix, v))

    def _vector(self, name: str, size: int) -> Tensor:
        if name not in self.tensors:
            raise LabError("network_lacks", family=self.family, tensor=name)
        vector = self.tensors[name]
        if vector.shape != (size,):
            shape = list(vector.shape)
            raise LabError("network_shape", family=self.family, tensor=name, shape=shape)
        return vector


def evaluated(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes by the names that `Renamed` gives the tensors."""
    return {_evaluated(name): shape for name, shape in shapes.items() if not _is_vector(name)}


def _evaluated(name: str) -> str:
    ending = next((each for each in (_ORIGINAL, _PARAMETRIZED) if name.endswith(each)), None)
    return name if ending is None else name.removesuffix(ending) + ".weight"


def _vectors(name: str) -> tuple[str, str] | None:
    """The names of u and v that belong to a weight under spectral norm; None: it is under none."""
    if name.endswith(_ORIGINAL):
        layer = name.removesuffix(_ORIGINAL)
        return f"{layer}.weight_u", f"{layer}.weight_v"
    if name.endswith(_PARAMETRIZED):
        parts = name.removesuffix("original") + "0."
        return f"{parts}_u", f"{parts}_v"
    return None


def _is_vector(name: str) -> bool:
    return name.endswith((".weight_u", ".weight_v", ".weight.0._u", ".weight.0._v"))


def check_size(family: str, pixels: int, most: int) -> None:
    """LabError where the pictures would be larger than that."""
    if not 1 <= pixels <= most:
        raise LabError("network_too_large", family=family, size=pixels, most=most)


def compressed(weight: Tensor) -> Tensor:
    """weight [outputs, inputs] → [at most inputs, inputs], which keeps all inner products of what
    it gives: the same principal components in fewer numbers."""
    return torch.linalg.qr(weight, mode="r").R


class FixedBatchNorm(nn.Module):
    """Batch norm with the statistics of the training: (x − mean)/√(var + ε)·weight + bias."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            *(x, self.running_mean, self.running_var, self.weight, self.bias),
            eps=self.epsilon,
        )

    def scale(self) -> Tensor:
        """[channels]: what it multiplies each channel with."""
        return self.weight * (self.running_var + self.epsilon).rsqrt()
