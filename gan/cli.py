"""The command line: `python -m gan train | generate | …`, one command for each verb of the library.

Each command reads its flags, calls the library and prints. What is refused is one line on the
error stream and exit code 2; what is interrupted ends with 130, a training saves itself first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import LabError
from gan.locale import terminal_language as language
from gan.locale import text
from gan.recipe import MOST_SEED, Recipe

if TYPE_CHECKING:
    from gan.device import Device
    from gan.runs import Run, RunDirectory
    from gan.training import hub_data
    from gan.training.config import TrainConfig
    from gan.training.hub_names import HubData
    from gan.training.loop import StepReport
    from gan.training.parallel import Group

MOST_PICTURES = 100_000  # in one call of generate
FEWEST_SAMPLES = 10  # that an evaluation can say anything by
GRID_COLUMNS = 8
LOOK_PICTURES = 16  # of a data set on the Hub that are shown
FETCHING_SECONDS = 2.0
SHOWN_SKIPPED = 20  # pictures that a training can't use, named one by one
INTERRUPTED = 130  # what a shell expects after Ctrl-C


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except LabError as error:
        print(say("cli.refused", message=error.message(language())), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # who reads our output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def say(key: str, **values: object) -> str:
    return text(key, language(), **values)


def parser() -> argparse.ArgumentParser:
    """All commands with their flags."""
    top = argparse.ArgumentParser(prog="python -m gan", description=say("cli.about"))
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_estimate(commands)
    _add_look(commands)
    _add_generate(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_convert(commands)
    _add_publish(commands)
    _add_jobs(commands)
    return top


# ---- train


def _add_train(commands: Any) -> None:
    flags = commands.add_parser("train", help=say("cli.train"), description=say("cli.train"))
    flags.set_defaults(run=train)
    flags.add_argument("--out", required=True, type=Path, metavar="RUN", help=say("cli.train.out"))
    flags.add_argument("--quiet", action="store_true", help=say("cli.train.quiet"))
    flags.add_argument(
        "--log-to", action="append", default=[], metavar="SINK", help=say("cli.train.log_to")
    )
    _add_training(flags)


def _add_training(flags: argparse.ArgumentParser) -> None:
    """What determines a training; the same for doing it and for measuring what it would cost."""
    flags.add_argument("--data", required=True, help=say("cli.train.data"))
    flags.add_argument("--preset", help=say("cli.train.preset"))
    flags.add_argument("--resolution", type=int, help=say("cli.train.resolution"))
    flags.add_argument("--minutes", type=float, help=say("cli.train.minutes"))
    flags.add_argument("--images", type=int, default=0, help=say("cli.train.images"))
    flags.add_argument("--target-quality", type=float, help=say("cli.train.target"))
    flags.add_argument("--loss", default="relativistic", help=say("cli.train.loss"))
    flags.add_argument("--penalties", help=say("cli.train.penalties"))
    flags.add_argument("--lesson", help=say("cli.train.lesson"))
    flags.add_argument("--warm-start", metavar="MODEL", help=say("cli.train.warm"))
    flags.add_argument("--batch", type=int, help=say("cli.train.batch"))
    flags.add_argument("--seed", type=int, default=0, help=say("cli.train.seed"))
    flags.add_argument("--device", default="auto", help=say("cli.device"))
    flags.add_argument("--dtype", default="auto", help=say("cli.train.dtype"))
    flags.add_argument("--threads", type=int, help=say("cli.train.threads"))


def train(options: argparse.Namespace) -> int:
    """Trains until the budget, the target quality or a Ctrl-C; says how far it is."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded
    from gan import device, sinks
    from gan.runs import Run, RunDirectory
    from gan.system import graceful_signals, lower_priority
    from gan.training.data import load_dataset
    from gan.training.parallel import joined

    lower_priority()
    with graceful_signals() as stop, joined() as group:
        if not group.leads:
            group.wait()  # until the run is there
            return _follow(options, group)
        try:
            sinks.check(options.log_to)
            config = train_config(options)
            chosen = device.choose(
                options.device, options.dtype, threads=options.threads, background=True
            )
            device.apply(chosen, fixed_shapes=True)
            config = _with_settled_data(config, options)
            fetching = _Fetching(config.data, RunDirectory(options.out))
            dataset = load_dataset(config.data, options.resolution, progress=fetching.show)
            _show_skipped(dataset.skipped)
            run = Run(
                options.out,
                config,
                chosen,
                dataset=dataset,
                preset=options.preset,
                asked_to_stop=lambda: stop.requested,
                group=group,
            )
            group.wait()
            return _train(run, options)
        except LabError as error:
            RunDirectory(options.out).fail(error)
            raise


