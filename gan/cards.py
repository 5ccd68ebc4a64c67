"""Model folders to keep and to publish: a run's generator, and everything that is known about it.

    model.safetensors, config.json   the generator (see `gan.loading`)
    discriminator.safetensors        for warm starts
    evaluation.json                  every measurement behind the card
    samples.png, neighbours.png      what it draws; what of that is nearest to the training data
    curve.svg                        how it learned
    README.md                        the card, with the front matter that the Hub reads

Every figure in a card comes from a measurement that the same call made, or from the run's own
records. Here are the words and the pictures; what is measured, and how, is `training.evaluation`'s.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan import features, images
from gan.curves import HEIGHT, WIDTH, Line, line_chart
from gan.device import Device
from gan.errors import LabError
from gan.files import write_atomic
from gan.generators.base import Generator
from gan.loading import ModelInfo, load_generator, save_model
from gan.recipe import Recipe, model_name
from gan.rendering import draw_exact
from gan.runs import RunDirectory, preset_of, without_places
from gan.training.config import PRESETS, TrainConfig, default_preset, preset_for
from gan.training.data import Dataset, load_dataset, split
from gan.training.evaluation import closest_pairs, report_card
from gan.training.losses import LOSSES

SAMPLES = 64  # pictures in the grid
PSI = 0.7  # of the pictures in the grid
SMALLEST_TILE, MARGIN, BETWEEN = 64, 1, 96  # px, px, grey level between the pictures
CLASSES_IN_ROW = (4, 16)  # so many classes become the columns of the grid
MOST_LEVELS = 1  # of 255, by which half precision may change a picture
COMPARED = 32  # seeds drawn in both precisions, each at psi 0.7 and 1

TITLES = {
    "digits": {"en": "Handwritten digits", "zh": "手写数字"},
    "digits-tiny": {"en": "Tiny digits", "zh": "微型数字"},
    "avatars": {"en": "Avatars", "zh": "卡通头像"},
}
DRAWS = {
    "digits": "handwritten digits, of the class that is asked for",
    "digits-tiny": "tiny handwritten digits, of the class that is asked for",
    "avatars": "heads of invented people in the flat style of a cartoon",
}
HUB_LICENCES = {  # as the Hub spells them
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "CC0 1.0": "cc0-1.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 3.0": "cc-by-sa-3.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
}
_HUB_SPELLING = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Facts:
    """All that a card says: what was trained, how, and what was measured."""

    info: ModelInfo
    parameters: int  # numbers in the generator
    dataset: Dataset
    config: TrainConfig
    device: Mapping[str, Any]  # `Device.describe()` of the training
    images_seen: int
    seconds: float
    history: Mapping[str, list[dict[str, Any]]]  # see `RunDirectory.history`
    report: Mapping[str, Any]  # see `evaluation.report_card`
    precision: Mapping[str, Any]  # see `_compare_precision`
    reals_recognised: float | None  # digits: the classifier's accuracy on kept-back real ones
    curve: bool  # whether the training was measured on the way
    notes: str  # the maker's own words

    @property
    def title(self) -> str:
        return self.info.title["en"]

    @property
    def draws(self) -> str:
        known = DRAWS.get(self.dataset.name)
        return known or f"pictures like those of the data set “{self.dataset.name}”"


def write_model_folder(
    run: str | Path,
    out: str | Path,
    latest: bool = False,
    samples: int = 1000,
    size: int = 224,
    device: Device | None = None,
) -> Path:
    """Makes the model folder `out` of the run directory `run`; returns `out`.

    Takes the best generator by quality, or with `latest` the newest. The card compares `samples`
    pictures with as many real ones, seen by the feature network at `size` px, on `device` (the CPU
    where none is given). The file `notes.md`
    in the run directory becomes part of the card. Raises LabError for a run that can't be read,
    that has saved no model, or whose data is gone, and for an `out` that can't be written.
    """
    directory, out = RunDirectory(run), Path(out)
    config, trained_on = directory.read_config()
    source = _source(directory, latest)
    _make_folder(out, directory)
    assert config.generator is not None
    dataset = load_dataset(config.data, config.generator.resolution)
    training = json.loads((source / "config.json").read_text(encoding="utf-8"))["training"]
    precision = _save(source, out, dataset, training)
    generator = load_generator(out, device)
    measured = comparable(directory.metrics())
    facts = Facts(
        info=generator.info,
        parameters=sum(p.numel() for p in generator.parameters()),
        dataset=dataset,
        config=without_places(config),
        device=trained_on,
        images_seen=training["images_seen"],
        seconds=training["seconds"],
        history=directory.history(),
        report=report_card(
            generator, dataset, samples=samples, size=size, device=device.kind if device else "cpu"
        ),
        precision=precision,
        reals_recognised=_reals_recognised(dataset),
        curve=len(measured) > 1,
        notes=_notes(directory),
    )
    _write_pictures(out, generator, facts)
    if facts.curve:
        write_atomic(out / "curve.svg", learning_curve(measured, config.target_quality).encode())
    write_atomic(out / "evaluation.json", (json.dumps(_record(facts), indent=1) + "\n").encode())
    write_atomic(out / "README.md", model_card(facts).encode())
    return out


def _source(directory: RunDirectory, latest: bool) -> Path:
    """The run's own model folder that is to be published."""
    for name in ("latest",) if latest else ("model", "latest"):
        if (directory.path / name / "model.safetensors").is_file():
            return directory.path / name
    raise LabError("run_without_model", path=directory.path)


