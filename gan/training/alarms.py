"""What can go wrong in a training, seen from its own measurements: five lamps and their rules.

Owns thresholds, and how often a sign has to be seen before it is believed. It measures nothing
itself (numbers come from `evaluation` and from the loop), stops nothing and repairs nothing.
Plain numbers only, so that a checkpoint holds the lamps too.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from gan.training.evaluation import Quality

# Collapse: the generator draws little of what there is. Ratios are fake / real.
LOW_DIVERSITY, LOST_DIVERSITY = 0.5, 0.25  # mean distance of two pictures' features
LOW_VENDI = 0.5  # effective number of different pictures
LOST_COVERAGE = 0.5  # of the best coverage so far …
COVERAGE_TO_LOSE = 0.1  # … where that was more than chance
RARE_CLASS = 0.2  # of a class's share among the real pictures, or of 1/K for K classes
MANY_CLOSE_PAIRS = 0.05  # closer than 1 % of the pairs of real pictures are
EARLY_SHARE, EARLY_IMAGES = 0.1, 20_000  # of the budget, and at most: what has not learned yet
# draws little of what there is, too
ALARM_SIGNALS = 2
WARN_STREAK, ALARM_STREAK, CLEAR_STREAK = 2, 3, 2  # evaluations to warn, to alarm, to clear

# The discriminator has won: it is never wrong, and tells the generator nothing any more.
WINDOW = 8  # steps that are judged together
WON_ACCURACY = 0.98  # P(D(x) > D(G(z)))
GONE_GRADIENT = 0.01  # of the running median of the generator's gradient norm
WON_STREAK = 3  # windows, to alarm and to clear
REMEMBERED = 256  # windows whose gradient norms make the median; older ones are thinned out

# Memorising: share of samples that are as good as a training picture (see `neighbours`).
SOME_COPIES, MANY_COPIES = 0.05, 0.2
COPY_STREAK = 2  # evaluations, to light and to clear

# Plateau: nothing is gained any more.
PLATEAU_EVALUATIONS = 10
PLATEAU_ERRORS = 2.0  # standard errors by which Q would have to improve
SMOOTHED = 3  # evaluations in a moving average of Q
INTERVAL_ERRORS = 2 * 1.645  # width of a 90 % interval, in standard errors

SHOWN_AFTER_NAN = 0.1  # of the budget: so long the lamp stays on after a rescue


@dataclass(frozen=True)
class Alarm:
    """A lamp that is on. `signals` are the measurements that lit it, by name."""

    name: str  # "collapse", "discriminator_won", "nan", "memorising" or "plateau"
    level: str  # "warn" or "alarm"
    signals: dict[str, float]
    since: int  # images seen when it went on


@dataclass
class Streak:
    """Believes a sign after `on` times in a row, and its absence after `off` times."""

    on: int
    off: int
    seen: int = 0  # in a row, of what contradicts the present belief
    lit: bool = False

    def update(self, sign: bool) -> bool:
        self.seen = self.seen + 1 if sign != self.lit else 0
        if self.seen >= (self.off if self.lit else self.on):
            self.lit, self.seen = not self.lit, 0
        return self.lit


def collapse_signals(quality: Quality, best_coverage: float) -> dict[str, float]:
    """The signs of a mode collapse in one evaluation, by name. Unknown figures are no signs."""
    found: dict[str, float] = {}
    if quality.diversity < LOW_DIVERSITY:
        found["diversity_ratio"] = quality.diversity
    if quality.vendi_ratio < LOW_VENDI:
        found["vendi_ratio"] = quality.vendi_ratio
    if best_coverage >= COVERAGE_TO_LOSE and quality.coverage < LOST_COVERAGE * best_coverage:
        found["coverage_of_best"] = quality.coverage / best_coverage
    if shares := quality.class_shares:
        usual = quality.real_class_shares or (1 / len(shares),) * len(shares)
        rare = [each for each, real in zip(shares, usual, strict=True) if each < RARE_CLASS * real]
        if rare:
            found["smallest_class_share"] = min(rare)
    if quality.close_pairs > MANY_CLOSE_PAIRS:
        found["close_pairs"] = quality.close_pairs
    return found


@dataclass
class Collapse:
    """Warns at low diversity or two signs at once, in two evaluations in a row: the first one of a
    healthy minute had them by chance. Alarms when there are two signs in three in a row (a
    diversity under 0.25 counts as two); clears after two without."""

    warned: Streak = field(default_factory=lambda: Streak(WARN_STREAK, CLEAR_STREAK))
    alarmed: Streak = field(default_factory=lambda: Streak(ALARM_STREAK, CLEAR_STREAK))
    best_coverage: float = 0.0
    resolution: int = 0  # px; figures of another resolution can't be compared

    def update(self, quality: Quality) -> tuple[str | None, dict[str, float]]:
        """→ the lamp's level, and the signs in this evaluation."""
        if quality.resolution != self.resolution:
            self.resolution, self.best_coverage = quality.resolution, 0.0
        signals = collapse_signals(quality, self.best_coverage)
        self.best_coverage = max(self.best_coverage, quality.coverage)
        votes = len(signals) + (quality.diversity < LOST_DIVERSITY)
        warned = self.warned.update("diversity_ratio" in signals or votes >= ALARM_SIGNALS)
        alarmed = self.alarmed.update(votes >= ALARM_SIGNALS)
        return "alarm" if alarmed else "warn" if warned else None, signals


