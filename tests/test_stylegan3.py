"""The StyleGAN3 generator: exact against published networks, and true to its promises."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.plain_stylegan3 import plain_synthesis
from gan.errors import LabError
from gan.generators.filtered_lrelu import filtered_lrelu
from gan.generators.stylegan3 import (
    StyleGAN3,
    StyleGAN3Config,
    config_from,
    lowpass,
    matches,
)
from gan.loading.formats import load_file
from gan.recipe import Recipe
from gan.rendering import draw_exact

SMALL_T = StyleGAN3Config(
    resolution=32, z_dim=16, w_dim=12, channel_base=128, channel_max=12, num_layers=6
)
SMALL_R = dataclasses.replace(SMALL_T, conv_kernel=1, use_radial_filters=True)
VARIANTS = {"T": SMALL_T, "R": SMALL_R}


def network(config: StyleGAN3Config, seed: int = 0) -> StyleGAN3:
    """A generator with random weights in which nothing is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = StyleGAN3(config).requires_grad_(False).eval()
        for name, tensor in generator.state_dict().items():
            if name.endswith("bias"):
                tensor.add_(0.2 * torch.randn(tensor.shape))
            elif name.endswith("magnitude_ema"):
                tensor.fill_(1.5)
        generator.synthesis.input.affine.weight.normal_(std=0.3)
        generator.mapping.w_avg.normal_()
    return generator


@pytest.fixture(params=VARIANTS)
def generator(request: pytest.FixtureRequest) -> StyleGAN3:
    return network(VARIANTS[request.param])


def some_ws(config: StyleGAN3Config, count: int = 3) -> torch.Tensor:
    """Another w for each row, so that no row can be taken for its neighbour."""
    source = torch.Generator().manual_seed(1)
    return torch.randn(count, config.num_ws, config.w_dim, generator=source)


def shapes_of(generator: StyleGAN3) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in generator.state_dict().items()}


# Exactness


@pytest.mark.parametrize("folder", ["sg3_t", "sg3_r"])
def test_published_networks_give_the_published_pictures(oracles, folder: str):
    generator = load_file(oracles / folder / "network.pkl")
    assert isinstance(generator, StyleGAN3)
    reference = {
        k: torch.from_numpy(v) for k, v in np.load(oracles / folder / "reference.npz").items()
    }
    compared = []

    def compare(key: str, got: torch.Tensor) -> None:
        expected = reference[key]
        assert (got[: len(expected)] - expected).abs().max() < 1e-4 * expected.std(), key
        compared.append(key)

    for psi, cutoff in ((1, None), (0.7, 4)):
        ws = generator.mapping(reference["z"], psi=psi, cutoff=cutoff)
        compare(f"ws_psi{psi}_cut{cutoff}", ws)
        compare(f"img_psi{psi}_cut{cutoff}", generator.synthesis(ws[:2]))
    compare("img_mixed", generator.synthesis(reference["ws_mixed"][:2]))
    compare("img_ws_random", generator.synthesis(reference["ws_random"]))
    generator.synthesis.input.transform.copy_(reference["user_transform"])
    compare("img_user_transform", generator.synthesis(reference["ws_psi1_cutNone"][:2]))
    inputs = {"z", "c", "ws_mixed", "ws_random", "user_transform"}
    assert {*compared} | inputs == {*reference}


@pytest.mark.parametrize("clamp", [256.0, 0.4, None])
def test_it_draws_what_the_plain_equations_say(generator: StyleGAN3, clamp: float | None):
    for layer in (*generator.synthesis.layers, generator.synthesis.torgb):
        layer.clamp = clamp
    ws = some_ws(generator.config)
    drawn, expected = generator.synthesis(ws), plain_synthesis(generator, ws)
    assert (drawn - expected).abs().max() < 2e-5 * expected.std()
    assert drawn.shape == (3, 3, 32, 32)
    assert expected.std() > 0.01


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(
    ("up", "padding"), [(2, (9, 8)), (2, (-11, -12)), (4, (-6, -9)), (4, (3, 0))]
)
def test_the_nonlinearity_is_zeros_filter_lrelu_filter(
    up: int, padding: tuple[int, int], radial: bool
):
    """Lopsided filters, more channels than a group."""
    torch.manual_seed(2)
    x, up_filter = torch.randn(2, 19, 24, 24), torch.rand(6 * up)
    down_filter = torch.rand(12, 12) if radial else torch.rand(12)
    drawn = filtered_lrelu(x, up_filter, down_filter, up, 2, padding, clamp=2.0)

    larger = torch.zeros(2, 19, 24 * up, 24 * up)
    larger[:, :, ::up, ::up] = x
    larger = F.pad(larger, padding * 2)
    y = convolved(larger, torch.outer(up_filter, up_filter) * up**2)
    y = (F.leaky_relu(y, 0.2) * math.sqrt(2)).clamp(-2, 2)
    fir = down_filter if radial else torch.outer(down_filter, down_filter)
    expected = convolved(y, fir)[:, :, ::2, ::2]
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-4)


