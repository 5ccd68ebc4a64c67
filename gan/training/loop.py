"""The adversarial loop: `for report in train(config): …` is the whole training.

It owns the order of the updates and the state they change. It knows no run directory, no page and
no signal: who calls it reads the reports, and may stop between any two of them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.device import Device, choose
from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.training import checkpoint
from gan.training.alarms import WINDOW, Alarms
from gan.training.augment import augmentation_for
from gan.training.budget import images_for_minutes, seconds_left
from gan.training.conditions import About, Conditions, shares_of
from gan.training.config import (
    HEAD_START,
    MAPPING_LR,
    PRESETS,
    TOLD_MAPPING_LR,
    TrainConfig,
    preset_for,
    stages,
)
from gan.training.data import Batches, Dataset, load_dataset, split
from gan.training.evaluation import Evaluator, Quality, QualityStop
from gan.training.gallery import Gallery, pixels
from gan.training.losses import LOSSES, misread, r1, wgan_gradient_penalty
from gan.training.neighbours import NeighbourSearch
from gan.training.networks import (
    Discriminator,
    discriminator_for,
    group_size,
    prepare_growth,
    warm_start,
)
from gan.training.parallel import CHANGE, END, RESTORE, STEP, Group
from gan.training.reconstruction import reconstruction
from gan.training.report import Clock, StepReport

TRUNCATION_SAMPLES = 10_000  # latents whose mean becomes w_avg
MOST_RESCUES = 5  # halvings of the rate after numbers broke; then it is given up


def train(config: TrainConfig, folder: Path | None = None, **options: Any) -> Iterator[StepReport]:
    """Trains from the newest checkpoint in `folder`, or from the start; yields as it goes."""
    yield from Trainer(config, folder, **options).run()


def complete(config: TrainConfig, dataset: Dataset, preset: str | None = None) -> TrainConfig:
    """Fills in what depends on the data: the networks' sizes and the way of growing."""
    sizes = PRESETS[preset_for(dataset.resolution, preset)]
    learning_rate = config.learning_rate or sizes.learning_rate
    codes = shares_of(dataset) if config.classes else ()
    generator = config.generator or StyleGAN2Config(
        resolution=dataset.resolution,
        img_channels=dataset.channels,
        z_dim=sizes.latent,
        w_dim=sizes.latent,
        c_dim=dataset.num_classes,
        mapping_lr=TOLD_MAPPING_LR if codes or dataset.num_classes else MAPPING_LR,
        channel_base=sizes.channel_base,
        channel_max=sizes.channel_max,
        codes=codes,
    )
    return dataclasses.replace(
        config,
        batch=config.batch or sizes.batch,
        learning_rate=learning_rate,
        final_learning_rate=config.final_learning_rate or learning_rate / 10,
        generator=generator,
        discriminator=config.discriminator
        or dataclasses.replace(discriminator_for(generator), group=config.group),
        grow=config.grow or stages(sizes, dataset.resolution, warm=config.warm_start is not None),
        penalties=LOSSES[config.loss].penalties if config.penalties is None else config.penalties,
        head_start=_head_start(config) if generator.codes else 0.0,
        augment=config.augment
        or augmentation_for(
            config.pictures or len(dataset), digits=dataset.name.startswith("digits")
        ),
    )


def _head_start(config: TrainConfig) -> float:
    if config.head_start is not None:
        return config.head_start
    return 0.0 if config.warm_start or not config.reconstruction else HEAD_START


def nothing() -> None:
    """What happens between steps where nobody wants anything to."""


