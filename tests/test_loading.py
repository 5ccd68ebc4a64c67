"""Model folders: what is saved is loaded, what is damaged or hostile is refused by name."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2Config
from gan.loading import list_models, load_generator, save_model
from tests.tiny import TINY, TINY_CLASSES, tiny_model, tiny_network


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose model folders have names."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("LATENT_LAB_MODELS", str(folder))
    return folder


def refusal(source: str | Path) -> LabError:
    with pytest.raises(LabError) as caught:
        load_generator(source)
    assert "{" not in str(caught.value).replace(
        str(caught.value.values), ""
    )  # every value is there
    return caught.value


def rewritten(folder: Path, **changes: object) -> Path:
    """The folder's weights with other metadata: changes go into the network's sizes."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["latent_lab"])
    described["network"] |= changes
    file.write_bytes(save(load_file(file), {"latent_lab": json.dumps(described)}))
    return file


@pytest.mark.parametrize("config", [TINY, TINY_CLASSES])
def test_a_saved_generator_draws_the_same_pictures(tmp_path: Path, config: StyleGAN2Config):
    network = tiny_network(config)
    save_model(tmp_path / "m", network, name="m")
    loaded = load_generator(tmp_path / "m")
    z, c = torch.randn(3, config.z_dim), torch.eye(config.c_dim)[:3] if config.c_dim else None
    ws = loaded.mapping(z, c, psi=0.6)
    assert torch.equal(ws, network.mapping(z, c, psi=0.6))
    torch.testing.assert_close(loaded.synthesis(ws), network.synthesis(ws), rtol=0, atol=1e-5)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_half_storage_is_half_as_large_and_nearly_the_same(tmp_path: Path):
    network = tiny_network()
    for name, half in (("whole", False), ("half", True)):
        save_model(tmp_path / name, network, name=name, half=half)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    ws = network.mapping(torch.randn(4, network.z_dim))
    exact, stored = network.synthesis(ws), load_generator(tmp_path / "half").synthesis(ws)
    assert 0 < (exact - stored).abs().max() < 0.05


def test_a_value_too_large_for_float16_keeps_its_tensor_whole(tmp_path: Path):
    network = tiny_network()
    network.state_dict()["mapping.fc0.weight"][0, 0] = 1e6
    save_model(tmp_path / "m", network, name="m", half=True)
    assert load_generator(tmp_path / "m").state_dict()["mapping.fc0.weight"][0, 0] == 1e6


def test_info_says_what_the_model_is(home: Path):
    digest = tiny_model(home / "digits-ish", TINY_CLASSES)
    info = load_generator("digits-ish").info
    assert (info.name, info.hash, info.revision) == ("digits-ish", digest, digest[:12])
    assert info.classes == ("class 0", "class 1", "class 2")
    assert info.title == {"en": "Tiny digits-ish", "zh": "微型 digits-ish"}
    assert (info.dataset, info.licence) == ("noise", "none needed")
    assert info.layers == (4, 8, 8, 8) == tuple(load_generator("digits-ish").layer_resolutions())
    assert info in list_models()


def test_words_may_be_edited_in_the_config_but_not_the_network(home: Path):
    tiny_model(home / "m")
    path = home / "m" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["title"]["en"], config["network"]["resolution"] = "Other", 1024
    path.write_text(json.dumps(config), encoding="utf-8")
    loaded = load_generator("m")
    assert (loaded.info.title["en"], loaded.resolution) == ("Other", 16)
    path.write_text("{broken", encoding="utf-8")
    assert load_generator("m").info.title["en"] == "Tiny m"


def test_a_model_is_called_as_its_folder(home: Path):
    tiny_model(home / "first")
    (home / "first").rename(home / "second")
    assert load_generator("second").info.name == "second"
    assert "first" not in [info.name for info in list_models()]


def test_a_list_follows_the_files_and_leaves_damage_out(home: Path):
    tiny_model(home / "a")
    tiny_model(home / "b")
    names = {info.name for info in list_models()}
    assert {"a", "b"} <= names
    before = next(info for info in list_models() if info.name == "a").hash
    assert tiny_model(home / "a", seed=1) != before
    assert next(info for info in list_models() if info.name == "a").hash != before
    (home / "b" / "model.safetensors").write_bytes(b"not a model")
    assert "b" not in {info.name for info in list_models()}


