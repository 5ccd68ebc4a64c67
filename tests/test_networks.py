"""The discriminator, and growth that disturbs nothing."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config, upsample_image
from gan.training.networks import (
    Discriminator,
    DiscriminatorConfig,
    discriminator_for,
    prepare_growth,
)

CONFIG = DiscriminatorConfig(resolution=32, channel_base=256, channel_max=16)


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(CONFIG)


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_takes_every_resolution(discriminator, resolution):
    assert discriminator(torch.randn(8, 3, resolution, resolution)).shape == (8,)


def test_every_parameter_learns_at_full_resolution(discriminator):
    discriminator(torch.randn(8, 3, 32, 32)).sum().backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_minibatch_statistic_sees_a_collapse(discriminator):
    picture = torch.randn(1, 3, 32, 32)
    same = discriminator(picture.repeat(4, 1, 1, 1))
    different = discriminator(torch.cat([picture, torch.randn(3, 3, 32, 32)]))
    assert torch.allclose(same[0], same[1], atol=1e-5)
    assert not torch.allclose(same[0], different[0], atol=1e-4)


def test_classes_matter():
    torch.manual_seed(0)
    conditional = Discriminator(dataclasses.replace(CONFIG, c_dim=3))
    pictures = torch.randn(4, 3, 32, 32)
    c = torch.eye(3)
    assert not torch.allclose(
        conditional(pictures, c[[0, 0, 0, 0]]), conditional(pictures, c[[1, 1, 1, 1]]), atol=1e-4
    )


def test_says_how_well_each_picture_fits_each_class():
    torch.manual_seed(0)
    conditional = Discriminator(dataclasses.replace(CONFIG, c_dim=3))
    pictures, c = torch.randn(4, 3, 32, 32), torch.eye(3)
    logits, fits = conditional.judge(pictures, c[[0, 0, 0, 0]])
    others, same_fits = conditional.judge(pictures, c[[1, 1, 1, 1]])
    assert fits is not None
    assert same_fits is not None
    assert fits.shape == (4, 3)
    assert torch.equal(fits, same_fits), "what was asked for doesn't change what is seen"
    assert torch.allclose(others - logits, fits[:, 1] - fits[:, 0], atol=1e-5)
    assert Discriminator(CONFIG).judge(pictures)[1] is None


@pytest.mark.parametrize(("classes", "ones"), [(2, 1), (200, 1), (200, 20)])
def test_what_was_asked_for_counts_as_much_however_much_can_be_asked(classes, ones):
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=8, z_dim=8, w_dim=8, channel_base=512, channel_max=64)
    config = dataclasses.replace(config, c_dim=classes)
    judge, pictures = Discriminator(discriminator_for(config)), torch.randn(64, 3, 8, 8)
    c = torch.zeros(64, classes)
    for row in c:
        row[torch.randperm(classes)[:ones]] = 1.0
    alone = judge(pictures, torch.zeros(64, classes))
    told = (judge(pictures, c) - alone).std()
    assert 0.3 < told / judge.out.weight.std() / alone.std() < 3


def test_growth_begins_where_the_coarse_networks_were():
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=32, z_dim=8, w_dim=8, channel_base=256, channel_max=16)
    generator, judge = StyleGAN2(config), Discriminator(discriminator_for(config))
    prepare_growth(generator, judge, 8)
    ws = generator.mapping(torch.randn(4, 8))
    coarse, fine = generator.synthesis(ws, "none", 8), generator.synthesis(ws, "none")
    for _ in range(2):
        coarse = upsample_image(coarse, generator.synthesis.block(8).resample_filter)
    assert torch.allclose(coarse, fine, atol=1e-5)
    pictures = torch.randn(4, 3, 32, 32)
    assert torch.allclose(judge(pictures), judge(F.avg_pool2d(pictures, 4)), atol=1e-5)


def test_growth_lets_the_new_parts_learn():
    torch.manual_seed(0)
    config = StyleGAN2Config(resolution=16, z_dim=8, w_dim=8, channel_base=256, channel_max=16)
    generator, judge = StyleGAN2(config), Discriminator(discriminator_for(config))
    prepare_growth(generator, judge, 8)
    judge(generator(torch.randn(4, 8))).sum().backward()
    for weight in (
        generator.synthesis.block(16).torgb.weight,
        judge.get_parameter("blocks.8.conv1.weight"),
    ):
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
