"""Everything that determines a training, as one frozen dataclass, and the table of presets."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2Config
from gan.training.augment import AugmentConfig
from gan.training.losses import LOSSES
from gan.training.networks import DiscriminatorConfig

Stage = tuple[int, float]  # a resolution (pixels), and the part of the budget at which it ends


# The published .01 is made for tens of millions of images: in half a million the mapping network
# would hardly leave its first weights, and couldn't learn what is either there or not (a beard).
MAPPING_LR = 0.1
# Told what to draw, it has to tell that apart from the first step on: after 9,600 digits 56 % were
# legible with 1, 40 % with .1 (relativistic loss, 300 samples).
TOLD_MAPPING_LR = 1.0
HEAD_START, HEAD_START_RATE = 0.4, 3.0
PENALTIES = ("r1", "r2")  # switches, on any loss


@dataclass(frozen=True)
class TrainConfig:
    """One training. Times are in seconds, amounts in images (an image = one real picture shown).

    `images` is the budget that every schedule runs over; 0 means that `minutes` will be turned
    into one after a warm-up. What depends on the data (the networks' sizes, `grow`) is
    filled in by `gan.training.loop.complete`, as is what is None; where `batch` or a learning rate
    is 0, the preset says it.
    """

    data: str
    images: int = 0
    minutes: float | None = None
    target_quality: float | None = None
    seed: int = 0
    batch: int = 0

    loss: str = "relativistic"
    penalties: tuple[str, ...] | None = None  # None: those that the loss was published with
    # γ by resolution (see `gamma_at`). The avatars' discriminator won against a twentieth of it:
    # the penalty was then too small to matter, and the pictures got worse.
    gamma: tuple[tuple[int, float], ...] = ((8, 0.05), (16, 0.1))
    penalty_interval: int = 16  # StyleGAN2's lazy regularisation: every 16th step, 16 times as much

    learning_rate: float = 0.0
    final_learning_rate: float = 0.0  # 0: a tenth
    decay_from: float = 0.5  # the part of the budget at which the rate begins to fall (cosine)
    betas: tuple[float, float] = (0.0, 0.99)
    ema_half_life: float = 10_000.0  # images; capped at 5 % (see `ema_beta_at`)

    discriminator_rate: float = 1.0  # times the learning rate
    generator_steps: int = 1  # for each step of the discriminator
    group: int = 4  # samples that the discriminator compares with each other; 1: none
    # Whether samples that are compared with each other are of one class, where there are classes.
    # Among different digits nobody sees that every "0" is the same one, whatever z says; nor does
    # the collapse lamp, which counts classes.
    alike: bool = True
    # The weight of D's recognising the class, where there are classes (see `losses.misread`).
    recognition: float = 1.0
    classes: bool = True  # False: what is known of the pictures is not told to the networks
    # Where attributes say all that a picture shows, as the avatars' do (see `codes_of`):
    reconstruction: float = 30.0  # its weight (`gan.training.losses.reconstruction`)
    # Every second picture is drawn truncated, by this much at most. Without a warm start only from
    # the middle of a head start on, for first it must know what to draw.
    least_psi: float = 0.5
    # The part of the budget in which the generator learns from that alone, at a rate that falls
    # from HEAD_START_RATE times the rate to the rate itself: a picture costs a third there.
    # None: HEAD_START, or 0 after a warm start.
    head_start: float | None = None
    pictures: int = 0  # learn from so many only, chosen by the seed; 0: from all
    lesson: str | None = None  # the name of what these settings are to show

    augment: AugmentConfig | None = None  # None: by the number of pictures
    grow: tuple[Stage, ...] = ()
    warm_start: str | None = None

    evaluation_samples: int = 1000
    evaluation_share: float = 0.05  # of the wall time, at most
    checkpoint_seconds: float = 120.0
    checkpoint_images: int = 0  # also every so many images; 0: by time only

    generator: StyleGAN2Config | None = None
    discriminator: DiscriminatorConfig | None = None

    def gamma_at(self, resolution: int) -> float:
        """The penalty's weight at a resolution: the table's, beyond it four times a doubling.

        Each of four times as many pixels has a quarter of the influence, so that the same
        discriminator's squared gradient is a quarter there. With twice a doubling it won against
        the digits at 32 px: KID 9.9 after 10,000 pictures, 3.4 with four times (one seed each).
        """
        for size, gamma in self.gamma:
            if resolution <= size:
                return gamma
        size, gamma = self.gamma[-1]
        return gamma * (resolution / size) ** 2

    def resolution_at(self, images_seen: int) -> int:
        """The resolution that is trained when `images_seen` images of the budget are done."""
        for resolution, until in self.grow:
            if images_seen < until * self.images:
                return resolution
        return self.grow[-1][0]

    def is_head_start(self, images_seen: int) -> bool:
        """Whether there is no discriminator yet."""
        return images_seen < (self.head_start or 0.0) * self.images

    def truncates(self, images_seen: int) -> bool:
        """Whether some pictures are drawn truncated."""
        head_start = 0.0 if self.warm_start else (self.head_start or 0.0)
        return self.least_psi < 1 and images_seen >= 0.5 * head_start * self.images

    def learning_rate_at(self, images_seen: int) -> float:
        """Constant, then a cosine from `decay_from` of the budget down to the final rate. In a
        head start a cosine from HEAD_START_RATE times as much."""
        progress = min(images_seen / max(self.images, 1), 1.0)
        rate = self.learning_rate
        if self.is_head_start(images_seen):
            return _cosine(HEAD_START_RATE * rate, rate, progress / (self.head_start or 1.0))
        fall = max(0.0, progress - self.decay_from) / max(1.0 - self.decay_from, 1e-9)
        return _cosine(rate, self.final_learning_rate, fall)

    def ema_beta_at(self, images_seen: int) -> float:
        """The weight of the old average in one step: half-life capped at 5 % of what was seen,
        so that a short run has an average worth looking at. A warm start begins with one: there
        5 % of the budget is the cap, or it would be thrown away in the first steps."""
        reach = images_seen if self.warm_start is None else self.images
        half_life = min(self.ema_half_life, 0.05 * reach)
        return 0.5 ** (self.batch / max(half_life, 1e-8))

    def check(self) -> None:
        """LabError for a value that can't work, naming it."""
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is not None and not least <= value <= most and (value or name != "batch"):
                raise LabError("bad_setting", name=name, value=value, least=least, most=most)
        if self.loss not in LOSSES:
            raise LabError("unknown_loss", value=self.loss, known=", ".join(LOSSES))
        if self.lesson is not None and self.lesson not in LESSONS:
            raise LabError("unknown_lesson", value=self.lesson, known=", ".join(LESSONS))
        if unknown := set(self.penalties or ()) - set(PENALTIES):
            raise LabError("unknown_penalty", value=", ".join(unknown), known=", ".join(PENALTIES))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> TrainConfig:
        """The config of `to_json`, also after a trip through a JSON file."""
        values = {k: _tuples(v) for k, v in stored.items() if k in cls.__dataclass_fields__}
        values = {"recognition": 0.0, "alike": False} | values  # older trainings had none
        for name, kind in _NESTED.items():
            if values.get(name) is not None:
                values[name] = kind(**{k: _tuples(v) for k, v in stored[name].items()})
        return cls(**values)


_NESTED = {
    "augment": AugmentConfig,
    "generator": StyleGAN2Config,
    "discriminator": DiscriminatorConfig,
}

_RANGES = (
    ("images", 0, 10**10),
    ("minutes", 0.01, 10**6),
    ("target_quality", 0.0, 1.0),
    ("seed", 0, 2**32 - 1),
    ("batch", 2, 4096),
    ("learning_rate", 0.0, 1.0),
    ("penalty_interval", 1, 1024),
    ("discriminator_rate", 0.0, 100.0),
    ("generator_steps", 1, 100),
    ("group", 1, 64),
    ("pictures", 0, 10**9),
    ("recognition", 0.0, 10**4),
    ("reconstruction", 0.0, 10**4),
    ("least_psi", 0.0, 1.0),
    ("head_start", 0.0, 1.0),
    ("evaluation_samples", 50, 5_000),
)


def said_batch(batch: int | None) -> int:
    """What a person said of the batch, None being nothing, as `TrainConfig` takes it; LabError for
    0, which there means that nothing was said."""
    if batch == 0:
        _, least, most = next(row for row in _RANGES if row[0] == "batch")
        raise LabError("bad_setting", name="batch", value=batch, least=least, most=most)
    return batch or 0


def _cosine(first: float, last: float, progress: float) -> float:
    """From `first` to `last` along half a cosine; `progress` 0 … 1."""
    return last + 0.5 * (1.0 + math.cos(math.pi * progress)) * (first - last)


def _tuples(value: Any) -> Any:
    """JSON has lists only; a frozen config wants tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


# What goes wrong in adversarial training, to be watched on purpose: each lesson is settings that
# make its alarm go off. On the digits, with the quick preset on one busy core, they did so after
# 27 s (the discriminator wins), 68 s (memorising) and 182 s (collapse): the page gives them five
# minutes.
LESSONS: dict[str, dict[str, Any]] = {
    "collapse": {
        # The generator runs to whatever the discriminator believes at the moment (Metz 2017),
        # which is one picture; nothing compares its pictures with each other.
        "loss": "nonsaturating",
        "classes": False,
        "penalties": (),
        "group": 1,
        "generator_steps": 2,
        "discriminator_rate": 0.5,
    },
    "discriminator_wins": {
        "loss": "minimax",
        "recognition": 0.0,  # or the generator would still be told what a digit is
        "penalties": (),
        "learning_rate": 1e-4,
        "final_learning_rate": 1e-4,
        "discriminator_rate": 100.0,
    },
    "memorise": {
        "loss": "nonsaturating",
        "recognition": 0.0,
        "pictures": 20,
        "augment": AugmentConfig(),
    },
}


def with_lesson(config: TrainConfig, lesson: str) -> TrainConfig:
    """The configuration as the lesson needs it; LabError if there is no such lesson."""
    config = dataclasses.replace(config, lesson=lesson, **LESSONS.get(lesson, {}))
    config.check()
    return config


@dataclass(frozen=True)
class Preset:
    """What a person chooses by goal: sizes of the networks, pictures in a step, how far a step
    goes, and the way through the resolutions.

    `grow` are the parts of the budget spent at a quarter, a half of the final resolution; the rest
    goes to the final one. Where that would be coarser than COARSEST, the next one has its part.
    """

    channel_base: int
    channel_max: int
    latent: int
    grow: tuple[tuple[int, float], ...]  # (final resolution / r, part of the budget)
    batch: int = 32
    learning_rate: float = 2e-3


QUICK_MOST = 64  # px
COARSEST = 16  # px that a training begins with, where its pictures are larger
PRESETS = {
    # Many small steps of small networks: what minutes can teach. KID after 80 s of one core, on
    # the avatars: 46, with the small preset's networks 55, the standard one's 70; those in steps
    # of 32 pictures 90 after 100 s (one seed each, trainings of seven minutes).
    "quick": Preset(512, 64, 64, ((4, 0.3), (2, 0.4)), batch=8, learning_rate=4e-3),
    "tiny": Preset(256, 32, 32, ()),
    "small": Preset(1024, 128, 64, ((2, 0.25),)),
    "standard": Preset(2048, 192, 128, ((4, 0.15), (2, 0.35))),
    "gpu": Preset(16384, 512, 512, ((4, 0.1), (2, 0.2)), batch=64),
}


def preset_for(resolution: int, asked: str | None = None) -> str:
    """The preset asked for, or the usual one for pictures of this size. Networks as small as the
    quick one's draw small pictures only: larger ones get their usual one."""
    if asked is None or (asked == "quick" and resolution > QUICK_MOST):
        return default_preset(resolution)
    return asked


def default_preset(resolution: int) -> str:
    """tiny up to 16 px, small up to 32 px, standard above."""
    return "tiny" if resolution <= 16 else "small" if resolution <= 32 else "standard"


def stages(preset: Preset, resolution: int, warm: bool = False) -> tuple[Stage, ...]:
    """The preset's way of growing for pictures of this size: ((16, .15), (32, .5), (64, 1.0)).
    Who starts `warm` has been through the coarse ones: ((64, 1.0),)."""
    done, result = 0.0, []
    for divisor, part in () if warm else preset.grow:
        done += part
        if resolution // divisor >= COARSEST:
            result.append((resolution // divisor, round(done, 4)))
    return (*result, (resolution, 1.0))