@pytest.mark.parametrize(
    ("exports", "chosen"), [(("model", "latest"), "model"), (("latest",), "latest")]
)
def test_a_run_gives_its_best_or_else_its_newest(tmp_path: Path, exports: tuple, chosen: str):
    hashes = {name: tiny_model(tmp_path / "run" / name, seed=len(name)) for name in exports}
    assert load_generator(tmp_path / "run").info.hash == hashes[chosen]
    assert load_generator(str(tmp_path / "run")).info.hash == hashes[chosen]


def test_a_single_file_is_enough(tmp_path: Path):
    tiny_model(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    assert load_generator(tmp_path / "alone.safetensors").info.name == "m"


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path):
    tiny_model(tmp_path / "m")
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    load_generator(tmp_path / "m")
    assert torch.equal(torch.randn(3), expected)


# Refusals


def test_what_is_not_there_is_named_with_what_is(home: Path, tmp_path: Path):
    tiny_model(home / "here")
    error = refusal("nowhere")
    assert error.code == "unknown_model"
    assert "here" in str(error.values["known"])
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").code == "folder_without_model"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 50) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 6) + b"\xff\xfe{}  ",
        struct.pack("<Q", 60_000) + b"[" * 60_000,
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    assert refusal(file).code == "damaged_model"


def test_every_cut_of_a_file_is_refused(tmp_path: Path):
    tiny_model(tmp_path / "m")
    whole = (tmp_path / "m" / "model.safetensors").read_bytes()
    file = tmp_path / "cut.safetensors"
    for length in range(0, len(whole), len(whole) // 23):
        file.write_bytes(whole[:length])
        assert refusal(file).code == "damaged_model"


def test_a_safetensors_file_of_no_known_network_is_refused(tmp_path: Path):
    (tmp_path / "x.safetensors").write_bytes(save({"a": torch.zeros(2)}))
    assert refusal(tmp_path / "x.safetensors").code == "family_not_recognised"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resolution", 48),
        ("resolution", 2**20),
        ("resolution", 16.0),
        ("resolution", True),
        ("img_channels", 2),
        ("z_dim", 0),
        ("w_dim", 10**9),
        ("c_dim", -1),
        ("mapping_layers", 10**6),
        ("mapping_lr", float("nan")),
        ("channel_base", 10**12),
        ("architecture", "__import__('os')"),
        ("conv_clamp", -1),
        ("extra", 1),
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, name: str, value: object):
    tiny_model(tmp_path / "m")
    assert refusal(rewritten(tmp_path / "m", **{name: value})).code == "bad_network"


def test_a_small_file_cannot_ask_for_a_large_network(tmp_path: Path):
    tiny_model(tmp_path / "m")
    file = rewritten(tmp_path / "m", resolution=1024, channel_base=2**17, channel_max=2048)
    error = refusal(file)
    assert error.code == "wrong_size"
    asked = int(str(error.values["needed"]).replace(",", ""))
    assert asked < 60_000_000, "it stopped at the first tensor that was too large"


def test_missing_superfluous_and_misshapen_tensors_are_refused(tmp_path: Path):
    tiny_model(tmp_path / "m")
    file = tmp_path / "m" / "model.safetensors"
    content = file.read_bytes()
    described = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    whole = load_file(file)

    def with_tensors(tensors: dict[str, torch.Tensor]) -> LabError:
        file.write_bytes(save(tensors, described["__metadata__"]))
        return refusal(file)

    bias = whole["mapping.fc0.bias"]
    missing = with_tensors({k: v for k, v in whole.items() if k != "mapping.fc0.bias"})
    assert (missing.code, missing.values["first"]) == ("wrong_tensors", "mapping.fc0.bias")
    assert with_tensors(whole | {"zzz": bias.clone()}).code == "wrong_tensors"
    assert with_tensors(whole | {"mapping.fc0.bias": bias[None]}).code == "wrong_shape"
    assert with_tensors(whole | {"mapping.fc0.bias": bias * torch.nan}).code == "damaged_model"
    assert with_tensors(whole | {"mapping.fc0.bias": bias.int()}).code == "damaged_model"


def test_a_newer_format_asks_for_an_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gan.loading.native.FORMAT", 2)
    tiny_model(tmp_path / "m")
    monkeypatch.undo()
    assert refusal(tmp_path / "m").code == "unknown_family"
