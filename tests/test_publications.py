"""gan.workshop.publications: an upload is a process of its own, found again by whoever looks; the
token is nowhere but in that process."""

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gan.system import process_alive
from gan.ui import train_hub
from gan.workshop import Limits, TrainRequest, Workshop, publications
from gan.workshop.queue import write_json
from gan.workshop.records import About, owner_hash
from tests import waiting
from tests.asking import ask_train_hub, refusal
from tests.tiny import tiny_model

ME, OTHER = "a" * 32, "b" * 32
TOKEN = "hf_a_secret_of_one_upload"

# What the child is without a network: it reads the token, then does as the repository's name says.
CHILD = """
import sys, time
from pathlib import Path
from gan.errors import LabError
from gan.workshop import publications
path, repo, token = Path(sys.argv[1]), sys.argv[2], sys.stdin.readline().strip()
assert token.startswith("hf_")
if repo == "me/dies":
    sys.exit(1)
with publications.telling(path, repo, True) as tell:
    tell("uploading", 10, 100)
    if repo == "me/refused":
        raise LabError("publish_refused", repo=repo)
    while repo == "me/slow":
        time.sleep(0.02)
    tell.done("https://hub/" + repo, "c0ffee")
"""


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    def command(run: Path, repo: str, private: bool, samples: int) -> list[str]:
        return [sys.executable, "-c", CHILD, str(run / publications.FILE), repo]

    monkeypatch.setattr(publications, "command", command)
    for name in ("SPACE_ID", "LATENT_LAB_PUBLIC", "LATENT_LAB_TRAINING", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    made = Workshop(tmp_path / "runs", Limits(free_gib=0.0))
    monkeypatch.setattr("gan.workshop.workshop._shared", [made])
    yield made
    for run in made.queue.runs():
        made.stop_publishing(run.name, ME)
    wait_until(lambda: not any(publications.process_of(run) for run in made.queue.runs()))


wait_until = functools.partial(waiting.wait_until, seconds=60.0)


def a_run(shop: Workshop, number: int = 0, state: str = "stopped") -> str:
    run = shop.root / f"run-{number:016x}"
    run.mkdir(parents=True)
    About("mine", owner_hash(ME), 1.0, TrainRequest("digits", images=9)).write(run)
    write_json(run / "status.json", {"state": state})
    return run.name


def state(shop: Workshop, run: str) -> str:
    told = publications.read(shop.path(run))
    return told.state if told else "none"


def test_an_upload_is_found_again_and_its_token_is_nowhere(shop: Workshop):
    run = a_run(shop)
    shop.publish(run, ME, "me/mine", True, f" {TOKEN}\n")
    wait_until(lambda: state(Workshop(shop.root), run) == "done")  # another server sees the same
    told = train_hub.state(run, mine=True)["publication"]
    assert (told["url"], told["commit"], told["alive"]) == ("https://hub/me/mine", "c0ffee", False)
    assert train_hub.state(run, mine=False) == {"publication": None}
    for path in shop.root.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


def test_it_stops_and_can_begin_again(shop: Workshop):
    run = a_run(shop)
    shop.publish(run, ME, "me/slow", True, TOKEN)
    wait_until(lambda: state(shop, run) == "uploading")
    told = publications.read(shop.path(run))
    assert told is not None
    assert (told.sent, told.total) == (10, 100)
    assert refusal(lambda: shop.publish(run, ME, "me/mine", True, TOKEN), TOKEN) == "publish_busy"
    shop.stop_publishing(run, ME)
    wait_until(lambda: not process_alive(told.pid, told.started))
    assert state(shop, run) == "stopped"
    shop.publish(run, ME, "me/mine", True, TOKEN)
    wait_until(lambda: state(shop, run) == "done")


def test_a_failure_says_why_and_a_death_is_no_progress(shop: Workshop):
    refused, dead = a_run(shop, 1), a_run(shop, 2)
    shop.publish(refused, ME, "me/refused", True, TOKEN)
    shop.publish(dead, ME, "me/dies", True, TOKEN)
    wait_until(lambda: state(shop, refused) == "failed")
    wait_until(lambda: state(shop, dead) == "cut")
    told = publications.read(shop.path(refused))
    assert told is not None
    assert told.message == {"code": "publish_refused", "values": {"repo": "me/refused"}}


def test_deleting_a_run_ends_its_upload(shop: Workshop):
    run = a_run(shop)
    shop.publish(run, ME, "me/slow", True, TOKEN)
    wait_until(lambda: state(shop, run) == "uploading")
    shop.delete(run, ME)
    wait_until(lambda: state(shop, run) == "stopped")


def test_who_may_publish_and_when(shop: Workshop, monkeypatch: pytest.MonkeyPatch):
    run, busy = a_run(shop, 1), a_run(shop, 2, state="paused")
    assert (
        refusal(lambda: shop.publish(run, OTHER, "me/mine", True, TOKEN), TOKEN) == "not_your_run"
    )
    assert refusal(lambda: shop.stop_publishing(run, OTHER), TOKEN) == "not_your_run"
    assert refusal(lambda: shop.publish(run, ME, "me/mine", True, "no token"), TOKEN) == (
        "publish_token_form"
    )
    monkeypatch.setattr("gan.workshop.workshop.state_of", lambda _status: "training")
    assert refusal(lambda: shop.publish(busy, ME, "me/mine", True, TOKEN), TOKEN) == (
        "publish_while_training"
    )
    monkeypatch.undo()
    monkeypatch.setenv("LATENT_LAB_TRAINING", "off")
    assert (
        refusal(lambda: shop.publish(run, ME, "me/mine", True, TOKEN), TOKEN) == "training_is_off"
    )
    assert state(shop, run) == "none"


def test_a_host_sends_so_many_at_once(shop: Workshop):
    few = Workshop(shop.root, Limits(free_gib=0.0, uploads_at_once=1))
    first, second = a_run(shop, 1), a_run(shop, 2)
    few.publish(first, ME, "me/slow", True, TOKEN)
    assert (
        refusal(lambda: few.publish(second, ME, "me/mine", True, TOKEN), TOKEN) == "publish_later"
    )


# What the page asks for


def test_the_page_learns_what_would_go_up(shop: Workshop):
    run = a_run(shop)
    assert ask_train_hub("publishing", token=ME, run=run)["error"]["code"] == "run_without_model"
    tiny_model(shop.root / run / "model")
    shown = ask_train_hub("publishing", token=ME, run=run)
    assert (shown["licence"], shown["dataset"], shown["login"]) == ("none needed", "noise", False)
    assert ask_train_hub("publishing", token=OTHER, run=run)["error"]["code"] == "not_your_run"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"repo": "mine"}, "hub_bad_name"),
        ({"repo": "me/mine@main"}, "publish_name"),
        ({"repo": None}, "bad_request"),
        ({"hub_token": ""}, "publish_token_needed"),
        ({"hub_token": "hf one two"}, "publish_token_form"),
        ({"token": OTHER}, "not_your_run"),
        ({"run": "../elsewhere"}, "no_such_run"),
    ],
)
def test_a_bad_request_is_refused(shop: Workshop, changes: dict[str, Any], code: str):
    asked = {"token": ME, "run": a_run(shop), "repo": "me/mine", "hub_token": TOKEN}
    answer = ask_train_hub("publish", **asked | changes)
    assert answer["error"]["code"] == code
    assert TOKEN not in json.dumps(answer)


def test_a_hosts_own_login_is_for_its_owner_alone(shop: Workshop, monkeypatch: pytest.MonkeyPatch):
    run = a_run(shop)
    asked = {"token": ME, "run": run, "repo": "me/mine", "private": True, "hub_token": ""}
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    monkeypatch.setenv("LATENT_LAB_PUBLIC", "on")
    monkeypatch.setenv("LATENT_LAB_TRAINING", "on")
    assert ask_train_hub("publish", **asked)["error"]["code"] == "publish_token_needed"
    monkeypatch.setenv("LATENT_LAB_PUBLIC", "off")
    assert ask_train_hub("publish", **asked) == {}
    wait_until(lambda: state(shop, run) == "done")
