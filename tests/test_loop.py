"""The adversarial loop on the smallest data: exact resuming, growth, schedules, every loss."""

import dataclasses
import math
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from gan.device import Device
from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2Config
from gan.training import budget, checkpoint
from gan.training.budget import images_for_minutes, images_in, seconds_left, with_budget
from gan.training.config import PRESETS, TrainConfig, default_preset, preset_for, stages
from gan.training.data import load_dataset
from gan.training.loop import Trainer, complete, train
from gan.training.losses import LOSSES

CPU = Device("cpu", "float32", 1)
TINY = StyleGAN2Config(
    resolution=8, img_channels=1, z_dim=8, w_dim=8, c_dim=10, channel_base=64, channel_max=8
)
CONFIG = TrainConfig(data="digits-tiny", images=8 * 16, batch=8, generator=TINY)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums of another number of threads round differently: hashes need the same arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits-tiny")


def trainer(digits, config=CONFIG, folder=None, **options) -> Trainer:
    options = {"dataset": digits, "device": CPU, "evaluate": False, **options}
    return Trainer(config, folder, **options)


def digest(finished: Trainer) -> str:
    """Everything but the clock."""
    return checkpoint.digest({**finished.state(), "seconds": 0, "config": None})


def test_the_same_config_gives_the_same_networks(digits):
    first, second = trainer(digits), trainer(digits)
    list(first.run())
    list(second.run())
    assert digest(first) == digest(second)
    other = trainer(digits, dataclasses.replace(CONFIG, seed=1))
    list(other.run())
    assert digest(other) != digest(first)


