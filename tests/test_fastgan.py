"""FastGAN against a plain network, built here from the published architecture with torch's own
spectral norm, batch norm and gates."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from gan import rendering
from gan.device import Device
from gan.errors import LabError
from gan.generators import fastgan
from gan.generators.fastgan import FastGAN
from gan.loading import load_generator, save_model
from gan.recipe import Recipe
from gan.rendering import Model
from tests.families import error_of, shapes_of, tiny_fastgan

Z_DIM = 12
# Channels at each resolution; the published ones are 64 times as many.
WIDTHS = {4: 16, 8: 12, 16: 8, 32: 6, 64: 6, 128: 4, 256: 4, 512: 3, 1024: 2}
EXCITE = {64: 4, 128: 8, 256: 16, 512: 32}


class Noise(nn.Module):
    """Adds what `drawn(resolution)` gives, times a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.4]))
        self.drawn: Callable[[int], Tensor] = lambda _: torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * self.drawn(x.shape[-1])


class Plain(nn.Module):
    """The published architecture; its modules carry the published names."""

    init: Any

    def __init__(self, resolution: int, norm: Any = spectral_norm) -> None:
        super().__init__()
        self.resolution = resolution
        start = norm(nn.ConvTranspose2d(Z_DIM, 2 * WIDTHS[4], 4, bias=False))
        self.init = nn.Module()
        self.init.init = nn.Sequential(start, nn.BatchNorm2d(2 * WIDTHS[4]), nn.GLU(1))

        def block(r: int) -> None:
            layers: list[nn.Module] = [nn.Upsample(scale_factor=2)]
            twice = r in (8, 32, 128, 512)
            for inputs in (WIDTHS[r // 2], WIDTHS[r])[: 1 + twice]:
                layers.append(norm(nn.Conv2d(inputs, 2 * WIDTHS[r], 3, 1, 1, bias=False)))
                layers += [Noise()] * twice
                layers += [nn.BatchNorm2d(2 * WIDTHS[r]), nn.GLU(1)]
            self.add_module(f"feat_{r}", nn.Sequential(*layers))

        def excitation(r: int) -> None:
            gate: Any = nn.Module()
            gate.main = nn.Sequential(
                nn.AdaptiveAvgPool2d(4),
                norm(nn.Conv2d(WIDTHS[EXCITE[r]], WIDTHS[r], 4, bias=False)),
                nn.SiLU(),
                norm(nn.Conv2d(WIDTHS[r], WIDTHS[r], 1, bias=False)),
                nn.Sigmoid(),
            )
            self.add_module(f"se_{r}", gate)

        for r in (8, 16, 32, 64, 128, 256):
            block(r)
        for r in (64, 128, 256):
            excitation(r)
        self.to_128 = norm(nn.Conv2d(WIDTHS[128], 3, 1, bias=False))
        self.to_big = norm(nn.Conv2d(WIDTHS[resolution], 3, 3, padding=1, bias=False))
        if resolution >= 512:  # in the original these come last
            block(512)
            excitation(512)
        if resolution == 1024:
            block(1024)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.init.init(z.view(len(z), -1, 1, 1))
        at = {4: x}
        r = 8
        while r <= self.resolution:
            x = self.get_submodule(f"feat_{r}")(x)
            if r in EXCITE:
                gate: Any = self.get_submodule(f"se_{r}")
                x = x * gate.main(at[EXCITE[r]])
            at[r] = x
            r *= 2
        big = self.to_big(x)
        return (big.tanh() if self.resolution == 1024 else big), self.to_128(at[128]).tanh()


def plain(resolution: int, norm: Any = spectral_norm) -> Plain:
    """As after some training: power iterations have converged, statistics have moved."""
    torch.manual_seed(0)
    network = Plain(resolution, norm).requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1 and not name.endswith(("_u", "_v", "running_var", "tracked")):
            tensor.add_(0.2 * torch.randn(tensor.shape))
    for _ in range(2):
        network(torch.randn(2, Z_DIM))
    return network.eval()


@pytest.fixture(scope="module")
def networks() -> dict[int, Plain]:
    return {resolution: plain(resolution) for resolution in (256, 512, 1024)}


def opened(tensors: dict[str, Tensor]) -> FastGAN:
    assert fastgan.matches(shapes_of(tensors))
    network = FastGAN(fastgan.config_from(shapes_of(tensors), tensors, {})).requires_grad_(False)
    network.load_state_dict(dict(fastgan.canonical(tensors)), strict=True)
    return network


def latents(count: int = 2) -> Tensor:
    return torch.randn(count, Z_DIM, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_it_draws_what_the_published_network_draws(networks: dict[int, Plain], resolution: int):
    reference = networks[resolution]
    network, z = opened(reference.state_dict()), latents()
    assert (network.z_dim, network.resolution, network.num_ws) == (Z_DIM, resolution, 1)
    big, small = reference(z)
    ws = network.mapping(z)
    assert error_of(network.synthesis(ws, noise="none"), big) < 1e-4
    assert error_of(network.synthesis(ws, noise="none", resolution=128), small) < 1e-4


def test_noise_is_seeded_and_enters_where_it_is_published_to(networks: dict[int, Plain]):
    reference, seed = networks[256], 5
    network, z = opened(reference.state_dict()), latents()
    for block in ("feat_8", "feat_32", "feat_128"):
        found = [
            each for each in reference.get_submodule(block).children() if isinstance(each, Noise)
        ]
        assert len(found) == 2
        counted = itertools.count()

        def drawn(r: int, counted: itertools.count = counted) -> Tensor:
            source = torch.Generator().manual_seed(seed * 1009 + 2 * r + next(counted))
            return torch.randn(1, 1, r, r, generator=source)

        for each in found:
            each.drawn = drawn
    big, _ = reference(z)
    for block in ("feat_8", "feat_32", "feat_128"):
        for each in reference.get_submodule(block).children():
            if isinstance(each, Noise):
                each.drawn = lambda _: torch.zeros(1)
    ws = network.mapping(z)
    assert error_of(network.synthesis(ws, noise=seed), big) < 1e-4
    assert error_of(network.synthesis(ws, noise="none"), big) > 0.01


def test_the_kinds_of_noise():
    network = tiny_fastgan()
    ws = network.mapping(torch.randn(1, 10)).repeat(2, 1, 1)
    const = network.synthesis(ws)
    assert torch.equal(const, network.synthesis(ws, "const"))
    assert torch.equal(const, network.synthesis(ws, 0))
    assert not torch.allclose(const, network.synthesis(ws, 1), atol=1e-3)
    torch.testing.assert_close(const[0], const[1])
    one, other = network.synthesis(ws, torch.Generator().manual_seed(0))
    assert not torch.allclose(one, other, atol=1e-3)


# Spellings and files


def second_spelling(tensors: dict[str, Tensor], resolution: int) -> dict[str, Tensor]:
    """The names of the other published implementation."""
    renamed = {}
    for name, tensor in tensors.items():
        name = re.sub(r"^init\.init\.", "_init._layers.", name)  # noqa: PLW2901
        name = re.sub(r"^feat_(\d+)\.", r"_upsample_\1._layers.", name)  # noqa: PLW2901
        name = re.sub(r"^se_(\d+)\.main\.", r"_sle_\1._layers.", name)  # noqa: PLW2901
        name = re.sub(r"^to_128\.", "_out_128.0.", name)  # noqa: PLW2901
        name = re.sub(r"^to_big\.", f"_out_{resolution}.0.", name)  # noqa: PLW2901
        if tensor.shape == (1,):
            name = name.removesuffix("weight") + "_weight"  # noqa: PLW2901
        name = re.sub(r"\.(weight_(?:orig|u|v))$", r"._conv.\1", name)  # noqa: PLW2901
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("prefix", ["", "module.", "netG."])
def test_both_published_spellings_are_one_network(networks: dict[int, Plain], prefix: str):
    tensors = networks[1024].state_dict()
    renamed = second_spelling(tensors, 1024)
    assert "_upsample_8._layers.1._conv.weight_orig" in renamed
    assert "_init._layers.0._conv.weight_u" in renamed
    assert "_upsample_8._layers.2._weight" in renamed
    one = fastgan.canonical(tensors)
    other = fastgan.canonical({prefix + name: tensor for name, tensor in renamed.items()})
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_newer_spectral_norm_is_known_too():
    reference = plain(256, parametrizations.spectral_norm)
    assert any("parametrizations" in name for name in reference.state_dict())
    network, z = opened(reference.state_dict()), latents()
    drawn = network.synthesis(network.mapping(z), noise="none")
    assert error_of(drawn, reference(z)[0]) < 1e-4


@pytest.mark.parametrize("parallel", ["", "module."])
def test_a_training_checkpoint_gives_its_averaged_parameters(
    networks: dict[int, Plain], parallel: str, tmp_path: Path
):
    reference, z = networks[512], latents()
    expected = reference(z)[0]
    trained = {
        # What training changes is not what the average holds; buffers are shared.
        parallel + name: tensor + 0.1 if name in dict(reference.named_parameters()) else tensor
        for name, tensor in reference.state_dict().items()
    }
    judge = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 4)), nn.BatchNorm2d(4))
    averaged = [parameter.detach().clone() for parameter in reference.parameters()]
    file = tmp_path / "all_50000.pth"
    torch.save({"g": trained, "d": judge.state_dict(), "g_ema": averaged, "opt_d": {}}, file)
    generator = load_generator(file)
    assert (generator.family, generator.resolution) == ("fastgan", 512)
    assert error_of(generator.synthesis(generator.mapping(z), noise="none"), expected) < 1e-4
    torch.save({"g": trained, "d": judge.state_dict()}, file)
    other = load_generator(file)
    assert error_of(other.synthesis(other.mapping(z), noise="none"), expected) > 0.01