class Trainer:
    """The state of one training: networks, their average, optimisers, data order, randomness.

    `folder` receives the checkpoints (None: none are written). A config that comes with a run
    must be complete (see `complete`); otherwise it is completed here.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path | None = None,
        *,
        dataset: Dataset | None = None,
        device: Device | None = None,
        preset: str | None = None,
        evaluate: bool = True,
        group: Group | None = None,
    ):
        config.check()
        self.group = group or Group()
        self.dataset = dataset or load_dataset(config.data)
        if not config.classes:
            self.dataset = dataclasses.replace(
                self.dataset, labels=None, classes=None, attributes={}
            )
        self.config = self.agreed = config = complete(config, self.dataset, preset)
        self.group.check(config.batch)
        self.device = device or choose(background=True)
        self.folder, self.evaluate = folder, evaluate
        self.where, self.dtype = self.device.torch, getattr(torch, self.device.dtype)
        self.loss = LOSSES[config.loss]
        self.trained_on, self.kept_back = self._pictures()
        assert config.generator is not None
        self.conditions = Conditions(self.dataset, config.generator, self.where)
        self.evaluator: Evaluator | None = None
        self.search: NeighbourSearch | None = None
        # Called between steps, and between the batches of an evaluation: whoever drives this
        # training may look around, wait or save in it, or end the training by an exception.
        self.pulse: Callable[[], None] = nothing
        self.paused = 0.0  # seconds that it took: no part of what an evaluation costs
        self._begin()
        self.gallery = Gallery(self.dataset, self.trained_on, self.G.z_dim, self.where)
        if folder is not None:
            self._resume(folder)

    def _begin(self) -> None:
        """Everything as it is before the first step."""
        config = self.config
        assert config.generator is not None
        assert config.discriminator is not None
        with torch.random.fork_rng(self._seeded):  # the caller's numbers stay the caller's
            torch.manual_seed(config.seed)
            self.G = self._place(StyleGAN2(config.generator))
            self.D = self._place(Discriminator(config.discriminator))
        prepare_growth(self.G, self.D, config.grow[0][0])
        if config.warm_start:
            warm_start(self.G, self.D, config.warm_start)
        self.ema = copy.deepcopy(self.G).requires_grad_(False)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), config.learning_rate, config.betas, eps=1e-8)
            for network in (self.G, self.D)
        ]
        # float16 has too few small numbers for gradients: the loss is scaled up for it.
        self.scaler = torch.amp.GradScaler(self.device.kind, enabled=self._scales)
        self.rng = torch.Generator().manual_seed(config.seed)
        self.batches = self._order()
        self.images_seen = self.steps = 0
        self.seconds = 0.0
        self.best: dict[str, float] | None = None
        self.stop = QualityStop(config.target_quality)
        self.alarms = Alarms()
        self.logits: Tensor | None = None  # [2, N] of the newest step: real, fake
        self.window: list[Tensor] = []  # [2] a step: pair accuracy, the generator's gradient norm
        self.rescues = 0  # each halved the rate
        self.damaged: list[str] = []

    # ---- the loop

    def run(self) -> Iterator[StepReport]:
        """Trains until the budget is used up or the target quality is reached."""
        if not self.config.images:
            self.config = dataclasses.replace(self.config, images=images_for_minutes(self))
        clock = Clock(self)
        finished, is_new = self._used_up(), self.images_seen == 0
        yield self._report(clock, samples=self.samples(), moment=is_new, finished=finished)
        while finished is None:
            self.pulse()
            clock.begin()
            self._agree()
            self.group.order(STEP)
            clock.add(self.step(), self.logits)
            finished = self._used_up()
            evaluates = self.evaluate and (finished is not None or clock.evaluation_due())
            draws = finished is not None or clock.samples_due()
            saves = finished is not None or clock.checkpoint_due()
            if not (evaluates or draws or saves or clock.report_due()):
                continue
            if not self._is_sound(clock):
                self.group.order(RESTORE)
                self.restore()
                clock.rewind()
                self.save()
                finished = None
                yield self._report(clock, samples=self.samples(), restored=True)
                continue
            seen: dict[str, Any] = {}
            if evaluates:
                started, paused = time.perf_counter(), self.paused
                seen = self._look()
                enough = self._good_enough(seen["quality"])
                finished = self._used_up() or enough  # the budget may have changed meanwhile
                paused = self.paused - paused
                clock.evaluated_for(time.perf_counter() - started - paused)
            if draws or finished:
                seen |= {"samples": self.samples(), "raw_samples": self.samples(raw=True)}
                seen["between"] = self.between()
                seen["moment"] = clock.moment_due() or finished is not None
            if saves or finished or seen.get("is_best"):
                seen["checkpoint"] = self.save()
            yield self._report(clock, finished=finished, **seen)

    def _breathe(self) -> None:
        started = time.perf_counter()
        self.pulse()
        self.paused += time.perf_counter() - started

    def _used_up(self) -> str | None:
        return "budget" if self.images_seen >= self.config.images else None

    def follow(self) -> None:
        """What every process but the first does: the same steps, when it is told to."""
        while (message := self.group.receive())[0] != END:
            command, text = message
            if command == RESTORE:
                self.restore()
            elif command == CHANGE:
                self.config = TrainConfig.from_json(json.loads(text))
            else:
                self.step()

    def _agree(self) -> None:
        """Tells the others of a configuration that was changed since the last step, such as its
        budget, over which every schedule runs: from the next step on it is theirs too."""
        if self.config is not self.agreed:
            self.group.order(CHANGE, json.dumps(self.config.to_json()))
            self.agreed = self.config

    def step(self) -> dict[str, Tensor]:
        """One update of each network (of the discriminator several, where the loss wants it).

        Returns detached means over the whole batch. Every few steps the lamps look at them;
        otherwise nothing waits for the device here.
        """
        config = self.config
        resolution = config.resolution_at(self.images_seen)
        rate = config.learning_rate_at(self.images_seen) * 0.5**self.rescues
        for optimizer, its_rate in zip(
            self.optimizers, (rate, rate * config.discriminator_rate), strict=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = its_rate
        assert config.augment is not None
        self.augment = config.augment.at(self.images_seen / max(config.images, 1))
        numbers: dict[str, Tensor] = {}
        with self.group.share():
            if config.is_head_start(self.images_seen):
                numbers |= self._reconstruct(resolution)
            else:
                for _ in range(self.loss.critic_steps):
                    numbers |= self._update_discriminator(resolution)
                for _ in range(config.generator_steps):
                    numbers |= self._update_generator(resolution)
        self._update_average()
        self.steps += 1
        self._watch(numbers)
        return numbers

    def _watch(self, numbers: dict[str, Tensor]) -> None:
        """Lets the lamps judge every eighth step: by number of steps, not by the clock, so that
        a resumed run has the same lamps."""
        if "pair_accuracy" not in numbers:  # there is no game yet
            return
        self.window.append(torch.stack([numbers["pair_accuracy"], numbers["grad_norm_g"]]))
        if len(self.window) == WINDOW:
            pair_accuracy, grad_norm = torch.stack(self.window).mean(dim=0).tolist()
            self.alarms.stepped(pair_accuracy, grad_norm, self.images_seen)
            self.window = []

    def _update_discriminator(self, resolution: int) -> dict[str, Tensor]:
        """The discriminator learns to tell the real pictures from the generator's."""
        picks = self._next_pictures()
        real, about = self._real(picks, resolution), self.conditions.of(picks)
        c = about.told
        with torch.no_grad():
            fake = self._draw(len(real), about, resolution)
        shown = torch.cat([self.augment(real, self.rng), self.augment(fake, self.rng)])
        logits, fits = self.D.judge(shown, None if c is None else c.repeat(2, 1), sets=2)
        real_logits, fake_logits = logits.chunk(2)
        loss = self.loss.discriminator(real_logits, fake_logits)
        if fits is not None:
            loss = loss + self._misread(fits[: len(real)], about)
        penalty, penalties = self._penalties(real, fake, c, resolution)
        self.logits = torch.stack([real_logits.detach(), fake_logits.detach()])  # [2, N]
        real_logits, fake_logits = self.logits
        numbers = {
            "loss_d": loss.detach(),
            "logit_real": real_logits.mean(),
            "logit_fake": fake_logits.mean(),
            "right_real": (real_logits > 0).float().mean(),
            "right_fake": (fake_logits < 0).float().mean(),
            "pair_accuracy": (real_logits[:, None] > fake_logits).float().mean(),
            **penalties,
        }
        self.images_seen += self.config.batch
        return self._descend(1, loss + penalty, numbers, "grad_norm_d")

    def _misread(self, fits: Tensor, about: About) -> Tensor | float:
        """What is lost where the discriminator doesn't recognise the class, weighted."""
        if about.classes is None or not self.config.recognition:
            return 0.0
        of_classes = fits[:, : about.classes.shape[1]]  # what else is told stands behind them
        return self.config.recognition * misread(of_classes, about.classes)

    def _descend(
        self, which: int, loss: Tensor, numbers: dict[str, Tensor], norm: str
    ) -> dict[str, Tensor]:
        """One step of network 0 (G) or 1 (D) down its gradient; returns `numbers`, averaged over
        all processes, and the gradient's norm under the name `norm`."""
        network, optimizer = (self.G, self.D)[which], self.optimizers[which]
        optimizer.zero_grad(set_to_none=True)
        (self.scaler.scale(loss) if self._scales else loss).backward()
        numbers = self.group.average(network, numbers)
        if self._scales:
            self.scaler.unscale_(optimizer)
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        length = torch.linalg.vector_norm(_norms(grads))
        if self._scales:  # a step that overflowed is left out, and the scale lowered
            self.scaler.step(optimizer)
            self.scaler.update()
            length = torch.where(torch.isfinite(length), length, 0.0)
        else:
            optimizer.step()
        return numbers | {norm: length}

    def _penalties(
        self, real: Tensor, fake: Tensor, c: Tensor | None, resolution: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """γ/2·E‖∇D‖² at the real (R1) and the drawn (R2) pictures, both without augmentation:
        lazily, every k-th step with k times the weight. WGAN-GP's own penalty is always there."""
        config = self.config
        total, seen = torch.zeros([], device=self.where), {}
        penalties = config.penalties or ()
        if self._scales:  # squares of small gradients vanish in float16
            self.D.dtype = torch.float32
        if self.loss.gradient_penalty:
            value = wgan_gradient_penalty(self.D, real, fake, self.rng, c)
            total, seen["gp"] = total + self.loss.gradient_penalty * value, value.detach()
        if self.steps % config.penalty_interval == 0:
            gamma = config.gamma_at(resolution)
            for name, images in (("r1", real), ("r2", fake)):
                if name in penalties:
                    value = r1(self.D, images, c)
                    total = total + gamma * config.penalty_interval * value
                    seen[name] = 2 * value.detach()  # E‖∇D‖², without γ
        self.D.dtype = self.dtype
        return total, seen

    def _update_generator(self, resolution: int) -> dict[str, Tensor]:
        """The generator learns to make the discriminator wrong, and where it is known what its
        picture should show, to show it."""
        self.D.requires_grad_(False)
        # A relativistic pair is compared class against class: it needs the pictures themselves.
        needs_real = self.loss.needs_real
        in_order = needs_real or self.batches.group > 1
        picks = self._next_pictures() if in_order else self._random_pictures(self._own_batch)
        about, real_logits = self.conditions.of(picks), None
        if needs_real:
            real = self._real(picks, resolution)
            real_logits = self.D(self.augment(real, self.rng), about.told)
        fake = self._draw(len(picks), about, resolution)
        fake_logits = self.D(self.augment(fake, self.rng), about.told)
        loss = self.loss.generator(fake_logits, real_logits)
        numbers = {"loss_g": loss.detach()}
        if about.codes is not None and self.config.reconstruction:
            again, seen = self._reconstruction(fake, picks, resolution)
            loss, numbers = loss + again, numbers | seen
        numbers = self._descend(0, loss, numbers, "grad_norm_g")
        self.D.requires_grad_(True)
        return numbers

    def _reconstruct(self, resolution: int) -> dict[str, Tensor]:
        """The generator learns from the pictures that its latents belong to, unopposed."""
        picks = self._next_pictures()
        fake = self._draw(len(picks), self.conditions.of(picks), resolution)
        loss, seen = self._reconstruction(fake, picks, resolution)
        self.images_seen += self.config.batch
        return self._descend(0, loss, {"loss_g": loss.detach()} | seen, "grad_norm_g")

    def _reconstruction(
        self, fake: Tensor, picks: np.ndarray, resolution: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """How far the pictures are from those that they should be, weighted; and the mean absolute
        difference, which people can read."""
        real = self._real(picks, resolution)
        seen = {"reconstruction": (fake - real).abs().mean().detach()}
        return self.config.reconstruction * reconstruction(fake, real), seen

    @torch.no_grad()
    def _update_average(self) -> None:
        """ema ← β·ema + (1 − β)·G, a smoother generator than the one that chases."""
        beta = self.config.ema_beta_at(self.images_seen)
        average, newest = list(self.ema.parameters()), list(self.G.parameters())
        torch._foreach_lerp_(average, newest, 1 - beta)  # pyright: ignore[reportPrivateImportUsage]

    # ---- what goes into the networks

    def _place(self, network: Any) -> Any:
        part: Any = getattr(network, "synthesis", network)
        part.dtype = self.dtype
        return network.to(self.where, memory_format=torch.channels_last)

    def _next_pictures(self) -> np.ndarray:
        """The next pictures of the data order that are this process's: indices [N]. Those that
        the minibatch statistic compares are neighbours in the data order."""
        indices = self.batches.next(self.config.batch).reshape(-1, self.batches.group).T.reshape(-1)
        return indices[self.group.rows(len(indices))] if self.group.size > 1 else indices

    def _order(self) -> Batches:
        config, labels = self.config, self.dataset.labels
        if labels is None or not config.alike:
            return Batches(self.trained_on, config.seed)
        group = group_size(config.group, config.batch)
        return Batches(self.trained_on, config.seed, labels[self.trained_on], group)

    def _random_pictures(self, count: int) -> np.ndarray:
        """Pictures by chance: what is known of them is as frequent as in the data."""
        picks = torch.randint(len(self.trained_on), (count,), generator=self.rng)
        return self.trained_on[picks.numpy()]

    def _real(self, picks: np.ndarray, resolution: int) -> Tensor:
        """→ [N, C, r, r] in [−1, 1]."""
        images = torch.from_numpy(self.dataset.images[picks]).to(self.where)
        images = images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        return F.avg_pool2d(images, images.shape[-1] // resolution)

    def _draw(self, count: int, about: About, resolution: int) -> Tensor:
        """Pictures of random latents that show what `about` says."""
        z = self.conditions.latents(count, about, self.rng)
        ws = self.G.mapping(z, about.classes)
        if about.codes is not None and self.config.truncates(self.images_seen):
            ws = self._truncated(ws)
        return self.G.synthesis(ws, self.rng, resolution)

    def _truncated(self, ws: Tensor) -> Tensor:
        """Every second row of ws pulled towards the mean, by a psi of its own. Between kinds that
        are either so or so lies nothing real: where truncation leads, it must have been trained."""
        with torch.no_grad():
            center = self.G.mapping.w(self.gallery.z, self.gallery.c).mean(dim=0)
        psi = 1 - (1 - self.config.least_psi) * torch.rand(len(ws), generator=self.rng)
        psi[::2] = 1.0
        return center.lerp(ws, psi.to(self.where)[:, None, None])

    def _pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the pictures to learn from, and of the tenth that is never shown: that
        tells learning from memorising."""
        trained_on, kept_back = split(self.dataset)
        if self.config.pictures:
            order = np.random.RandomState(self.config.seed).permutation(trained_on)
            trained_on = np.sort(order[: self.config.pictures])
        return trained_on, kept_back

    @property
    def _seeded(self) -> list[int]:
        """The GPU whose random numbers a seed would change; of several, only ours."""
        return [torch.cuda.current_device()] if torch.cuda.is_available() else []

    @property
    def _resolution(self) -> int:
        """The one that is trained now."""
        return self.config.resolution_at(self.images_seen)

    @property
    def _own_batch(self) -> int:
        return self.config.batch // self.group.size

    @property
    def _scales(self) -> bool:
        return self.device.dtype == "float16"

    # ---- looking at what it has learned

    def samples(self, raw: bool = False) -> np.ndarray:
        """Pictures of the fixed latents, by the averaged generator or (`raw`) by the one that is
        trained: uint8 [64, r, r, C]."""
        return self.gallery.samples(self.G if raw else self.ema, self._resolution)

    def between(self) -> np.ndarray:
        """Ways between samples, by the averaged generator: uint8 [64, r, r, C]."""
        return self.gallery.between(self.ema, self._resolution)

    def _look(self) -> dict[str, Any]:
        """Measures, and lets the lamps judge; what a report says of it."""
        quality = self.measure()
        assert self.evaluator is not None
        assert self.evaluator.pictures is not None
        drawn = pixels(self.evaluator.pictures)
        if self.search is None:
            self.search = NeighbourSearch(self.dataset.images, self.trained_on, self.kept_back)
        found = self.search.of(drawn)
        quality = dataclasses.replace(quality, copies=found.copies)
        self.alarms.evaluated(quality, self.images_seen, self.config.images)
        return {
            "quality": quality,
            "is_best": self._is_best(quality),
            "neighbours": self.gallery.beside_neighbours(drawn, found),
        }

    def _good_enough(self, quality: Quality) -> str | None:
        """ "quality" when the target is surely reached, "plateau" when a target won't be: not
        before the learning rate falls, which helps once more."""
        sure = self.stop.update(quality, self.alarms.forbid_stopping)
        # Other latents at every attempt: chance must not get a second look.
        if sure and self.stop.confirm(self.measure(fresh=1 + self.images_seen)):
            return "quality"
        falls = self.images_seen >= self.config.decay_from * self.config.images
        hopeless = self.stop.target is not None and "plateau" in self.alarms.lit
        return "plateau" if hopeless and falls else None

    def measure(self, fresh: int = 0) -> Quality:
        """The quality of the averaged generator at the resolution that is trained now.

        `fresh` > 0 draws from other latents than usual.
        """
        resolution = self._resolution
        if self.evaluator is None or self.evaluator.resolution != resolution:
            self.evaluator = Evaluator(
                self.dataset,
                resolution=resolution,
                samples=self.config.evaluation_samples,
                pulse=self._breathe,
            )
            self.evaluator.set_baseline(self.fresh_generator())
        return self.evaluator.evaluate(self.ema, fresh=fresh)

    def fresh_generator(self) -> StyleGAN2:
        """The same network with new weights: where quality is zero, also after a warm start."""
        assert self.config.generator is not None
        with torch.random.fork_rng(self._seeded):
            torch.manual_seed(self.config.seed)
            return self._place(StyleGAN2(self.config.generator)).requires_grad_(False)

    @torch.no_grad()
    def exported_generator(self) -> StyleGAN2:
        """A float32 copy of the average, with w_avg measured over many latents."""
        generator = copy.deepcopy(self.ema).cpu()
        generator.synthesis.dtype = torch.float32
        z = torch.randn(
            TRUNCATION_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0)
        )
        c = None
        if generator.c_dim:
            labels = torch.arange(TRUNCATION_SAMPLES) % generator.c_dim
            c = F.one_hot(labels, generator.c_dim).float()
        generator.mapping.w_avg.copy_(generator.mapping.w(z, c).mean(dim=0))
        return generator

    def _is_best(self, quality: Quality) -> bool:
        """A better KID than ever at this resolution (a finer one begins anew)."""
        resolution = self._resolution
        best = self.best
        if best and best["resolution"] == resolution and best["kid"] <= quality.kid:
            return False
        self.best = {"resolution": resolution, "kid": quality.kid, "images": self.images_seen}
        return True

    def _report(self, clock: Clock, **seen: Any) -> StepReport:
        """What happened since the last report; `seen` are fields of the report."""
        histogram, (means, rate) = clock.histogram(), clock.take()
        own: dict[str, Any] = {name: means.pop(name, None) for name in _OWN_FIELDS}
        return StepReport(
            images_seen=self.images_seen,
            images=self.config.images,
            steps=self.steps,
            resolution=self._resolution,
            seconds=round(self.seconds, 3),
            images_per_second=rate,
            seconds_left=seconds_left(self.config, self.images_seen, rate),
            losses=means,
            learning_rate=self.config.learning_rate_at(self.images_seen) * 0.5**self.rescues,
            histogram=histogram,
            alarms=self.alarms.active,
            **own,
            **seen,
        )

    # ---- keeping and resuming

    def save(self) -> Path | None:
        """Writes a complete checkpoint now; None where there is no folder for it."""
        if self.folder is None:
            return None
        best = int(self.best["images"]) if self.best else None
        return checkpoint.write(self.folder, self.images_seen, self.state(), best)

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, and what the next reports say."""
        return {
            "config": self.config.to_json(),
            "device": self.device.describe(),
            "data": self.dataset.fingerprint,
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict()["state"] for optimizer in self.optimizers],
            "rng": self.rng.get_state(),
            "batches": self.batches.state_dict(),
            "images_seen": self.images_seen,
            "steps": self.steps,
            "seconds": self.seconds,
            "best": self.best,
            "stop": self.stop.state_dict(),
            "alarms": self.alarms.state_dict(),
            "window": [pair.tolist() for pair in self.window],
            "rescues": self.rescues,
            **({"scaler": self.scaler.state_dict()} if self._scales else {}),
        }

    def _is_sound(self, clock: Clock) -> bool:
        """Whether all weights, and all numbers since the last report, are finite."""
        return clock.is_finite() and self.has_finite_weights()

    @torch.no_grad()
    def has_finite_weights(self) -> bool:
        """Whether this is a state worth keeping."""
        networks = (self.G, self.D, self.ema)
        norms = _norms([p for network in networks for p in network.parameters()])
        return bool(torch.isfinite(norms).all())

    def restore(self) -> None:
        """Numbers have broken: back to the last good checkpoint, or to the beginning, and on at
        half the rate. LabError when that has not helped several times."""
        if self.rescues >= MOST_RESCUES:
            raise LabError("training_diverged", images=self.images_seen)
        rescues, broke_at, seconds = self.rescues + 1, self.images_seen, self.seconds
        images = self.config.images
        self._begin()
        if self.folder is not None:
            self._resume(self.folder)
        self.config = dataclasses.replace(self.config, images=images)
        self.rescues, self.seconds = rescues, seconds
        self.alarms.rescued(broke_at, self.images_seen, 0.5**rescues, images)
        self.group.wait()  # nobody may be reading when the first process writes again

    def _resume(self, folder: Path) -> None:
        state, self.damaged = checkpoint.read_newest(folder)
        if state is None:
            return
        if state["data"] != self.dataset.fingerprint:
            raise LabError("data_is_another", data=self.config.data)
        self.G.load_state_dict(state["G"])
        self.D.load_state_dict(state["D"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            whole = optimizer.state_dict()
            whole["state"] = {int(index): values for index, values in stored.items()}
            optimizer.load_state_dict(whole)
        self.rng.set_state(state["rng"].cpu())
        self.batches.load_state_dict(state["batches"])
        self.images_seen, self.steps = state["images_seen"], state["steps"]
        self.seconds, self.best = state["seconds"], state["best"]
        self.stop.load_state_dict(state["stop"])
        if "alarms" in state:  # checkpoints from before there were lamps go on with dark ones
            self.alarms.load_state_dict(state["alarms"])
            self.window = [torch.tensor(pair, device=self.where) for pair in state["window"]]
            self.rescues = state["rescues"]
        if self._scales and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        if not self.config.images:  # minutes were turned into images before the checkpoint
            self.config = dataclasses.replace(self.config, images=state["config"]["images"])


_OWN_FIELDS = ("pair_accuracy", "grad_norm_g", "grad_norm_d")  # means that are no losses


def _norms(tensors: list[Tensor]) -> Tensor:
    """The length of each tensor, in one pass over all of them: [number of tensors]."""
    return torch.stack(torch._foreach_norm(tensors))  # pyright: ignore[reportPrivateImportUsage]
