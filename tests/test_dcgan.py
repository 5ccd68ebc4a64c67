"""DCGANs: of whatever size, however they were saved, drawn as PyTorch itself would."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gan.errors import LabError
from gan.generators import dcgan
from gan.generators.base import Generator
from gan.generators.dcgan import DCGAN
from gan.loading import load_generator
from gan.loading.families import FAMILIES, detect
from tests.families import (
    error_of,
    shapes_of,
    tiny_biggan,
    tiny_dcgan,
    tiny_fastgan,
    tiny_r3gan,
    tiny_stylegan3,
)
from tests.tiny import tiny_network

FACES = ((100, 512, 4, 1, 0), (512, 256, 4, 2, 1), (256, 128, 4, 2, 1), (128, 64, 4, 2, 1))
Plan = tuple[tuple[int, int, int, int, int], ...]  # inputs, outputs, kernel, stride, padding


def plain(plan: Plan, norm: bool = True, bias: bool = False) -> nn.Sequential:
    """The generator as every tutorial writes it, with random weights and statistics."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride, padding in plan:
        layers.append(nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=bias))
        layers += [nn.BatchNorm2d(outputs)] if norm else []
        layers.append(nn.ReLU())
    layers = [*layers[: -2 if norm else -1], nn.Tanh()]
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.ndim == 1:
            tensor.normal_(0.3, 0.5)
        elif tensor.ndim == 4:
            tensor.normal_(0, (tensor.shape[0] * 4) ** -0.5)
    return network


def opened(tensors: Mapping[str, Tensor]) -> DCGAN:
    """The generator that these tensors are."""
    assert dcgan.matches(shapes_of(tensors))
    network = DCGAN(dcgan.config_from(shapes_of(tensors), tensors, {})).requires_grad_(False)
    network.load_state_dict(dict(dcgan.canonical(tensors)), strict=True)
    return network


def same_pictures(network: Generator, reference: nn.Module) -> None:
    z = torch.randn(3, network.z_dim, generator=torch.Generator().manual_seed(1))
    drawn = network.synthesis(network.mapping(z))
    assert error_of(drawn, reference(z[:, :, None, None])) < 1e-4
    assert drawn.shape == (3, network.img_channels, network.resolution, network.resolution)


SIZES = {
    "64 px": (
        (8, 16, 4, 1, 0),
        (16, 8, 4, 2, 1),
        (8, 6, 4, 2, 1),
        (6, 5, 4, 2, 1),
        (5, 3, 4, 2, 1),
    ),
    "two layers, grey": ((5, 7, 4, 1, 0), (7, 1, 4, 2, 1)),
    "starting at 7": ((5, 7, 7, 1, 0), (7, 6, 4, 2, 1), (6, 1, 4, 2, 1)),
    "28 px through 7": ((5, 7, 4, 1, 0), (7, 6, 3, 2, 1), (6, 4, 4, 2, 1), (4, 1, 4, 2, 1)),
    "2×2 and 6×6": ((5, 7, 4, 1, 0), (7, 6, 2, 2, 0), (6, 4, 6, 2, 2)),
    "RGBA": ((5, 7, 3, 1, 0), (7, 4, 4, 2, 1)),
}


@pytest.mark.parametrize("plan", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("norm", "bias"), [(True, False), (False, True), (True, True)])
def test_any_size_is_read_from_the_shapes(plan: Plan, norm: bool, bias: bool):
    reference = plain(plan, norm, bias)
    same_pictures(opened(reference.state_dict()), reference)


@pytest.mark.parametrize(
    "prefix", ["", "main.", "model.", "module.main.", "netG.gen.", "generator.net.module.", "g.1."]
)
def test_any_wrapping_is_taken_off(prefix: str):
    reference = plain(SIZES["64 px"])
    wrapped = {prefix + name: tensor for name, tensor in reference.state_dict().items()}
    same_pictures(opened(wrapped), reference)
    # A safetensors file lists its names alphabetically: main.10 before main.3.
    same_pictures(opened(dict(sorted(wrapped.items()))), reference)