def _make_folder(out: Path, run: RunDirectory) -> None:
    inside = run.path.resolve() in (out.resolve(), *out.resolve().parents)
    if inside or (out / "checkpoints").is_dir():  # a run's config.json would be lost
        raise LabError("export_into_run", path=out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError("picture_unwritable", path=out, reason=error.strerror) from error


def _save(source: Path, out: Path, dataset: Dataset, training: Mapping[str, Any]) -> dict[str, Any]:
    """Writes generator and discriminator, in float16 if that can't be seen; → what was compared."""
    whole, name = load_generator(source), model_name(out.resolve().name)
    about: dict[str, Any] = {
        "name": name,
        "dataset": dataset.name,
        "classes": dataset.classes,
        "licence": dataset.licence,
        "title": TITLES.get(dataset.name),
        "training": training,
    }
    save_model(out, whole, half=True, **about)
    compared = _compare_precision(whole, load_generator(out))
    if not compared["half"]:
        save_model(out, whole, **about)
    shutil.copyfile(source / "discriminator.safetensors", out / "discriminator.safetensors")
    return compared


def _compare_precision(whole: Generator, halved: Generator) -> dict[str, Any]:
    """How far exact pictures of float16 weights are from those of float32 weights, in levels."""
    recipes = [
        Recipe(model="m", seed=seed, psi=psi) for psi in (PSI, 1.0) for seed in range(COMPARED)
    ]
    differences = [
        np.abs(draw_exact(whole, recipe).astype(int) - draw_exact(halved, recipe))
        for recipe in recipes
    ]
    largest = int(max(each.max() for each in differences))
    return {
        "half": largest <= MOST_LEVELS,
        "pictures": len(recipes),
        "largest_difference": largest,
        "share_of_values": float(np.mean([(each > 0).mean() for each in differences])),
    }


@torch.no_grad()
def _reals_recognised(dataset: Dataset) -> float | None:
    """How many real digits, that it wasn't trained on, the judge of the drawn digits knows."""
    if dataset.name != "digits" or dataset.labels is None:
        return None
    _, kept_back = split(dataset)
    seen = features.recognised_digits(features.as_images(dataset.images[kept_back]))
    return float((seen.numpy() == dataset.labels[kept_back]).mean())


def _notes(directory: RunDirectory) -> str:
    path = directory.path / "notes.md"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _record(facts: Facts) -> dict[str, Any]:
    """The measurements, for programs."""
    return {
        "model": facts.info.name,
        "revision": facts.info.revision,
        "measured": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "dataset": {"name": facts.dataset.name, "fingerprint": facts.dataset.fingerprint},
        "images_seen": facts.images_seen,
        "seconds": facts.seconds,
        "report": facts.report,
        "reals_recognised": facts.reals_recognised,
        "precision": facts.precision,
    }


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────


def _write_pictures(out: Path, generator: Generator, facts: Facts) -> None:
    recipes, columns = grid_recipes(facts.info)
    pictures = np.stack([draw_exact(generator, recipe) for recipe in recipes])
    images.save_grid(out / "samples.png", _tiles(pictures), columns)
    pairs = closest_pairs(generator, facts.dataset, dict(facts.report["neighbours"]))
    both = np.concatenate([images.to_uint8(side) for side in pairs])
    images.save_grid(out / "neighbours.png", _tiles(both), columns=len(pairs[0]))


def _tiles(pictures: np.ndarray) -> np.ndarray:
    """Pictures with a margin to tell them apart, uint8 [N, H, W, 3]; small ones twice as large or
    more, every pixel a square."""
    factor = math.ceil(SMALLEST_TILE / pictures.shape[1])
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    margin = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return np.pad(large, margin, constant_values=BETWEEN)


def grid_recipes(info: ModelInfo) -> tuple[list[Recipe], int]:
    """→ the recipes of the sample grid, at psi 0.7, and its columns.

    64 seeds; where a few classes can be columns, as many full rows as hold 64.
    """
    count = len(info.classes or ())
    by_class = CLASSES_IN_ROW[0] <= count <= CLASSES_IN_ROW[1]
    columns = count if by_class else 8
    recipes = [
        Recipe(
            model=info.name,
            revision=info.revision,
            seed=seed,
            psi=PSI,
            label=seed % count if count else None,
        )
        for seed in range(math.ceil(SAMPLES / columns) * columns)
    ]
    return recipes, columns


def comparable(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The reports with a quality that was measured as the last one was, by the same features."""
    measured = [report for report in metrics if report.get("quality")]
    return [
        report
        for report in measured
        if report["quality"]["extractor"] == measured[-1]["quality"]["extractor"]
    ]


def learning_curve(reports: Sequence[Mapping[str, Any]], target: float | None = None) -> str:
    """Comparable lines of metrics.jsonl → two charts as one SVG: KID with its interval
    and the real/real floor, and q with its interval; one line for each resolution trained."""
    kids: list[Line] = []
    qs: list[Line] = []
    for resolution in dict.fromkeys(report["resolution"] for report in reports):
        here = [report for report in reports if report["resolution"] == resolution]
        kids.append(_measured_line(f"drawn, {resolution} px", here, "kid", "kid_low", "kid_high"))
        floor = [(float(r["images_seen"]), r["quality"]["floor"]) for r in here]
        if resolution == reports[-1]["resolution"]:
            kids.append(Line(f"real, {resolution} px", floor))
        qs.append(_measured_line(f"{resolution} px", here, "q", "q_low", "q_high"))
    if target is not None:
        ends = [float(reports[0]["images_seen"]), float(reports[-1]["images_seen"])]
        qs.append(Line("target", [(at, target) for at in ends]))
    name = f"KID ({reports[-1]['quality']['extractor']})"
    charts = (
        line_chart(name, "images", "lower is better", kids, log_y=True),
        line_chart("Quality q", "images", "1: as real", qs, rising=True),
    )
    inner = "".join(
        chart.strip().replace(
            "<svg ", f'<svg y="{HEIGHT * i}" width="{WIDTH}" height="{HEIGHT}" ', 1
        )
        for i, chart in enumerate(charts)
    )
    size = f'viewBox="0 0 {WIDTH} {2 * HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{inner}</svg>\n'


def _measured_line(
    label: str, reports: Sequence[Mapping[str, Any]], name: str, low: str, high: str
) -> Line:
    known = [r for r in reports if all(r["quality"][n] is not None for n in (name, low, high))]
    points = [(float(r["images_seen"]), r["quality"][name]) for r in known]
    band = [(float(r["images_seen"]), r["quality"][low], r["quality"][high]) for r in known]
    return Line(label, points, band)


# ── The command ──────────────────────────────────────────────────────────────────────────────


def command_line(config: TrainConfig, out: str = "RUN") -> str:
    """A complete configuration → the command that trains by it.

    What no flag can say is in `other_settings`. A budget in minutes is given as the images that
    it became, so that another machine trains the same.
    """
    network = config.generator
    assert network is not None
    flags: dict[str, Any] = {"data": config.data, "out": out}
    preset = preset_of(config)
    if preset != default_preset(network.resolution):
        flags["preset"] = preset
    flags["resolution"] = network.resolution
    flags |= {"images": config.images} if config.images else {"minutes": config.minutes}
    sizes = PRESETS[preset_for(network.resolution, preset)]
    plain = TrainConfig(data="", batch=sizes.batch)
    for name in ("target_quality", "batch", "loss", "seed", "warm_start"):
        if getattr(config, name) != getattr(plain, name):
            flags[name] = getattr(config, name)
    if config.penalties is not None and config.penalties != LOSSES[config.loss].penalties:
        flags["penalties"] = ",".join(config.penalties) or "none"
    words = ["python", "-m", "gan", "train"]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", f"{value}"]
    return shlex.join(words)


def other_settings(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """The settings of a complete configuration that the command doesn't say: set in Python."""
    from gan.training.loop import complete

    preset = preset_of(config)
    said = ("data", "images", "minutes", "target_quality", "seed", "batch", "loss", "penalties")
    same = {name: getattr(config, name) for name in (*said, "warm_start")}
    usual = complete(TrainConfig(**same), dataset, preset)
    fields = [field.name for field in dataclasses.fields(config)]
    return {
        name: getattr(config, name)
        for name in fields
        if getattr(config, name) != getattr(usual, name)
    }


# ── The card ─────────────────────────────────────────────────────────────────────────────────


def model_card(facts: Facts) -> str:
    """README.md: the front matter that the Hub reads, then the card for people."""
    sections = [
        _front_matter(facts),
        f"# {facts.title}\n\n![{SAMPLES} samples](samples.png)\n\n{_introduction(facts)}",
        f"## Use\n\n{_use(facts)}",
        f"## Data\n\n{_data(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Quality\n\n{_quality(facts)}",
        f"## Does it copy its training data?\n\n{_neighbours(facts)}",
        f"## What it must not be used for\n\n{_limits(facts)}",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(facts: Facts) -> str:
    licence = facts.dataset.licence
    hub_licence = _as_the_hub_spells(licence)
    lines = [f"license: {hub_licence}"]
    if hub_licence == "other" != licence:
        lines.append(f"license_name: {json.dumps(licence, ensure_ascii=False)}")
    lines += ["library_name: latent-lab", "pipeline_tag: unconditional-image-generation", "tags:"]
    lines += [f"- {tag}" for tag in ("gan", "stylegan2", "image-generation", "latent-lab")]
    return "\n".join(["---", *lines, "---"])


def _as_the_hub_spells(licence: str) -> str:
    """A licence's short name there, "other" for one that has none; what came from there has it."""
    if _HUB_SPELLING.fullmatch(licence):
        return licence
    return HUB_LICENCES.get(licence, "other" if licence else "unknown")


def _introduction(facts: Facts) -> str:
    side = facts.info.resolution
    return (
        f"It draws {facts.draws}, {side} × {side} pixels: a generator of the StyleGAN2 family with "
        f"{facts.parameters:,} parameters, trained from nothing but the pictures named below"
        f"{' and their attributes' if _codes(facts) else ''}, with Latent Lab. Above: the first "
        f"seeds at psi {PSI}, none left out. Everything it draws "
        "leaves the program labelled as AI-generated (a visible caption from 256 px on; IPTC and "
        "GB 45438-2025 metadata in every file)."
    )


def _use(facts: Facts) -> str:
    name = facts.info.name
    label = ", label=3" if facts.info.classes else ""
    return (
        "```python\n"
        "import gan\n\n"
        f'generator = gan.load_generator("{name}")  # where this folder is\n'
        f'picture = gan.render(gan.Recipe(model="{name}", seed=12{label}), generator)\n'
        "```\n\n"
        "```\n"
        f"python -m gan generate --model {name} --seeds 0-63 --out pictures\n"
        "```\n\n"
        f"Weights are stored in {_precision(facts)}"
    )


def _precision(facts: Facts) -> str:
    compared = facts.precision
    what = (
        f"of {compared['pictures']} pictures drawn from float16 and from float32 weights, "
        f"{compared['share_of_values']:.2%} of the values differed, by "
        f"{compared['largest_difference']} of 255 levels at most"
    )
    return f"float16: {what}." if compared["half"] else f"float32, because {what}."


def _codes(facts: Facts) -> tuple[tuple[float, ...], ...]:
    return facts.config.generator.codes if facts.config.generator else ()


def _data(facts: Facts) -> str:
    data = facts.dataset
    count, kept_back = (len(part) for part in split(data))
    text = (
        f"“{data.name}”: {len(data):,} pictures of {data.resolution} × {data.resolution} pixels, "
        f"{'grey' if data.channels == 1 else 'in colour'}"
        f"{f', in {data.num_classes} classes' if data.num_classes else ''}. {count:,} were trained "
        f"on; {kept_back:,} were kept back to tell learning from memorising."
    )
    if not data.licence:
        source = f" They come from {data.attribution}." if data.attribution else ""
        return (
            f"{text}{source}\n\n**Licence: unknown.** Whoever trained this model chose the "
            "pictures. Don't publish it, or what it draws, before you know that their authors "
            "allow it."
        )
    return (
        f"{text}\n\n**Licence: {data.licence}**, which the model is given under too. "
        f"**Attribution:** {data.attribution}"
    )


def _training(facts: Facts) -> str:
    config, device, data = facts.config, facts.device, facts.dataset
    rows: dict[str, str] = {
        "Images seen": f"{facts.images_seen:,}",
        "Minutes of training": f"{facts.seconds / 60:,.0f}"
        if facts.seconds >= 600
        else f"{facts.seconds / 60:.1f}",
        "Machine": f"{device['hardware']}, {device['threads']} thread(s), {device['dtype']}, "
        f"PyTorch {device['torch']}",
        "Loss": f"{config.loss}, penalties: {', '.join(config.penalties or ()) or 'none'}",
        "Resolutions": ", ".join(
            f"{resolution} px up to {until:.0%} of the budget" for resolution, until in config.grow
        ),
    }
    if codes := _codes(facts):
        rows["Told to both networks"] = f"{len(codes)} attributes: {', '.join(data.attributes)}"
        rows["Reconstruction"] = (
            f"{config.reconstruction:g} times the difference d = G(z) − x, x a picture with the "
            "attributes that z stands for: ½·E|d|, and squares of d on a Laplacian pyramid; "
            f"alone, without a discriminator, up to {config.head_start or 0:.0%} of the budget"
        )
    parts = [f"```\n{command_line(config)}\n```", _table(("", ""), list(rows.items()))]
    if settings := other_settings(config, facts.dataset):
        said = "; ".join(f"`{name} = {value}`" for name, value in settings.items())
        parts.append(f"Set in Python, where the command has no flag: {said}.")
    if budgets := [b for b in facts.history["budgets"] if b["at"]]:
        said = "; ".join(f"{b['images']:,} images, set after {b['at']:,}" for b in budgets)
        parts.append(f"The budget, over which the schedules run, was changed on the way: {said}.")
    if facts.history["earlier"]:
        parts.append(_earlier(facts.history["earlier"]))
    if facts.notes:
        parts.append(facts.notes)
    if facts.curve:
        parts.append("![How KID and quality went over the images seen](curve.svg)")
    return "\n\n".join(parts)


def _earlier(stretches: Sequence[Mapping[str, Any]]) -> str:
    """What happened before a warm start."""
    rows = [
        (
            f"{stretch['images_seen']:,}",
            f"{stretch['seconds'] / 60:,.1f}",
            f"`{command_line(TrainConfig.from_json(stretch['config']))}`",
        )
        for stretch in stretches
    ]
    return (
        "It began from a model that was already trained, in these stretches; the figures above are "
        "of the last one alone.\n\n" + _table(("Images seen", "Minutes", "Command"), rows)
    )


def _quality(facts: Facts) -> str:
    report = facts.report
    rows = [
        (
            f"KID ({report['extractor']}), lower is better",
            f"{_number(report['kid'])} ({_interval(report, 'kid_low', 'kid_high')})",
            f"{_number(report['floor'])} ({_interval(report, 'floor_low', 'floor_high')})",
            _number(report["baseline"]),
        ),
        ("Quality q", f"{_number(report['q'])} ({_interval(report, 'q_low', 'q_high')})", "1", "0"),
        ("Coverage", _number(report["coverage"]), _number(report["real_coverage"]), ""),
        ("Density", _number(report["density"]), _number(report["real_density"]), ""),
        ("Diversity (mean distance)", _number(report["diversity"]), "1", ""),
        ("Diversity (Vendi score)", _number(report["vendi"]), _number(report["real_vendi"]), ""),
    ]
    parts = [
        _table(("", "this model", "real against real", "untrained"), rows),
        f"{report['samples']:,} samples at psi 1 against as many real pictures; in brackets the "
        "bounds between which the true value lies with 90 %. KID is the kernel distance of the two "
        "sets in the features of the network named. q puts it on a scale: 0 is this network before "
        "training, 1 is as near to the data as another part of the data. Coverage is the share of "
        "real pictures that have a sample among their nearest; diversity is how far samples are "
        "from each other, real pictures being 1.",
    ]
    if report["accuracy"] is not None:
        parts.append(_accuracy(facts))
    return "\n\n".join(parts)


def _accuracy(facts: Facts) -> str:
    report, classes = facts.report, facts.info.classes or ()
    cells = [("–" if a is None else f"{a:.1%}") for a in report["class_accuracy"]]
    reals = ""
    if facts.reals_recognised is not None:
        reals = f" Of real digits that it never saw, it recognises {facts.reals_recognised:.1%}."
    return (
        f"A classifier trained on the real digits recognises **{report['accuracy']:.1%}** of the "
        f"{report['samples']:,} samples as the class that was asked for.{reals}\n\n"
        + _table(("Class", *classes), [("Recognised", *cells)])
    )


def _neighbours(facts: Facts) -> str:
    audits = [facts.report["neighbours"], facts.report["neighbours_by_features"]]
    rows = [
        (
            audit["extractor"],
            f"{audit['closer_than_holdout']:.1%}",
            _number(audit["median_distance"]),
            _number(audit["holdout_median_distance"]),
        )
        for audit in audits
    ]
    table = _table(
        (
            "Seen by",
            "suspiciously near",
            "median distance of samples",
            "of kept-back real pictures",
        ),
        rows,
    )
    return (
        f"{_verdict(max(audit['closer_than_holdout'] for audit in audits))}\n\n{table}\n\n"
        f"For {audits[0]['samples']:,} samples, the nearest of all training pictures was searched. "
        "“Suspiciously near” is a sample that is nearer to a training picture than all but 1 % of "
        "the kept-back real pictures are: about 1 % for a model that invents, 100 % for one that "
        "copies. Below, the samples with the nearest neighbours of all (above) and those "
        "neighbours (below).\n\n"
        "![The nearest samples and their training pictures](neighbours.png)"
    )


def _verdict(share: float) -> str:
    if share <= 0.03:
        return "No sign of it: it invents pictures rather than repeating those it was shown."
    if share <= 0.15:
        return (
            "In part: some samples are nearer to a training picture than new pictures of the same "
            "kind are."
        )
    return (
        "**Yes: many samples repeat training pictures almost unchanged.** Treat what it draws as "
        "copies of its data."
    )


def _limits(facts: Facts) -> str:
    people = "avatars" in facts.dataset.name
    extra = "; to represent an existing person without their word" if people else ""
    return (
        "To deceive: to pass its pictures off as made by hand, or as records of anything that "
        "happened; to remove their labels; as evidence or test data where real "
        f"{'handwriting is' if facts.dataset.name.startswith('digits') else 'pictures are'} "
        f"expected, without saying so; to decide anything about people{extra}. It knows only what "
        "its data shows, in its proportions and with its gaps."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _interval(report: Mapping[str, Any], low: str, high: str) -> str:
    return f"{_number(report[low])} … {_number(report[high])}"


def _number(value: float | None) -> str:
    """Three digits that mean something; "–" where there is no value."""
    if value is None:
        return "–"
    return f"{value:.3f}" if 0.1 <= abs(value) < 10 else f"{value:.3g}"
