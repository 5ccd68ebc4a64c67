"""Model folders and their cards: complete, true to what was measured, and valid for the Hub."""

import argparse
import dataclasses
import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from gan import cards, cli
from gan.cards import Facts, command_line, learning_curve, model_card, other_settings
from gan.cli.training import train_config
from gan.errors import LabError
from gan.images import CAPTION
from gan.loading import load_generator
from gan.training.augment import AugmentConfig
from gan.training.config import TrainConfig
from gan.training.data import Attribute, load_dataset
from gan.training.loop import complete, train
from tests.tiny_run import CONFIG, CPU, tiny_run
from tests.tiny_run import train as train_run

SAMPLES = 20


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated twice, with a person's notes; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "little one"
    train_run(tiny_run(path, evaluate=True))
    train_run(tiny_run(path, dataclasses.replace(CONFIG, images=640), evaluate=True))
    (path / "notes.md").write_text("Made on a *rainy* day.")
    return path


@pytest.fixture(scope="module")
def written(run_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Facts]:
    """Its model folder, and the facts in its card."""
    facts = []

    def remember(found: Facts) -> str:
        facts.append(found)
        return model_card(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "model_card", remember)
        out = tmp_path_factory.mktemp("models") / "tiny digits"
        assert cards.write_model_folder(run_path, out, samples=SAMPLES, size=32) == out
    return out, facts[0]


@pytest.fixture
def folder(written: tuple[Path, Facts]) -> Path:
    return written[0]


@pytest.fixture
def facts(written: tuple[Path, Facts]) -> Facts:
    return written[1]


def readme(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


# Attributes


def test_the_card_tells_that_attributes_were_told_and_how_it_learned_from_them(
    facts: Facts,
) -> None:
    labels = facts.dataset.labels
    assert labels is not None
    odd = {"odd": Attribute(("even", "odd"), (labels % 2).astype(np.uint8))}
    dataset = dataclasses.replace(facts.dataset, labels=None, classes=None, attributes=odd)
    plain = dataclasses.replace(TrainConfig(data="digits-tiny", images=640), head_start=0.75)
    config = complete(plain, dataset)
    card = model_card(dataclasses.replace(facts, dataset=dataset, config=config))
    assert "| Told to both networks | 1 attributes: odd |" in card
    assert "alone, without a discriminator, up to 75% of the budget" in card
    assert "Told to both networks" not in model_card(facts)


# The folder


def test_everything_is_there_and_small(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("model.safetensors", "config.json", "discriminator.safetensors", "evaluation.json"),
        *("samples.png", "neighbours.png", "curve.svg", "README.md"),
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2**20


def test_the_card_links_to_what_is_there_and_to_all_of_it(folder: Path) -> None:
    linked = set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme(folder)))
    assert linked == {"samples.png", "neighbours.png", "curve.svg"}
    assert all((folder / name).is_file() for name in linked)


def test_the_model_is_the_runs_own(folder: Path, run_path: Path) -> None:
    ours, theirs = load_generator(folder), load_generator(run_path / "model")
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], tensor, rtol=1e-3, atol=1e-6), name
    info = ours.info
    assert (info.name, info.dataset, info.licence) == ("tiny-digits", "digits-tiny", "CC BY 4.0")
    assert info.title == {"en": "Tiny digits", "zh": "微型数字"}
    discriminator = "discriminator.safetensors"
    same = (run_path / "model" / discriminator).read_bytes()
    assert (folder / discriminator).read_bytes() == same


def test_a_folder_can_be_a_warm_start(folder: Path) -> None:
    config = TrainConfig(data="digits-tiny", images=32, warm_start=str(folder))
    list(train(config, device=CPU, evaluate=False))


def test_latest_takes_the_newest(run_path: Path) -> None:
    from gan.runs import RunDirectory

    directory = RunDirectory(run_path)
    assert cards._source(directory, latest=True) == run_path / "latest"
    assert cards._source(directory, latest=False) == run_path / "model"


