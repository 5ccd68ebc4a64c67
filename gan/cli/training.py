"""`train` and `estimate`: a training, or what it would cost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.cli.terminal import INTERRUPTED, add_command, duration, new_line, say
from gan.errors import LabError

if TYPE_CHECKING:
    from gan.runs import Run, RunDirectory
    from gan.training import hub_data
    from gan.training.config import TrainConfig
    from gan.training.hub_names import HubData
    from gan.training.loop import StepReport
    from gan.training.parallel import Group

FETCHING_SECONDS = 2.0
SHOWN_SKIPPED = 20  # pictures that a training can't use, named one by one


def add_to(commands: Any) -> None:
    _add_train(commands)
    _add_estimate(commands)


def _add_train(commands: Any) -> None:
    flags = add_command(commands, "train", "cli.train", train)
    flags.add_argument("--out", required=True, type=Path, metavar="RUN", help=say("cli.train.out"))
    flags.add_argument("--quiet", action="store_true", help=say("cli.train.quiet"))
    flags.add_argument(
        "--log-to", action="append", default=[], metavar="SINK", help=say("cli.train.log_to")
    )
    add_training_flags(flags)


def add_training_flags(flags: argparse.ArgumentParser) -> None:
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
        print(new_line() + say("cli.train.sink_failed", name=name, reason=reason), file=sys.stderr)

    finished = run.finished  # by an earlier call
    if finished:
        run.settle(finished)
    config = without_places(run.trainer.config).to_json()
    with sinks.opened(options.log_to, run.directory.path, config, failed) as record:
        for report in () if finished else run.reports():
            finished = report.finished
            record(report)
            if not options.quiet:
                _show(report)
    if finished is None:
        print(new_line() + say("cli.train.stopped", out=options.out))
        return INTERRUPTED
    print(new_line() + say(f"cli.train.finished.{finished}", out=options.out))
    return 0


def _add_estimate(commands: Any) -> None:
    flags = add_command(commands, "estimate", "cli.estimate", estimate)
    flags.add_argument("--json", action="store_true", help=say("cli.evaluate.json"))
    add_training_flags(flags)


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
