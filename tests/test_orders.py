"""Orders to a training that is a process of its own: in every order and at every time, each is
carried out, and what was saved is there and opens."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan import control
from gan.loading import load_generator
from gan.runs import RunDirectory
from gan.training import checkpoint
from gan.workshop import Limits, TrainRequest, Workshop
from gan.workshop.queue import give_order
from gan.workshop.records import read_status
from tests.waiting import end_trainings

pytestmark = pytest.mark.slow  # a training is a process of its own that has to load first

ME = "my-browsers-random-token"
ENDLESS = TrainRequest(data="digits-tiny", images=10**8)


class Training:
    """A run of a workshop, as somebody steers it who sees only its files."""

    def __init__(self, shop: Workshop):
        self.shop, self.id = shop, shop.start(ENDLESS, ME)
        self.path = shop.path(self.id)

    @property
    def status(self) -> dict[str, Any]:
        return read_status(self.path)

    @property
    def saved(self) -> list[int]:
        return [int(path.stem) for path in checkpoint.every(self.path / "checkpoints")]

    def wait(self, reached: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        deadline = time.monotonic() + 150
        while not reached(status := self.status):
            assert time.monotonic() < deadline, f"waited in vain: {status}"
            time.sleep(0.01)
        return status

    def order(self, *actions: str) -> dict[str, Any]:
        """Gives orders at once; → the status when the last one is carried out."""
        return self.obeyed([give_order(self.path, action=action) for action in actions][-1])

    def obeyed(self, number: int | None) -> dict[str, Any]:
        """Waits until an order is carried out; → the status then."""
        assert number is not None, "no process lives"
        return self.wait(lambda status: status.get("obeyed", 0) >= number)

    def go_on(self) -> None:
        """Lets it train for a few steps."""
        seen = self.order("resume")["images_seen"]
        self.wait(lambda status: status["images_seen"] > seen)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("shop") / "runs", Limits(free_gib=0.0))
    yield made
    end_trainings(made)


@pytest.fixture(scope="module")
def training(shop: Workshop) -> Training:
    return Training(shop)


def newest(training: Training) -> tuple[int, int]:
    """Which checkpoint is the newest, and when it was written: a second one of the same moment
    takes the place of the first."""
    path = checkpoint.every(training.path / "checkpoints")[-1]
    return int(path.stem), path.stat().st_mtime_ns


def is_kept(training: Training, images_seen: int) -> bool:
    """Whether there is a checkpoint of this very moment that can be read, and a model and a
    picture that stay."""
    moment = training.path / "moments" / f"{images_seen:09d}"
    state = checkpoint.read(checkpoint.path_of(training.path / "checkpoints", images_seen))
    assert load_generator(moment).info.dataset == "digits-tiny"
    snapshot = training.shop.snapshot(training.id)
    return state["images_seen"] == images_seen in set(snapshot.moments) & set(snapshot.samples)


def test_orders_given_while_it_starts_are_carried_out_when_it_listens(training: Training) -> None:
    assert training.status["state"] == "starting"
    training.shop.save_now(training.id, ME)
    training.shop.pause(training.id, ME)
    status = training.wait(lambda status: status["state"] == "paused")
    assert status["images_seen"] in training.saved
    assert status["obeyed"] == status["acknowledged"] == 2


def test_a_paused_training_tells_where_it_is_and_saves_just_that(training: Training) -> None:
    for _ in range(3):
        training.go_on()
        paused = training.order("pause")
        assert paused["acknowledged"] == paused["obeyed"], "noted before it was carried out"
        saved = training.order("save")
        assert saved["images_seen"] == paused["images_seen"] == training.saved[-1]
        assert saved["state"] == "paused"
        assert is_kept(training, saved["images_seen"])


@pytest.mark.parametrize("wait", [0.0, 0.15])
def test_of_orders_at_once_none_is_lost(training: Training, wait: float) -> None:
    """`wait`: seconds between them, around the time of one look at the file."""
    ends = {"pause": "paused", "resume": "training"}
    for actions in itertools.permutations(("pause", "save", "resume")):
        training.order("resume")
        before = newest(training)
        numbers = []
        for action in actions:
            numbers.append(give_order(training.path, action=action))
            time.sleep(wait)
        status = training.obeyed(numbers[-1])
        assert numbers == list(range(numbers[0], numbers[0] + 3)), "each has a number of its own"
        assert status["state"] == ends[[each for each in actions if each != "save"][-1]]
        assert newest(training) > before, f"{actions} wrote no checkpoint"


def test_a_save_right_after_going_on_is_a_moment_that_stays(training: Training) -> None:
    told = training.order("pause")
    orders = [
        control.Order(told["obeyed"] + n, told["pid"], action)
        for n, action in enumerate(("resume", "save", "pause"), start=1)
    ]
    control.give(training.path, *orders)  # in one file: it doesn't train between the two last
    saved = training.obeyed(orders[-1].id)["images_seen"]
    assert is_kept(training, saved)
    training.go_on()
    training.order("save")  # whether its checkpoint stays is up to newer ones
    assert saved in training.shop.snapshot(training.id).moments


def test_who_looks_into_a_training_gets_its_newest_and_keeps_no_moment(training: Training) -> None:
    training.go_on()
    training.order("pause")
    before = training.shop.snapshot(training.id).moments
    told = training.obeyed(training.shop.export_now(training.id, ME))
    config = json.loads((training.path / "latest" / "config.json").read_text())
    assert config["training"]["images_seen"] == told["images_seen"] == training.saved[-1]
    training.shop.snapshots.forget(training.path)
    assert training.shop.snapshot(training.id).moments == before


def test_the_budget_changes_between_other_orders(training: Training) -> None:
    give_order(training.path, action="pause")
    training.shop.change(training.id, ME, images=9 * 10**7)
    training.shop.change(training.id, ME, images=8 * 10**7, target_quality=0.5)
    status = training.order("save")
    assert (status["state"], status["images"], status["target_quality"]) == (
        "paused",
        8 * 10**7,
        0.5,
    )
    assert RunDirectory(training.path).read_config()[0].images == 8 * 10**7
    assert is_kept(training, status["images_seen"])


def test_a_stop_is_never_overruled_and_numbers_go_on(training: Training) -> None:
    """Nor do the numbers begin again in the next process: who waits for a higher one would wait
    for ever."""
    training.order("resume")
    for action in ("save", "stop", "save"):
        give_order(training.path, action=action)
    status = training.wait(lambda status: status["state"] == "stopped")
    assert (status["stopping"], status["images_seen"]) == (True, training.saved[-1])
    training.shop.resume(training.id, ME)
    again = training.wait(lambda told: told["state"] == "training")
    assert not again.get("stopping")
    assert again["images_seen"] >= status["images_seen"]
    assert training.order("save")["obeyed"] > status["acknowledged"]


def test_a_fork_from_what_was_saved_goes_on_with_a_setting_changed(training: Training) -> None:
    training.order("pause")
    seen = training.order("save")["images_seen"]
    training.shop.stop(training.id, ME)
    training.wait(lambda status: status["state"] == "stopped")
    forked = training.shop.fork(training.id, ME, seen, loss="hinge", images=seen + 320)
    path: Path = training.shop.path(forked)
    deadline = time.monotonic() + 150
    while read_status(path).get("state") != "finished":
        assert time.monotonic() < deadline, read_status(path)
        time.sleep(0.05)
    assert read_status(path)["images_seen"] == seen + 320
    config, _ = RunDirectory(path).read_config()
    assert (config.loss, config.warm_start) == ("hinge", None)
