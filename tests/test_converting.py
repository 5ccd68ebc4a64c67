"""Converting: what is written loads back as the same network, whatever it was before."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gan
from gan import cli
from gan.converting import convert
from gan.errors import LabError
from gan.loading import save_model
from gan.loading.families import FAMILIES
from gan.rendering import draw_exact
from tests.families import tiny_biggan, tiny_dcgan, tiny_fastgan, tiny_r3gan, tiny_stylegan3
from tests.tiny import TINY, TINY_CLASSES, tiny_model, tiny_network
from tests.tiny_pickles import snapshot

CONFIGS = [
    TINY,
    TINY_CLASSES,
    replace(TINY, img_channels=4, widths=(12, 10, 11)),
    replace(TINY, layer_clamps=(0.5, None, 0.75, 1.0, 2.0, None, 3.0, 4.0)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_converted_model_is_the_same(tmp_path: Path, config):
    network = tiny_network(config)
    (tmp_path / "n.pkl").write_bytes(snapshot(network))
    convert(tmp_path / "n.pkl", tmp_path / "converted one")
    before, after = (
        gan.load_generator(tmp_path / "n.pkl"),
        gan.load_generator(tmp_path / "converted one"),
    )
    assert after.config == before.config
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor), name
    recipe = gan.Recipe(model="converted-one", seed=3, label=1 if config.c_dim else None)
    assert (draw_exact(before, recipe) == draw_exact(after, recipe)).all()
    assert after.info.name == "converted-one"
    assert before.info.hash in after.info.source
    assert after.info.source.startswith("n.pkl")


@pytest.mark.parametrize("folder", ["sg3_t", "sg3_r"])
def test_a_converted_stylegan3_is_the_same(oracles: Path, tmp_path: Path, folder: str):
    source = oracles / folder / "network.pkl"
    convert(source, tmp_path / "m")
    before, after = gan.load_generator(source), gan.load_generator(tmp_path / "m")
    assert after.config == before.config
    recipe = gan.Recipe(model="m", seed=3, psi=0.8)
    assert (draw_exact(before, recipe) == draw_exact(after, recipe)).all()
    assert "StyleGAN3" in (tmp_path / "m" / "README.md").read_text()


TINY_ONES = {
    "stylegan2": tiny_network,
    "stylegan3": lambda: tiny_stylegan3(c_dim=3),
    "biggan": tiny_biggan,
    "r3gan": lambda: tiny_r3gan(c_dim=3),
    "fastgan": tiny_fastgan,
    "dcgan": tiny_dcgan,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_converts(tmp_path: Path, family: str):
    network = TINY_ONES[family]()
    torch.save(network.state_dict(), tmp_path / "n.pt")
    before = gan.load_generator(tmp_path / "n.pt") if family != "stylegan3" else network
    save_model(tmp_path / "m", before, name="m")
    after = gan.load_generator(tmp_path / "m")
    assert (after.info.family, after.config) == (family, before.config)
    c = torch.eye(after.c_dim)[:2] if after.c_dim else None
    ws = after.mapping(torch.randn(2, after.z_dim), c)
    drawn, expected = after.synthesis(ws, noise=3), before.synthesis(ws, noise=3)
    assert (drawn - expected).abs().max() <= 1e-5 * expected.std()
    if family != "stylegan3":  # whose frequency plan isn't in the tensors' shapes
        convert(tmp_path / "n.pt", tmp_path / "c")
        assert (tmp_path / "c" / "README.md").stat().st_size > 500
        assert gan.load_generator(tmp_path / "c").config == before.config


@pytest.mark.parametrize("family", FAMILIES)
def test_no_size_in_a_familys_file_is_believed(tmp_path: Path, family: str):
    """Every number in the description, made impossible: refused, or as harmless as before."""
    from safetensors.torch import load_file, save

    network = TINY_ONES[family]()
    save_model(tmp_path / "m", network, name="m")
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    described = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    for place in numbers_in(described["network"]):
        for value in (-1, 2**17, 2**63, 1e300, [1] * 300, "x"):
            forged = json.loads(json.dumps(described))
            inner = forged["network"]
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = value
            file.write_bytes(save(tensors, {"latent_lab": json.dumps(forged)}))
            with contextlib.suppress(LabError):
                loaded = gan.load_generator(file)
                held = [tensor.numel() for tensor in loaded.state_dict().values()]
                assert sum(held) == sum(tensor.numel() for tensor in tensors.values())


def numbers_in(value: object, place: tuple = ()) -> Iterator[tuple]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_in(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers_in(item, (*place, index))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield place


def test_converting_twice_gives_the_same_bytes(tmp_path: Path):
    (tmp_path / "n.pkl").write_bytes(snapshot(tiny_network()))
    files = [convert(tmp_path / "n.pkl", tmp_path / n / "m") / "model.safetensors" for n in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    again = convert(files[0].parent, tmp_path / "c" / "m")
    assert gan.load_generator(again).info.name == "m"


def test_the_card_says_what_it_is_and_where_it_came_from(tmp_path: Path):
    (tmp_path / "n.pkl").write_bytes(snapshot(tiny_network()))
    card = (convert(tmp_path / "n.pkl", tmp_path / "m") / "README.md").read_text(encoding="utf-8")
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    assert card.startswith("---\nlicense: unknown\nlibrary_name: latent-lab\n")
    for said in ("StyleGAN2", "16 × 16", "n.pkl", config["source"], "not stated in the file"):
        assert said in card
    assert (config["family"], config["network"]["resolution"]) == ("stylegan2", 16)


def test_what_a_model_of_ours_says_is_kept(tmp_path: Path):
    tiny_model(tmp_path / "first", TINY_CLASSES)
    info = gan.load_generator(convert(tmp_path / "first", tmp_path / "second")).info
    assert info.classes == ("class 0", "class 1", "class 2")
    assert (info.dataset, info.licence) == ("noise", "none needed")


def test_how_it_was_trained_goes_along(tmp_path: Path):
    made = {"images_seen": 5000, "config": {"gamma": 1.0, "data": "noise"}}
    save_model(tmp_path / "first", tiny_network(), name="first", training=made)
    convert(tmp_path / "first", tmp_path / "second")
    convert(tmp_path / "second" / "model.safetensors", tmp_path / "third")
    config = json.loads((tmp_path / "third" / "config.json").read_text(encoding="utf-8"))
    assert config["training"] == made
    assert gan.load_generator(tmp_path / "third").info.training == made


def test_the_command_converts_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "n.pkl").write_bytes(snapshot(tiny_network()))
    assert cli.main(["convert", str(tmp_path / "n.pkl"), str(tmp_path / "m")]) == 0
    assert str(tmp_path / "m") in capsys.readouterr().out
    assert cli.main(["convert", str(tmp_path / "m"), str(tmp_path / "m")]) == 2
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04cposix\nsystem\n.")
    assert cli.main(["convert", str(tmp_path / "x.pkl"), str(tmp_path / "y")]) == 2
    assert "posix.system" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_a_run_is_not_written_over(tmp_path: Path):
    tiny_model(tmp_path / "m")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(LabError) as caught:
        convert(tmp_path / "m", tmp_path / "run")
    assert caught.value.code == "export_into_run"