@dataclass
class DiscriminatorWon:
    """Alarms when D ranks 98 % of the pairs rightly while G's gradient is under 1 % of its
    running median, in three windows of eight steps in a row.

    The median is of the windows in which D was not always right (and of the first one): a
    gradient on its way out must not become what is usual.
    """

    streak: Streak = field(default_factory=lambda: Streak(WON_STREAK, WON_STREAK))
    norms: list[float] = field(default_factory=list)
    windows: int = 0  # that count for the median
    every: int = 1  # of them so many are remembered one

    def update(self, pair_accuracy: float, grad_norm: float) -> tuple[str | None, dict[str, float]]:
        median = statistics.median(self.norms) if self.norms else grad_norm
        sign = pair_accuracy > WON_ACCURACY and grad_norm < GONE_GRADIENT * median
        if (pair_accuracy <= WON_ACCURACY or not self.norms) and math.isfinite(grad_norm):
            self._remember(grad_norm)
        if not self.streak.update(sign):
            return None, {}
        ratio = grad_norm / median if median else 0.0
        return "alarm", {"pair_accuracy": pair_accuracy, "grad_norm_of_median": ratio}

    def _remember(self, grad_norm: float) -> None:
        if self.windows % self.every == 0:
            self.norms.append(grad_norm)
        self.windows += 1
        if len(self.norms) > REMEMBERED:
            self.norms, self.every = self.norms[::2], self.every * 2


@dataclass
class Memorising:
    """Warns when 5 % of the samples copy training pictures, alarms at 20 %, in two evaluations
    in a row. A generator that invents has fewer than pictures kept back from the training."""

    warned: Streak = field(default_factory=lambda: Streak(COPY_STREAK, COPY_STREAK))
    alarmed: Streak = field(default_factory=lambda: Streak(COPY_STREAK, COPY_STREAK))

    def update(self, copies: float) -> tuple[str | None, dict[str, float]]:
        warned = self.warned.update(copies >= SOME_COPIES)
        alarmed = self.alarmed.update(copies >= MANY_COPIES)
        level = "alarm" if alarmed else "warn" if warned else None
        return level, {"copies": copies} if level else {}


