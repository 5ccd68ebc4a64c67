"""Other people's files: exact against the reference networks, in every spelling and wrapping."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import gan
from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.generators.stylegan2_spellings import estimated_w_avg
from gan.loading import open_file
from gan.loading.content import Content
from gan.loading.networks import networks_in, plain
from gan.loading.pickles import Node
from tests.tiny import TINY, TINY_CLASSES, tiny_network
from tests.tiny_pickles import snapshot, tensorflow_pickle

BOUND = 1e-4  # of a picture's standard deviation
SNAPSHOTS = (
    *("sg2_skip_m8", "sg2_skip_m2_cond5", "sg2_resnet_m8", "sg2_skip_clamp", "sg2ada_skip_m8"),
)


def error_of(drawn: Tensor, expected: np.ndarray) -> float:
    return float(np.abs(drawn.numpy() - expected).max() / expected.std())


def weights(generator: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The reference networks


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_draws_the_published_pictures(oracles: Path, name: str):
    generator = gan.load_generator(oracles / name / "network.pkl")
    reference = np.load(oracles / name / "reference.npz")
    z = torch.from_numpy(reference["z"])
    c = torch.from_numpy(reference["c"]) if generator.c_dim else None
    compared = {"z", "c"}

    def compare(ws: Tensor, picture: str, **how: Any) -> None:
        expected = reference[picture]
        drawn = generator.synthesis(ws[: len(expected)], **how)
        assert error_of(drawn, expected) < BOUND, picture
        compared.add(picture)

    for psi, cutoff in ((1.0, None), (0.7, 4)):
        what = f"psi{psi:g}_cut{cutoff}"
        ws = generator.mapping(z, c, psi, cutoff)
        assert error_of(ws, reference[f"ws_{what}"]) < BOUND, what
        compared.add(f"ws_{what}")
        compare(ws, f"img_{what}")
    for rows, picture in (("ws_mixed", "img_mixed"), ("ws_random", "img_ws_random")):
        compare(torch.from_numpy(reference[rows]), picture)
        compared.add(rows)
    ws = generator.mapping(z, c)
    compare(ws, "img_noise_none", noise="none")
    for array in [each for each in reference if each.startswith("feat_")]:
        layer = array.removeprefix("feat_").replace("_img", ".rgb").removesuffix("_x")
        assert error_of(generator.features(ws[:1], layer), reference[array]) < BOUND, array
        compared.add(array)
    assert compared == set(reference), "every array is compared"


@pytest.mark.parametrize("file", ["stylegan2-small.pt", "training-000100.pt"])
def test_rosinality_draws_the_published_pictures(oracles: Path, file: str):
    generator = gan.load_generator(oracles / "rosinality_64" / file)
    reference = np.load(oracles / "rosinality_64" / "reference.npz")
    z = torch.from_numpy(reference["z"])
    if file.startswith("training"):  # it has no mean of w: the reference's is put in
        generator.state_dict()["mapping.w_avg"].copy_(torch.from_numpy(reference["latent_avg"]))
    assert error_of(generator.state_dict()["mapping.w_avg"], reference["latent_avg"]) < BOUND
    for psi in (1.0, 0.7):
        ws = generator.mapping(z, psi=psi)
        assert error_of(ws, reference[f"ws_psi{psi:g}"]) < BOUND
        expected = reference[f"img_psi{psi:g}"]
        assert error_of(generator.synthesis(ws[: len(expected)]), expected) < BOUND
    mixed, expected = torch.from_numpy(reference["ws_mix4"]), reference["img_mix4"]
    assert error_of(generator.synthesis(mixed[: len(expected)]), expected) < BOUND


def test_a_missing_mean_of_w_is_estimated_and_always_the_same(oracles: Path):
    file = oracles / "rosinality_64" / "training-000100.pt"
    first, second = gan.load_generator(file), gan.load_generator(file)
    estimate = first.state_dict()["mapping.w_avg"]
    assert torch.equal(estimate, second.state_dict()["mapping.w_avg"])
    other = estimated_w_avg(first.state_dict(), seed=1)
    assert (estimate - other).abs().max() < 0.1  # w's deviation is 0.7: 0.01 over 10,000
    assert estimate.abs().mean() > 0.2, "and it isn't simply zero"


def test_only_the_averaged_generator_is_taken(oracles: Path):
    opened = open_file(oracles / "sg2_skip_m8" / "network.pkl")
    assert (opened.kind, opened.family, opened.network) == ("pickle", "stylegan2", "G_ema")
    assert opened.kwargs["mapping_kwargs"]["num_layers"] == 8
    assert opened.kwargs["attributes"]["synthesis.b8.conv0"]["conv_clamp"] == 256
    opened = open_file(oracles / "rosinality_64" / "training-000100.pt")
    assert (opened.kind, opened.network) == ("zip", "g_ema")


def test_info_of_somebody_elses_file(oracles: Path):
    file = oracles / "sg2_skip_m2_cond5" / "network.pkl"
    info = gan.load_generator(file).info
    assert (info.name, info.family, info.path) == ("sg2_skip_m2_cond5", "stylegan2", file)
    assert info.classes == ("0", "1", "2", "3", "4")
    assert (info.resolution, info.img_channels, info.num_ws) == (64, 3, 10)
    assert (info.z_dim, info.w_dim, info.c_dim, info.latent_space) == (64, 48, 5, "w")
    assert info.hash == Content(file).sha256()
    assert info.size_bytes == file.stat().st_size


# Snapshots of our own making


SIZES = [
    TINY,
    TINY_CLASSES,
    replace(TINY, img_channels=4),
    replace(TINY, architecture="resnet", resolution=8),
    replace(TINY, architecture="orig", mapping_layers=1),
    replace(TINY, resolution=4),
    replace(TINY, widths=(12, 10, 11)),
    replace(TINY, channel_base=100, channel_max=12, resolution=32),
    replace(TINY, conv_clamp=0.5),
    replace(TINY, layer_clamps=(0.5, None, 0.75, 1.0, 2.0, None, 3.0, 4.0)),
    replace(TINY, mapping_lr=0.25),
]


@pytest.mark.parametrize("config", SIZES, ids=str)
def test_every_size_is_found_in_a_snapshot(tmp_path: Path, config: StyleGAN2Config):
    network = tiny_network(config)
    (tmp_path / "n.pkl").write_bytes(snapshot(network))
    loaded = gan.load_generator(tmp_path / "n.pkl")
    assert same_weights(loaded, network)
    assert loaded.config.clamps() == config.clamps()
    c = torch.eye(config.c_dim)[:2] if config.c_dim else None
    ws = loaded.mapping(torch.randn(2, config.z_dim), c, 0.7)
    torch.testing.assert_close(loaded.synthesis(ws), network.synthesis(ws), rtol=0, atol=1e-5)
    shape = (2, config.img_channels, config.resolution, config.resolution)
    assert loaded.synthesis(ws).shape == shape


def test_1024_pixels_open(tmp_path: Path):
    config = StyleGAN2Config(1024, z_dim=4, w_dim=4, channel_base=1024, channel_max=4)
    network = tiny_network(config)
    (tmp_path / "large.pkl").write_bytes(snapshot(network))
    loaded = gan.load_generator(tmp_path / "large.pkl")
    assert (loaded.resolution, loaded.num_ws) == (1024, 18)
    assert same_weights(loaded, network)


def test_a_text_beside_the_weights_is_never_believed(tmp_path: Path):
    network = tiny_network()
    (tmp_path / "n.pkl").write_bytes(snapshot(network, kwargs={"img_resolution": 2**40}))
    assert gan.load_generator(tmp_path / "n.pkl").resolution == TINY.resolution


def test_another_activation_is_refused(tmp_path: Path):
    attributes = {"synthesis.b8.conv0": {"activation": "swish"}}
    (tmp_path / "n.pkl").write_bytes(snapshot(tiny_network(), attributes=attributes))
    with pytest.raises(LabError) as caught:
        gan.load_generator(tmp_path / "n.pkl")
    assert caught.value.code == "network_differs"
    assert caught.value.values["layer"] == "synthesis.b8.conv0"


@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_tensorflow_networks_become_the_same_network(tmp_path: Path, architecture: str):
    network = tiny_network(replace(TINY, architecture=architecture, conv_clamp=None))
    (tmp_path / "tf.pkl").write_bytes(tensorflow_pickle(network))
    assert open_file(tmp_path / "tf.pkl").network == "Gs"
    loaded = gan.load_generator(tmp_path / "tf.pkl")
    assert loaded.config == replace(network.config, channel_base=192)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=1e-6)
    ws = network.mapping(torch.randn(2, 12), psi=0.5)
    torch.testing.assert_close(loaded.synthesis(ws), network.synthesis(ws), rtol=0, atol=1e-4)


# Files of tensors alone, as people save them


def wrapped(tensors: dict[str, Tensor], how: str) -> Any:
    junk = {"conv.weight": torch.zeros(1, 3, 4, 4)}
    return {
        "bare": tensors,
        "module": {f"module.{name}": tensor for name, tensor in tensors.items()},
        "compiled": {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()},
        "G_ema": {"G": junk, "G_ema": tensors, "D": junk},
        "nested": {"state": {"netG_state_dict": tensors, "netD_state_dict": junk}, "epoch": 3},
        "one table": {f"generator.{n}": t for n, t in tensors.items()}
        | {f"discriminator.{n}": t for n, t in junk.items()},
        "with options": {"g_ema": tensors, "args": SimpleNamespace(lr=0.002), "step": 1},
    }[how]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "how", ["bare", "module", "compiled", "G_ema", "nested", "one table", "with options"]
)
def test_a_torch_file_opens_however_it_is_wrapped(tmp_path: Path, how: str, legacy: bool):
    network = tiny_network()
    torch.save(
        wrapped(weights(network), how),
        tmp_path / "n.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    assert open_file(tmp_path / "n.pt").kind == ("legacy" if legacy else "zip")
    assert same_weights(gan.load_generator(tmp_path / "n.pt"), network)


def test_plain_safetensors_open(tmp_path: Path):
    network = tiny_network()
    save_file(weights(network), tmp_path / "n.safetensors")
    assert same_weights(gan.load_generator(tmp_path / "n.safetensors"), network)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_become_float32(tmp_path: Path, dtype: torch.dtype):
    network = tiny_network()
    stored = {name: tensor.to(dtype) for name, tensor in weights(network).items()}
    torch.save(stored, tmp_path / "n.pth")
    loaded = gan.load_generator(tmp_path / "n.pth")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, stored[name].float()), name


def test_views_and_shared_storages_are_read_as_they_are(tmp_path: Path):
    network = tiny_network()
    stored = weights(network)
    base = torch.randn(3, 12, 12)
    stored["mapping.fc0.weight"], stored["mapping.fc1.weight"] = base[1], base[2].T
    torch.save(stored, tmp_path / "n.pt")
    loaded = gan.load_generator(tmp_path / "n.pt").state_dict()
    assert torch.equal(loaded["mapping.fc0.weight"], base[1])
    assert torch.equal(loaded["mapping.fc1.weight"], base[2].T)


def test_what_a_state_dict_leaves_out_is_filled_in(tmp_path: Path):
    stored = weights(tiny_network())
    kept = {n: t for n, t in stored.items() if not n.endswith(("resample_filter", "noise_const"))}
    torch.save(kept, tmp_path / "n.pt")
    loaded = gan.load_generator(tmp_path / "n.pt")
    assert torch.equal(
        loaded.state_dict()["synthesis.b8.resample_filter"], stored["synthesis.b8.resample_filter"]
    )
    assert not loaded.state_dict()["synthesis.b8.conv0.noise_const"].any()


def test_fastgans_list_of_averaged_parameters_gets_its_names():
    names = {"a.weight": 1, "a.running_mean": 2, "b.weight": 3}
    lazy = {name: SimpleNamespace(size=size) for name, size in names.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gan.loading.networks.LazyTensor", SimpleNamespace)
        for tensor in lazy.values():
            tensor.shape = ()
        averaged = [SimpleNamespace(shape=()), SimpleNamespace(shape=())]
        first = networks_in({"g": lazy, "d": {}, "g_ema": averaged})[0]
    assert first.label == "g_ema"
    assert list(first.tensors.values()) == [averaged[0], lazy["a.running_mean"], averaged[1]]


# Nothing in a file can make us work without end


def test_nested_descriptions_are_cut_off():
    value: Any = (1, 2)
    for _ in range(200):
        value = (value, value)
    assert plain(value) is not None
    table: dict[str, Any] = {}
    table["itself"] = table
    assert plain(table) is not None


def test_modules_that_hold_themselves_are_refused():
    node = Node("Net", (), {"_modules": {}, "_parameters": {}})
    node.state["_modules"]["a"] = node.state["_modules"]["b"] = node
    with pytest.raises(ValueError, match=r"nested deeper|more modules"):
        networks_in(node)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    file = tmp_path / "n.pt"
    torch.save(weights(tiny_network()), file)
    opened = open_file(file)
    torch.save(weights(tiny_network(seed=1)), file)
    with pytest.raises(LabError) as caught:
        next(iter(opened.tensors.values())).load()
    assert caught.value.code == "model_changed"


def test_a_folder_with_one_model_is_enough(tmp_path: Path):
    torch.save(weights(tiny_network()), tmp_path / "pytorch_model.bin")
    generator = gan.load_generator(tmp_path)
    assert generator.info.name == tmp_path.name
    torch.save(weights(tiny_network()), tmp_path / "other.pt")
    with pytest.raises(LabError) as caught:
        gan.load_generator(tmp_path)
    assert caught.value.code == "folder_with_many"


def test_pictures_with_transparency_are_shown_on_white(tmp_path: Path):
    from gan.images import to_uint8

    images = torch.tensor([[-1.0, 0.0, 1.0, -1.0], [-1.0, 0.0, 1.0, 1.0]])[:, :, None, None]
    pixels = to_uint8(images)
    assert pixels.shape == (2, 1, 1, 3)
    assert pixels[0].tolist() == [[[255, 255, 255]]]
    assert pixels[1].tolist() == [[[0, 128, 255]]]


def test_features_and_styles_of_every_layer():
    network = tiny_network(replace(TINY, architecture="resnet"))
    ws = network.mapping(torch.randn(2, 12))
    for layer in network.layer_names():
        features = network.features(ws, layer)
        side = int(layer.partition(".")[0][1:])
        assert features.shape[0] == 2
        assert features.shape[2:] == (side, side)
    assert torch.equal(network.features(ws, "b16.rgb"), network.synthesis(ws))
    assert network.style_weights().shape[1] == network.w_dim
    assert network.direction_activations(torch.randn(1, 12)) is None
    with pytest.raises(ValueError, match=r"b16\.rgb"):
        network.features(ws, "b32")
    assert isinstance(network, StyleGAN2)