def test_a_file_of_the_hub_is_opened_without_a_config(networks: dict[int, Plain], tmp_path: Path):
    folder = tmp_path / "fastgan-few-shot-shells"
    folder.mkdir()
    torch.save(second_spelling(networks[1024].state_dict(), 1024), folder / "pytorch_model.bin")
    generator = load_generator(folder)
    info = generator.info
    assert (info.family, info.resolution, info.z_dim) == ("fastgan", 1024, Z_DIM)
    z = latents(1)
    drawn = generator.synthesis(generator.mapping(z), noise="none")
    assert error_of(drawn, networks[1024](z)[0]) < 1e-4


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ({"init.init.0.weight_u": None}, "network_lacks"),
        ({"feat_16.1.weight_orig": None}, "network_lacks"),
        ({"feat_256.1.weight_orig": torch.ones(3)}, "network_shape"),
        ({"feat_256.2.running_mean": None}, "wrong_tensors"),
        ({"to_big.weight_orig": torch.ones(3, 9, 3, 3)}, "network_shape"),
    ],
)
def test_incomplete_files_are_refused_by_name(
    networks: dict[int, Plain], damage: dict, code: str, tmp_path: Path
):
    tensors = networks[256].state_dict() | damage
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    torch.save(kept, tmp_path / "g.pth")
    with pytest.raises(LabError) as caught:
        load_generator(tmp_path / "g.pth")
    assert caught.value.code == code


