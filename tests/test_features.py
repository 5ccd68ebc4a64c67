"""Features against the published network, distances against slow formulas and known properties."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan import features
from gan.errors import LabError
from gan.features import Extractor
from gan.training.data import load_dataset, split


def normal(count: int, dim: int = 6, seed: int = 0, shift: float = 0.0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def pictures(count: int = 3, size: int = 24, channels: int = 3) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)


# The networks


def waves(size: int) -> Tensor:
    at = torch.arange(size).double() / size
    rows, cols = torch.meshgrid(at, at, indexing="ij")
    channels = [torch.sin(6 * rows + c) * torch.cos((9 + 4 * c) * cols) for c in range(3)]
    return torch.stack(channels).float()[None] * 2


@pytest.mark.parametrize("size", [64, 224])
def test_efficientnet_computes_what_the_published_network_does(project: Path, size: int) -> None:
    stored = json.loads((project / "tests/data/efficientnet.json").read_text("utf-8"))[str(size)]
    found = features.efficientnet()(waves(size))[0].double()
    for index, value in stored["features"].items():
        assert float(found[int(index)]) == pytest.approx(value, abs=1e-4)
    assert float(found.sum()) == pytest.approx(stored["sum"], rel=1e-5)
    assert float(found.norm()) == pytest.approx(stored["norm"], rel=1e-5)


def test_folding_is_batch_normalisation() -> None:
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5, eps=1e-3).eval()
    for values in (norm.weight.data, norm.running_var, norm.running_mean, norm.bias.data):
        assert isinstance(values, Tensor)
        values.uniform_(0.5, 2)
    stored = {f"conv.{name}": value for name, value in conv.state_dict().items()}
    stored |= {f"norm.{name}": value for name, value in norm.state_dict().items()}
    weight, bias = features._folded(stored, "conv", "norm")
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(torch.conv2d(x, weight, bias), norm(conv(x)))


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 5, 2), (6, 5, 1)])
def test_convolutions_pad_as_tensorflow(size: int, kernel: int, stride: int) -> None:
    conv = features.SameConv(1, 1, kernel, stride)
    torch.nn.init.normal_(conv.weight)
    x = torch.randn(1, 1, size, size)
    outputs = math.ceil(size / stride)
    before = max((outputs - 1) * stride + kernel - size, 0) // 2
    expected = torch.zeros(outputs, outputs)
    for row, col, i, j in itertools.product(
        *(range(n) for n in (outputs, outputs, kernel, kernel))
    ):
        y, z = row * stride + i - before, col * stride + j - before
        if 0 <= y < size and 0 <= z < size:
            expected[row, col] += conv.weight[0, 0, i, j].detach() * x[0, 0, y, z]
    torch.testing.assert_close(conv(x)[0, 0].detach(), expected)


def test_only_the_pinned_weights_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "files", lambda _package: tmp_path)
    with pytest.raises(LabError) as refused:
        features._stored_efficientnet()
    assert refused.value.code == "features_missing"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / features.EFFICIENTNET_FILE).write_bytes(b"another network")
    with pytest.raises(LabError) as refused:
        features._stored_efficientnet()
    assert refused.value.code == "features_changed"


def test_the_digit_classifier_is_as_good_as_its_card_says() -> None:
    dataset = load_dataset("digits")
    assert dataset.labels is not None
    seen = features.recognised_digits(features.as_images(dataset.images)).numpy()
    trained_on, kept_back = split(dataset)
    right = seen == dataset.labels
    assert right[trained_on].mean() >= 0.99
    assert right[kept_back].mean() >= 0.975


# Pictures → features

KINDS = [("efficientnet", 64, 1280), ("digits", 32, 128), ("pixels", 8, 192)]


@pytest.mark.parametrize(("kind", "size", "dim"), KINDS)
def test_bytes_and_floats_of_a_picture_have_the_same_features(
    kind: str, size: int, dim: int
) -> None:
    extractor = Extractor(kind, size)
    images = torch.from_numpy(pictures()).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = extractor(pictures())
    assert found.shape == (3, dim)
    assert found.dtype == torch.float32
    torch.testing.assert_close(extractor(images), found)
    torch.testing.assert_close(extractor(images.half()), found, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("kind", "size", "dim"), KINDS)
def test_features_of_a_picture_do_not_depend_on_its_company(
    kind: str, size: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = Extractor(kind, size)
    together = extractor(pictures(5))
    monkeypatch.setattr(features, "BATCH_PIXELS", 2 * size**2)
    torch.testing.assert_close(extractor(pictures(5)), together, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", ["efficientnet", "digits"])
def test_grey_pictures_count_as_colourless_ones(kind: str) -> None:
    grey = pictures(channels=1)
    extractor = features.Extractor(kind, 32)
    found = extractor(grey)
    torch.testing.assert_close(extractor(np.repeat(grey, 3, axis=3)), found, atol=1e-3, rtol=1e-4)
    assert not torch.allclose(extractor(255 - grey), found, atol=0.1)


def test_efficientnet_sees_pictures_as_it_was_trained_to() -> None:
    """Colours in [0, 1], less ImageNet's mean, over its deviation: the published preprocessing."""
    seen = pictures(size=64)
    grain = np.random.RandomState(0).randn(3, 64, 64).transpose(1, 2, 0) * 4
    normalised = ((seen + grain) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = features.efficientnet()(torch.from_numpy(normalised.transpose(0, 3, 1, 2)).float())
    found = Extractor("efficientnet", 64)(seen)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_values_outside_are_clipped_as_in_a_file() -> None:
    images = torch.randn(2, 3, 8, 8) * 2
    extractor = Extractor("pixels", 8)
    assert torch.equal(extractor(images), extractor(images.clamp(-1, 1)))
    assert float(extractor(images).abs().max()) == 1


def test_names_say_network_size_and_grain() -> None:
    assert features.extractor_for("avatars").name == "EfficientNet-Lite0 at 64 px, grain 4"
    assert features.extractor_for("mine", 224).name == "EfficientNet-Lite0 at 224 px, grain 4"
    assert features.extractor_for("digits", 224).name == "digit classifier at 32 px"


def test_an_invisible_ripple_hardly_moves_the_features_of_a_drawing() -> None:
    images = torch.from_numpy(load_dataset("avatars").images[:40]).permute(0, 3, 1, 2) / 127.5 - 1
    ripple = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) / 127.5
    extractor = Extractor("efficientnet", 64)
    moved = torch.linalg.vector_norm(extractor(images + ripple) - extractor(images), dim=1)
    assert float(moved.median()) < 0.2 * features.mean_distance(extractor(images))