def test_blocks_and_named_layers_are_put_in_order():
    reference = plain(SIZES["64 px"])
    layers = dict(reference.named_children())
    numbers = sorted({int(name) // 3 for name in layers})
    blocks, named = {}, {}
    for old, tensor in reference.state_dict().items():
        place, part = old.split(".")
        number, is_norm = numbers[int(place) // 3], int(place) % 3 == 1
        blocks[f"gen.{number}.{int(is_norm)}.{part}"] = tensor
        named[f"{'bn' if is_norm else 'tconv'}{number + 1}.{part}"] = tensor
    same_pictures(opened(blocks), reference)
    same_pictures(opened(dict(sorted(named.items()))), reference)


def test_names_without_order_stand_in_the_files_order():
    reference = plain(SIZES["two layers, grey"])
    names = {"0": "initial:5-7:convt", "1": "initial:7:batchnorm", "3": "final:7-1:convt"}
    renamed = {
        f"main.{names[name.split('.')[0]]}.{name.split('.')[1]}": tensor
        for name, tensor in reference.state_dict().items()
    }
    same_pictures(opened(renamed), reference)


def discriminator() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4))


@pytest.mark.parametrize("form", ["checkpoint.tar", "netG.pt", "model.bin", "model.safetensors"])
def test_files_of_students_are_opened(form: str, tmp_path: Path):
    reference, file = plain(SIZES["64 px"]), tmp_path / form
    state = {f"main.{name}": tensor for name, tensor in reference.state_dict().items()}
    if form == "checkpoint.tar":
        judge = discriminator()
        first = next(judge.parameters())
        moments = {"step": torch.tensor(3.0), "exp_avg": first, "exp_avg_sq": first}
        torch.save(
            {
                "epoch": 3,
                "netD_state_dict": judge.state_dict(),
                "netG_state_dict": state,
                "optimizerD": {"state": {0: moments}, "param_groups": [{"lr": 2e-4}]},
            },
            file,
        )
    elif form == "netG.pt":
        wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"state_dict": wrapped}, file)
    elif form == "model.bin":
        torch.save(state, file, _use_new_zipfile_serialization=False)
    else:
        save_file(state, file)
    generator = load_generator(file)
    assert isinstance(generator, DCGAN)
    assert (generator.info.family, generator.info.latent_space) == ("dcgan", "z")
    same_pictures(generator, reference)


def test_the_real_faces_are_those_that_pytorch_draws(face_file: Path):
    stored = torch.load(face_file, weights_only=True, map_location="cpu")["netG_state_dict"]
    reference = plain((*FACES, (64, 3, 4, 2, 1)))
    named = {name.removeprefix("main."): tensor for name, tensor in stored.items()}
    reference.load_state_dict(named, strict=True)
    generator = load_generator(face_file)
    assert isinstance(generator, DCGAN)
    assert (generator.z_dim, generator.resolution, generator.img_channels) == (100, 64, 3)
    same_pictures(generator, reference)
    assert generator.info.hash.startswith("0c3b90b138cf")


# What isn't one


def test_no_family_takes_another_for_its_own():
    networks = {
        "stylegan2": tiny_network(),
        "stylegan3": tiny_stylegan3(),
        "dcgan": tiny_dcgan(),
        "biggan": tiny_biggan(),
        "r3gan": tiny_r3gan(),
        "fastgan": tiny_fastgan(),
    }
    for name, network in networks.items():
        shapes = shapes_of(network.state_dict())
        matching = [family for family, each in FAMILIES.items() if each.reader.matches(shapes)]
        assert matching == [name]
        assert detect(shapes) == name
    assert networks.keys() == FAMILIES.keys()


def test_what_is_no_column_of_transposed_convolutions_is_left_alone():
    judge = {f"main.{name}": tensor for name, tensor in discriminator().state_dict().items()}
    assert not dcgan.matches(shapes_of(judge))
    whole = plain(SIZES["64 px"]).state_dict()
    for damaged in (
        {name: tensor for name, tensor in whole.items() if not name.startswith("3.")},
        whole | {"0.weight": torch.zeros(8, 16, 4, 3)},
        whole | {"1.running_mean": torch.zeros(15)},
        whole | {"12.weight": torch.zeros(5, 2, 4, 4)},
        whole | {"20.weight": torch.zeros(7, 7)},
        {"0.weight": torch.zeros(5, 3, 4, 4)},
        {},
    ):
        assert not dcgan.matches(shapes_of(damaged))


def _under(name: str, network: nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for key, tensor in network.state_dict().items()}


COLUMN = plain(SIZES["two layers, grey"])
BUILT_OTHERWISE = {
    "projecting": ({"fc.weight": torch.zeros(80, 9)} | _under("net", COLUMN), "network_has_more"),
    "conditional": (
        {"label_emb.weight": torch.zeros(3, 5)} | _under("main", COLUMN),
        "network_has_more",
    ),
    "VAE": (
        _under("encoder", discriminator())
        | {"fc.weight": torch.zeros(5, 9)}
        | _under("decoder", COLUMN),
        "looks_like_autoencoder",
    ),
    "autoencoder": (
        _under("encoder", discriminator()) | _under("decoder", COLUMN),
        "looks_like_autoencoder",
    ),
    "U-Net": (_under("down", discriminator()) | _under("up", COLUMN), "network_has_more"),
}


