"""The StyleGAN2 generator: exact against published weights, and true to its promises."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.plain import plain_mapping, plain_synthesis
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config, upsample_image
from gan.loading import load_generator
from tests.families import error_of
from tests.tiny_pickles import snapshot

SMALL = StyleGAN2Config(resolution=32, z_dim=16, w_dim=16, channel_base=256, channel_max=16)


def network(config: StyleGAN2Config = SMALL, seed: int = 0) -> StyleGAN2:
    """A generator with random weights in which nothing is zero."""
    torch.manual_seed(seed)
    generator = StyleGAN2(config).requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if "noise_strength" in name or name.endswith("bias"):
            parameter.copy_(parameter + torch.randn(parameter.shape) * 0.3)
    generator.mapping.w_avg.normal_()
    return generator


def renamed_rosinality(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """rosinality's tensor names → the official ones."""
    parts = {
        "conv.weight": "weight",
        "conv.modulation.weight": "affine.weight",
        "conv.modulation.bias": "affine.bias",
        "activate.bias": "bias",
        "noise.weight": "noise_strength",
        "bias": "bias",
    }
    result = {}
    for key, tensor in stored.items():
        first, _, rest = key.partition(".")
        number, _, rest_of_list = rest.partition(".")
        if first == "style":
            result[f"mapping.fc{int(number) - 1}.{rest_of_list}"] = tensor
        elif first == "input":
            result["synthesis.b4.const"] = tensor[0]
        elif first == "noises":
            k = int(rest.rpartition("_")[2])
            layer = "b4.conv1" if k == 0 else f"b{8 * 2 ** ((k - 1) // 2)}.conv{(k - 1) % 2}"
            result[f"synthesis.{layer}.noise_const"] = tensor[0, 0]
        else:
            if first == "convs":
                layer = f"b{8 * 2 ** (int(number) // 2)}.conv{int(number) % 2}"
            elif first == "to_rgbs":
                layer = f"b{8 * 2 ** int(number)}.torgb"
            else:
                layer = {"conv1": "b4.conv1", "to_rgb1": "b4.torgb"}[first]
            part = parts.get(rest_of_list if first.endswith("s") else rest)
            if part is not None:  # blur kernels are all the same
                shape = {"weight": tensor.shape[1:], "noise_strength": ()}.get(part)
                flat = tensor.flatten() if part == "bias" else tensor
                result[f"synthesis.{layer}.{part}"] = (
                    tensor.reshape(shape) if shape is not None else flat
                )
    return result


def test_published_weights_give_the_published_pictures(oracles):
    folder = oracles / "rosinality_64"
    stored = torch.load(folder / "stylegan2-small.pt", weights_only=True)
    reference = np.load(folder / "reference.npz")
    weights = renamed_rosinality(stored["g_ema"])
    weights["mapping.w_avg"] = stored["latent_avg"]
    config = StyleGAN2Config(
        resolution=64,
        z_dim=48,
        w_dim=48,
        mapping_layers=4,
        channel_base=1024,
        channel_max=32,
    )
    generator = StyleGAN2(config).requires_grad_(False)
    missing, unexpected = generator.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("resample_filter" in name for name in missing)
    z = torch.from_numpy(reference["z"])
    for psi in (1.0, 0.7):
        ws = generator.mapping(z, psi=psi)
        expected = reference[f"ws_psi{psi:g}"]
        assert np.abs(ws.numpy() - expected).max() < 1e-4 * expected.std()
        pictures = reference[f"img_psi{psi:g}"]
        drawn = generator.synthesis(ws[: len(pictures)]).numpy()
        assert np.abs(drawn - pictures).max() < 1e-4 * pictures.std()
    mixed = torch.from_numpy(reference["ws_mix4"])[: len(reference["img_mix4"])]
    drawn = generator.synthesis(mixed).numpy()
    assert np.abs(drawn - reference["img_mix4"]).max() < 1e-4 * reference["img_mix4"].std()


PLAIN_SIZES = {
    "32 px": SMALL,
    "4 px": dataclasses.replace(SMALL, resolution=4),
    "128 px": dataclasses.replace(SMALL, resolution=128, channel_base=512, channel_max=12),
    "classes, grey": dataclasses.replace(
        SMALL, c_dim=5, img_channels=1, z_dim=9, w_dim=13, mapping_layers=2, mapping_lr=0.1
    ),
    "RGBA, uneven widths": dataclasses.replace(SMALL, img_channels=4, widths=(10, 14, 7, 5)),
    "clamped": dataclasses.replace(SMALL, conv_clamp=0.7),
}


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("size", PLAIN_SIZES)
def test_it_is_what_the_plain_equations_say(size, architecture, tmp_path):
    """As a published file opens: nothing but the tensors says which architecture it is."""
    drawn_from = network(dataclasses.replace(PLAIN_SIZES[size], architecture=architecture))
    (tmp_path / "network.pkl").write_bytes(snapshot(drawn_from))
    generator = load_generator(tmp_path / "network.pkl")
    config = drawn_from.config
    z = torch.randn(3, config.z_dim)
    c = torch.eye(config.c_dim)[[0, 2, 1]] if config.c_dim else None
    ws = plain_mapping(drawn_from, z, c)
    assert error_of(generator.mapping(z, c), ws) < 1e-4
    assert error_of(generator.synthesis(ws), plain_synthesis(drawn_from, ws)) < 1e-4
    mixed = torch.randn(3, config.num_ws, config.w_dim)  # no row can be taken for its neighbour
    assert error_of(generator.synthesis(mixed), plain_synthesis(drawn_from, mixed)) < 1e-4


