"""The prepared synthesis draws what the network draws, and both what the plain equations say."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from benchmarks.plain import plain_synthesis
from gan.generators import prepared as prepared_module
from gan.generators.base import Generator, Noise
from gan.generators.prepared import PreparedSynthesis, prepare
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from tests.families import tiny_biggan, tiny_dcgan, tiny_fastgan, tiny_r3gan, tiny_stylegan3
from tests.tiny import TINY, TINY_CLASSES, tiny_network

CONFIGS = {
    "colour": TINY,
    "grey": TINY_CLASSES,
    "clamped": dataclasses.replace(TINY, conv_clamp=0.5),
    "narrowing": dataclasses.replace(TINY, resolution=32, channel_base=128, channel_max=24),
}


@pytest.fixture(params=CONFIGS)
def network(request: pytest.FixtureRequest) -> StyleGAN2:
    return tiny_network(CONFIGS[request.param])


def some_ws(config: StyleGAN2Config, count: int = 3) -> torch.Tensor:
    """Another w for each row, so that no row can be taken for its neighbour."""
    return torch.randn(
        count, config.num_ws, config.w_dim, generator=torch.Generator().manual_seed(1)
    )


def test_the_network_draws_what_the_plain_equations_say(network: StyleGAN2):
    network.double()
    network.synthesis.dtype = torch.float64
    ws = some_ws(network.config).double()
    torch.testing.assert_close(
        network.synthesis(ws).double(), plain_synthesis(network, ws), rtol=0, atol=1e-6
    )


def test_large_layers_are_drawn_in_phases(network: StyleGAN2, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prepared_module, "_LARGE", 1)
    prepared, ws = prepare(network), some_ws(network.config)
    assert isinstance(prepared, PreparedSynthesis)
    assert all(convs[0].phases for convs, _ in prepared.blocks[1:])
    torch.testing.assert_close(prepared(ws), network.synthesis(ws), rtol=0, atol=2e-5)
    assert not prepare(network, torch.bfloat16).blocks[1][0][0].phases  # pyright: ignore


@pytest.mark.parametrize("noise", ["const", "none", 7])
def test_prepared_draws_what_the_network_draws(network: StyleGAN2, noise: Noise):
    prepared, ws = prepare(network), some_ws(network.config)
    assert isinstance(prepared, PreparedSynthesis)
    expected = network.synthesis(ws, noise)
    drawn = prepared(ws, noise)
    assert drawn.dtype == torch.float32
    torch.testing.assert_close(drawn, expected, rtol=0, atol=2e-5)
    assert expected.std() > 0.05


def test_noise_matters(network: StyleGAN2):
    prepared, ws = prepare(network), some_ws(network.config)
    pictures = [prepared(ws, noise) for noise in ("const", "none", 7, 8)]
    for i, one in enumerate(pictures):
        assert all((one - other).abs().max() > 1e-3 for other in pictures[:i])


def test_bfloat16_is_close(network: StyleGAN2):
    ws = some_ws(network.config)
    difference = prepare(network, torch.bfloat16)(ws) - network.synthesis(ws)
    assert 0 < difference.abs().mean() < 0.02


def test_a_coarser_picture(network: StyleGAN2):
    ws = some_ws(network.config)
    drawn = prepare(network)(ws, resolution=8)
    torch.testing.assert_close(drawn, network.synthesis(ws, resolution=8), rtol=0, atol=2e-5)
    assert drawn.shape[-1] == 8


def test_a_batch_is_its_pictures(network: StyleGAN2):
    prepared, ws = prepare(network), some_ws(network.config, 5)
    alone = torch.cat([prepared(row) for row in ws.split(1)])
    torch.testing.assert_close(prepared(ws), alone, rtol=0, atol=2e-5)


FILTERS = {
    "lopsided": torch.outer(torch.tensor([1.0, 2.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])),
    "no product of a column and a row": torch.arange(16.0).reshape(4, 4).square(),
}


@pytest.mark.parametrize("name", FILTERS)
def test_another_filter_is_respected(name: str):
    network = tiny_network()
    for key, buffer in network.named_buffers():
        if key.endswith("resample_filter"):
            buffer.copy_(FILTERS[name] / FILTERS[name].sum())
    ws = some_ws(network.config)
    torch.testing.assert_close(prepare(network)(ws), network.synthesis(ws), rtol=0, atol=2e-5)


def test_large_pictures_are_enlarged_without_matrices(monkeypatch: pytest.MonkeyPatch):
    network = tiny_network()
    small = prepare(network)
    monkeypatch.setattr(prepared_module, "_MATRIX_SIDE", 8)
    large, ws = prepare(network), some_ws(network.config)
    assert isinstance(small, PreparedSynthesis)
    assert isinstance(large, PreparedSynthesis)
    assert [rgb.enlarge is None for _, rgb in small.blocks] == [True, False, False]
    assert [rgb.enlarge is None for _, rgb in large.blocks] == [True, False, True]
    torch.testing.assert_close(large(ws), small(ws), rtol=0, atol=2e-5)


def test_what_cannot_be_prepared_draws_by_itself():
    network = tiny_network(dataclasses.replace(TINY, architecture="resnet"))
    assert prepare(network) is network.synthesis


@pytest.mark.parametrize("noise", ["const", 7])
def test_large_batches_are_drawn_in_parts(
    network: StyleGAN2, noise: Noise, monkeypatch: pytest.MonkeyPatch
):
    prepared, ws = prepare(network), some_ws(network.config, 5)
    assert isinstance(prepared, PreparedSynthesis)
    whole = prepared(ws, noise)
    prepared.at_once = 2
    parts, draw = [], prepared._draw_batch
    monkeypatch.setattr(
        prepared, "_draw_batch", lambda ws, *rest: parts.append(len(ws)) or draw(ws, *rest)
    )
    torch.testing.assert_close(prepared(ws, noise), whole, rtol=0, atol=2e-5)
    assert parts == [2, 2, 1]


def test_as_many_are_drawn_at_once_as_memory_is_kept_for():
    large = StyleGAN2Config(resolution=256, channel_base=16384, channel_max=8, w_dim=8, z_dim=8)
    prepared = prepare(StyleGAN2(large))
    assert isinstance(prepared, PreparedSynthesis)
    assert prepared.at_once == 2**25 // (8 * 256 * 256 * 4)


HALF: dict[str, Callable[[], Generator]] = {
    "resnet": lambda: tiny_network(dataclasses.replace(TINY, architecture="resnet")),
    "orig": lambda: tiny_network(dataclasses.replace(TINY, architecture="orig")),
    "stylegan3": tiny_stylegan3,
    "r3gan": tiny_r3gan,
}


@pytest.mark.parametrize("name", HALF)
def test_families_published_in_half_precision_are_drawn_so(name: str):
    generator = HALF[name]()
    ws = generator.mapping(torch.randn(2, generator.z_dim))
    exact, half = generator.synthesis(ws), prepare(generator, torch.bfloat16)(ws)
    assert half.dtype == torch.float32
    assert 1e-5 < float((half - exact).abs().mean() / exact.std()) < 0.03
    assert torch.equal(generator.synthesis(ws), exact), "the network itself stays exact"
    assert prepare(generator, torch.float32) == generator.synthesis


@pytest.mark.parametrize("family", [tiny_dcgan, tiny_biggan, tiny_fastgan])
def test_others_keep_their_format(family: Callable[[], Generator]):
    generator = family()
    assert prepare(generator, torch.bfloat16) == generator.synthesis
