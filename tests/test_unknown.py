"""What can't be opened is named, with what is missing and what would work."""

from pathlib import Path

import pytest
import torch

import gan
from gan.errors import LabError
from tests.tiny import tiny_network
from tests.tiny_pickles import Called, invented, nested

T = torch.zeros(2, 2, 3, 3)


def refusal(source: Path) -> LabError:
    with pytest.raises(LabError) as caught:
        gan.load_generator(source)
    assert "{" not in caught.value.message("en")
    return caught.value


FOREIGN = {
    "looks_like_stylegan_xl": ["mapping.embed_proj.weight", "synthesis.input.weight"],
    "looks_like_projected_gan": ["synthesis.init.init.0.weight_orig", "synthesis.feat_8.1.weight"],
    "looks_like_stylegan1": ["generator.progression.0.conv1.0.weight", "style.1.weight"],
    "looks_like_lucidrains_stylegan2": ["S.net.0.weight", "G.blocks.0.to_style1.weight"],
    "looks_like_lightweight_gan": ["G.initial_conv.0.weight", "G.layers.0.0.1.weight"],
    "looks_like_biggan": ["shared.weight", "blocks.0.0.conv1.weight"],
    "looks_like_translation": ["model.10.conv_block.1.weight", "model.1.weight"],
    "looks_like_diffusion": ["model.diffusion_model.input_blocks.0.0.weight"],
    "looks_like_autoencoder": ["encoder.conv_in.weight", "quant_conv.weight"],
    "looks_like_transformer": ["model.layers.0.self_attn.q_proj.weight"],
    "discriminator_only": ["b64.fromrgb.weight", "b4.mbstd.x", "b4.out.weight"],
    "family_not_recognised": ["fc.weight", "layer1.0.conv1.weight"],
}


@pytest.mark.parametrize("code", FOREIGN)
def test_other_families_are_named(tmp_path: Path, code: str):
    torch.save({"state_dict": dict.fromkeys(FOREIGN[code], T)}, tmp_path / "n.pt")
    assert refusal(tmp_path / "n.pt").code == code


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (
            "looks_like_diffusion",
            ["down_blocks.0.attentions.0.weight", "time_embedding.linear_1.w"],
        ),
        ("looks_like_diffusion", ["cond_stage_model.transformer.weight", "betas"]),
        ("looks_like_diffusion", ["first_stage_model.decoder.conv_in.weight"]),
        ("looks_like_stylegan1", ["synthesis/4x4/Const/StyleMod/weight"]),
        ("looks_like_stylegan1", ["g_synthesis.blocks.4x4.bias"]),
        (
            "discriminator_only",
            ["convs.0.0.weight", "final_conv.0.weight", "final_linear.0.weight"],
        ),
    ],
)
def test_their_other_spellings_too(tmp_path: Path, code: str, names: list[str]):
    torch.save(dict.fromkeys(names, T), tmp_path / "n.pth")
    assert refusal(tmp_path / "n.pth").code == code


def test_tensorflows_first_stylegan_is_named(tmp_path: Path):
    import pickle

    import numpy as np

    name = "dnnlib.tflib.network.Network"
    with invented(name):
        variables = [("G_synthesis/4x4/Conv/StyleMod/weight", np.zeros((2, 2), np.float32))]
        part = Called(name, state={"variables": variables, "components": {}})
        (tmp_path / "n.pkl").write_bytes(pickle.dumps((part, part, part)))
    assert refusal(tmp_path / "n.pkl").code == "looks_like_stylegan1"


def test_a_class_of_stylegan_xl_is_named(tmp_path: Path):
    import pickle

    name = "torch_utils.persistence._reconstruct_persistent_obj"
    with invented(name):
        state = {"_parameters": {"weight": nested(T)}, "_buffers": {}, "_modules": {}}
        meta = {"class_name": "SuperresGenerator", "state": state, "module_src": ""}
        (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": Called(name, meta)}))
    assert refusal(tmp_path / "n.pkl").code == "looks_like_stylegan_xl"


@pytest.mark.parametrize("missing", ["mapping", "synthesis"])
def test_half_a_network_says_which_half_is_missing(tmp_path: Path, missing: str):
    whole = tiny_network().state_dict()
    torch.save({n: t for n, t in whole.items() if not n.startswith(missing)}, tmp_path / "n.pt")
    error = refusal(tmp_path / "n.pt")
    assert (error.code, error.values["missing"]) == ("half_a_network", missing)


def test_missing_layers_are_named(tmp_path: Path):
    whole = dict(tiny_network().state_dict())
    del whole["synthesis.b16.conv0.affine.weight"]
    torch.save(whole, tmp_path / "n.pt")
    error = refusal(tmp_path / "n.pt")
    assert (error.code, error.values["first"]) == (
        *("wrong_tensors", "synthesis.b16.conv0.affine.weight"),
    )
    del whole["synthesis.b16.torgb.weight"]
    torch.save(whole, tmp_path / "n.pt")
    assert refusal(tmp_path / "n.pt").code == "network_incomplete"


@pytest.mark.parametrize("label", ["D", "netD_state_dict", "discriminator"])
def test_a_discriminator_alone_is_named(tmp_path: Path, label: str):
    torch.save({label: {"main.0.weight": T, "main.2.weight": T}}, tmp_path / "n.pt")
    assert refusal(tmp_path / "n.pt").code == "discriminator_only"


def test_a_tutorials_discriminator_is_known_by_its_shapes(tmp_path: Path):
    shapes = {"main.0.weight": (8, 3, 4, 4), "main.2.weight": (1, 8, 4, 4)}
    torch.save({n: torch.zeros(shape) for n, shape in shapes.items()}, tmp_path / "netD.pth")
    assert refusal(tmp_path / "netD.pth").code == "discriminator_only"


@pytest.mark.parametrize("label", ["G", "netG_state_dict", "generator", "G_ema"])
def test_an_unknown_generator_beside_a_discriminator_is_no_discriminator(
    tmp_path: Path, label: str
):
    judge = {"main.0.weight": torch.zeros(8, 3, 4, 4), "main.2.weight": torch.zeros(1, 8, 4, 4)}
    unknown = {"layer.weight": torch.zeros(5, 7)}
    torch.save({label: unknown, "D": judge}, tmp_path / "n.pt")
    assert refusal(tmp_path / "n.pt").code == "family_not_recognised"
    torch.save({"weights": unknown, "D": judge}, tmp_path / "n.pt")
    assert refusal(tmp_path / "n.pt").code == "discriminator_only"


def test_a_folder_of_diffusers_is_named(tmp_path: Path):
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    assert refusal(tmp_path).code == "folder_of_diffusion"


def test_an_onnx_file_is_known_by_its_name_too(tmp_path: Path):
    (tmp_path / "g.onnx").write_bytes(b"\x08\x99something else")
    assert refusal(tmp_path / "g.onnx").code == "file_is_onnx"


@pytest.mark.parametrize(("suffix", "code"), [("onnx", "file_is_onnx"), ("h5", "file_is_keras")])
def test_a_folder_with_nothing_but_such_a_file_says_so(tmp_path: Path, suffix: str, code: str):
    (tmp_path / f"g.{suffix}").write_bytes(b"")
    assert refusal(tmp_path).code == code