def convolved(x: torch.Tensor, fir: torch.Tensor) -> torch.Tensor:
    kernel = fir.flip(0, 1).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, groups=x.shape[1])


def test_a_padding_that_no_plan_makes_is_refused():
    with pytest.raises(ValueError, match="padding"):
        filtered_lrelu(torch.ones(1, 1, 9, 9), torch.ones(12), torch.ones(12), 2, 2, (5, 9))


@pytest.mark.parametrize("radial", [False, True])
def test_a_lowpass_filter_keeps_low_frequencies_and_stops_high_ones(radial: bool):
    fir = lowpass(24, cutoff=8, half_width=6, rate=64, radial=radial)
    along = fir.sum(dim=0) if radial else fir
    tones = torch.tensor([0.0, 4.0, 20.0, 32.0]) / 64
    wave = torch.exp(2j * math.pi * tones[:, None] * torch.arange(24))
    passed = (wave * along).sum(dim=1).abs()
    assert passed[0] == pytest.approx(1)
    assert passed[1] > 0.9
    assert (passed[2:] < 0.03).all()


# Properties


def test_a_batch_is_its_pictures(generator: StyleGAN3):
    ws = some_ws(generator.config, 4) * torch.tensor([0.1, 1, 3, 1])[:, None, None]
    alone = torch.cat([generator.synthesis(row) for row in ws.split(1)])
    assert (generator.synthesis(ws) - alone).abs().max() < 1e-5 * alone.std()


def test_there_is_no_noise(generator: StyleGAN3):
    ws = some_ws(generator.config)
    pictures = [generator.synthesis(ws, noise) for noise in ("const", "none", 7)]
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])


def test_every_row_of_ws_is_used(generator: StyleGAN3):
    ws = some_ws(generator.config, 1).requires_grad_(True)
    generator.synthesis(ws).square().sum().backward()
    assert ws.grad is not None
    assert (ws.grad[0].abs().sum(dim=1) > 0).all()
    assert len(generator.layer_resolutions()) == generator.num_ws == 8


