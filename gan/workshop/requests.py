"""What a person asks for: one training, as the command line that will run."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gan.errors import LabError
from gan.workshop.limits import Limits

LONGEST_NAME = 80  # characters


@dataclass(frozen=True)
class TrainRequest:
    """A training as it is asked for. None is the command line's default, or the data's own.

    `target_quality` 0 takes the target of a run away when it is gone on with.
    """

    data: str = "digits"
    preset: str | None = None
    resolution: int | None = None
    minutes: float | None = None
    images: int | None = None
    loss: str = "relativistic"
    penalties: str | None = None  # "r1", "r2", "r1,r2" or "none"
    target_quality: float | None = None
    warm_start: str | None = None
    batch: int | None = None  # None: the preset's
    seed: int = 0
    name: str = ""
    lesson: str | None = None

    def command(self, out: str | Path) -> list[str]:
        """The program's arguments: ["train", "--data", …]; what `python -m gan` is given."""
        flags: list[str] = ["train", "--data", self.data, "--out", str(out)]
        for name in _FLAGS:
            value = getattr(self, name)
            if value is not None and value != _DEFAULTS[name]:
                flags += ["--" + name.replace("_", "-"), _said(value)]
        return flags

    def command_line(self, out: str | Path) -> str:
        """The same as a person types it."""
        return shlex.join(["python", "-m", "gan", *self.command(out)])

    def without_places(self) -> TrainRequest:
        """The same as others may read it: what lies on this machine goes by its name alone."""
        warm_start = self.warm_start and _name_alone(self.warm_start)
        return replace(self, data=_name_alone(self.data), warm_start=warm_start)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, given: Any) -> TrainRequest:
        """A request that came from outside: LabError names a field that isn't one, or whose value
        is of another kind. What the values may be is checked by `check` and by the training."""
        if not isinstance(given, dict):
            raise LabError("bad_training_field", name="request", value=given)
        for name, value in given.items():
            if name not in _KINDS or not _is_kind(value, _KINDS[name]):
                raise LabError("bad_training_field", name=name, value=value)
        return cls(**given)

    def check(self, limits: Limits, *own_folders: Path) -> None:
        """LabError for a value that can't work, or that this host doesn't allow; of a request
        that is `settled`. What only the data can tell (a folder without pictures, say) is left to
        the training to refuse.

        Where `limits` allow no paths of this machine, data must be bundled or below one of
        `own_folders`.
        Whose model a warm start is, only the workshop knows.
        """
        from gan.training.config import PRESETS, TrainConfig, said_batch
        from gan.training.data import SMALLEST

        if self.preset is not None and self.preset not in PRESETS:
            raise LabError("unknown_preset", value=self.preset, known=", ".join(PRESETS))
        if self.lesson is not None and not re.fullmatch(r"[a-z][a-z_]{0,40}", self.lesson):
            raise LabError("bad_training_field", name="lesson", value=self.lesson)
        TrainConfig(
            data=self.data,
            images=self.images or 0,
            minutes=self.minutes,
            target_quality=self.target_quality,
            seed=self.seed,
            batch=said_batch(self.batch),
            loss=self.loss,
            penalties=None if self.penalties is None else _penalties(self.penalties),
        ).check()
        if not self.images and self.minutes is None:
            raise LabError("no_budget")
        if limits.minutes is not None and (self.minutes or 0) > limits.minutes:
            raise LabError("run_too_long", minutes=self.minutes, most=limits.minutes)
        if self.resolution is not None and not SMALLEST <= self.resolution <= limits.resolution:
            raise LabError(
                "bad_resolution", value=self.resolution, least=SMALLEST, most=limits.resolution
            )
        if (self.batch or 0) > limits.batch:
            raise LabError(
                "bad_setting", name="batch", value=self.batch, least=2, most=limits.batch
            )
        self._check_data(limits, own_folders)

    def _check_data(self, limits: Limits, own_folders: tuple[Path, ...]) -> None:
        from gan.training.data import BUNDLED
        from gan.training.hub_names import is_hub_data

        if self.data in BUNDLED:
            return
        if is_hub_data(self.data):
            check_hub_data(self.data, limits)
            return
        place = Path(self.data)
        is_own = any(folder.resolve() in place.parents for folder in own_folders)
        if not limits.own_paths and not is_own:
            raise LabError("not_your_data", data=place.name)
        if not place.exists():
            raise LabError("data_missing", source=self.data)

    def settled(self, limits: Limits) -> TrainRequest:
        """The same with its data found from anywhere, and no larger than the host allows."""
        from gan.training.data import BUNDLED, LARGEST, located

        if self.data in BUNDLED:
            return self
        bounded = limits.resolution if limits.resolution < LARGEST else None
        data = located(bounded_rows(self.data, limits))
        return replace(self, data=data, resolution=self.resolution or bounded)

    def changed(self, **changes: Any) -> TrainRequest:
        """The same with other values; a new budget takes the place of the old one."""
        if changes.get("images") is not None:
            changes.setdefault("minutes", None)
        elif changes.get("minutes") is not None:
            changes.setdefault("images", None)
        return TrainRequest.from_json(self.to_json() | changes)


def bounded_rows(data: str, limits: Limits) -> str:
    """The same source; of a data set on the Hub that doesn't say how many rows, no more than the
    host allows."""
    from gan.training.hub_names import DEFAULT_MOST, HubData, is_hub_data

    if not is_hub_data(data):
        return data
    asked = HubData.parse(data)
    return str(replace(asked, most=asked.most or min(DEFAULT_MOST, limits.hub_rows)))


def _name_alone(source: str) -> str:
    place = Path(source)
    return place.name if place.is_absolute() else source


def check_hub_data(data: str, limits: Limits) -> None:
    """LabError for a data set on the Hub that this host doesn't let in, or not so much of it."""
    from gan.loading.policy import Policy
    from gan.training.hub_names import LEAST, HubData

    asked = HubData.parse(data)
    if not Policy.from_environment().allows_data(asked.repo):
        raise LabError("hub_data_not_allowed", repo=asked.repo)
    if (asked.most or 0) > limits.hub_rows:
        raise LabError(
            "bad_setting", name="most", value=asked.most, least=LEAST, most=limits.hub_rows
        )


_FLAGS = (
    *("preset", "lesson", "resolution", "minutes", "images", "target_quality", "loss"),
    *("penalties", "warm_start", "batch", "seed"),
)
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainRequest)}
_TEXT, _WHOLE, _REAL, _NONE = (str,), (int,), (int, float), type(None)
_KINDS: dict[str, tuple[type, ...]] = {
    "data": _TEXT,
    "preset": (*_TEXT, _NONE),
    "resolution": (*_WHOLE, _NONE),
    "minutes": (*_REAL, _NONE),
    "images": (*_WHOLE, _NONE),
    "loss": _TEXT,
    "penalties": (*_TEXT, _NONE),
    "target_quality": (*_REAL, _NONE),
    "warm_start": (*_TEXT, _NONE),
    "batch": (*_WHOLE, _NONE),
    "seed": _WHOLE,
    "name": _TEXT,
    "lesson": (*_TEXT, _NONE),
}


def _penalties(given: str) -> tuple[str, ...]:
    return tuple(name for name in given.split(",") if name != "none")


def _is_kind(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    return isinstance(value, kinds) and not (isinstance(value, str) and len(value) > 4096)


def _said(value: Any) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
