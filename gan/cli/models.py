"""`generate`, `evaluate`, `export`, `convert` and `publish`: what is done with a model."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gan.cli.terminal import (
    GRID_COLUMNS,
    add_command,
    add_device,
    check_samples,
    chosen_device,
    given_token,
    say,
)
from gan.errors import LabError
from gan.recipe import MOST_SEED, Recipe

MOST_PICTURES = 100_000  # in one call of generate


def add_to(commands: Any) -> None:
    _add_generate(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_convert(commands)
    _add_publish(commands)


def _add_generate(commands: Any) -> None:
    flags = add_command(commands, "generate", "cli.generate", generate)
    flags.add_argument("--model", required=True, help=say("cli.model"))
    flags.add_argument("--seeds", required=True, help=say("cli.generate.seeds"))
    flags.add_argument("--out", required=True, type=Path, metavar="DIR")
    flags.add_argument("--psi", type=float, default=0.7, help=say("cli.generate.psi"))
    flags.add_argument("--class", type=int, dest="label", help=say("cli.generate.class"))
    flags.add_argument("--scale", type=int, default=1, choices=(1, 4, 8))
    flags.add_argument("--device", default="auto", help=say("cli.device"))


def generate(options: argparse.Namespace) -> int:
    """Writes one labelled PNG per seed, and a grid of all of them."""
    from gan import device, images
    from gan.loading import load_generator
    from gan.rendering import draw_exact

    seeds = seed_range(options.seeds)
    chosen = device.choose(options.device)
    device.apply(chosen)
    generator = load_generator(options.model, chosen)
    info = generator.info
    first = Recipe(model=info.name, revision=info.revision, psi=options.psi, label=options.label)
    recipes = [dataclasses.replace(first, seed=seed) for seed in seeds]
    pictures = (draw_exact(generator, recipe) for recipe in recipes)
    images.save_pictures(
        pictures,
        recipes,
        options.out,
        scale=options.scale,
        columns=GRID_COLUMNS,
        credit=info.licence,
    )
    print(say("cli.generate.done", count=len(seeds), out=options.out))
    return 0


def seed_range(given: str) -> list[int]:
    """ "0-63", "7", "1,5,10-12" → the seeds in that order; LabError names what can't be read."""
    seeds: list[int] = []
    for part in given.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise LabError("bad_seeds", value=given)
        low, high = int(first), int(last or first)
        if low > high or high > MOST_SEED or high - low >= MOST_PICTURES:
            raise LabError("bad_seeds", value=given)
        seeds += range(low, high + 1)
    if len(seeds) > MOST_PICTURES:
        raise LabError("bad_seeds", value=given)
    return seeds


def _add_evaluate(commands: Any) -> None:
    flags = add_command(commands, "evaluate", "cli.evaluate", evaluate)
    flags.add_argument("--model", required=True, help=say("cli.model"))
    flags.add_argument("--data", required=True, help=say("cli.train.data"))
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))
    add_device(flags)


def evaluate(options: argparse.Namespace) -> int:
    """Prints the report card of a model on the data it was trained on."""
    from gan.loading import load_generator
    from gan.training.data import load_dataset
    from gan.training.evaluation import report_card

    check_samples(options.samples)
    chosen = chosen_device(options)
    generator, dataset = load_generator(options.model, chosen), load_dataset(options.data)
    if dataset.channels != generator.img_channels:
        raise LabError("data_of_another_kind", data=options.data, model=generator.info.name)
    card = report_card(generator, dataset, samples=options.samples, device=chosen.kind)
    if options.json:
        print(json.dumps(card, indent=1))
        return 0
    for name, value in _flat(card):
        print(f"{name:44} {f'{value:.5g}' if isinstance(value, float) else value}")
    return 0


def _flat(card: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Single values with dotted names; lists are for those who read the JSON."""
    for name, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            yield prefix + name, value


def _add_export(commands: Any) -> None:
    flags = add_command(commands, "export", "cli.export", export)
    flags.add_argument("run_directory", type=Path, metavar="RUN")
    flags.add_argument("out", type=Path, metavar="MODEL")
    flags.add_argument("--latest", action="store_true", help=say("cli.export.latest"))
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    add_device(flags)


def export(options: argparse.Namespace) -> int:
    """Makes a model folder with its card from a run."""
    from gan.cards import write_model_folder

    check_samples(options.samples)
    folder = write_model_folder(
        options.run_directory,
        options.out,
        latest=options.latest,
        samples=options.samples,
        device=chosen_device(options),
    )
    print(say("cli.export.done", out=folder))
    return 0


def _add_convert(commands: Any) -> None:
    flags = add_command(commands, "convert", "cli.convert", convert)
    flags.add_argument("source", metavar="SOURCE", help=say("cli.convert.source"))
    flags.add_argument("out", type=Path, metavar="MODEL")


def convert(options: argparse.Namespace) -> int:
    """Makes a model folder of ours from a model in any format."""
    from gan import converting

    print(say("cli.convert.done", out=converting.convert(options.source, options.out)))
    return 0


def _add_publish(commands: Any) -> None:
    flags = add_command(commands, "publish", "cli.publish", publish)
    flags.add_argument("source", metavar="RUN_OR_MODEL", help=say("cli.publish.source"))
    flags.add_argument("repo", metavar="OWNER/NAME", help=say("cli.publish.repo"))
    flags.add_argument("--private", action="store_true", help=say("cli.publish.private"))
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    flags.add_argument("--token-stdin", action="store_true", help=say("cli.publish.token"))
    flags.add_argument("--progress", type=Path, metavar="FILE", help=say("cli.publish.progress"))


def publish(options: argparse.Namespace) -> int:
    """Pushes a run or a model to the Hub, with its card."""
    from gan import publish as publishing
    from gan.system import lower_priority
    from gan.workshop import publications

    check_samples(options.samples)
    how: dict[str, Any] = {"private": options.private, "samples": options.samples}
    how["token"] = given_token(options)
    if options.progress is None:
        done = publishing.publish(options.source, options.repo, **how)
    else:
        lower_priority()
        with publications.telling(options.progress, options.repo, options.private) as tell:
            done = publishing.publish(options.source, options.repo, **how, tell=tell)
            tell.done(done.url, done.commit)
    print(say("cli.publish.done", url=done.url, commit=done.commit[:12], repo=done.repo))
    return 0