def moved(generator: StyleGAN3, ws: torch.Tensor, matrix: list[list[float]]) -> torch.Tensor:
    generator.synthesis.input.transform.copy_(torch.tensor(matrix))
    return generator.synthesis(ws)


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Signal over difference in decibels, away from the edges."""
    one, other = one[..., 6:-6, 6:-6], other[..., 6:-6, 6:-6]
    return float(10 * torch.log10(one.var() / (one - other).square().mean()))


def test_a_shift_of_the_input_shifts_the_picture(generator: StyleGAN3):
    ws = some_ws(generator.config, 1)
    rest = moved(generator, ws, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    shifted = moved(generator, ws, [[1, 0, -8 / 32], [0, 1, 0], [0, 0, 1]])
    expected = rest.roll(8, dims=3)[..., 8:]
    assert likeness(shifted[..., 8:], expected) > likeness(shifted, rest) + 10


def test_a_turn_of_the_input_turns_the_picture_of_r():
    generator = network(SMALL_R)
    generator.synthesis.input.affine.weight.zero_()
    generator.synthesis.input.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    ws = some_ws(generator.config, 1)
    rest = moved(generator, ws, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    turned = moved(generator, ws, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    likest = max(likeness(turned, rest.rot90(turns, (2, 3))) for turns in (1, 3))
    assert likest > likeness(turned, rest) + 20


def test_bfloat16_stays_near(generator: StyleGAN3):
    ws = some_ws(generator.config)
    exact = generator.synthesis(ws)
    generator.synthesis.dtype = torch.bfloat16
    preview = generator.synthesis(ws)
    assert preview.dtype == torch.float32
    assert 0 < (preview - exact).abs().mean() < 0.05 * exact.std()


def test_features_show_the_picture_without_its_margin(generator: StyleGAN3):
    ws = some_ws(generator.config, 2)
    names = generator.layer_names()
    sizes = [generator.features(ws, name).shape[2:] for name in names]
    assert sizes == sorted(sizes)
    assert sizes[0] == (16, 16)
    assert sizes[-1] == (32, 32)
    assert len({len(names), len(sizes), generator.num_ws - 1}) == 1
    last = generator.features(ws, names[-1])
    rgb = generator.synthesis.torgb(last, ws[:, -1]) * generator.config.output_scale
    assert torch.equal(rgb, generator.synthesis(ws))
    with pytest.raises(ValueError, match="no layer 'L9'"):
        generator.features(ws, "L9")


def test_style_weights_are_those_of_the_convolutions(generator: StyleGAN3):
    weights = generator.style_weights()
    layers = generator.synthesis.layers
    assert weights.shape == (sum(layer.weight.shape[1] for layer in layers), 12)
    w = torch.randn(1, 12)
    styles = torch.cat([layer.affine(w) - layer.affine.bias for layer in layers], dim=1)
    torch.testing.assert_close(w @ weights.T, styles)


# Reading


@pytest.mark.parametrize(
    "config",
    [
        SMALL_T,
        SMALL_R,
        dataclasses.replace(SMALL_T, c_dim=3, mapping_layers=3, img_channels=1),
        dataclasses.replace(SMALL_T, resolution=64, num_layers=14, channel_base=512),
        dataclasses.replace(SMALL_R, channel_base=4096),  # all layers at their widest
    ],
)
def test_sizes_are_read_from_the_shapes(config: StyleGAN3Config):
    shapes = shapes_of(network(config))
    assert matches(shapes)
    read = config_from(shapes, {}, {})
    assert read.layer_names == config.layer_names
    same = dataclasses.replace(read, channel_base=config.channel_base)  # where it can't be known
    assert same == config


def test_the_frequency_plan_is_read_from_what_the_file_says():
    config = dataclasses.replace(
        SMALL_T,
        first_cutoff=3.0,
        margin_size=8,
        output_scale=0.5,
        conv_clamp=None,
        channel_base=150,
    )
    said = {"first_cutoff": 3.0, "margin_size": 8, "output_scale": 0.5, "conv_clamp": None}
    kwargs = {**said, "channel_base": 150, "mapping_kwargs": {"num_layers": 2}}
    shapes = shapes_of(network(config))
    assert config_from(shapes, {}, kwargs) == config
    with pytest.raises(LabError, match="StyleGAN3"):
        config_from(shapes, {}, {})


Shapes = dict[str, tuple[int, ...]]
LAYERS = [f"synthesis.{name}" for name in SMALL_T.layer_names]
DAMAGE: dict[str, tuple[Callable[[Shapes], object], dict[str, object]]] = {
    "a layer is missing": (lambda shapes: shapes.pop(LAYERS[3] + ".weight"), {}),
    "no filter": (lambda shapes: shapes.pop(LAYERS[0] + ".down_filter"), {}),
    "another nonlinearity": (lambda shapes: None, {"lrelu_upsampling": 4}),
    "a word for a number": (lambda shapes: None, {"first_cutoff": "two"}),
    "a truth for a number": (lambda shapes: None, {"margin_size": True}),
    "no end": (lambda shapes: None, {"channel_base": 2**40}),
    "no layer before the last": (lambda shapes: None, {"num_critical": 6}),
    "no mapping": (lambda shapes: None, {"mapping_kwargs": 3}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_whole_stylegan3_is_refused(damage: str):
    change, kwargs = DAMAGE[damage]
    shapes = shapes_of(network(SMALL_T))
    change(shapes)
    with pytest.raises(LabError, match="StyleGAN3"):
        config_from(shapes, {}, kwargs)


def test_others_are_not_taken_for_it():
    shapes = shapes_of(network(SMALL_T))
    assert not matches({**shapes, "mapping.embed_proj.weight": (64, 64)})
    assert not matches({"mapping.fc0.weight": (8, 8), "synthesis.b4.const": (8, 4, 4)})
    assert not matches({})


def test_classes_change_what_is_drawn():
    conditional = network(dataclasses.replace(SMALL_T, c_dim=3))
    z = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    ws = torch.cat([conditional.mapping(z, c) for c in torch.eye(3).split(1)])
    drawn = conditional.synthesis(ws)
    expected = plain_synthesis(conditional, ws)
    assert (drawn - expected).abs().max() < 2e-5 * expected.std()
    pictures = [draw_exact(conditional, Recipe("m", seed=1, label=label)) for label in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (drawn[one] - drawn[other]).abs().max() > 0.1 * drawn.std()
        assert (pictures[one] != pictures[other]).mean() > 0.2