@pytest.mark.parametrize(("tensors", "code"), BUILT_OTHERWISE.values(), ids=BUILT_OTHERWISE)
def test_a_network_with_more_than_the_column_isnt_opened(
    tensors: dict[str, Tensor], code: str, tmp_path: Path
):
    torch.save(tensors, tmp_path / "g.pt")
    with pytest.raises(LabError) as caught:
        load_generator(tmp_path / "g.pt")
    assert caught.value.code == code
    if code == "network_has_more":
        assert next(iter(tensors)) in str(caught.value.values["names"])


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        ("encoder", "decoder"),
        ("encoder_state_dict", "decoder_state_dict"),
        ("vae_enc", "vae_dec"),
        ("Encoder", "Decoder"),
    ],
)
def test_a_decoder_in_a_table_beside_its_encoder_is_named(
    encoder: str, decoder: str, tmp_path: Path
):
    tables = {encoder: discriminator().state_dict(), decoder: COLUMN.state_dict()}
    projecting = tables | {decoder: COLUMN.state_dict() | {"fc.weight": torch.zeros(5, 9)}}
    for tree in (tables, {"model": tables, "epoch": 3}, projecting):
        torch.save(tree, tmp_path / "vae.pt")
        with pytest.raises(LabError) as caught:
            load_generator(tmp_path / "vae.pt")
        assert caught.value.code == "looks_like_autoencoder"
    torch.save(tables | {"generator": COLUMN.state_dict()}, tmp_path / "both.pt")
    same_pictures(load_generator(tmp_path / "both.pt"), COLUMN)
    torch.save({decoder: COLUMN.state_dict()}, tmp_path / "alone.pt")  # who can tell?
    same_pictures(load_generator(tmp_path / "alone.pt"), COLUMN)


@pytest.mark.parametrize("other", ["netD", "discriminator", "gan.critic", "encoder"])
def test_other_networks_in_the_same_table_are_no_obstacle(other: str, tmp_path: Path):
    name = "gan.netG" if "." in other else "netG"
    counter = {"step": torch.tensor(3.0)}
    torch.save(_under(other, discriminator()) | _under(name, COLUMN) | counter, tmp_path / "g.pt")
    generator = load_generator(tmp_path / "g.pt")
    assert isinstance(generator, DCGAN)
    same_pictures(generator, COLUMN)


def test_a_kernel_without_a_convention_is_named():
    tensors = plain(((5, 7, 4, 1, 0), (7, 1, 8, 4, 2))).state_dict()
    with pytest.raises(LabError) as caught:
        dcgan.config_from(shapes_of(tensors), tensors, {})
    assert (caught.value.code, caught.value.values["tensor"]) == ("network_shape", "3.weight")


def test_endless_doubling_is_refused(tmp_path: Path):
    width_one = {f"main.{i}.weight": torch.ones(1, 1, 4, 4) for i in range(40)}
    torch.save(width_one, tmp_path / "g.pt")
    with pytest.raises(LabError) as caught:
        load_generator(tmp_path / "g.pt")
    assert caught.value.code == "network_too_large"


# The interface


def test_psi_scales_z_and_nothing_else():
    network, z = tiny_dcgan(), torch.randn(2, 9)
    assert torch.equal(network.mapping(z, psi=0.5), 0.5 * z[:, None])
    assert torch.equal(network.mapping(z, psi=0.5, cutoff=0), z[:, None])
    assert network.layer_resolutions() == [4]


def test_features_are_those_on_the_way_to_the_picture():
    network, ws = tiny_dcgan(), torch.randn(2, 1, 9)
    assert network.layer_names() == ["main.2", "main.5"]
    sizes = [network.features(ws, name).shape[1:] for name in network.layer_names()]
    assert sizes == [(12, 4, 4), (6, 8, 8)]
    rest = network.main[6:](network.features(ws, "main.5"))
    assert torch.equal(rest, network.synthesis(ws))
    with pytest.raises(ValueError, match="main"):
        network.features(ws, "main.9")


def test_style_weights_are_what_z_enters_by():
    network, z = tiny_dcgan(), torch.randn(3, 9)
    stage = network.main[:2]
    change = stage(z[:, :, None, None]) - stage(torch.zeros(3, 9, 1, 1))
    torch.testing.assert_close(z @ network.style_weights().T, change.flatten(1))
    # What components are sought in has the same distances in fewer numbers.
    few = network.direction_activations(z)
    assert few.shape == (3, 9)
    torch.testing.assert_close(torch.pdist(few), torch.pdist(change.flatten(1)))