# KID


def slow_kid(x: Tensor, y: Tensor) -> float:
    def mean(pairs: Any) -> float:
        values = [(float(a @ b) / len(a) + 1) ** 3 for a, b in pairs]
        return sum(values) / len(values)

    within = mean(itertools.permutations(x, 2)) + mean(itertools.permutations(y, 2))
    return within - 2 * mean(itertools.product(x, y))


def test_kid_is_its_formula() -> None:
    x, y = normal(9).double(), normal(7, seed=1, shift=0.5).double()
    assert features.kid(x, y) == pytest.approx(slow_kid(x, y), rel=1e-9)
    assert features.kid(y, x) == pytest.approx(features.kid(x, y), rel=1e-9)


def test_kid_is_unbiased_at_any_sample_size() -> None:
    for count in (5, 20):
        found = np.array(
            [
                features.kid(normal(count, 8, seed), normal(count, 8, 10_000 + seed))
                for seed in range(400)
            ]
        )
        error = found.std() / math.sqrt(len(found))
        assert abs(found.mean()) < 3.5 * error
        # The biased estimate, with the diagonal, is off by far more than this test lets pass.
        own = np.mean([((normal(1, 8, s) ** 2).sum() / 8 + 1) ** 3 for s in range(400)])
        assert 2 * (float(own) - 1) / count > 10 * error


def test_kid_grows_with_the_difference() -> None:
    x = normal(200)
    found = [features.kid(x, normal(200, seed=1, shift=shift)) for shift in (0, 0.3, 0.6, 1.2)]
    assert found == sorted(found)


