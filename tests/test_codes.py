"""Categorical codes in z, and what is known of a data set's pictures as the networks get it."""

import dataclasses

import numpy as np
import pytest
import torch

from gan.device import Device
from gan.generators.codes import Codes
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.loading import native
from gan.training import checkpoint
from gan.training.budget import images_for_minutes
from gan.training.conditions import Conditions, shares_of
from gan.training.config import HEAD_START_RATE, TrainConfig
from gan.training.data import Attribute, Dataset, load_dataset
from gan.training.loop import Trainer

SHARES = ((0.5, 0.3, 0.2), (0.25, 0.75))
CPU = Device("cpu", "float32", 1)
SIZES = StyleGAN2Config(
    resolution=8, img_channels=1, z_dim=8, w_dim=8, channel_base=64, channel_max=8
)
CONFIG = TrainConfig(data="digits-tiny", images=8 * 16, batch=8, learning_rate=5e-3)


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    """Digits whose two attributes (which digit, odd or even) say much of what they show."""
    digits = load_dataset("digits-tiny")
    assert digits.labels is not None
    which = Attribute(tuple("0123456789"), digits.labels.astype(np.uint8))
    odd = Attribute(("even", "odd"), (digits.labels % 2).astype(np.uint8))
    return dataclasses.replace(
        digits, labels=None, classes=None, attributes={"digit": which, "odd": odd}
    )


def trainer(pictures: Dataset, config: TrainConfig = CONFIG, **options) -> Trainer:
    generator = dataclasses.replace(SIZES, codes=shares_of(pictures))
    config = dataclasses.replace(config, generator=generator)
    return Trainer(config, dataset=pictures, device=CPU, evaluate=False, **options)


def test_values_are_as_frequent_as_their_shares():
    values = Codes(SHARES, 8).read(normal(50_000))
    for column, shares in zip(values.T, SHARES, strict=True):
        found = torch.bincount(column, minlength=len(shares)) / len(column)
        assert found.tolist() == pytest.approx(shares, abs=0.01)


def test_what_is_written_is_read_and_z_stays_normal():
    codes, z = Codes(SHARES, 8), normal(50_000)
    wanted = codes.read(normal(50_000, seed=1))
    written = codes.write(z, wanted, torch.Generator().manual_seed(2))
    assert torch.equal(codes.read(written), wanted)
    assert torch.equal(written[:, 4:], z[:, 4:])  # beyond the planes of the codes
    assert torch.allclose(written.mean(dim=0), torch.zeros(8), atol=0.02)
    assert torch.allclose(torch.cov(written.T), torch.eye(8), atol=0.03)


def test_multi_hot_has_a_one_for_each_code():
    said = Codes(SHARES, 8).multi_hot(torch.tensor([[0, 1], [2, 0]]))
    assert said.tolist() == [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]


@pytest.mark.parametrize("shares", [[(0.5, 0.5)] * 5, [()], [(1.0, 0.0)], [(-1.0, 2.0)]])
def test_codes_that_cannot_be(shares):
    with pytest.raises(ValueError, match=r"codes? need"):
        Codes(shares, 8)


def test_the_code_decides_and_a_plane_turned_within_its_sector_changes_little():
    """The mapping network sees the code, not the angle alone."""
    generator = StyleGAN2(dataclasses.replace(SIZES, codes=SHARES))
    codes, z = generator.mapping.codes, normal(1)
    just_before, just_after = z.clone(), z.clone()
    for point, turn in ((just_before, 0.4999), (just_after, 0.5001)):  # code 0 changes at .5
        angle = torch.tensor(2 * np.pi * turn)
        point[0, :2] = torch.stack([angle.cos(), angle.sin()])
    assert codes.read(just_before)[0, 0] != codes.read(just_after)[0, 0]
    before, after = generator.mapping.w(just_before), generator.mapping.w(just_after)
    within = just_before.clone()
    angle = torch.tensor(2 * np.pi * 0.4997)
    within[0, :2] = torch.stack([angle.cos(), angle.sin()])
    step, jump = (before - generator.mapping.w(within)).norm(), (before - after).norm()
    assert jump > 20 * step