def _with_settled_data(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    """The same; a data set on the Hub with its commit and every choice, and said what it is. A
    run that is gone on with keeps what it began with, and the Hub isn't asked."""
    from gan.runs import RunDirectory
    from gan.training import hub_data
    from gan.training.hub_names import HubData, is_hub_data

    if not is_hub_data(config.data):
        return config
    asked, run = HubData.parse(config.data), RunDirectory(options.out)
    if run.exists():
        stored = run.read_config()[0].data
        if is_hub_data(stored) and asked.covers(HubData.parse(stored)):
            return dataclasses.replace(config, data=stored)
    source = hub_data.settled(asked)
    if not options.quiet:
        print(_about_hub_data(source, hub_data.facts(source)), flush=True)
    return dataclasses.replace(config, data=str(source))


def _about_hub_data(source: HubData, facts: hub_data.Facts) -> str:
    return say(
        "cli.hub.about",
        source=source,
        licence=facts.licence or say("train.hub_no_licence"),
        rows="?" if facts.rows is None else f"{facts.rows:,}",
        most=f"{source.most:,}",
        resolution=facts.resolution,
    )


def _show_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """One line each, of the first ones; how many there are where there are more."""
    if len(skipped) > SHOWN_SKIPPED:
        print(say("cli.skipped", count=len(skipped)), file=sys.stderr)
    for name, code in skipped[:SHOWN_SKIPPED]:
        print(say(code, name=name), file=sys.stderr)


class _Fetching:
    """Says how far the pictures from the Hub are, every few seconds."""

    def __init__(self, data: str, run: RunDirectory):
        self.is_wanted, self.run, self.said = data.startswith("hub:"), run, time.monotonic()

    def show(self, done: int, total: int) -> None:
        if self.is_wanted and time.monotonic() - self.said >= FETCHING_SECONDS:
            self.said = time.monotonic()
            self.run.tell_fetching(done, total)
            print(say("cli.hub.fetching", done=f"{done:,}", total=f"{total:,}"), flush=True)


def _train(run: Run, options: argparse.Namespace) -> int:
    for name in run.trainer.damaged:
        print(say("cli.train.damaged", name=name), file=sys.stderr)
    from gan import sinks
    from gan.runs import without_places

    def failed(name: str, reason: str) -> None:
        print(_new_line() + say("cli.train.sink_failed", name=name, reason=reason), file=sys.stderr)

    finished = run.finished  # by an earlier call
    config = without_places(run.trainer.config).to_json()
    with sinks.opened(options.log_to, run.directory.path, config, failed) as record:
        for report in () if finished else run.reports():
            finished = report.finished
            record(report)
            if not options.quiet:
                _show(report)
    if finished is None:
        print(_new_line() + say("cli.train.stopped", out=options.out))
        return INTERRUPTED
    print(_new_line() + say(f"cli.train.finished.{finished}", out=options.out))
    return 0


def _add_estimate(commands: Any) -> None:
    flags = commands.add_parser(
        "estimate", help=say("cli.estimate"), description=say("cli.estimate")
    )
    flags.set_defaults(run=estimate)
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))
    _add_training(flags)