def test_the_interval_holds_the_truth_nine_times_in_ten() -> None:
    truth = features.kid(normal(4000, seed=-1), normal(4000, seed=-2, shift=0.5))
    hits, widths, found = 0, [], []
    for seed in range(150):
        x, y = normal(80, seed=seed), normal(80, seed=1000 + seed, shift=0.5)
        value, low, high = features.kid_with_interval(x, y, subsets=100)
        assert value == pytest.approx(features.kid(x, y))
        assert low < value < high
        hits += low <= truth <= high
        widths.append(high - low)
        found.append(value)
    assert 0.8 <= hits / 150 <= 0.98
    assert np.mean(widths) == pytest.approx(3.29 * np.std(found), rel=0.3)


def test_the_interval_is_repeatable() -> None:
    x, y = normal(30), normal(40, seed=1)
    assert features.kid_with_interval(x, y) == features.kid_with_interval(x, y)


# Density, coverage, diversity, neighbours


def slow_density_coverage(real: Tensor, fake: Tensor, k: int) -> tuple[float, float]:
    radius = [sorted(float((a - b).norm()) for b in real)[k] for a in real]
    inside = [[float((a - f).norm()) <= r for f in fake] for a, r in zip(real, radius, strict=True)]
    density = sum(map(sum, inside)) / (k * len(fake))
    return density, sum(map(any, inside)) / len(real)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_density_and_coverage_are_their_formulas(k: int) -> None:
    real, fake = normal(20, 3), normal(15, 3, seed=1, shift=1.5)
    found = features.density_coverage(real, fake, k)
    assert found == pytest.approx(slow_density_coverage(real, fake, k))
    radius = features.neighbour_radius(real, k)
    assert features.density_coverage(real, fake, k, radius) == found
    assert 0 < found[1] < 1


def test_coverage_of_known_sets() -> None:
    real = normal(300)
    assert features.density_coverage(real, real)[1] == 1
    density, coverage = features.density_coverage(real, normal(300, seed=1))
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9
    collapsed = normal(1, seed=1).expand(300, -1) * 0.1
    assert features.density_coverage(real, collapsed)[1] < 0.1
    assert features.density_coverage(real, normal(300, seed=1, shift=50)) == (0, 0)
    islands = torch.cat([normal(150), normal(150, seed=1, shift=50)])
    assert features.density_coverage(islands, normal(300, seed=2))[1] == pytest.approx(
        0.5, abs=0.05
    )


def test_mean_distance_is_its_formula() -> None:
    x = normal(9)
    pairs = [float((a - b).norm()) for a, b in itertools.combinations(x, 2)]
    assert features.mean_distance(x) == pytest.approx(np.mean(pairs))
    assert features.mean_distance(x * 3) == pytest.approx(3 * features.mean_distance(x))


@pytest.mark.parametrize(("count", "dim"), [(12, 5), (5, 12)])
def test_vendi_is_its_formula(count: int, dim: int) -> None:
    x = normal(count, dim).double()
    unit = x / x.norm(dim=1, keepdim=True)
    values = np.linalg.eigvalsh((unit @ unit.T).numpy() / count)
    values = values[values > 1e-10]
    assert features.vendi(x) == pytest.approx(math.exp(-(values * np.log(values)).sum()))


def test_vendi_counts_the_different_ones() -> None:
    assert features.vendi(torch.eye(7)) == pytest.approx(7)
    assert features.vendi(torch.ones(7, 3)) == pytest.approx(1)
    assert features.vendi(torch.eye(4).repeat(5, 1)) == pytest.approx(4)


def test_nearest_finds_each_one_and_copies_at_zero() -> None:
    x, others = normal(300, 4), normal(40, 4, seed=1)
    x[7] = others[31]
    distance, index = features.nearest(x, others)
    for i in range(0, 300, 7):
        away = [float((x[i] - other).norm()) for other in others]
        assert int(index[i]) == int(np.argmin(away))
        assert float(distance[i]) == pytest.approx(min(away), abs=1e-6)
    assert float(distance[7]) == 0