# The interface


def test_features_and_weights():
    network, z = tiny_fastgan(512), torch.randn(3, 10)
    ws = network.mapping(z, psi=0.5)
    assert torch.equal(ws, 0.5 * z[:, None])
    assert network.layer_resolutions() == [4]
    names = network.layer_names()
    assert names == ["init", *(f"feat_{2**i}" for i in range(3, 10))]
    sizes = [network.features(ws, name).shape[-1] for name in names]
    assert sizes == [2**i for i in range(2, 10)]
    assert torch.equal(network.to_big(network.features(ws, "feat_512")), network.synthesis(ws))
    with pytest.raises(ValueError, match="feat"):
        network.features(ws, "feat_1024")
    stage = network.init.init[:2](z[:, :, None, None]).flatten(1)
    for given in (z @ network.style_weights().T, network.direction_activations(z)):
        torch.testing.assert_close(torch.pdist(given), torch.pdist(stage))


def test_a_large_one_is_dragged_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert tiny_fastgan().early_resolutions() == [128]
    save_model(tmp_path / "large", tiny_fastgan(512), name="large")
    model = Model(load_generator(tmp_path / "large"), Device("cpu", "float32", 1))
    monkeypatch.setattr(model, "_time_exact", lambda recipe: 3.0)  # on some machine
    monkeypatch.setattr(rendering, "remember", lambda *_: None)
    seconds, preview = {}, model._time_preview

    def time_preview(recipe: Recipe, side: int | None) -> float | None:
        seconds[side] = preview(recipe, side)
        return seconds[side] and 0.1

    monkeypatch.setattr(model, "_time_preview", time_preview)
    cost = model.measure(Recipe("large"))
    assert (cost.drag, cost.preview_resolution) == ("small", 128)
    assert list(seconds) == [128]
    assert model.draw_previews([Recipe("large")]).shape[1:] == (128, 128, 3)