def estimate(options: argparse.Namespace) -> int:
    """Measures what a training would cost on this machine, without training."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from gan import device
    from gan.system import lower_priority, peak_memory
    from gan.training.budget import measured_costs
    from gan.training.data import load_stand_in
    from gan.training.loop import Trainer

    lower_priority()
    config = train_config(options)
    if not config.images and config.minutes is None:
        raise LabError("no_budget")
    chosen = device.choose(options.device, options.dtype, threads=options.threads, background=True)
    device.apply(chosen, fixed_shapes=True)
    dataset = load_stand_in(config.data, options.resolution)
    trainer = Trainer(config, dataset=dataset, device=chosen, preset=options.preset)
    costs = measured_costs(trainer) | {"device": chosen.describe(), "memory_bytes": peak_memory()}
    if options.json:
        print(json.dumps(costs))
        return 0
    for size, seconds in costs["seconds_per_image"].items():
        print(say("cli.estimate.speed", resolution=size, rate=f"{1 / seconds:.1f}"))
    took = duration(costs["minutes"] * 60)
    print(say("cli.estimate.budget", images=f"{costs['images']:,}", duration=took))
    return 0


def _follow(options: argparse.Namespace, group: Group) -> int:
    """Trains along in a process that torchrun started beside the first one. The run's directory
    says what and on which device; nothing is written."""
    from gan import device
    from gan.runs import RunDirectory
    from gan.training.data import load_dataset
    from gan.training.loop import Trainer

    directory = RunDirectory(options.out)
    config, description = directory.read_config()
    chosen = device.Device.from_json(description)
    device.apply(chosen, fixed_shapes=True)
    dataset = load_dataset(config.data, options.resolution)
    Trainer(config, directory.checkpoints, dataset=dataset, device=chosen, group=group).follow()
    return 0


def _new_line() -> str:
    """Ends the line that a terminal shows the progress on."""
    return "\n" if sys.stdout.isatty() else ""


def train_config(options: argparse.Namespace) -> TrainConfig:
    """What the flags of `train` say; LabError for a value that can't work."""
    from gan.training.config import PRESETS, TrainConfig, said_batch, with_lesson
    from gan.training.data import located

    if options.preset is not None and options.preset not in PRESETS:
        raise LabError("unknown_preset", value=options.preset, known=", ".join(PRESETS))
    penalties = None
    if options.penalties is not None:
        penalties = tuple(name for name in options.penalties.split(",") if name != "none")
    config = TrainConfig(
        data=located(options.data),
        images=options.images,
        minutes=options.minutes,
        target_quality=options.target_quality,
        seed=options.seed,
        batch=said_batch(options.batch),
        loss=options.loss,
        penalties=penalties,
        warm_start=_warm_start(options.warm_start),
    )
    config.check()
    return config if options.lesson is None else with_lesson(config, options.lesson)


def _warm_start(source: str | None) -> str | None:
    """The folder of a model that is called by its name, its run or its folder; the file of one
    that isn't ours."""
    from gan.loading import load_generator

    if source is None:
        return None
    path = load_generator(source).info.path.resolve()
    return str(path.parent if path.name == "model.safetensors" else path)


def _show(report: StepReport) -> None:
    """One line, rewritten in a terminal; evaluations and the end stay on their own lines."""
    quality = report.quality
    known = "" if quality is None else say("cli.train.quality", q=f"{quality.q:.3f}")
    for alarm in report.alarms:
        known += f" · {say(f'cli.train.alarm.{alarm.name}', **alarm.signals)}"
    losses = report.losses
    alone = "reconstruction" in losses and "loss_d" not in losses
    line = say(
        "cli.train.head_start" if alone else "cli.train.progress",
        percent=f"{100 * report.images_seen / max(report.images, 1):.1f}",
        seen=f"{report.images_seen:,}",
        images=f"{report.images:,}",
        resolution=report.resolution,
        rate=f"{report.images_per_second:.1f}",
        left=duration(report.seconds_left),
        loss_g=f"{losses.get('loss_g', 0):.3f}",
        loss_d=f"{losses.get('loss_d', 0):.3f}",
        difference=f"{losses.get('reconstruction', 0):.3f}",
    )
    if sys.stdout.isatty():
        print(f"\r{line}{known}\x1b[K", end="\n" if quality else "", flush=True)
    else:
        print(line + known, flush=True)