@pytest.mark.parametrize("name", ["sg2_skip_m2_cond5", "sg2_skip_clamp", "sg2_resnet_m8"])
def test_the_plain_equations_draw_the_published_pictures(oracles, name):
    """Which makes them a reference for "orig" too, of which nobody has published a network."""
    generator = load_generator(oracles / name / "network.pkl")
    assert isinstance(generator, StyleGAN2)
    stored = np.load(oracles / name / "reference.npz")
    reference = {each: torch.from_numpy(stored[each]) for each in stored}
    c = reference["c"] if generator.c_dim else None
    ws = plain_mapping(generator, reference["z"], c)
    assert error_of(ws, reference["ws_psi1_cutNone"]) < 1e-4
    for rows, picture in (("ws_mixed", "img_mixed"), ("ws_random", "img_ws_random")):
        expected = reference[picture]
        drawn = plain_synthesis(generator, reference[rows][: len(expected)])
        assert error_of(drawn, expected) < 1e-4


def test_a_batch_draws_what_each_one_draws_alone():
    generator = network()
    ws = generator.mapping(torch.randn(4, 16))
    together = generator.synthesis(ws)
    alone = torch.cat([generator.synthesis(ws[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_truncation_moves_the_named_rows_only():
    generator = network()
    z = torch.randn(2, 16)
    full, cut = generator.mapping(z), generator.mapping(z, psi=0.5, cutoff=3)
    expected = generator.mapping.w_avg.lerp(full[:, :3], 0.5)
    assert torch.allclose(cut[:, :3], expected, atol=1e-6)
    assert torch.equal(cut[:, 3:], full[:, 3:])
    assert torch.allclose(
        generator.mapping(z, psi=0.0), generator.mapping.w_avg.expand(2, 8, 16), atol=1e-6
    )


def test_noise_can_be_stored_seeded_or_absent():
    generator = network()
    ws = generator.mapping(torch.randn(2, 16))
    const, none = generator.synthesis(ws, "const"), generator.synthesis(ws, "none")
    assert not torch.allclose(const, none, atol=1e-3)
    assert torch.equal(generator.synthesis(ws, 7), generator.synthesis(ws, 7))
    assert not torch.allclose(generator.synthesis(ws, 7), generator.synthesis(ws, 8), atol=1e-3)
    # A seed means the same noise for a picture, whatever it is drawn together with.
    assert torch.allclose(generator.synthesis(ws, 7)[1:], generator.synthesis(ws[1:], 7), atol=1e-4)


def test_noise_from_a_stream_differs_from_picture_to_picture():
    generator = network()
    ws = generator.mapping(torch.randn(1, 16)).repeat(2, 1, 1)
    first, second = generator.synthesis(ws, torch.Generator().manual_seed(0))
    assert not torch.allclose(first, second, atol=1e-3)


def test_stopping_early_gives_the_coarser_picture():
    generator = network()
    ws = generator.mapping(torch.randn(1, 16))
    assert generator.synthesis(ws, resolution=8).shape == (1, 3, 8, 8)
    for resolution in (16, 32):
        generator.synthesis.block(resolution).torgb.weight.zero_()
        generator.synthesis.block(resolution).torgb.bias.zero_()
    coarse, fine = generator.synthesis(ws, resolution=8), generator.synthesis(ws)
    for _ in range(2):
        coarse = upsample_image(coarse, generator.synthesis.block(8).resample_filter)
    assert torch.allclose(coarse, fine, atol=1e-5)


def test_classes_change_the_picture():
    generator = network(dataclasses.replace(SMALL, c_dim=3))
    z, c = torch.randn(1, 16), torch.eye(3)
    pictures = [generator.synthesis(generator.mapping(z, c[i : i + 1])) for i in range(3)]
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-3)
    assert not torch.allclose(pictures[1], pictures[2], atol=1e-3)
    with pytest.raises(ValueError, match="conditional"):
        generator.mapping(z)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_every_row_of_ws_is_used(architecture):
    generator = network(dataclasses.replace(SMALL, architecture=architecture))
    ws = generator.mapping(torch.randn(1, 16)).requires_grad_(True)
    generator.synthesis(ws).square().sum().backward()
    assert ws.grad is not None
    assert (ws.grad[0].abs().sum(dim=1) > 0).all()
    assert len(generator.layer_resolutions()) == generator.num_ws == 8


def test_bfloat16_stays_near():
    generator = network()
    ws = generator.mapping(torch.randn(4, 16))
    exact = generator.synthesis(ws)
    generator.synthesis.dtype = torch.bfloat16
    preview = generator.synthesis(ws)
    assert preview.dtype == torch.float32
    assert (preview - exact).abs().mean() < 0.05 * exact.std()


def test_clamping_holds():
    generator = network(dataclasses.replace(SMALL, conv_clamp=0.01))
    picture = generator.synthesis(generator.mapping(torch.randn(1, 16)))
    # Four colour layers of at most .01 each, summed over the upsampled skips.
    assert picture.abs().max() <= 4 * 0.01 + 1e-6