def test_codes_are_read_in_float64_too():
    """As `benchmarks/exactness.py` asks for."""
    generator = StyleGAN2(dataclasses.replace(SIZES, codes=SHARES)).eval()
    z = normal(3)
    with torch.no_grad():
        single = generator.mapping(z)
        double = generator.double().mapping(z.double())
    assert double.dtype == torch.float64
    assert torch.allclose(double.float(), single, atol=1e-5)


def test_a_model_with_codes_is_read_back_as_it_was_written(tmp_path):
    generator = StyleGAN2(dataclasses.replace(SIZES, codes=SHARES)).eval()
    native.save_model(tmp_path, generator, name="coded")
    again = native.read_model(tmp_path / "model.safetensors")
    assert again.config == generator.config
    z = normal(4)
    with torch.no_grad():
        assert torch.allclose(again(z), generator(z), atol=1e-5)  # another memory format


def test_shares_are_those_of_the_data(pictures):
    digit, odd = shares_of(pictures)
    counts = np.bincount(pictures.attributes["digit"].indices)
    assert digit == pytest.approx(tuple(counts / counts.sum()), abs=1e-5)
    assert len(odd) == 2
    assert sum(odd) == pytest.approx(1)


def test_both_networks_are_told_the_same(pictures):
    config = dataclasses.replace(SIZES, codes=shares_of(pictures))
    conditions = Conditions(pictures, config, torch.device("cpu"))
    picks = np.arange(20)
    about = conditions.of(picks)
    z = conditions.latents(20, about, torch.Generator().manual_seed(0))
    codes = Codes(config.codes, config.z_dim)
    assert about.told is not None
    assert torch.equal(codes.multi_hot(codes.read(z)), about.told)
    for column, attribute in enumerate(pictures.attributes.values()):
        assert codes.read(z)[:, column].tolist() == attribute.indices[picks].tolist()


def test_nothing_is_told_where_it_is_switched_off(pictures):
    config = dataclasses.replace(CONFIG, classes=False)
    alone = Trainer(config, dataset=pictures, device=CPU, evaluate=False, preset="tiny")
    assert alone.config.generator is not None
    assert alone.config.generator.codes == ()
    assert not hasattr(alone.G.mapping, "embed_codes")
    assert alone.D.config.c_dim == 0


def test_the_head_start_reconstructs_and_has_no_opponent(pictures):
    training = trainer(pictures, dataclasses.replace(CONFIG, images=8 * 60, head_start=0.9))
    before = checkpoint.digest(training.D.state_dict())
    assert training.config.learning_rate_at(0) == HEAD_START_RATE * 5e-3
    seen = [training.step() for _ in range(54)]
    assert all("loss_d" not in numbers for numbers in seen)
    assert checkpoint.digest(training.D.state_dict()) == before
    first, last = (
        torch.stack([n["reconstruction"] for n in part]).mean() for part in (seen[:6], seen[-6:])
    )
    assert last < 0.8 * first
    joined = training.step()
    assert {"loss_d", "loss_g", "reconstruction"} <= set(joined)
    assert checkpoint.digest(training.D.state_dict()) != before


def test_a_head_starts_own_steps_are_measured(pictures, monkeypatch):
    config = dataclasses.replace(CONFIG, images=0, minutes=0.01, head_start=0.5)
    training = trainer(pictures, config)
    steps = []
    for name in ("_reconstruct", "_update_discriminator"):
        real = getattr(Trainer, name)

        def noted(self, resolution, name=name, real=real):
            steps.append(name)
            return real(self, resolution)

        monkeypatch.setattr(Trainer, name, noted)
    assert images_for_minutes(training) > 0
    assert steps == ["_reconstruct"] * 4 + ["_update_discriminator"] * 4