def test_pictures_are_labelled_and_captioned(folder: Path) -> None:
    for name in ("samples.png", "neighbours.png"):
        with Image.open(folder / name) as picture:
            assert json.loads(picture.info["AIGC"])["Label"] == "1"
            assert min(picture.size) >= 256
            band = np.asarray(picture.convert("L"))[-12:]
            assert np.median(band) < 40, "the dark band of the caption"
            assert band.max() > 200, "and its bright text"


def test_the_grid_has_classes_in_columns(folder: Path) -> None:
    recipes, columns = cards.grid_recipes(load_generator(folder).info)
    assert (columns, len(recipes)) == (10, 70)
    assert [recipe.label for recipe in recipes[:12]] == [*range(10), 0, 1]
    assert {recipe.psi for recipe in recipes} == {0.7}
    plain = dataclasses.replace(load_generator(folder).info, classes=None)
    recipes, columns = cards.grid_recipes(plain)
    assert (columns, [recipe.seed for recipe in recipes]) == (8, list(range(64)))
    assert {recipe.label for recipe in recipes} == {None}


# Precision


def test_half_precision_is_taken_where_it_isnt_seen(folder: Path, facts: Facts) -> None:
    assert facts.precision["half"]
    assert facts.precision["largest_difference"] <= 1
    assert dtypes(folder) == {"F16", "F32"}
    assert "stored in float16" in readme(folder)


def test_half_precision_is_left_where_it_would_be_seen(
    run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "MOST_LEVELS", -1)
    dataset = load_dataset("digits-tiny")
    compared = cards._save(run_path / "model", tmp_path / "m", dataset, {})
    assert not compared["half"]
    assert dtypes(tmp_path / "m") == {"F32"}


def test_a_visible_difference_is_seen(run_path: Path) -> None:
    whole, other = load_generator(run_path / "model"), load_generator(run_path / "model")
    assert cards._compare_precision(whole, other)["share_of_values"] == 0
    with torch.no_grad():
        other.get_parameter("synthesis.b8.torgb.bias").add_(0.05)
    compared = cards._compare_precision(whole, other)
    assert compared["largest_difference"] == pytest.approx(6, abs=1)
    assert not compared["half"]


def dtypes(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118


# The words and figures


def test_the_figures_are_the_measured_ones(folder: Path) -> None:
    stored = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    report, text = stored["report"], readme(folder)
    assert report["samples"] == SAMPLES
    assert report["resolution"] == 8
    for name in ("kid", "kid_low", "kid_high", "floor", "baseline", "q", "coverage", "vendi"):
        assert cards._number(report[name]) in text, name
    assert f"{report['neighbours']['closer_than_holdout']:.1%}" in text
    assert "EfficientNet-Lite0 at 32 px" in text
    assert 0 < stored["images_seen"] <= 640  # of the best, which a slow machine may have seen early
    assert f"| {stored['images_seen']} |" in text
    assert stored["revision"] == load_generator(folder).info.revision


def test_the_card_says_what_licences_ask_for(folder: Path, facts: Facts) -> None:
    text = readme(folder)
    assert facts.dataset.attribution in text
    assert "**Licence: CC BY 4.0**" in text
    assert "labelled as AI-generated" in text
    assert "must not be used for" in text
    assert "Made on a *rainy* day." in text
    assert "640 images, set after 320" in text


def test_the_card_names_no_place_of_this_machine(folder: Path, run_path: Path) -> None:
    for path in folder.iterdir():
        if path.suffix in (".md", ".json", ".svg", ".safetensors"):
            assert str(run_path.parent).encode() not in path.read_bytes(), path.name


def front_matter(card: str) -> dict[str, Any]:
    import yaml

    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_hub_can_read_it(folder: Path) -> None:
    from huggingface_hub import ModelCard

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = ModelCard.load(folder / "README.md").data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["library_name"] == "latent-lab"
    assert data["pipeline_tag"] == "unconditional-image-generation"
    assert "gan" in data["tags"]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC BY-SA 3.0", {"license": "cc-by-sa-3.0"}),
        ("", {"license": "unknown"}),
        ('My own: "ask" me', {"license": "other", "license_name": 'My own: "ask" me'}),
    ],
)
def test_every_licence_is_said(facts: Facts, licence: str, expected: dict[str, str]) -> None:
    dataset = dataclasses.replace(facts.dataset, licence=licence, name="my cats")
    card = model_card(dataclasses.replace(facts, dataset=dataset))
    assert front_matter(card).items() >= expected.items()
    assert ("**Licence: unknown.**" in card) == (not licence)
    assert "pictures like those of the data set “my cats”" in card


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "No sign"), (0.01, "No sign"), (0.1, "In part"), (0.6, "**Yes")],
)
def test_copying_is_said_plainly(facts: Facts, share: float, said: str) -> None:
    report = json.loads(json.dumps(facts.report))
    report["neighbours_by_features"]["closer_than_holdout"] = share
    report["neighbours"]["closer_than_holdout"] = 0.0
    card = model_card(dataclasses.replace(facts, report=report))
    assert f"copy its training data?\n\n{said}" in card