def duration(seconds: float) -> str:
    """3725 → "1:02:05", 65 → "1:05", unknown → "–"."""
    if seconds == float("inf"):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


# ---- look


def _add_look(commands: Any) -> None:
    flags = commands.add_parser("look", help=say("cli.look"), description=say("cli.look"))
    flags.set_defaults(run=look)
    flags.add_argument("data", metavar="hub:OWNER/NAME", help=say("cli.look.data"))
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))


def look(options: argparse.Namespace) -> int:
    """Says what a data set on the Hub is, before anything of it is trained on."""
    if not options.json:
        for line in _look_lines(_looked_at(options.data)):
            print(line)
        return 0
    try:
        print(json.dumps(_looked_at(options.data)))
    except LabError as error:
        print(json.dumps({"error": error.to_json()}))
        return 2
    return 0


def _looked_at(data: str) -> dict[str, Any]:
    """What there is; "pictures", some of them as a PNG in base64, where every choice is made."""
    import base64

    from gan import images
    from gan.training import hub_data
    from gan.training.hub_names import HubData

    found = hub_data.look(HubData.parse(data))
    about: dict[str, Any] = {
        "source": str(found.source),
        "repo": found.source.repo,
        "page": found.page,
        "licence": found.licence,
        "is_private": found.is_private,
        "repository_bytes": found.repository_bytes,
        "rows": found.rows,
        "most": found.source.most,
        "missing": found.missing,
        "parts": {
            name: {"chosen": getattr(found.source, name), "choices": choices}
            for name, choices in found.choices.items()
        },
    }
    if found.missing:
        return about
    facts = hub_data.facts(found.source)
    few = hub_data.excerpt(found.source, facts.resolution)
    some = few.images[:LOOK_PICTURES]
    colour = some.repeat(3, axis=3) if some.shape[3] == 1 else some
    picture = images.bare_png_bytes(images.grid(colour, min(GRID_COLUMNS, len(some))))
    return about | {
        "resolution": facts.resolution,
        "skipped": len(few.skipped),
        "looked_at": len(few.images) + len(few.skipped),
        "pictures": base64.b64encode(picture).decode(),
    }


def _look_lines(about: dict[str, Any]) -> Iterator[str]:
    yield about["source"]
    yield about["page"]
    yield say("train.licence", licence=about["licence"] or say("train.hub_no_licence"))
    yield say("train.hub_bytes", megabytes=f"{about['repository_bytes'] / 1e6:,.1f}")
    if about["rows"]:
        yield say("train.hub_rows", rows=f"{about['rows']:,}")
    if "resolution" in about:
        yield say("train.hub_resolution", resolution=about["resolution"])
    for name, part in about["parts"].items():
        choices = ", ".join(part["choices"])
        yield f"{say(f'train.hub_part.{name}')}: {part['chosen'] or '?'} ({choices})"
    if about["missing"]:
        yield say("cli.look.missing", part=about["missing"], source=about["source"])


# ---- generate


def _add_generate(commands: Any) -> None:
    flags = commands.add_parser(
        "generate", help=say("cli.generate"), description=say("cli.generate")
    )
    flags.set_defaults(run=generate)
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


# ---- evaluate, export, convert


def _add_evaluate(commands: Any) -> None:
    flags = commands.add_parser(
        "evaluate", help=say("cli.evaluate"), description=say("cli.evaluate")
    )
    flags.set_defaults(run=evaluate)
    flags.add_argument("--model", required=True, help=say("cli.model"))
    flags.add_argument("--data", required=True, help=say("cli.train.data"))
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))
    _add_device(flags)


def evaluate(options: argparse.Namespace) -> int:
    """Prints the report card of a model on the data it was trained on."""
    from gan.loading import load_generator
    from gan.training.data import load_dataset
    from gan.training.evaluation import report_card

    check_samples(options.samples)
    chosen = _chosen_device(options)
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


def _add_device(flags: argparse.ArgumentParser) -> None:
    flags.add_argument("--device", default="auto", help=say("cli.device"))
    flags.add_argument("--threads", type=int, help=say("cli.all_threads"))


