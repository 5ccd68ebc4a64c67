"""Which worker runs which tests, where several do (`pytest -n 2`)."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class ByPlace(LoadScopeScheduling):
    """`pytest -n 2`, file by file: one worker has the browser's, another all else and then helps.

    Whoever has had a browser takes nothing else: Playwright's event loop stays in its thread, where
    no other test could start one of its own.
    """

    def __init__(self, config: pytest.Config, log: Any):
        config.option.loadscopereorder = False  # as `_split_scope` and the collection have it
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        is_first = len(self.nodes) > 1 and node is self.nodes[0]
        places = list(self.workqueue)
        places.sort(key=lambda place: is_browsers(place) != is_first)  # its own kind comes first
        self.workqueue.move_to_end(places[0], last=False)
        super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        has_browser = any(map(is_browsers, self.assigned_work[node]))
        if has_browser and self.workqueue and not any(map(is_browsers, self.workqueue)):
            node.shutdown()
            return
        super()._reschedule(node)


def is_browsers(place: str) -> bool:
    return "/browser/" in place