def test_digits_are_counted_class_by_class(facts: Facts) -> None:
    shares = [0.9, *[1.0] * 8, None]
    report = {**facts.report, "accuracy": 0.978, "class_accuracy": shares}
    card = model_card(dataclasses.replace(facts, report=report, reals_recognised=0.986))
    assert "recognises **97.8%**" in card
    assert "recognises 98.6%" in card
    assert "| Recognised | 90.0% | " + "100.0% | " * 8 + "– |" in card
    assert "recognises" not in model_card(facts)


def test_the_judge_of_digits_is_judged_on_digits_it_never_saw() -> None:
    accuracy = cards._reals_recognised(load_dataset("digits"))
    assert accuracy is not None
    assert 0.97 <= accuracy < 1
    assert cards._reals_recognised(load_dataset("digits-tiny")) is None


def test_stretches_before_a_warm_start_are_told(facts: Facts) -> None:
    config = complete(TrainConfig(data="avatars", images=99), load_dataset("avatars", 16))
    stretch = {"images_seen": 99, "seconds": 90.0, "config": config.to_json(), "device": {}}
    history = {"earlier": [stretch], "budgets": [{"at": 0, "images": 640}]}
    card = model_card(dataclasses.replace(facts, history=history))
    assert f"| 99 | 1.5 | `{command_line(config)}` |" in card
    assert "It began from" not in model_card(facts)
    assert "was changed on the way" not in card


def test_a_value_that_doesnt_exist_is_a_dash(facts: Facts) -> None:
    report = {**facts.report, "q": None, "q_low": None, "q_high": None, "baseline": None}
    assert "| Quality q | – (– … –) | 1 | 0 |" in model_card(
        dataclasses.replace(facts, report=report)
    )


# The command


def parsed(command: str) -> argparse.Namespace:
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "gan"]
    return cli.parser().parse_args(words[3:])


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", 16)


@pytest.mark.parametrize(
    ("settings", "preset"),
    [
        ({"images": 1000}, None),
        ({"minutes": 2.5}, None),
        ({"images": 1000, "loss": "wgan_gp", "seed": 3, "batch": 64}, "standard"),
        ({"images": 1, "loss": "relativistic", "penalties": ()}, "small"),
        ({"images": 1, "penalties": ("r1", "r2"), "target_quality": 0.95}, "gpu"),
        ({"images": 1, "penalties": ("r2",), "minutes": None}, "tiny"),
    ],
)
def test_the_command_trains_by_the_same_configuration(digits, settings, preset) -> None:
    config = complete(TrainConfig(data="digits", **settings), digits, preset)
    options = parsed(command_line(config, out="a folder"))
    assert options.out == Path("a folder")
    read = train_config(options)
    assert complete(read, load_dataset(read.data, options.resolution), options.preset) == config
    assert other_settings(config, digits) == {}


def test_minutes_are_told_as_the_images_they_became(digits) -> None:
    config = complete(TrainConfig(data="digits", minutes=2.5, images=12_345), digits)
    assert parsed(command_line(config)).images == 12_345
    assert "--minutes" not in command_line(config)