@dataclass
class Plateau:
    """Warns when the best smoothed Q has not risen by two standard errors in ten evaluations.

    Only at the data's own resolution: Q of another one can't be compared, and growing helps.
    """

    recent: list[float] = field(default_factory=list)
    best: float = -math.inf
    stalled: int = 0  # evaluations since the best one

    def update(self, quality: Quality) -> tuple[str | None, dict[str, float]]:
        if quality.resolution < quality.full_resolution or not math.isfinite(quality.q):
            return None, {}
        self.recent = [*self.recent, quality.q][-SMOOTHED:]
        smoothed = statistics.fmean(self.recent)
        error = (quality.q_high - quality.q_low) / INTERVAL_ERRORS / math.sqrt(len(self.recent))
        if smoothed > self.best + PLATEAU_ERRORS * error:
            self.best, self.stalled = smoothed, 0
        else:
            self.stalled += 1
        if self.stalled < PLATEAU_EVALUATIONS:
            return None, {}
        return "warn", {"best_q": self.best, "evaluations": float(self.stalled)}


class Alarms:
    """All lamps of one training. `active` are those that are on, in the order they went on."""

    def __init__(self) -> None:
        self.collapse, self.won = Collapse(), DiscriminatorWon()
        self.memorising, self.plateau = Memorising(), Plateau()
        self.lit: dict[str, Alarm] = {}
        self.rescued_until = 0  # images seen, to which the NaN lamp stays on

    @property
    def active(self) -> tuple[Alarm, ...]:
        return tuple(self.lit.values())

    @property
    def forbid_stopping(self) -> bool:
        """Whether something is so wrong that a good figure is not to be trusted."""
        return any(alarm.level == "alarm" for alarm in self.lit.values())

    def evaluated(self, quality: Quality, images_seen: int, budget: int) -> None:
        """Takes the newest measurement of quality, after `images_seen` of `budget` images."""
        if images_seen >= min(EARLY_SHARE * budget, EARLY_IMAGES):
            self._light("collapse", *self.collapse.update(quality), images_seen)
        self._light("plateau", *self.plateau.update(quality), images_seen)
        if quality.copies is not None:
            self._light("memorising", *self.memorising.update(quality.copies), images_seen)

    def stepped(self, pair_accuracy: float, grad_norm: float, images_seen: int) -> None:
        """Takes a window of steps: means of P(D(x) > D(G(z))) and of G's gradient norm."""
        self._light("discriminator_won", *self.won.update(pair_accuracy, grad_norm), images_seen)
        if "nan" in self.lit and images_seen >= self.rescued_until:
            del self.lit["nan"]

    def rescued(self, broke_at: int, restored: int, rate: float, budget: int) -> None:
        """Numbers had become infinite: says from where it goes on, and with what part of the
        learning rate."""
        self.rescued_until = broke_at + round(SHOWN_AFTER_NAN * budget)
        signals = {"broke_at": broke_at, "restored": restored, "rate": rate}
        self.lit["nan"] = Alarm("nan", "alarm", signals, broke_at)

    def _light(
        self, name: str, level: str | None, signals: dict[str, float], images_seen: int
    ) -> None:
        if level is None:
            self.lit.pop(name, None)
            return
        since = self.lit[name].since if name in self.lit else images_seen
        self.lit[name] = Alarm(name, level, signals, since)

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON, for a checkpoint."""
        rules = {name: _plain(dataclasses.asdict(getattr(self, name))) for name in _RULES}
        lit = [dataclasses.asdict(alarm) for alarm in self.lit.values()]
        return rules | {"lit": lit, "rescued_until": self.rescued_until}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, kind in _RULES.items():
            values = dict(state[name])
            for key, value in values.items():
                if isinstance(value, dict):
                    values[key] = Streak(**value)
            if values.get("best", 0) is None:
                values["best"] = -math.inf
            setattr(self, name, kind(**values))
        self.lit = {alarm["name"]: Alarm(**alarm) for alarm in state["lit"]}
        self.rescued_until = state["rescued_until"]


_RULES = {
    "collapse": Collapse,
    "won": DiscriminatorWon,
    "memorising": Memorising,
    "plateau": Plateau,
}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """−∞, which JSON doesn't have, as None."""
    return {k: None if v == -math.inf else v for k, v in values.items()}
