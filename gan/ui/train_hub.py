"""What the Train page may ask for where the Hub is needed, to publish a run or to train on a rented
machine: plain JSON, like `train_server`.

The person's token comes with the request that needs it, and is handed on; it is never part of an
answer. What is done with it is `gan.workshop.publications`' and `gan.workshop.rented`'s.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from gan import workshop
from gan.errors import LabError
from gan.jobs import launch
from gan.publish import outlook, repo_name
from gan.ui import sign_in
from gan.ui.explore_server import Json, answering
from gan.ui.train_files import folder_of
from gan.workshop import TrainRequest, publications
from gan.workshop.rented import Rental


def state(run: str, mine: bool) -> Json:
    """{"publication": how far the run's upload is}: for its owner alone."""
    told = publications.read(workshop.shared().path(run)) if mine else None
    return {"publication": told and told.to_json()}


@answering
async def publishing(asked: Json) -> Json:
    """{"token", "run"} → {"files", "licence", "dataset", "login"}: what would be sent; whether
    this machine's own login can be used."""
    return await asyncio.to_thread(_publishing, asked)


def _publishing(asked: Json) -> Json:
    folder = folder_of(_text(asked, "run"), sign_in.asking(asked))
    return outlook(folder) | {"login": _own_login() is not None}


@answering
async def publish(asked: Json) -> Json:
    """{"token", "run", "repo", "private", "hub_token"} → {}: begun. An empty `hub_token` is this
    machine's login, where the host lets people use it."""
    await asyncio.to_thread(_publish, asked)
    return {}


def _publish(asked: Json) -> None:
    run, owner, repo = _text(asked, "run"), sign_in.asking(asked), _text(asked, "repo")
    repo_name(repo)
    private = asked.get("private") is not False
    workshop.shared().publish(run, owner, repo, private, _hub_token(asked))


@answering
async def machines(_asked: Json) -> Json:
    """{} → {"machines": [{"name", "title", "dollars_per_hour"}], "login"}: what can be rented."""
    return await asyncio.to_thread(_machines)


def _machines() -> Json:
    found = [asdict(each) for each in launch.hardware()]
    return {"machines": found, "login": _own_login() is not None}


@answering
async def rent(asked: Json) -> Json:
    """{"token", "request", "rental": {"repo", "hardware", "hours", "private"}, "hub_token"} →
    {"run"}: a training on a rented machine, begun."""
    request = TrainRequest.from_json(asked.get("request"))
    rental = Rental.from_json(asked.get("rental"))
    owner, hub_token = sign_in.asking(asked), _hub_token(asked)
    shop = workshop.shared()
    return {"run": await asyncio.to_thread(shop.rent, request, owner, rental, hub_token)}


@answering
async def follow_again(asked: Json) -> Json:
    """{"token", "run", "hub_token"} → {}: a job whose follower is gone is followed again."""
    run, owner, hub_token = _text(asked, "run"), sign_in.asking(asked), _hub_token(asked)
    await asyncio.to_thread(workshop.shared().follow_again, run, owner, hub_token)
    return {}


def _hub_token(asked: Json) -> str:
    """The person's token for the Hub, or this machine's login where it may be used."""
    found = _text(asked, "hub_token").strip() or _own_login()
    if not found:
        raise LabError("publish_token_needed")
    return found


def _own_login() -> str | None:
    """This machine's token; None where strangers might use it."""
    from gan.loading import hub_client
    from gan.loading.policy import Policy

    policy = Policy.from_environment()
    return hub_client.own_token() if policy.hub_token and not policy.public else None


def _text(asked: Json, name: str) -> Any:
    if not isinstance(asked.get(name), str):
        raise LabError("bad_request", reason=name)
    return asked[name]


FUNCTIONS = (publishing, publish, machines, rent, follow_again)
