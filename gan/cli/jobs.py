"""`jobs`: the same training on rented machines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gan.cli.terminal import add_command, check_samples, given_token, say
from gan.cli.training import add_training_flags, train_config
from gan.errors import LabError


def add_to(commands: Any) -> None:
    """Commands of their own, for the same training on rented machines."""
    top = commands.add_parser("jobs", help=say("cli.jobs"), description=say("cli.jobs"))
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    flags = verbs.add_parser("hardware", help=say("cli.jobs.hardware"))
    flags.set_defaults(run=job_hardware)

    flags = add_command(verbs, "start", "cli.jobs.start", job_start)
    flags.add_argument("repo", metavar="OWNER/NAME", help=say("cli.jobs.repo"))
    flags.add_argument("--out", required=True, type=Path, metavar="RUN", help=say("cli.jobs.out"))
    flags.add_argument("--hardware", default="cpu-basic", help=say("cli.jobs.flavor"))
    flags.add_argument("--hours", type=float, default=1.0, help=say("cli.jobs.hours"))
    flags.add_argument("--public", action="store_true", help=say("cli.jobs.public"))
    flags.add_argument("--yes", action="store_true", help=say("cli.jobs.yes"))
    flags.add_argument("--follow", action="store_true", help=say("cli.jobs.follow_too"))
    flags.add_argument("--token-stdin", action="store_true", help=say("cli.publish.token"))
    add_training_flags(flags)

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

    token = given_token(options)
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


def _agreed() -> bool:
    """Whether the person says yes; nobody there says no."""
    try:
        return input(say("cli.jobs.ask") + " ").strip().lower() in ("y", "yes", "是")
    except EOFError:
        return False


def job_follow(options: argparse.Namespace) -> int:
    """Keeps the run directory like the job's until it ends."""
    return _follow_job(options.run_directory, given_token(options))


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

    launch.stop(launch.Job.read(options.run_directory), given_token(options))
    print(say("cli.jobs.stopped"))
    return 0


def job_work(options: argparse.Namespace) -> int:
    """What a job runs on the Hub's machine."""
    from gan.jobs import work

    check_samples(options.samples)
    return work.work(options.repo, options.flags, options.samples)