def _chosen_device(options: argparse.Namespace) -> Device:
    """What `_add_device`'s flags say, and this process set up for it."""
    from gan import device

    chosen = device.choose(options.device, "float32", threads=options.threads)
    device.apply(chosen)
    return chosen


def check_samples(count: int) -> None:
    """LabError unless so many pictures can be measured."""
    from gan.training.evaluation import MOST_SAMPLES

    if not FEWEST_SAMPLES <= count <= MOST_SAMPLES:
        raise LabError(
            "bad_setting", name="samples", value=count, least=FEWEST_SAMPLES, most=MOST_SAMPLES
        )


def _flat(card: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Single values with dotted names; lists are for those who read the JSON."""
    for name, value in card.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            yield prefix + name, value


def _add_export(commands: Any) -> None:
    flags = commands.add_parser("export", help=say("cli.export"), description=say("cli.export"))
    flags.set_defaults(run=export)
    flags.add_argument("run_directory", type=Path, metavar="RUN")
    flags.add_argument("out", type=Path, metavar="MODEL")
    flags.add_argument("--latest", action="store_true", help=say("cli.export.latest"))
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    _add_device(flags)


def export(options: argparse.Namespace) -> int:
    """Makes a model folder with its card from a run."""
    from gan.cards import write_model_folder

    check_samples(options.samples)
    folder = write_model_folder(
        options.run_directory,
        options.out,
        latest=options.latest,
        samples=options.samples,
        device=_chosen_device(options),
    )
    print(say("cli.export.done", out=folder))
    return 0


def _add_convert(commands: Any) -> None:
    flags = commands.add_parser("convert", help=say("cli.convert"), description=say("cli.convert"))
    flags.set_defaults(run=convert)
    flags.add_argument("source", metavar="SOURCE", help=say("cli.convert.source"))
    flags.add_argument("out", type=Path, metavar="MODEL")


def convert(options: argparse.Namespace) -> int:
    """Makes a model folder of ours from a model in any format."""
    from gan import converting

    print(say("cli.convert.done", out=converting.convert(options.source, options.out)))
    return 0


def _add_publish(commands: Any) -> None:
    flags = commands.add_parser("publish", help=say("cli.publish"), description=say("cli.publish"))
    flags.set_defaults(run=publish)
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
    how["token"] = _given_token(options)
    if options.progress is None:
        done = publishing.publish(options.source, options.repo, **how)
    else:
        lower_priority()
        with publications.telling(options.progress, options.repo, options.private) as tell:
            done = publishing.publish(options.source, options.repo, **how, tell=tell)
            tell.done(done.url, done.commit)
    print(say("cli.publish.done", url=done.url, commit=done.commit[:12], repo=done.repo))
    return 0


# ---- jobs


def _add_jobs(commands: Any) -> None:
    """Commands of their own, for the same training on rented machines."""
    top = commands.add_parser("jobs", help=say("cli.jobs"), description=say("cli.jobs"))
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    flags = verbs.add_parser("hardware", help=say("cli.jobs.hardware"))
    flags.set_defaults(run=job_hardware)

    flags = verbs.add_parser("start", help=say("cli.jobs.start"), description=say("cli.jobs.start"))
    flags.set_defaults(run=job_start)
    flags.add_argument("repo", metavar="OWNER/NAME", help=say("cli.jobs.repo"))
    flags.add_argument("--out", required=True, type=Path, metavar="RUN", help=say("cli.jobs.out"))
    flags.add_argument("--hardware", default="cpu-basic", help=say("cli.jobs.flavor"))
    flags.add_argument("--hours", type=float, default=1.0, help=say("cli.jobs.hours"))
    flags.add_argument("--public", action="store_true", help=say("cli.jobs.public"))
    flags.add_argument("--yes", action="store_true", help=say("cli.jobs.yes"))
    flags.add_argument("--follow", action="store_true", help=say("cli.jobs.follow_too"))
    flags.add_argument("--token-stdin", action="store_true", help=say("cli.publish.token"))
    _add_training(flags)

    for name, verb in (("follow", job_follow), ("stop", job_stop)):
        flags = verbs.add_parser(name, help=say(f"cli.jobs.{name}"))
        flags.set_defaults(run=verb)
        flags.add_argument("run_directory", type=Path, metavar="RUN")
        flags.add_argument("--token-stdin", action="store_true", help=say("cli.publish.token"))

    flags = verbs.add_parser("work", help=say("cli.jobs.work"))
    flags.set_defaults(run=job_work)
    flags.add_argument("--samples", type=int, default=1000, help=say("cli.evaluate.samples"))
    flags.add_argument("repo", metavar="OWNER/NAME", help=say("cli.jobs.repo"))
    flags.add_argument("flags", nargs=argparse.REMAINDER, metavar="…", help=say("cli.jobs.flags"))


def job_hardware(_options: argparse.Namespace) -> int:
    """Prints the machines that can be rented, with their prices."""
    from gan.jobs import launch

    for each in launch.hardware():
        print(f"{each.name:18} {_price(each.dollars_per_hour):>10}  {each.title}")
    return 0


def _price(dollars_per_hour: float | None) -> str:
    return "–" if dollars_per_hour is None else f"${dollars_per_hour:.2f}/h"


def job_start(options: argparse.Namespace) -> int:
    """Starts a training on a rented machine, after telling what it may cost."""
    from gan.runs import RunDirectory

    token = _given_token(options)
    try:
        _start_job(options, token)
    except LabError as error:
        RunDirectory(options.out).fail(error)
        raise
    return _follow_job(options.out, token) if options.follow else 0


def _start_job(options: argparse.Namespace, token: str | None) -> None:
    from gan.jobs import launch
    from gan.workshop import TrainRequest

    config = train_config(options)
    if not config.images and config.minutes is None:
        raise LabError("no_budget")
    names = [name for name in TrainRequest.__match_args__ if name != "name"]
    request = TrainRequest(**{name: getattr(options, name) for name in names})
    prices = {each.name: each.dollars_per_hour for each in launch.hardware()}
    if options.hardware not in prices:
        raise LabError("job_hardware", value=options.hardware, known=", ".join(prices))
    price = prices[options.hardware]
    most = "–" if price is None else f"${price * options.hours:.2f}"
    print(say("cli.jobs.cost", hardware=options.hardware, price=_price(price), most=most))
    if not options.yes and not _agreed():
        raise KeyboardInterrupt
    job = launch.start(
        request,
        options.out,
        options.repo,
        hardware=options.hardware,
        hours=options.hours,
        private=not options.public,
        token=token,
    )
    print(say("cli.jobs.started", id=job.id, out=options.out))


def _given_token(options: argparse.Namespace) -> str | None:
    """The first line of the standard input, where the flags say that it is one."""
    return sys.stdin.readline().strip() if options.token_stdin else None


def _agreed() -> bool:
    """Whether the person says yes; nobody there says no."""
    try:
        return input(say("cli.jobs.ask") + " ").strip().lower() in ("y", "yes", "是")
    except EOFError:
        return False


def job_follow(options: argparse.Namespace) -> int:
    """Keeps the run directory like the job's until it ends."""
    return _follow_job(options.run_directory, _given_token(options))


def _follow_job(run: Path, token: str | None) -> int:
    from gan.jobs import follow
    from gan.system import lower_priority

    lower_priority()
    state = follow.follow(run, token, say=lambda line: print(line, flush=True))
    print(say(f"cli.jobs.ended.{state}", out=run))
    return 0 if state == "finished" else 1


def job_stop(options: argparse.Namespace) -> int:
    """Cancels the job that a run directory follows."""
    from gan.jobs import launch

    launch.stop(launch.Job.read(options.run_directory), _given_token(options))
    print(say("cli.jobs.stopped"))
    return 0


def job_work(options: argparse.Namespace) -> int:
    """What a job runs on the Hub's machine."""
    from gan.jobs import work

    check_samples(options.samples)
    return work.work(options.repo, options.flags, options.samples)
