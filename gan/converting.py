"""Makes a model folder of ours from a model in any format: weights that can't run anything, their
configuration, and a card that says where they came from.

The card states what the file tells; how good a model is can only be measured where its data is
(`cards.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from gan.errors import LabError
from gan.files import write_atomic
from gan.generators.base import Generator
from gan.loading import ModelInfo, load_generator, save_model
from gan.recipe import model_name

FAMILIES = {
    "stylegan2": "StyleGAN2",
    "stylegan3": "StyleGAN3",
    "dcgan": "DCGAN",
    "biggan": "BigGAN-deep",
    "r3gan": "R3GAN",
    "fastgan": "FastGAN",
}


def convert(source: str | Path, out: str | Path) -> Path:
    """Writes `source` (whatever `load_generator` opens) as the model folder `out`; returns it.

    What was written is read back and compared, number by number. Raises LabError for a source
    that can't be opened and for an `out` that can't be written or is the source itself.
    """
    out, original = Path(out), load_generator(source)
    info: ModelInfo = original.info
    if info.path.resolve() == (out / "model.safetensors").resolve():
        raise LabError("convert_onto_itself", path=out)
    if (out / "checkpoints").is_dir():  # a run's config.json would be lost
        raise LabError("export_into_run", path=out)
    try:
        save_model(
            out,
            original,
            name=model_name(out.resolve().name),
            title=info.title,
            dataset=info.dataset,
            classes=info.classes,
            licence=info.licence,
            training=info.training,
            source=_source(info),
        )
        written = load_generator(out)
        write_atomic(out / "README.md", card(written).encode())
    except OSError as error:
        raise LabError("picture_unwritable", path=out, reason=error.strerror) from error
    assert _same(original, written), "what was written is not what was read"
    return out


def _source(info: ModelInfo) -> str:
    """Where the numbers first came from, however often they were converted."""
    first = info.source or info.path.name
    return first if "sha256" in first else f"{first}, sha256 {info.hash}"


def _same(one: Generator, other: Generator) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def card(generator: Generator) -> str:
    """README.md: the front matter that the Hub reads, then what the model is, for people."""
    info: ModelInfo = generator.info
    sections = [
        _front_matter(info),
        f"# {info.title['en']}\n\n{_introduction(generator)}",
        f"## Use\n\n{_use(info)}",
        f"## Origin\n\n{_origin(info)}",
        "## What it must not be used for\n\nNot to deceive: pictures that it draws are to be shown "
        "as AI-generated. Nobody that they seem to show exists or has agreed to anything.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(info: ModelInfo) -> str:
    from gan.cards import HUB_LICENCES

    lines = [f"license: {HUB_LICENCES.get(info.licence, 'other' if info.licence else 'unknown')}"]
    if info.licence and info.licence not in HUB_LICENCES:
        lines.append(f"license_name: {json.dumps(info.licence, ensure_ascii=False)}")
    lines += ["library_name: latent-lab", "pipeline_tag: unconditional-image-generation", "tags:"]
    lines += [f"- {tag}" for tag in ("gan", info.family, "image-generation", "latent-lab")]
    return "\n".join(["---", *lines, "---"])


def _introduction(generator: Generator) -> str:
    info: ModelInfo = generator.info
    colours = {1: "grey", 3: "colour", 4: "colour with transparency"}[info.img_channels]
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    space = (
        f", w of {info.w_dim} dimensions in {info.num_ws} rows" if info.latent_space == "w" else ""
    )
    classes = f", {info.c_dim} classes" if info.c_dim else ""
    return (
        f"A generator of the {FAMILIES[info.family]} family with {parameters:,} parameters, "
        f"{info.resolution} × {info.resolution} pixels in {colours}; z of {info.z_dim} "
        f"dimensions{space}{classes}."
    )


def _use(info: ModelInfo) -> str:
    return (
        "```python\n"
        "import gan\n\n"
        f'generator = gan.load_generator("{info.name}")  # where this folder is\n'
        f'picture = gan.render(gan.Recipe(model="{info.name}", seed=12), generator)\n'
        "```"
    )


def _origin(info: ModelInfo) -> str:
    licence = info.licence or "not stated in the file: look where it was published"
    return (
        f"Converted by Latent Lab, number by number, from {info.source}.\n\n"
        f"Licence: {licence}. Data: {info.dataset or 'not stated in the file'}."
    )
