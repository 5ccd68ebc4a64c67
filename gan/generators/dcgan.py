"""DCGAN generators (Radford et al. 2016) of any depth, width and kernel: a column of transposed
convolutions with batch norm and ReLU between them, tanh at the end.

Everyone's first GAN, so their files have hundreds of spellings and no description: what can be
known is in the tensors' shapes, and the rest is the convention of the paper and of the tutorials
(`_STRIDES`; ReLU; tanh). A network that was built otherwise can't be told from its tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from gan.errors import LabError
from gan.generators.base import Generator, LatentSpace, Noise
from gan.generators.tensors import (
    OTHER_NETWORK,
    FixedBatchNorm,
    Renamed,
    Shapes,
    check_size,
    compressed,
)

LARGEST = 2048  # pixels
BOUNDS = {
    "inputs": (1, 2**16),
    "outputs": (1, 2**16),
    "kernel": (1, 64),
    "stride": (1, 8),
    "padding": (0, 32),
    "output_padding": (0, 7),
}
_MOST_NAMES = 2000  # a file with more tensors is no DCGAN, and isn't searched for one
_NORM = ("weight", "bias", "running_mean", "running_var")
# kernel → (stride, padding, output padding), each of which doubles the picture, by convention
_STRIDES = {2: (2, 0, 0), 3: (2, 1, 1), 4: (2, 1, 0), 5: (2, 2, 1), 6: (2, 2, 0)}


@dataclass(frozen=True)
class DCGANLayer:
    """One transposed convolution, and whether it has a bias and a batch norm after it."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    output_padding: int = 0
    bias: bool = False
    norm: bool = False

    def size(self, size: int) -> int:
        """Pixels in → pixels out."""
        return (size - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding


@dataclass(frozen=True)
class DCGANConfig:
    """The layers, from z to the picture."""

    layers: tuple[DCGANLayer, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The picture size (pixels) after each layer."""
        sizes, size = [], 1
        for layer in self.layers:
            size = layer.size(size)
            sizes.append(size)
        return tuple(sizes)


class DCGAN(Generator):
    """z [N, z_dim] → images in [−1, 1]; named as in PyTorch's tutorial (`main.0`, `main.1`, …)."""

    family = "dcgan"
    latent_space: LatentSpace = "z"

    def __init__(self, config: DCGANConfig):
        super().__init__()
        self.config = config
        self.z_dim = self.w_dim = config.layers[0].inputs
        self.num_ws, self.c_dim = 1, 0
        self.resolution, self.img_channels = config.sizes[-1], config.layers[-1].outputs
        if any(layer.output_padding >= layer.stride for layer in config.layers):
            raise ValueError("an output padding as large as the stride")
        for size in config.sizes:
            check_size("DCGAN", size, LARGEST)
        self.main = nn.Sequential()
        for layer in config.layers:
            self.main.append(
                nn.ConvTranspose2d(
                    *(layer.inputs, layer.outputs, layer.kernel),
                    *(layer.stride, layer.padding, layer.output_padding),
                    bias=layer.bias,
                )
            )
            self.main.append(FixedBatchNorm(layer.outputs) if layer.norm else nn.Identity())
            self.main.append(nn.ReLU())
        del self.main[-2:]
        self.main.append(nn.Tanh())

    def mapping(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """ws [N, 1, z_dim] = psi·z, where the only row is below `cutoff`."""
        return (z if cutoff == 0 else z * psi)[:, None]

    def synthesis(
        self, ws: Tensor, noise: Noise = "const", resolution: int | None = None
    ) -> Tensor:
        """There is no noise, and no coarser picture to stop at."""
        return self.main(ws[:, 0, :, None, None])

    def layer_resolutions(self) -> list[int]:
        return [self.config.sizes[0]]

    def layer_names(self) -> list[str]:
        return [f"main.{3 * i + 2}" for i in range(len(self.config.layers) - 1)]

    def features(self, ws: Tensor, layer: str, noise: Noise = "const") -> Tensor:
        last = 3 * self.layer_names().index(layer) + 2
        return self.main[: last + 1](ws[:, 0, :, None, None])

    def style_weights(self) -> Tensor:
        """[outputs·kernel², z_dim], with what batch norm multiplies each output with."""
        conv, norm = self.main[0], self.main[1]
        assert isinstance(conv, nn.ConvTranspose2d)
        weight = conv.weight.flatten(2)  # [z_dim, outputs, kernel²]
        if isinstance(norm, FixedBatchNorm):
            weight = weight * norm.scale()[:, None]
        return weight.flatten(1).T

    def direction_activations(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """What the first convolution and batch norm give, as [N, z_dim or fewer] (`compressed`).

        Not after ReLU: measured on a DCGAN of faces, the changes that the first five directions
        make then overlap twice as much (cosine 0.62 against 0.22), and are no larger.
        """
        return z @ compressed(self.style_weights()).T


# Reading other people's files


def matches(shapes: Shapes) -> bool:
    """Whether somewhere in these tensors there is a column of transposed convolutions that begins
    at a vector and ends in 1, 3 or 4 colours, and nothing beside it but other networks."""
    return _column(shapes) is not None


def more_than_a_column(shapes: Shapes) -> list[str]:
    """The tensors beside the first such column that make the network another one: what projects z,
    embeds a class or encodes a picture. Drawn without them it would draw something else."""
    prefix = next(_columns(shapes), (None, None))[0]
    return [] if prefix is None else _more(shapes, prefix)


def config_from(
    shapes: Shapes,
    tensors: Mapping[str, Tensor],
    kwargs: Mapping[str, Any],
) -> DCGANConfig:
    """Everything is in the shapes; `tensors` and `kwargs` aren't needed. Raises LabError for a
    kernel for which there is no convention."""
    column = _column(shapes)
    if column is None:
        raise ValueError("no DCGAN generator")
    layers: list[DCGANLayer] = []
    for index, (conv, norm) in enumerate(column):
        inputs, outputs, kernel, _ = shapes[f"{conv}.weight"]
        if index and kernel not in _STRIDES:
            shape = list(shapes[f"{conv}.weight"])
            raise LabError("network_shape", family="DCGAN", tensor=f"{conv}.weight", shape=shape)
        stride, padding, extra = _STRIDES[kernel] if index else (1, 0, 0)
        bias = f"{conv}.bias" in shapes
        layers.append(
            DCGANLayer(inputs, outputs, kernel, stride, padding, extra, bias, norm is not None)
        )
    return DCGANConfig(_as_digits(tuple(layers)))


def canonical(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The generator's tensors under their names in `DCGAN`."""
    column = _column({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if column is None:
        raise ValueError("no DCGAN generator")
    names: dict[str, str] = {}
    for index, (conv, norm) in enumerate(column):
        parts = [part for part in ("weight", "bias") if f"{conv}.{part}" in tensors]
        names |= {f"main.{3 * index}.{part}": f"{conv}.{part}" for part in parts}
        if norm is not None:
            names |= {f"main.{3 * index + 1}.{part}": f"{norm}.{part}" for part in _NORM}
    return Renamed(tensors, names, "DCGAN")


def _as_digits(layers: tuple[DCGANLayer, ...]) -> tuple[DCGANLayer, ...]:
    """A 3×3 kernel at 4 pixels gives 8, or 7 on the way to the 28 pixels of MNIST: that is meant
    where it is the only way to them (4 → 7 → 14 → 28)."""
    kernels = [layer.kernel for layer in layers]
    if kernels != [4, 3, 4, 4]:
        return layers
    first, second, *rest = layers
    return first, replace(second, output_padding=0), *rest


_Column = list[tuple[str, str | None]]  # each convolution's name, with that of its batch norm


def _column(shapes: Shapes) -> _Column | None:
    """The generator's layers in order; the first, if there are several generators."""
    found = (column for prefix, column in _columns(shapes) if not _more(shapes, prefix))
    return next(found, None)


def _columns(shapes: Shapes) -> Iterator[tuple[str, _Column]]:
    """Under each prefix of names, from the shortest: what is there, if that is a whole column."""
    prefixes = {"": None}
    for name in shapes if len(shapes) <= _MOST_NAMES else ():
        parts = name.split(".")
        prefixes |= {".".join(parts[:count]) + ".": None for count in range(1, len(parts) - 1)}
    for prefix in sorted(prefixes, key=lambda prefix: prefix.count(".")):
        inside = {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
        column = _whole_column(inside)
        if column is not None:
            yield prefix, column


def _more(shapes: Shapes, prefix: str) -> list[str]:
    """What isn't under `prefix`, belongs to no other network and is more than a counter."""
    is_decoder = "decoder" in prefix.lower()
    found = []
    for name, shape in shapes.items():
        if name.startswith(prefix) or math.prod(shape) <= 1:
            continue
        pairs = zip(name.split(".")[:-1], prefix.split("."), strict=False)
        own = next((mine for mine, theirs in pairs if mine != theirs), "").lower()
        is_other = OTHER_NETWORK.fullmatch(own) is not None
        if not is_other or (is_decoder and own.startswith("e")):
            found.append(name)
    return found


def _whole_column(shapes: Shapes) -> _Column | None:
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        if part != "num_batches_tracked":
            layers.setdefault(layer, {})[part] = shape
    in_order = {name: layers[name] for name in sorted(layers, key=_place)}
    return _chained(in_order) or _chained(layers)


def _chained(layers: Mapping[str, Mapping[str, tuple[int, ...]]]) -> _Column | None:
    """The layers as a column, if in this order each takes what the one before gives."""
    column: _Column = []
    width: int | None = None  # channels so far
    for name, parts in layers.items():
        shape = parts.get("weight", ())
        if _is_conv(parts) and width in (None, shape[0]):
            column.append((name, None))
            width = shape[1]
        elif _is_norm(parts) and column and column[-1][1] is None and shape == (width,):
            column[-1] = column[-1][0], name
        else:
            return None
    ends_well = len(column) > 1 and width in (1, 3, 4) and column[-1][1] is None
    return column if ends_well else None


def _is_conv(parts: Mapping[str, tuple[int, ...]]) -> bool:
    shape = parts.get("weight", ())
    bias_fits = parts.get("bias", shape[1:2]) == shape[1:2]
    is_square = len(shape) == 4 and shape[2] == shape[3] > 1 and min(shape) > 0
    return is_square and bias_fits and parts.keys() <= {"weight", "bias"}


def _is_norm(parts: Mapping[str, tuple[int, ...]]) -> bool:
    return set(parts) == set(_NORM) and len(set(parts.values())) == 1


def _place(layer: str) -> tuple[list[int], bool]:
    """Layers stand in the order of their numbers (`main.3`, `net.1.0`, `tconv2`), and a batch norm
    (`bn2`) after the convolution with the same number."""
    is_norm = re.search(r"bn|norm", layer.rpartition(".")[2].lower()) is not None
    return [int(number) for number in re.findall(r"\d+", layer)], is_norm
