"""What a data set on the Hub is, before anybody trains on it.

The looking is done by a process of its own (`gan look`): what readers of strangers' files do, and
the memory they take, is no business of the page's process. What was found is remembered for a
while, by what was asked.
"""

from __future__ import annotations

import json
import time
from typing import Any

from gan.errors import LabError
from gan.workshop.limits import Limits
from gan.workshop.queue import answer_of, last_words
from gan.workshop.requests import bounded_rows, check_hub_data

MOST_SECONDS = 240.0
REMEMBERED_SECONDS = 600.0
MOST_REMEMBERED = 100


class Looks:
    """Looks at one data set at a time, where its caller sees to that."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    def of(self, data: str, limits: Limits) -> dict[str, Any]:
        """The JSON of `gan look`. Takes seconds; LabError where it can't be had."""
        from gan.training.hub_names import HubData

        data = bounded_rows(str(HubData.parse(data)), limits)
        check_hub_data(data, limits)
        at, found = self._known.get(data, (-REMEMBERED_SECONDS, None))
        if found is None or time.monotonic() - at >= REMEMBERED_SECONDS:
            found = look(data)
            while len(self._known) >= MOST_REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[data] = time.monotonic(), found
        return found


def look(data: str) -> dict[str, Any]:
    """Runs `gan look` on it, at low priority; → its JSON."""
    done = answer_of(["look", "--json", data], MOST_SECONDS)
    if done is None:
        raise LabError("hub_data_slow", seconds=round(MOST_SECONDS))
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        reason = last_words(done.stderr)
        raise LabError("hub_data_unreadable", repo=data, reason=reason) from error
    if "error" in found:
        raise LabError.from_json(found["error"])
    return found
