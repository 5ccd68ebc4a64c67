"""A run directory: the whole truth about one training, on disk.

    config.json       the complete configuration, the device it was chosen for, its history
    status.json       how far it is, and who is training it (process, heartbeat)
    control.json      orders to that process (see `gan.control`)
    metrics.jsonl     one line a report
    samples/          pictures from fixed latents, <images seen>.png; the newest only: raw-… of the
                      generator that is trained, not averaged, between-… on the way from one
                      latent to another
    reals.png         pictures that it learns from
    neighbours.png    newest samples, in rows above their nearest training pictures
    checkpoints/      complete states to resume from: the newest two and the best
    moments/          models along the way, on a logarithmic scale, and saved ones (see `moments`)
    model/            the best generator so far by quality, with its discriminator
    latest/           the newest generator, written with each checkpoint

It knows no page and no terminal.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from gan import images, moments
from gan.control import Listener, Order
from gan.device import Device
from gan.errors import LabError
from gan.files import write_atomic, writing
from gan.loading import save_model
from gan.system import process_alive, this_process
from gan.training.budget import with_budget
from gan.training.config import PRESETS, TrainConfig, preset_for, stages
from gan.training.data import BUNDLED, Dataset
from gan.training.hub_names import is_hub_data
from gan.training.loop import StepReport, Trainer
from gan.training.parallel import Group

HEARTBEAT_SECONDS = 5.0


class Stopped(Exception):  # noqa: N818  # no error: somebody wants it so
    """Somebody asked the training to stop; raised between two steps."""


class RunDirectory:
    """The files of one run. Every file is replaced as a whole or appended by whole lines."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def exists(self) -> bool:
        return (self.path / "config.json").is_file()

    def read_config(self) -> tuple[TrainConfig, dict[str, Any]]:
        """→ the stored configuration and device description; LabError if there are none."""
        stored = self._read_config()
        return TrainConfig.from_json(stored["training"]), stored["device"]

    def history(self) -> dict[str, list[dict[str, Any]]]:
        """ "earlier": the stretches of training that a warm start brought along, the oldest first;
        "budgets": each budget with the images seen when it was set."""
        stored = self._read_config()
        first = [{"at": 0, "images": stored["training"]["images"]}]
        return {
            "earlier": stored.get("earlier", []),
            "budgets": stored.get("budgets") or (first if first[0]["images"] else []),
        }

    def _read_config(self) -> dict[str, Any]:
        try:
            stored = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            TrainConfig.from_json(stored["training"])
            stored["device"]["threads"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise LabError("damaged_run", path=self.path, reason=str(error)) from error
        return stored

    def write_config(
        self, config: TrainConfig, device: dict[str, Any], history: dict[str, list[dict[str, Any]]]
    ) -> None:
        self._write_json("config.json", {"training": config.to_json(), "device": device} | history)

    def metrics(self) -> list[dict[str, Any]]:
        """All reports so far; a last line that was cut off by a kill is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def forget_after(self, images_seen: int) -> None:
        """Drops what a kill has overtaken: the resumed run reports it again."""
        kept = [m for m in self.metrics() if m["images_seen"] <= images_seen]
        text = "".join(json.dumps(m) + "\n" for m in kept)
        write_atomic(self.path / "metrics.jsonl", text.encode())
        for picture in (self.path / "samples").glob("[0-9]*.png"):
            if int(picture.stem) > images_seen:
                picture.unlink()
        moments.forget_after(self.path / "moments", images_seen)

    def write_status(self, state: str, **about: Any) -> None:
        """`state`: "training", "paused", "stopped", "failed" or "finished"; ours is the process."""
        process = this_process()
        status = {
            "state": state,
            "pid": process.pid,
            "started": process.started,
            "heartbeat": time.time(),  # for people
            "beat": time.monotonic(),  # the same moment, on a clock that nobody sets
        }
        self._write_json("status.json", status | about)

    def fail(self, error: LabError) -> None:
        """Notes why this process gives a training up that it hadn't begun yet."""
        status = self.status() or {}
        if status.get("state") == "starting" and status.get("pid") == this_process().pid:
            self._write_json(
                "status.json", status | {"state": "failed", "message": error.to_json()}
            )

    def tell_fetching(self, done: int, total: int) -> None:
        """Notes how many of its pictures have come, of a training that can't begin before."""
        status = self.status() or {}
        if status.get("state") == "starting" and status.get("pid") == this_process().pid:
            told = {"fetched": done, "to_fetch": total}
            self._write_json("status.json", status | told)

    def name(self) -> str:
        """What people call it: the name they gave it, or else its folder's."""
        try:
            return json.loads((self.path / "about.json").read_text(encoding="utf-8"))["name"]
        except (OSError, ValueError, KeyError, TypeError):
            return self.path.name

    def status(self) -> dict[str, Any] | None:
        """What was last written; a process that was killed still says "training"."""
        path = self.path / "status.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def is_training(self) -> bool:
        """Whether the process that the status names is alive and at work."""
        status = self.status()
        return (
            status is not None
            and status.get("state") in ("training", "paused")
            and process_alive(status["pid"], status["started"])
        )

    def record(self, report: StepReport) -> None:
        """Appends a report to the metrics and writes its sample pictures."""
        if report.losses or report.quality:
            line = json.dumps(plain(report)) + "\n"
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
        if report.samples is not None:
            self.draw(report.images_seen, report.samples)
        for kind, drawn in (("raw", report.raw_samples), ("between", report.between)):
            if drawn is not None:
                self._draw_newest(kind, report.images_seen, drawn)
        if report.neighbours is not None:
            images.save(self.path / "neighbours.png", images.grid(report.neighbours, columns=8))

    def draw(self, images_seen: int, samples: np.ndarray) -> None:
        """Adds a picture to the timeline. `samples` [N, r, r, C] uint8."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        images.save(folder / f"{images_seen:09d}.png", images.grid(samples, columns=8))

    def _draw_newest(self, kind: str, images_seen: int, pictures: np.ndarray) -> None:
        """A picture in the place of the older ones of its kind."""
        older = list((self.path / "samples").glob(f"{kind}-*.png"))
        newest = self.path / "samples" / f"{kind}-{images_seen:09d}.png"
        images.save(newest, images.grid(pictures, columns=8))
        for path in older:
            if path != newest:
                path.unlink(missing_ok=True)

    def keep_moment(self, trainer: Trainer, saved: bool = False) -> None:
        """The present state among the moments that stay explorable; `saved` by somebody on
        purpose."""
        folder = self.path / "moments"
        name = moments.folder_of(folder, trainer.images_seen).relative_to(self.path)
        self.export(trainer, str(name), half=True)
        if saved:
            moments.mark_saved(folder, trainer.images_seen)
        moments.thin(folder)

    def export(self, trainer: Trainer, name: str, half: bool = False) -> Path:
        """Writes the averaged generator and the discriminator as a model folder `name`; `half`
        in float16."""
        folder = self.path / name
        data = trainer.dataset
        save_model(
            folder,
            trainer.exported_generator(),
            name=self.name(),
            dataset=data.name,
            classes=data.classes,
            licence=data.licence,
            training={
                "images_seen": trainer.images_seen,
                "seconds": round(trainer.seconds),
                "config": without_places(trainer.config).to_json(),
                "device": trainer.device.describe(),
                "earlier": self.history()["earlier"],
            },
            half=half,
        )
        save_discriminator(folder, trainer)
        return folder

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        text = json.dumps(value, indent=1, ensure_ascii=False)
        write_atomic(self.path / name, (text + "\n").encode())


def save_discriminator(folder: Path, trainer: Trainer) -> None:
    """The discriminator beside the generator, for warm starts: float16, about half the size."""
    tensors = {k: v.half().cpu().contiguous() for k, v in trainer.D.state_dict().items()}
    config = json.dumps(dataclasses.asdict(trainer.D.config))
    write_atomic(folder / "discriminator.safetensors", save(tensors, {"discriminator": config}))


def plain(report: StepReport) -> dict[str, Any]:
    """A report as JSON: no arrays, no paths."""
    values = {
        field.name: getattr(report, field.name)
        for field in dataclasses.fields(report)
        if field.name not in _NOT_PLAIN
    }
    for name in ("pair_accuracy", "grad_norm_g", "grad_norm_d"):
        values[name] = _finite(values[name])
    values["alarms"] = [dataclasses.asdict(alarm) for alarm in report.alarms]
    values["losses"] = {name: round(value, 5) for name, value in report.losses.items()}
    values["images_per_second"] = round(report.images_per_second, 2)
    if report.quality is not None:
        quality = dataclasses.asdict(report.quality)
        quality["vendi_ratio"] = report.quality.vendi_ratio
        quality["diversity_ratio"] = report.quality.diversity
        values["quality"] = {name: _finite(value) for name, value in quality.items()}
    return values


def progress(report: StepReport) -> dict[str, Any]:
    """The part of a report that a status holds."""
    left = report.seconds_left
    return {
        "images_seen": report.images_seen,
        "images": report.images,
        "resolution": report.resolution,
        "seconds": report.seconds,
        "seconds_left": left if math.isfinite(left) else None,
        "alarms": plain(report).get("alarms", []),
        "finished": report.finished,
    }


# Pictures, files, what happens only once, and what is written in another form.
_NOT_PLAIN = (
    *("samples", "raw_samples", "between", "neighbours", "checkpoint", "moment", "restored"),
    *("quality", "alarms", "seconds_left"),
)


def _finite(value: Any) -> Any:
    """JSON has no NaN, which a figure is that can't be computed: None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Run:
    """One training in one directory: started, or gone on with where it stopped.

    The stored configuration and device rule; only the budget and the target may be others when a
    run is gone on with. Raises LabError for what doesn't fit it.
    """

    def __init__(
        self,
        path: str | Path,
        config: TrainConfig,
        device: Device,
        *,
        dataset: Dataset,
        preset: str | None = None,
        evaluate: bool = True,
        asked_to_stop: Callable[[], bool] = lambda: False,
        group: Group | None = None,
    ):
        """`asked_to_stop` is looked at between steps, beside the orders in control.json."""
        self.directory, self.asked_to_stop = RunDirectory(path), asked_to_stop
        history: dict[str, list[dict[str, Any]]] = {"earlier": [], "budgets": []}
        if self.directory.exists():
            if self.directory.is_training():
                raise LabError("run_is_busy", path=path)
            config, device = self._resumed(config, dataset, preset)
            history = self.directory.history()
        elif not config.images and config.minutes is None:
            raise LabError("no_budget")
        else:
            config = dataclasses.replace(config, target_quality=config.target_quality or None)
            if config.warm_start is not None:
                history["earlier"] = stretches(Path(config.warm_start))
        torch.set_num_threads(device.threads)
        self.trainer = Trainer(
            config,
            self.directory.checkpoints,
            dataset=dataset,
            device=device,
            preset=preset,
            evaluate=evaluate,
            group=group,
        )
        self.history, self.description = history, device.describe()
        self.orders = Listener(self.directory.path, self._noted)
        self.state, self.facts = "training", self._facts() | self._heard_before()
        self.lock = threading.RLock()  # the status is written by two threads
        self.last_status = -math.inf
        with writing(self.directory.path):
            self.directory.path.mkdir(parents=True, exist_ok=True)
            self._write_config()
            self.directory.forget_after(self.trainer.images_seen)

    def _resumed(
        self, asked: TrainConfig, dataset: Dataset, preset: str | None
    ) -> tuple[TrainConfig, Device]:
        """→ the stored configuration with the budget and target that are asked for now."""
        stored, description = self.directory.read_config()
        check_same(stored, asked, dataset, preset)
        images = asked.images or self._images_in(asked.minutes, stored)
        seen = (self.directory.status() or {}).get("images_seen") or 0
        config = dataclasses.replace(
            stored if images == stored.images else with_budget(stored, images, seen),
            minutes=None if asked.images else asked.minutes or stored.minutes,
            target_quality=_target(asked.target_quality, stored.target_quality),
        )
        return config, Device.from_json(description)

    def _images_in(self, minutes: float | None, stored: TrainConfig) -> int:
        """The budget in images. Other minutes than before change it in proportion; for the first
        minutes of a run that had images, its own mean speed so far tells (0: no speed yet)."""
        if minutes is None or minutes == stored.minutes:
            return stored.images
        if stored.minutes:
            return round(stored.images * minutes / stored.minutes)
        last = (self.directory.metrics() or [{"images_seen": 0, "seconds": 1.0}])[-1]
        return round(last["images_seen"] / max(last["seconds"], 1e-3) * 60 * minutes)

    @property
    def finished(self) -> str | None:
        """ "budget", "quality" or "plateau" if there is nothing left to do."""
        status = self.directory.status() or {}
        config = self.trainer.config
        if 0 < config.images <= self.trainer.images_seen:
            return "budget"
        same_target = status.get("target_quality") == config.target_quality
        why = status.get("finished")
        return why if why in ("quality", "plateau") and same_target else None

    def reports(self) -> Iterator[StepReport]:
        """Trains; everything a report holds is on disk before it is handed on.

        Ends early, saved, with `state` "stopped", when somebody wants it to.
        """
        self.trainer.pulse = self._pulse
        with self.orders:
            try:
                with writing(self.directory.path):
                    yield from self._train()
            except LabError as error:
                with contextlib.suppress(OSError):  # the disk may be what failed
                    self._write_status("failed", message=error.to_json())
                raise

    def settle(self, finished: str) -> None:
        """Writes down the end that an earlier process reached, but was killed before it told."""
        if (self.directory.status() or {}).get("state") != "finished":
            with writing(self.directory.path):
                self.directory.export(self.trainer, "latest")
                self._write_status("finished", **self._facts(), finished=finished)

    def _train(self) -> Iterator[StepReport]:
        self._write_status("training")
        try:
            for report in self.trainer.run():
                self._record(report)
                yield report
        except Stopped:
            self.stop()

    def _record(self, report: StepReport) -> None:
        if report.restored:  # what was written about the time since then is void
            self.directory.forget_after(report.images_seen)
        elif not report.losses:  # the first report: minutes are images now
            self._write_config()
            self._write_reals()
        self.directory.record(report)
        if report.moment:
            self.directory.keep_moment(self.trainer)
        if report.checkpoint is not None:
            self.directory.export(self.trainer, "latest")
        if report.is_best:
            self.directory.export(self.trainer, "model")
        self.facts |= progress(report)
        if report.losses:
            self.facts["images_per_second"] = round(report.images_per_second, 2)
        if report.finished:
            self._write_status("finished")
        self._beat()

    def _write_reals(self) -> None:
        path = self.directory.path / "reals.png"
        if not path.exists():
            images.save(path, images.grid(self.trainer.gallery.reals(), columns=8))

    def stop(self) -> None:
        """Saves everything now; the same command goes on from here."""
        with writing(self.directory.path):
            self.save()
            self._write_status("stopped")

    def save(self) -> bool:
        """A checkpoint and the newest generator, between two steps; nothing (False) where the
        numbers have just broken: the loop goes back to the last good checkpoint then."""
        if not self.trainer.has_finite_weights():
            return False
        self.trainer.save()
        self.directory.export(self.trainer, "latest")
        self.facts |= self._facts()
        return True

    def keep(self) -> None:
        """What somebody saves on purpose is also a moment of the timeline: checkpoints give way
        to newer ones, and who comes back to it may want to fork from here."""
        if self.save():
            self.directory.draw(self.trainer.images_seen, self.trainer.samples())
            self.directory.keep_moment(self.trainer, saved=True)

    # ---- orders

    def _pulse(self) -> None:
        """Between two steps: obeys, waits while it is paused, shows that it lives."""
        while True:
            if self.asked_to_stop():
                raise Stopped
            while order := self.orders.take():
                self._obey(order)
            self._beat()
            if self.state != "paused":
                return
            self.orders.wait(0.5)

    def _obey(self, order: Order) -> None:
        if order.images is not None or order.target_quality is not None:
            self._change(order)
        if order.action == "stop":
            raise Stopped
        if order.action == "export":
            self.save()
        if order.action == "save":
            self.keep()
        states = {"pause": "paused", "resume": "training"}
        self.facts |= self._facts() | {"obeyed": order.id}  # reports may be older than this step
        self._write_status(states.get(order.action or "", self.state))

    def _change(self, order: Order) -> None:
        """Another budget or target from here on; the configuration on disk says so at once."""
        trainer, changes = self.trainer, {}
        if order.images is not None:
            longer = with_budget(trainer.config, order.images, trainer.images_seen)
            changes |= {"images": order.images, "minutes": None}
            changes |= {"grow": longer.grow, "head_start": longer.head_start}
        if order.target_quality is not None:
            changes["target_quality"] = order.target_quality or None
        trainer.config = dataclasses.replace(trainer.config, **changes)
        trainer.stop.target = trainer.config.target_quality
        self._write_config()

    def _noted(self, order: Order) -> None:
        """Acknowledges an order, on the listener's thread: the training may be in a long step."""
        with contextlib.suppress(OSError), self.lock:  # it is obeyed in any case
            stopping = self.facts.get("stopping", False) or order.action == "stop"
            self.facts |= {"acknowledged": order.id, "stopping": stopping}
            self._write_status(self.state)

    def _heard_before(self) -> dict[str, Any]:
        """The numbers of orders go on where those to the process before ended: a page that waits
        for a higher one must not wait for ever."""
        heard = (self.directory.status() or {}).get("acknowledged") or 0
        return {"acknowledged": heard, "obeyed": heard}

    def _facts(self) -> dict[str, Any]:
        config = self.trainer.config
        return {
            "target_quality": config.target_quality,
            "images": config.images,
            "images_seen": self.trainer.images_seen,
            "seconds": round(self.trainer.seconds, 3),
            "damaged": self.trainer.damaged,
        }

    def _write_config(self) -> None:
        """Also notes a new budget: every schedule runs over it, so it belongs to the history."""
        trainer, budgets = self.trainer, self.history["budgets"]
        if trainer.config.images and trainer.config.images != (budgets or [{}])[-1].get("images"):
            budgets.append({"at": trainer.images_seen, "images": trainer.config.images})
        self.directory.write_config(trainer.config, self.description, self.history)

    def _beat(self) -> None:
        if time.monotonic() - self.last_status >= HEARTBEAT_SECONDS:
            self._write_status(self.state)

    def _write_status(self, state: str, **about: Any) -> None:
        with self.lock:
            self.state, self.last_status = state, time.monotonic()
            self.facts |= about
            self.directory.write_status(state, **self.facts)


def check_same(
    stored: TrainConfig, asked: TrainConfig, dataset: Dataset, preset: str | None = None
) -> None:
    """LabError where a resumed run was asked to be another one."""
    network = stored.generator
    assert network is not None, "a stored configuration is complete"
    pairs = {
        name: (getattr(stored, name), getattr(asked, name))
        for name in ("data", "loss", "seed", "warm_start", "lesson")
    }
    if asked.batch:
        pairs["batch"] = stored.batch, asked.batch
    pairs["resolution"] = network.resolution, dataset.resolution
    if asked.penalties is not None:
        pairs["penalties"] = stored.penalties, asked.penalties
    if preset is not None:
        pairs["preset"] = preset_of(stored) or "–", preset_for(network.resolution, preset)
    for name, (before, now) in pairs.items():
        if before != now:
            raise LabError("run_is_another", name=name, stored=_said(before), asked=_said(now))


def _target(asked: float | None, stored: float | None) -> float | None:
    """The target asked for, or else the stored one; 0 takes it away."""
    return (stored if asked is None else asked) or None


def _said(value: Any) -> str:
    return ",".join(value) or "none" if isinstance(value, tuple) else str(value)


def preset_of(config: TrainConfig) -> str | None:
    """The preset by whose sizes a complete configuration was made; None if it was made by hand.

    Of presets with the same sizes the one that grows alike; but no other way of growing makes it
    another one: a fork goes on with what a warm start had left out, and a new budget moves it.
    """
    network = config.generator
    assert network is not None
    made = (network.channel_base, network.channel_max, network.z_dim, network.w_dim)
    alike = [
        name
        for name, sizes in PRESETS.items()
        if made == (sizes.channel_base, sizes.channel_max, sizes.latent, sizes.latent)
    ]
    warm = config.warm_start is not None
    exact = [
        name for name in alike if config.grow == stages(PRESETS[name], network.resolution, warm)
    ]
    return next(iter([*exact, *alike]), None)


def stretches(model: Path) -> list[dict[str, Any]]:
    """What a model folder says of its own training, and of the trainings before: the oldest
    first, each {"images_seen", "seconds", "config", "device"}. Empty where it says nothing."""
    try:
        stored = json.loads((model / "config.json").read_text(encoding="utf-8"))["training"]
        last = {name: stored[name] for name in ("images_seen", "seconds", "config", "device")}
        return [*stored["earlier"], last]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def without_places(config: TrainConfig) -> TrainConfig:
    """The configuration without the folders of this machine: what may be published."""
    warm, public = config.warm_start, config.data in BUNDLED or is_hub_data(config.data)
    return dataclasses.replace(
        config,
        data=config.data if public else Path(config.data).name,
        warm_start=None if warm is None else Path(warm).name,
    )
