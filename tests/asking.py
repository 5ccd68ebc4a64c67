"""What tests ask, and how they are refused."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gan.errors import LabError
from gan.ui import train_hub
from gan.workshop import Limits, Workshop
from gan.workshop.queue import write_json


@contextlib.contextmanager
def idle_workshop(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """The workshop inside, in which nothing is ever launched, and where nobody waits at the end:
    its thread would launch him when this no longer holds."""
    monkeypatch.setattr("gan.workshop.queue.launch", lambda run: None)
    made = Workshop(root, Limits())
    monkeypatch.setattr("gan.workshop.workshop._shared", [made])
    yield made
    with made._alone():  # it isn't about to
        for run in made.queue.waiting():
            write_json(run / "status.json", {"state": "stopped"})


def refused(what: Callable[[], Any]) -> LabError:
    """The error by which it is refused: whole sentences in both languages."""
    with pytest.raises(LabError) as caught:
        what()
    for lang in ("en", "zh"):
        assert "{" not in caught.value.message(lang)
    return caught.value


def refusal(act: Callable[[], Any], token: str) -> str:
    """The code of the error, which must not hold the token."""
    with pytest.raises(LabError) as caught:
        act()
    assert token not in str(caught.value.to_json())
    return caught.value.code


def ask_train_hub(name: str, **asked: Any) -> Any:
    """The answer of one of the Train page's functions for the Hub, as JSON brings it."""
    (function,) = (each for each in train_hub.FUNCTIONS if each.__name__ == name)
    answer = asyncio.run(asyncio.wait_for(function(asked), 60))
    return json.loads(json.dumps(answer))
