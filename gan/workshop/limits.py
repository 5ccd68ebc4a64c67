"""What a host allows: whether people may train at all, how long, how large, how many."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace

from gan.errors import LabError
from gan.host import is_public, switch

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Bounds on trainings; None is none. The defaults are those of a person's own machine."""

    minutes: float | None = None  # of training, for one run
    resolution: int = 1024  # px
    batch: int = 512
    runs_each: int = 200  # that one person may keep
    runs: int = 2000  # that the host keeps
    waiting_each: int = 20  # in the queue, of one person
    disk_gib: float | None = None  # for all runs together
    free_gib: float = 0.5  # that must stay free on the disk
    at_once: int = 1  # trainings on the device
    hub_rows: int = 1_000_000  # of a data set on the Hub
    uploads_at_once: int = 2  # to the Hub
    card_samples: int = 1000  # pictures that a published model's card is measured on
    own_paths: bool = True  # folders, zip files and models anywhere on this machine


PUBLIC = Limits(
    minutes=30.0,
    resolution=64,
    batch=64,
    runs_each=5,
    runs=40,
    waiting_each=2,
    disk_gib=8.0,
    free_gib=1.0,
    hub_rows=5000,
    own_paths=False,
)


def training_is_on() -> bool:
    """LATENT_LAB_TRAINING=on or off decides; without it, training is off on public hosts."""
    return switch("LATENT_LAB_TRAINING", not is_public())


def limits_here() -> Limits:
    """This host's limits. LATENT_LAB_LIMIT_MINUTES, …_RESOLUTION, …_RUNS_EACH and so on change
    single ones; "none" lifts one that may be lifted."""
    limits = PUBLIC if is_public() else Limits()
    for field in fields(Limits):
        said = os.environ.get(f"LATENT_LAB_LIMIT_{field.name.upper()}", "").strip().lower()
        if said:
            limits = replace(limits, **{field.name: _value(field.name, said)})
    return limits


def _value(name: str, said: str) -> float | bool | None:
    if name == "own_paths":
        return said == "on"
    if said == "none" and name in ("minutes", "disk_gib"):
        return None
    try:
        return float(said) if name in ("minutes", "disk_gib", "free_gib") else int(said)
    except ValueError as error:
        raise LabError("bad_limit", name=f"LATENT_LAB_LIMIT_{name.upper()}", value=said) from error
