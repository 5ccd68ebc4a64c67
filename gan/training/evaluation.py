"""How good a generator is: measured by features, with intervals, beside what is possible.

`Evaluator` serves the training loop (cheap, many times), `report_card` the model cards (thorough,
once), `QualityStop` decides when the samples are good enough. Everything here draws from its own
random numbers: looking at a training never changes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan import features
from gan.generators.base import Generator
from gan.training.data import Dataset, split

BATCH = 50  # pictures drawn at once
MOST_SAMPLES = 5000  # the distances of all pairs are in memory: 200 MB for a set of so many
AUDITED = 256  # of an evaluation's pictures, searched for copies of training pictures
NEIGHBOURS = 5  # k of density and coverage
TARGET_STREAK = 3  # evaluations in a row that have to reach the target
COVERAGE_SHARE = 0.7  # of the reals' own coverage, that a finished generator must have
CHUNK = 2048  # training pictures searched at once for neighbours
CLOSEST = 8  # pairs that the neighbour audit names


@dataclass(frozen=True)
class Quality:
    """One measurement. `kid` and `q` come with 90 % bounds.

    q = 1 − (M − floor)/(M₀ − floor), M the KID: 1 is as near to the data as another part of the
    data, 0 as far as a generator with fresh weights (`baseline`, M₀). NaN without a baseline.
    `coverage` and `density` are Naeem's, `real_…` those of real against real. `diversity` is the
    samples' mean distance from each other over that of the reals; `close_pairs` the share of
    pairs of samples that are closer than 1 % of the pairs of reals. `accuracy` (digits) is the
    share of samples recognised as the class that was asked for, `class_shares` how many were
    recognised as each class, `real_class_shares` how many of the reals, seen as coarsely: where
    a picture is small, some class may hardly be read. `copies` is filled in by the training (see
    `neighbours`).
    """

    kid: float
    kid_low: float
    kid_high: float
    floor: float
    baseline: float
    q: float
    q_low: float
    q_high: float
    coverage: float
    density: float
    real_coverage: float
    real_density: float
    diversity: float
    vendi: float
    real_vendi: float
    samples: int  # on either side
    resolution: int  # px at which it was measured
    full_resolution: int  # px of the data: more than `resolution` while the generator grows
    extractor: str
    seconds: float
    accuracy: float | None = None
    class_accuracy: tuple[float | None, ...] | None = None  # None for a class without samples
    close_pairs: float = math.nan
    class_shares: tuple[float, ...] | None = None
    real_class_shares: tuple[float, ...] | None = None
    copies: float | None = None

    @property
    def vendi_ratio(self) -> float:
        """The effective number of different samples over that of the reals."""
        return self.vendi / max(self.real_vendi, 1e-12)


class Evaluator:
    """Compares generators with fixed real pictures, at one resolution.

    The reals are seen as a generator of that resolution could draw them: averaged down to it,
    then enlarged for the extractor by the same filter as its pictures. Their side is computed
    once: on one core 4 s for 1,000 samples at the extractor's 64 px, digits 0.4 s. An
    evaluation then costs 2 s (digits 0.3 s) and the time of drawing.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        resolution: int | None = None,
        samples: int = 1000,
        seed: int = 0,
        extractor: features.Extractor | None = None,
        device: str = "cpu",
        pulse: Callable[[], None] = lambda: None,
    ):
        """`samples`: at most half of the pictures, so that real can be compared with real, and
        at most 5,000. `device` is the extractor's; the generator stays where it is. `pulse` is
        called before each batch; an exception in it ends the measuring."""
        self.dataset, self.seed, self.pulse = dataset, seed, pulse
        self.resolution = resolution or dataset.resolution
        self.extractor = extractor or features.extractor_for(dataset.name, device=device)
        self.samples = min(samples, MOST_SAMPLES, len(dataset) // 2)
        self.k = min(NEIGHBOURS, self.samples - 1)
        order = np.random.RandomState(seed).permutation(len(dataset))
        self.reals, digits = self._see(self._real_pictures(order[: self.samples]))
        others, _ = self._see(
            self._real_pictures(order[self.samples : 2 * self.samples]), recognise=False
        )
        self.floor, *self.floor_bounds = features.kid_with_interval(self.reals, others)
        self.radius = features.neighbour_radius(self.reals, self.k)
        self.real_class_shares = _shares(digits)
        self.real_density, self.real_coverage = self._density_coverage(others)
        distances = torch.pdist(self.reals)
        self.real_distance = float(distances.mean())
        self.close_distance = math.nan  # of a single picture, there are no pairs
        if len(distances):
            rank = max(1, len(distances) // 100)
            self.close_distance = float(distances.kthvalue(rank).values)
        self.real_vendi = features.vendi(self.reals)
        self.baseline = math.nan
        self.pictures: Tensor | None = None  # the first drawn for the newest evaluation

    def set_baseline(self, generator: Generator) -> None:
        """Measures M₀: a generator that has learned nothing, at this resolution."""
        drawn, _, _ = self._look_at(generator, 0, 1.0)
        self.baseline = features.kid(self.reals, drawn)

    def evaluate(self, generator: Generator, *, psi: float = 1.0, fresh: int = 0) -> Quality:
        """Draws `samples` pictures, always of the same latents, and measures them.

        `fresh` > 0 takes others. The generator's mode and every global random state stay as
        they are.
        """
        started = time.perf_counter()
        drawn, labels, recognised = self._look_at(generator, fresh, psi)
        kid, low, high = features.kid_with_interval(self.reals, drawn)
        density, coverage = self._density_coverage(drawn)
        distances = torch.pdist(drawn)
        accuracy, class_accuracy = None, None
        if recognised is not None and generator.c_dim == features.DIGITS:
            accuracy, class_accuracy = _accuracies(labels, recognised)
        return Quality(
            kid=kid,
            kid_low=low,
            kid_high=high,
            floor=self.floor,
            baseline=self.baseline,
            q=self._q(kid),
            q_low=self._q(high),
            q_high=self._q(low),
            coverage=coverage,
            density=density,
            real_coverage=self.real_coverage,
            real_density=self.real_density,
            diversity=float(distances.mean()) / max(self.real_distance, 1e-12),
            vendi=features.vendi(drawn),
            real_vendi=self.real_vendi,
            samples=self.samples,
            resolution=self.resolution,
            full_resolution=self.dataset.resolution,
            extractor=self.extractor.name,
            seconds=time.perf_counter() - started,
            accuracy=accuracy,
            class_accuracy=class_accuracy,
            close_pairs=float((distances < self.close_distance).float().mean()),
            class_shares=_shares(recognised),
            real_class_shares=self.real_class_shares,
        )

    def _q(self, kid: float) -> float:
        room = self.baseline - self.floor
        return 1 - (kid - self.floor) / room if room > 0 else math.nan

    def _density_coverage(self, drawn: Tensor) -> tuple[float, float]:
        return features.density_coverage(self.reals, drawn, self.k, self.radius)

    def _real_pictures(self, indices: np.ndarray) -> Iterator[Tensor]:
        for start in range(0, len(indices), BATCH):
            rows = np.sort(indices[start : start + BATCH])  # in the file's order, where it is one
            yield _reduced(features.as_images(self.dataset.images[rows]), self.resolution)

    def _see(
        self, batches: Iterable[Tensor], *, recognise: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Batches of pictures → features [samples, dim], digits seen [samples] or None."""
        recognise = recognise and self.extractor.kind == "digits"
        found, digits = [], []
        for images in batches:
            self.pulse()
            found.append(self.extractor(images))
            if recognise:
                digits.append(features.recognised_digits(images))
        return torch.cat(found), torch.cat(digits) if digits else None

    def _look_at(
        self, generator: Generator, fresh: int, psi: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """→ features [samples, dim], classes asked for [samples], digits seen [samples] or None."""
        z, labels = latents(generator, self.dataset, self.samples, self.seed + 1 + fresh)
        kept: list[Tensor] = []

        def pictures() -> Iterator[Tensor]:
            for drawn in _drawn(generator, z, labels, psi, self.resolution):
                images = _reduced(features.as_images(drawn), self.resolution)
                if len(kept) * BATCH < AUDITED:
                    kept.append(images)
                yield images

        found, digits = self._see(pictures())
        self.pictures = torch.cat(kept)[:AUDITED]
        return found, labels, digits


def latents(generator: Generator, dataset: Dataset, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """z [count, z_dim] and classes [count] (int64; zeros for a generator without), by seed alone.

    Classes are as frequent as in the data, but drawn by chance as the reals are: taken in turn,
    they would bias KID, which supposes that the members of a sample are independent.
    """
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.z_dim, generator=rng)
    if dataset.labels is None or dataset.num_classes != generator.c_dim:
        return z, torch.randint(max(generator.c_dim, 1), (count,), generator=rng)
    picks = torch.randint(len(dataset.labels), (count,), generator=rng)
    return z, torch.from_numpy(dataset.labels[picks.numpy()].astype(np.int64))


@torch.no_grad()
def draw(
    generator: Generator,
    z: Tensor,
    labels: Tensor,
    psi: float = 1.0,
    resolution: int | None = None,
) -> Tensor:
    """z [N, z_dim], labels [N] → images [N, C, r, r] with the stored noise, r the coarser of
    `resolution` and the generator's own."""
    where = next(generator.parameters()).device
    c = F.one_hot(labels, generator.c_dim).float().to(where) if generator.c_dim else None
    early = resolution if resolution and resolution < generator.resolution else None
    return generator.synthesis(generator.mapping(z.to(where), c, psi), "const", early)


def _drawn(
    generator: Generator, z: Tensor, labels: Tensor, psi: float, resolution: int | None
) -> Iterator[Tensor]:
    """The pictures of all latents, some at a time."""
    for rows in torch.arange(len(z)).split(BATCH):
        with _evaluation_mode(generator):
            images = draw(generator, z[rows], labels[rows], psi, resolution)
        yield images


@contextlib.contextmanager
def _evaluation_mode(generator: Generator) -> Iterator[None]:
    was_training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(was_training)


def _reduced(images: Tensor, resolution: int) -> Tensor:
    """Averages boxes of pixels down to `resolution`, as the growing training shows the reals."""
    factor = images.shape[-1] // resolution
    return F.avg_pool2d(images, factor) if factor > 1 else images


def _shares(recognised: Tensor | None) -> tuple[float, ...] | None:
    """→ the share of the samples that each class has."""
    if recognised is None:
        return None
    counts = torch.bincount(recognised, minlength=features.DIGITS)
    return tuple((counts.double() / len(recognised)).tolist())


def _accuracies(labels: Tensor, recognised: Tensor) -> tuple[float, tuple[float | None, ...]]:
    """→ the share of samples that are what was asked for, over all and for each class."""
    right = (recognised == labels).double()
    classes = [right[labels == k] for k in range(features.DIGITS)]
    return float(right.mean()), tuple(float(hits.mean()) if len(hits) else None for hits in classes)


# ── When to stop ─────────────────────────────────────────────────────────────────────────────


class QualityStop:
    """Says that the samples have surely reached the target.

    That is: the lower bound of q is at the target in 3 evaluations in a row, at the data's own
    resolution, each with at least 0.7 of the reals' own coverage and without an alarm. Target
    None never stops.

    `if stop.update(quality) and stop.confirm(evaluator.evaluate(generator, fresh=n)): finish`
    """

    def __init__(self, target: float | None):
        self.target, self.streak = target, 0

    def update(self, quality: Quality, alarmed: bool = False) -> bool:
        """Takes the newest measurement; True when it is time for a confirmation."""
        self.streak = self.streak + 1 if self._reached(quality) and not alarmed else 0
        return self.streak >= TARGET_STREAK

    def confirm(self, quality: Quality) -> bool:
        """Whether a measurement with fresh latents agrees; if not, counting begins anew."""
        agrees = self._reached(quality)
        self.streak = self.streak if agrees else 0
        return agrees

    def _reached(self, quality: Quality) -> bool:
        return (
            self.target is not None
            and quality.resolution >= quality.full_resolution
            and quality.coverage >= COVERAGE_SHARE * quality.real_coverage
            and quality.q_low >= self.target
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return {"streak": self.streak}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.streak = int(state["streak"])


# ── Report cards ─────────────────────────────────────────────────────────────────────────────


def report_card(
    generator: Generator,
    dataset: Dataset,
    *,
    fresh: Generator | None = None,
    samples: int = 1000,
    size: int = 224,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measured facts about a generator, ready for JSON (a figure that doesn't exist is None).

    The fields of `Quality`; `floor_low` and `floor_high`, the 90 % bounds of the real/real KID;
    `neighbours`, the audit by pixels, and `neighbours_by_features`. `fresh` is the same network
    untrained (made here where the generator has a `config`), `size` the extractor's (px).
    Three minutes on one core for the 24,000 avatars, 20 seconds for the digits.
    """
    extractor = features.extractor_for(dataset.name, size, device)
    resolution = min(dataset.resolution, generator.resolution)
    evaluator = Evaluator(
        dataset, resolution=resolution, samples=samples, seed=seed, extractor=extractor
    )
    fresh = fresh or untrained(generator, seed)
    if fresh is not None:
        evaluator.set_baseline(fresh)
    card = dataclasses.asdict(evaluator.evaluate(generator))
    card["floor_low"], card["floor_high"] = evaluator.floor_bounds
    looks = {
        "neighbours": features.Extractor("pixels", min(dataset.resolution, 16)),
        "neighbours_by_features": features.Extractor("efficientnet", 64, device),
    }
    for name, look in looks.items():
        card[name] = neighbour_audit(generator, dataset, look, samples=samples, seed=seed)
    return _plain(card)


def untrained(generator: Generator, seed: int = 0) -> Generator | None:
    """The same network with new weights, or None where it has no `config` to build it from."""
    config: Any = getattr(generator, "config", None)
    if config is None:
        return None
    build: Any = type(generator)
    with torch.random.fork_rng():  # the caller's random numbers stay the caller's
        torch.manual_seed(seed)
        return build(config).requires_grad_(False).to(next(generator.parameters()).device)


def neighbour_audit(
    generator: Generator,
    dataset: Dataset,
    extractor: features.Extractor,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Does it draw training pictures again? Distances of samples to the nearest training
    picture, beside those of pictures that were kept back from the training.

    `closer_than_holdout` is the share of samples that are nearer to a training picture than all
    but 1 % of the kept-back pictures are: about 0.01 for one that invents, 1 for one that copies.
    By pixels (at 16 px) it found every copy that was blurred or noisy in a trial, which
    EfficientNet's features missed; those find more of the copies that are moved by a pixel (7 and
    23 % against none). A copy that is turned by 3° escapes both, nearly always.
    """
    trained_on, kept_back = split(dataset)
    kept_back = np.sort(np.random.RandomState(seed).permutation(kept_back)[:samples])
    z, labels = latents(generator, dataset, samples, seed + 1)
    drawn = [extractor(images) for images in _drawn(generator, z, labels, 1.0, None)]
    holdout = extractor(dataset.images[kept_back])
    distance, index = _nearest_picture(torch.cat([*drawn, holdout]), dataset, trained_on, extractor)
    of_samples, of_holdout = distance[:samples], distance[samples:]
    closest = of_samples.argsort()[:CLOSEST].tolist()
    return {
        "extractor": extractor.name,
        "samples": samples,
        "seed": seed,
        "median_distance": float(of_samples.median()),
        "holdout_median_distance": float(of_holdout.median()),
        "closer_than_holdout": float((of_samples < of_holdout.quantile(0.01)).float().mean()),
        "closest": [
            {"sample": i, "image": int(trained_on[index[i]]), "distance": float(distance[i])}
            for i in closest
        ],
    }


def closest_pairs(
    generator: Generator, dataset: Dataset, audit: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The pictures that `neighbour_audit` names, nearest pair first.

    → samples [8, C, r, r] and training pictures [8, C, H, H], both float in [−1, 1].
    """
    z, labels = latents(generator, dataset, audit["samples"], audit["seed"] + 1)
    rows = torch.tensor([pair["sample"] for pair in audit["closest"]])
    (drawn,) = _drawn(generator, z[rows], labels[rows], 1.0, None)
    images = dataset.images[[pair["image"] for pair in audit["closest"]]]
    return features.as_images(drawn), features.as_images(images)


def _nearest_picture(
    x: Tensor, dataset: Dataset, indices: np.ndarray, extractor: features.Extractor
) -> tuple[Tensor, np.ndarray]:
    """For features x [M, d]: distance to the nearest of the pictures `indices`, and its place
    among them. Goes through the data in chunks: memory doesn't grow with it."""
    best, place = torch.full([len(x)], math.inf), torch.zeros(len(x), dtype=torch.int64)
    for start in range(0, len(indices), CHUNK):
        chunk = extractor(dataset.images[indices[start : start + CHUNK]])
        distance, index = features.nearest(x, chunk)
        closer = distance < best
        best[closer], place[closer] = distance[closer], index[closer] + start
    return best, place.numpy()


def _plain(value: Any) -> Any:
    """NaN, which JSON doesn't have, as None; tuples as lists."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