def test_training_leaves_the_callers_randomness_alone(digits):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(trainer(digits).run())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("augmented", [False, True])
def test_stopping_and_resuming_changes_nothing(digits, tmp_path, augmented):
    from gan.training.augment import AugmentConfig

    policy = ("translation", "cutout") if augmented else ()
    config = dataclasses.replace(CONFIG, augment=AugmentConfig(policy, 0.5, 0.5))
    whole = trainer(digits, config)
    list(whole.run())
    first = trainer(digits, config, tmp_path)
    for _ in range(7):
        first.step()
    first.save()
    second = trainer(digits, config, tmp_path)
    assert second.images_seen == 7 * 8
    list(second.run())
    assert digest(second) == digest(whole)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_networks(digits, tmp_path):
    """100 steps, SIGKILL, resume, 100 steps = 200 steps: the same hash."""
    config = dataclasses.replace(CONFIG, images=200 * 8, checkpoint_images=100 * 8)
    whole = trainer(digits, config)
    list(whole.run())
    program = f"""
        import dataclasses
        from gan.device import Device, apply
        import time
        from gan.training.config import TrainConfig
        from gan.training.loop import Trainer, train
        step = Trainer.step
        def half_way(trainer):
            if trainer.images_seen == 150 * 8:
                print("half way through the second half", flush=True)
                time.sleep(600)
            return step(trainer)
        Trainer.step = half_way
        config = TrainConfig.from_json({config.to_json()!r})
        from pathlib import Path
        device = Device("cpu", "float32", 1)
        apply(device)
        for report in train(config, Path({str(tmp_path)!r}), device=device, evaluate=False):
            if report.checkpoint:
                print("saved", report.images_seen, flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().split() == ["saved", "800"]
    assert child.stdout.readline().startswith("half way")
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    saved = [int(path.stem) for path in checkpoint.every(tmp_path)]
    resumed = trainer(digits, config, tmp_path)
    assert resumed.images_seen == saved[-1] == 800
    list(resumed.run())
    assert digest(resumed) == digest(whole)


def test_a_budget_that_is_used_up_is_not_overdrawn(digits, tmp_path):
    whole = trainer(digits, CONFIG, tmp_path)
    list(whole.run())
    again = trainer(digits, CONFIG, tmp_path)
    (report,) = again.run()
    assert report.finished == "budget"
    assert digest(again) == digest(whole)


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("penalties", [None, (), ("r1", "r2")])
def test_every_loss_trains_both_networks(digits, loss, penalties):
    config = dataclasses.replace(CONFIG, loss=loss, penalties=penalties, images=8 * 10)
    running = trainer(digits, config)
    before = [next(iter(n.parameters())).clone() for n in (running.G, running.D)]
    reports = list(running.run())
    after = [next(iter(n.parameters())) for n in (running.G, running.D)]
    assert all(not torch.equal(b, a) for b, a in zip(before, after, strict=True))
    assert {"loss_g", "loss_d"} <= set().union(*(report.losses for report in reports))
    seen = {name for report in reports for name in report.losses}
    assert ("r1" in seen) == ("r1" in (running.config.penalties or ()))


def test_reports_tell_the_truth(digits, tmp_path):
    reports = list(train(CONFIG, tmp_path, dataset=digits, device=CPU, evaluate=False))
    last = reports[-1]
    assert last.images_seen == last.images == 128
    assert last.steps == 16
    assert last.finished == "budget"
    assert last.seconds_left == 0
    assert last.samples is not None
    assert last.samples.shape == (64, 8, 8, 1)
    assert last.checkpoint is not None
    assert last.checkpoint.is_file()
    assert last.images_per_second > 0


@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
@pytest.mark.parametrize("alike", [True, False])
def test_what_is_compared_is_of_one_class(digits, monkeypatch, loss, alike):
    training = trainer(digits, dataclasses.replace(CONFIG, loss=loss, alike=alike))
    shown, of = [], training.conditions.of
    monkeypatch.setattr(training.conditions, "of", lambda picks: shown.append(picks) or of(picks))
    for _ in range(4):
        training.step()
    assert len(shown) == 8  # the discriminator's and the generator's
    compared = [digits.labels[picks].reshape(4, -1) for picks in shown]  # see `group_size`
    assert all((each == each[0]).all() for each in compared) == alike


def test_a_pause_within_an_evaluation_is_none_of_its_cost(digits, monkeypatch):
    now, costs = [0.0], []
    config = dataclasses.replace(CONFIG, images=64, evaluation_samples=50)
    training = trainer(digits, config, evaluate=True)
    monkeypatch.setattr("gan.training.loop.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(
        "gan.training.loop.Clock.evaluated_for", lambda clock, seconds: costs.append(seconds)
    )

    def pause():
        now[0] += 3600.0  # between the batches of an evaluation, too

    training.pulse = pause
    list(training.run())
    assert set(costs) == {0.0}


def test_a_budget_that_grows_in_the_last_evaluation_is_trained(digits):
    config = dataclasses.replace(CONFIG, images=64, evaluation_samples=50)
    growing = trainer(digits, config, evaluate=True)

    def grow() -> None:
        if growing.images_seen == 64:  # its last step is done, the measuring is not
            growing.config = dataclasses.replace(growing.config, images=128)

    growing.pulse = grow
    reports = list(growing.run())
    assert [report.finished for report in reports if report.quality] == [None, "budget"]
    assert reports[-1].images_seen == 128


def test_growing_goes_through_the_stages(digits):
    config = dataclasses.replace(
        CONFIG,
        generator=dataclasses.replace(TINY, resolution=16),
        grow=((8, 0.5), (16, 1.0)),
    )
    big = dataclasses.replace(digits, images=digits.images.repeat(2, axis=1).repeat(2, axis=2))
    running = trainer(big, config)
    sizes = []
    for _ in range(16):
        sizes.append(config.resolution_at(running.images_seen))
        running.step()
    assert sizes == [8] * 8 + [16] * 8
    assert running.samples().shape == (64, 16, 16, 1)


def test_minutes_become_an_image_budget_that_is_stored(digits, tmp_path):
    config = dataclasses.replace(CONFIG, images=0, minutes=0.01)
    running = trainer(digits, config, tmp_path)
    fresh = checkpoint.digest(running.G.state_dict())
    budget = images_for_minutes(running)
    assert budget % 8 == 0
    assert budget >= 8
    assert checkpoint.digest(running.G.state_dict()) == fresh, "the warm-up left a trace"
    assert (running.images_seen, running.steps) == (0, 0)
    list(running.run())
    resumed = trainer(digits, config, tmp_path)
    assert resumed.config.images == running.config.images == running.images_seen


def test_time_left_counts_finer_resolutions_as_dearer():
    config = dataclasses.replace(CONFIG, images=300, grow=((8, 1 / 3), (16, 1.0)))
    assert seconds_left(config, 0, 10.0) == pytest.approx(100 / 10 + 200 * 2 / 10)
    assert seconds_left(config, 200, 10.0) == pytest.approx(10)
    assert seconds_left(config, 300, 10.0) == 0
    assert seconds_left(config, 0, 0.0) == float("inf")


def test_a_head_start_costs_what_it_costs(digits, monkeypatch):
    """40 % of the budget at a third of the cost: the minutes hold more images."""

    def step(_trainer, resolution, is_head_start):
        return resolution * (1 if is_head_start else 3) / 10_000

    monkeypatch.setattr(budget, "_seconds_of_a_step", step)
    running = trainer(digits, dataclasses.replace(CONFIG, images=0, minutes=1.0))
    grow, share = ((8, 0.2), (16, 1.0)), 0.95
    running.config = dataclasses.replace(running.config, grow=grow, head_start=0.4)
    mean = (0.2 * 8 + 0.2 * 16 + 0.6 * 16 * 3) / 10_000
    assert images_for_minutes(running) == pytest.approx(60 * share / mean, abs=8)
    costs = budget.measured_costs(running)
    assert costs["minutes"] == pytest.approx(1.0, rel=1e-3)
    assert costs["seconds_per_image"]["8"] == pytest.approx(8 / 10_000)
    assert costs["seconds_per_image"]["16"] == pytest.approx((0.2 * 16 + 0.6 * 48) / 0.8 / 10_000)
    config = dataclasses.replace(running.config, images=1000)
    left = (200 + 200 * 2 + 600 * 2 * 3) / 10
    assert seconds_left(config, 0, 10.0) == pytest.approx(left)


def test_a_longer_budget_goes_on_where_the_training_was():
    """What is behind keeps its place in images; what is ahead is stretched."""
    grow = ((8, 0.25), (16, 0.5), (32, 1.0))
    config = dataclasses.replace(CONFIG, images=1000, grow=grow, head_start=0.2)
    assert with_budget(config, 2000, 0).grow == grow
    halfway = with_budget(config, 2000, 300)
    assert halfway.grow == ((8, 0.125), (16, 0.5), (32, 1.0))
    assert halfway.head_start == 0.1
    ended = with_budget(config, 4000, 1000)
    assert [ended.resolution_at(seen) for seen in (0, 250, 500, 1000, 3999)] == [8, 16, 32, 32, 32]
    assert not ended.is_head_start(1000)
    unknown = dataclasses.replace(config, images=0)
    assert with_budget(unknown, 500, 0) == dataclasses.replace(config, images=500)


@pytest.mark.parametrize("seen", [0, 100, 300, 1000])
def test_so_many_minutes_more_are_the_images_that_take_them(seen):
    grow = ((8, 0.25), (16, 0.5), (32, 1.0))
    config = dataclasses.replace(CONFIG, images=1000, grow=grow, batch=8, evaluation_share=0.05)
    images = images_in(config, seen, 10.0, 4.0)
    assert images > seen
    left = seconds_left(with_budget(config, images, seen), seen, 10.0)
    assert left == pytest.approx(4 * 60 * 0.95, abs=10)


def test_no_budget_is_refused(digits):
    with pytest.raises(LabError, match="--minutes"):
        list(trainer(digits, dataclasses.replace(CONFIG, images=0)).run())


def test_changed_data_is_refused_on_resuming(digits, tmp_path):
    first = trainer(digits, folder=tmp_path)
    first.step()
    first.save()
    changed = dataclasses.replace(digits, fingerprint="another")
    with pytest.raises(LabError, match="changed"):
        trainer(changed, folder=tmp_path)


def test_a_loss_that_stays_no_number_ends_the_run(digits):
    running = trainer(digits)

    def broken(fake_logits, _real_logits):
        return fake_logits.sum() * float("nan")

    running.loss = dataclasses.replace(running.loss, generator=broken)
    with pytest.raises(LabError, match="diverged"):
        list(running.run())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch": 1}, "batch"),
        ({"target_quality": 1.5}, "target_quality"),
        ({"loss": "mse"}, "mse"),
        ({"penalties": ("r3",)}, "r3"),
        ({"images": -1}, "images"),
    ],
)
def test_bad_settings_are_refused_by_name(change, named):
    with pytest.raises(LabError, match=named):
        dataclasses.replace(CONFIG, **change).check()


def test_schedules():
    config = dataclasses.replace(CONFIG, images=1000)
    rates = [config.learning_rate_at(seen) for seen in range(0, 1001, 50)]
    assert rates[0] == rates[10] == config.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(config.final_learning_rate)
    # 5 % cap: after 1,000 images half of the average is younger than 50 images.
    assert config.ema_beta_at(1000) ** (50 / config.batch) == pytest.approx(0.5)
    late = config.ema_beta_at(10**9) ** (config.ema_half_life / config.batch)
    assert late == pytest.approx(0.5)
    # A warm start's average is worth keeping: its first steps hardly move it.
    warm = dataclasses.replace(config, warm_start="somewhere")
    for seen in (0, 1000):
        assert warm.ema_beta_at(seen) ** (50 / config.batch) == pytest.approx(0.5)


def test_the_preset_says_the_batch_and_the_rate_unless_they_are_said(digits):
    plain = TrainConfig(data="digits-tiny", images=64)
    quick = complete(plain, digits, "quick")
    assert (quick.batch, quick.learning_rate, quick.final_learning_rate) == (8, 4e-3, 4e-4)
    assert complete(plain, digits, "small").batch == 32
    own = dataclasses.replace(plain, batch=6, learning_rate=1e-3)
    said = complete(own, digits, "quick")
    assert (said.batch, said.learning_rate, said.final_learning_rate) == (6, 1e-3, 1e-4)


def test_the_quick_preset_is_for_small_pictures():
    asked = [preset_for(size, "quick") for size in (8, 32, 64, 128)]
    assert asked == ["quick", "quick", "quick", "standard"]
    assert [preset_for(size) for size in (8, 32, 64)] == ["tiny", "small", "standard"]
    assert preset_for(256, "tiny") == "tiny"


def test_no_training_begins_coarser_than_16_px():
    quick = PRESETS["quick"]
    assert stages(quick, 64) == ((16, 0.3), (32, 0.7), (64, 1.0))
    assert stages(quick, 32) == ((16, 0.7), (32, 1.0))
    assert stages(quick, 16) == ((16, 1.0),)
    assert stages(quick, 64, warm=True) == ((64, 1.0),)


def test_a_penalty_weighs_four_times_as_much_on_four_times_as_many_pixels():
    weights = [CONFIG.gamma_at(size) for size in (16, 32, 64)]
    assert weights == [pytest.approx(0.1 * factor) for factor in (1, 4, 16)]


@pytest.mark.slow
def test_the_discriminator_learns_to_recognise_the_classes(digits):
    """Asked for nothing else it reads real pictures soon; without it, hardly by chance."""
    right = {}
    for recognition in (0.0, 1.0):
        config = dataclasses.replace(CONFIG, images=10**6, batch=64, recognition=recognition)
        training = trainer(digits, dataclasses.replace(config, learning_rate=5e-3))
        for _ in range(60):
            training.step()
        picks = training.trained_on[:200]
        about = training.conditions.of(picks)
        with torch.no_grad():
            _, fits = training.D.judge(training._real(picks, 8), about.told)
        assert fits is not None
        labels = torch.from_numpy(digits.labels[picks])
        right[recognition] = float((fits.argmax(dim=1) == labels).float().mean())
    assert right[1.0] > right[0.0] + 0.2, right


def test_an_older_training_goes_on_as_it_was():
    stored = CONFIG.to_json()
    assert TrainConfig.from_json(stored) == CONFIG
    del stored["recognition"], stored["alike"]
    older = TrainConfig.from_json(stored)
    assert (older.recognition, older.alike) == (0.0, False)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 256])
def test_presets_end_at_the_full_resolution(resolution):
    way = stages(PRESETS[default_preset(resolution)], resolution)
    assert way[-1] == (resolution, 1.0)
    assert [part for _, part in way] == sorted(part for _, part in way)


def test_config_survives_json(digits):
    import json

    complete = trainer(digits).config
    assert TrainConfig.from_json(json.loads(json.dumps(complete.to_json()))) == complete


def test_float16_scales_its_losses_and_resumes(digits, tmp_path):
    half = Device("cpu", "float16", 1)
    config = dataclasses.replace(CONFIG, images=8 * 6, penalties=("r1", "r2"), penalty_interval=1)
    whole = trainer(digits, config, device=half)
    before = [p.detach().clone() for p in whole.G.parameters()]
    reports = list(whole.run())
    assert all(math.isfinite(value) for report in reports for value in report.losses.values())
    assert any(not torch.equal(b, a) for b, a in zip(before, whole.G.parameters(), strict=True))
    assert whole.D.dtype == torch.float16, "the penalty's float32 is put back"
    first = trainer(digits, config, tmp_path, device=half)
    for _ in range(3):
        first.step()
    first.save()
    second = trainer(digits, config, tmp_path, device=half)
    list(second.run())
    assert digest(second) == digest(whole)


def test_a_step_that_overflows_in_float16_is_left_out(digits):
    running = trainer(digits, device=Device("cpu", "float16", 1))
    running.step()
    running.scaler.update(2.0**60)
    weights = checkpoint.digest(running.G.state_dict())
    running.step()
    assert checkpoint.digest(running.G.state_dict()) == weights
    assert running.scaler.get_scale() < 2.0**60


def test_pictures_and_classes_can_be_left_out(digits):
    config = dataclasses.replace(CONFIG, pictures=20, classes=False, generator=None)
    running = trainer(digits, config)
    assert len(running.batches.indices) == 20
    assert len(running.kept_back) == 180
    assert running.G.c_dim == 0
    assert running.gallery.reals().shape == (20, 8, 8, 1)
    running.step()


def test_reals_are_of_the_samples_classes(digits):
    running = trainer(digits)
    shown = {picture.tobytes() for picture in running.gallery.reals()}
    assert running.gallery.reals().shape == (64, 8, 8, 1)
    assert shown <= {picture.tobytes() for picture in digits.images[running.trained_on]}
    first = running.gallery.reals()[3]
    labels = [digits.labels[i] for i in running.trained_on if (digits.images[i] == first).all()]
    assert labels == [3]


def test_ways_lead_from_sample_to_sample_and_are_drawn_in_between(digits):
    ours = trainer(digits)
    before = ours.rng.get_state()
    samples, ways = ours.samples().astype(int), ours.between().astype(int)
    assert ways.shape == samples.shape
    assert abs(ways[::8] - samples[:8]).max() <= 1
    assert abs(ways[7::8] - samples[10:18]).max() <= 1, "of the same class: there are ten"
    middle = abs(ways[3::8] - ways[4::8]).mean()
    assert 0 < middle < abs(ways[::8] - ways[7::8]).mean(), "a step is a part of the way"
    assert torch.equal(before, ours.rng.get_state()), "looking changes nothing"


def test_quality_stops_but_not_under_an_alarm(digits, monkeypatch):
    from tests.test_alarms import HEALTHY

    good = dataclasses.replace(HEALTHY, q_low=0.9, q=0.95)
    running = trainer(digits, dataclasses.replace(CONFIG, target_quality=0.8))
    asked = []

    def measure(fresh=0):
        asked.append(fresh)
        return good

    monkeypatch.setattr(running, "measure", measure)
    running.alarms.rescued(0, 0, 0.5, 10**9)
    assert [running._good_enough(good) for _ in range(4)] == [None] * 4
    running.alarms.lit.clear()
    assert [running._good_enough(good) for _ in range(3)] == [None, None, "quality"]
    assert len(asked) == 1
    assert asked[0] > 0, "confirmed with fresh latents"


def test_a_plateau_ends_a_run_with_a_target_when_the_rate_falls(digits):
    from gan.training.alarms import Alarm
    from tests.test_alarms import HEALTHY

    for target, seen, expected in ((0.9, 64, "plateau"), (0.9, 56, None), (None, 64, None)):
        running = trainer(digits, dataclasses.replace(CONFIG, target_quality=target))
        running.images_seen = seen
        running.alarms.lit["plateau"] = Alarm("plateau", "warn", {}, 0)
        assert running._good_enough(HEALTHY) == expected
