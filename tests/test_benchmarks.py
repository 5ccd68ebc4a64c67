"""The benchmarks' own arithmetic, and the networks that they compare ours with."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import beside_training, exactness, peer_dcgan, peer_stylegan2, peers, runs
from benchmarks.peers import Look
from gan.directions.pca import pca
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.loading import load_generator, save_model
from gan.training.data import load_dataset
from tests.tiny_run import tiny_run, train

OURS = [Look(1.0, 3.0, 100), Look(2.0, 0.9, 200), Look(4.0, 0.5, 400)]
TINY = StyleGAN2Config(8, 1, 8, 8, c_dim=10, mapping_layers=2, channel_base=64, channel_max=16)


# Beside peers


def test_as_good_at_the_first_look_that_is_no_worse() -> None:
    assert peers.when_as_good(OURS, 0.9) == 2.0
    assert peers.when_as_good(OURS, 0.4) is None


def test_the_verdict_is_about_the_better_peer_at_its_end() -> None:
    found = {"ours": OURS, "dcgan": [Look(2, 0.6, 9), Look(4, 0.8, 9)], "narrow": [Look(4, 2, 9)]}
    said = peers.verdict(found, 4.0)
    assert "dcgan, KID 0.8000" in said
    assert "after 4.0 minutes, 100% of the time" in said
    assert "not reached" in peers.verdict(found | {"dcgan": [Look(4, 0.1, 9)]}, 4.0)


def test_the_table_puts_each_look_at_its_moment() -> None:
    slow = [Look(9.0, 7.0, 32)]  # one step, longer than all
    rows = peers.table({"ours": OURS, "stylegan2": slow}, 4.0, 4).splitlines()[2:]
    assert rows == [
        "| 1.0 | 3.0000 |  |",
        "| 2.0 | 0.9000 |  |",
        "| 3.0 |  |  |",
        "| 4.0 | 0.5000 | 7.0000 |",
    ]


@pytest.mark.parametrize(("resolution", "channels"), [(32, 1), (64, 3)])
def test_the_tutorials_networks_fit_the_pictures(resolution: int, channels: int) -> None:
    generator = peer_dcgan.tutorial_generator(resolution, channels)
    images = generator(torch.randn(2, 100))
    assert images.shape == (2, channels, resolution, resolution)
    assert peer_dcgan.tutorial_discriminator(resolution, channels)(images).shape == (2, 1, 1, 1)


def test_the_tutorials_networks_at_64_px_are_as_large_as_published() -> None:
    networks = peer_dcgan.tutorial_generator(64, 3), peer_dcgan.tutorial_discriminator(64, 3)
    assert [sum(p.numel() for p in each.parameters()) for each in networks] == [3576704, 2765568]


def test_the_tutorials_initial_weights() -> None:
    network = peer_dcgan.tutorial_generator(32, 1).apply(peer_dcgan.with_normal_weights)
    conv, norm = network.main[0], network.main[1]
    assert isinstance(conv, nn.ConvTranspose2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert float(conv.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(norm.weight.detach().mean()) == pytest.approx(1.0, abs=0.01)


def test_a_step_of_plain_stylegan2_moves_both_networks() -> None:
    pictures = peers.Pictures(load_dataset("digits-tiny"))
    plain = peer_stylegan2.PlainStyleGAN2(pictures, TINY)
    before = _copies(plain.G), _copies(plain.D)
    plain.step()
    assert plain.images_seen == 32
    for old, new in zip(before, (_copies(plain.G), _copies(plain.D)), strict=True):
        assert [name for name in old if torch.equal(old[name], new[name])] == []
    (average,) = plain.generators()
    assert average.synthesis(average.mapping(torch.randn(2, 8), torch.eye(10)[:2])).shape[-1] == 8


def _copies(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def test_the_minibatch_statistic_sees_who_is_alike() -> None:
    alike = torch.ones(8, 3, 4, 4)
    assert float(peer_stylegan2.minibatch_deviation(alike).max()) == pytest.approx(1e-4)
    assert float(peer_stylegan2.minibatch_deviation(torch.randn(8, 3, 4, 4)).min()) > 0.3


# What a run costs beside its steps


def test_efficiency_is_one_when_two_do_twice_as_much() -> None:
    assert runs.efficiency(30.0, 60.0) == 1.0
    assert runs.efficiency(30.0, 30.0) == 0.5


def test_the_first_step_is_found_in_the_first_report() -> None:
    report = {"images_seen": 1160, "images_per_second": 80.0}
    assert runs.after_first_step(1000, report, 32) == pytest.approx(4 * 32 / 80)  # of five steps


def test_evaluations_are_timed_where_they_happen(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", evaluate=True)
    with runs.noted_looks(run.trainer) as looks:
        quality = train(run)[-1].quality
    assert quality is not None
    assert len(looks) == 1
    assert looks[0] > quality.seconds
    assert "_look" not in vars(run.trainer)


# Beside a training


def test_the_verdict_compares_medians_over_the_rounds() -> None:
    alone = [{"p50 ms": 10.0, "p95 ms": p95} for p95 in (20.0, 20.0, 99.0)]
    beside = [{"p50 ms": 15.0, "p95 ms": p95} for p95 in (30.0, 1.0, 90.0)]
    said = beside_training.verdict(alone, beside)
    assert "p50 ms 10.0 → 15.0: 1.50 times" in said
    assert "p95 ms 20.0 → 30.0: 1.50 times" in said


# What changes a picture


def test_exactness_is_measured_of_a_model_with_codes(tmp_path: Path) -> None:
    """Of the bundled kind, whose mapping network reads codes off z."""
    coded = dataclasses.replace(TINY, c_dim=0, codes=((0.5, 0.3, 0.2),))
    torch.manual_seed(3)
    generator = StyleGAN2(coded).eval().requires_grad_(False)
    save_model(tmp_path, generator, name="coded")
    generator = load_generator(tmp_path)
    assert isinstance(generator, StyleGAN2)
    wanted, directions = exactness.recipes(generator, 4), pca(generator)
    with torch.inference_mode():
        reference = exactness.exact(generator, wanted, directions)
        rows = dict(exactness.comparisons(generator, wanted, directions))
    assert {"preview (float32) alone", "preview (bfloat16) in a batch"} <= rows.keys()
    for name in ("again", "float64, plain equations", "prepared, float32"):
        assert np.abs(rows[name].astype(int) - reference).max() <= 1, name