def test_the_rate_of_a_head_start_falls_to_the_rate_of_the_game(pictures):
    config = dataclasses.replace(CONFIG, images=1000, head_start=0.5, learning_rate=1e-3)
    rates = [config.learning_rate_at(seen) for seen in range(0, 500, 50)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == HEAD_START_RATE * 1e-3
    assert config.learning_rate_at(499) == pytest.approx(1e-3, rel=1e-3)
    assert config.learning_rate_at(500) == 1e-3


def test_truncation_is_learned_in_the_second_half_of_a_head_start(pictures):
    config = dataclasses.replace(CONFIG, images=1000, head_start=0.5)
    assert [config.truncates(seen) for seen in (0, 249, 250, 999)] == [False, False, True, True]
    assert dataclasses.replace(config, head_start=0.0).truncates(0)
    assert dataclasses.replace(config, warm_start="model").truncates(0)
    assert not dataclasses.replace(config, least_psi=1.0).truncates(999)


def test_beside_codes_the_rest_of_z_begins_as_a_whisper(pictures):
    """What z holds beside its codes changes the first w less than the codes do."""
    G = trainer(pictures).G
    mapping, z = G.mapping, torch.randn(256, G.z_dim)
    values = mapping.codes.read(z)
    spread = mapping.w(z).std(dim=0).mean()
    alike = mapping.codes.write(torch.randn_like(z), values[:1].expand_as(values))
    assert mapping.w(alike).std(dim=0).mean() < 0.5 * spread


def test_a_run_with_a_head_start_reports_all_along(pictures):
    config = dataclasses.replace(CONFIG, head_start=0.5)
    reports = list(trainer(pictures, config).run())
    assert reports[-1].finished == "budget"
    assert reports[-1].histogram is not None


def test_a_warm_start_has_no_head_start_unless_asked(pictures):
    assert trainer(pictures).config.head_start == 0.4
    without = dataclasses.replace(CONFIG, reconstruction=0.0)
    assert trainer(pictures, without).config.head_start == 0.0
    digits = Trainer(CONFIG, dataset=load_dataset("digits-tiny"), device=CPU, evaluate=False)
    assert digits.config.head_start == 0.0


def test_stopping_and_resuming_changes_nothing(pictures, tmp_path):
    """In the head start, and in the game."""
    config = dataclasses.replace(CONFIG, head_start=0.5)
    whole = trainer(pictures, config)
    list(whole.run())
    for steps in (4, 12):
        folder = tmp_path / str(steps)
        first = trainer(pictures, config, folder=folder)
        for _ in range(steps):
            first.step()
        first.save()
        second = trainer(pictures, config, folder=folder)
        assert second.images_seen == steps * 8
        list(second.run())
        for name in ("G", "D", "ema"):
            ours, theirs = getattr(second, name), getattr(whole, name)
            assert checkpoint.digest(ours.state_dict()) == checkpoint.digest(theirs.state_dict())


def test_every_second_picture_is_drawn_truncated(pictures):
    training = trainer(pictures)
    ws = training.G.mapping(normal(64))
    center = training.G.mapping.w(training.gallery.z).mean(dim=0)
    pulled = training._truncated(ws)
    assert torch.allclose(pulled[::2], ws[::2], atol=1e-6)
    share = (pulled - center).norm(dim=2)[1::2] / (ws - center).norm(dim=2)[1::2]
    assert 0.49 < share.min() < 0.6
    assert 0.9 < share.max() < 1.01


def test_the_avatars_attributes_are_codes():
    avatars = load_dataset("avatars", 8)
    training = Trainer(
        TrainConfig(data="avatars", images=64, batch=8), dataset=avatars, device=CPU, evaluate=False
    )
    assert training.config.generator is not None
    assert [len(each) for each in training.config.generator.codes] == [
        len(each.values) for each in avatars.attributes.values()
    ]
    assert training.D.config.c_dim == sum(len(a.values) for a in avatars.attributes.values())