def test_names_with_blanks_are_quoted(digits) -> None:
    config = complete(TrainConfig(data="my cats; rm *", images=1, warm_start="a b"), digits)
    options = parsed(command_line(config))
    assert (options.data, options.warm_start) == ("my cats; rm *", "a b")


def test_settings_without_a_flag_are_told(digits, facts: Facts) -> None:
    augment = AugmentConfig(("color",), 0.1, 0.7)
    config = TrainConfig(data="digits", images=1, learning_rate=1e-3, augment=augment)
    config = complete(config, digits)
    assert other_settings(config, digits) == {
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-4,
        "augment": augment,
    }
    by_hand = dataclasses.replace(config, grow=((8, 0.5), (16, 1.0)))
    assert other_settings(by_hand, digits)["grow"] == ((8, 0.5), (16, 1.0))
    assert facts.config.generator is not None
    own = dataclasses.replace(facts.config, penalty_interval=4)
    assert "`penalty_interval = 4`" in model_card(dataclasses.replace(facts, config=own))
    usual = dataclasses.replace(facts.config, evaluation_samples=TrainConfig.evaluation_samples)
    assert "Set in Python" not in model_card(dataclasses.replace(facts, config=usual))


# The learning curve


def reports(extractor: str = "f at 8 px") -> Iterator[dict[str, Any]]:
    for images, resolution, kid in ((100, 8, 4.0), (200, 8, 2.0), (300, 16, 3.0), (400, 16, 1.0)):
        quality = {"kid": kid, "kid_low": kid * 0.9, "kid_high": kid * 1.1, "floor": 0.01}
        q = 1 - kid / 5
        quality |= {"q": q, "q_low": q - 0.1, "q_high": q + 0.1, "extractor": extractor}
        yield {"images_seen": images, "resolution": resolution, "quality": quality}
        yield {"images_seen": images + 1, "resolution": resolution}


def test_the_curve_has_a_line_a_resolution_the_floor_and_the_target() -> None:
    measured = cards.comparable(list(reports()))
    assert [m["images_seen"] for m in measured] == [100, 200, 300, 400]
    svg = learning_curve(measured, target=0.9)
    drawing = ElementTree.fromstring(svg)
    texts = [element.text for element in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for label in ("KID (f at 8 px)", "drawn, 8 px", "drawn, 16 px", "real, 16 px", "target"):
        assert label in texts
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))) == 6
    assert "target" not in learning_curve(measured)


def test_figures_of_other_features_are_not_on_the_same_curve() -> None:
    mixed = [*reports("old features"), *reports()]
    assert cards.comparable(mixed) == [m for m in reports() if "quality" in m]
    assert cards.comparable([]) == []


def test_a_figure_that_doesnt_exist_has_no_point() -> None:
    measured = cards.comparable(list(reports()))
    measured[1]["quality"]["q"] = None
    ElementTree.fromstring(learning_curve(measured))


# What is refused


def test_what_cant_be_exported_is_refused(run_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_bytes((run_path / "config.json").read_bytes())
    for run, out, code in (
        (tmp_path / "none", tmp_path / "m", "damaged_run"),
        (empty, tmp_path / "m", "run_without_model"),
        (run_path, run_path, "export_into_run"),
        (run_path, run_path / "model", "export_into_run"),
        (run_path, tmp_path / "file" / "m", "picture_unwritable"),
    ):
        with pytest.raises(LabError) as caught:
            cards.write_model_folder(run, out)
        assert caught.value.code == code
    assert not (tmp_path / "m").exists()


def test_another_run_is_never_written_over(run_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    train_run(tiny_run(other, dataclasses.replace(CONFIG, images=32)))
    before = (other / "config.json").read_bytes()
    with pytest.raises(LabError, match="other belongs to a run"):
        cards.write_model_folder(run_path, other)
    assert (other / "config.json").read_bytes() == before


def test_the_caption_is_the_programs_own(folder: Path) -> None:
    """The card promises it; the band itself is tested with the pictures."""
    assert "AI-generated" in CAPTION
