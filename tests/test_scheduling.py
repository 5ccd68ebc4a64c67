"""Every test is run once, and none that starts an event loop in a thread that had a browser."""

from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scheduling import ByPlace

BROWSER = [f"tests/browser/test_{name}.py::test_{i}" for name in "abc" for i in range(4)]
OTHER = [f"tests/test_{name}.py::test_{i}" for name in "defg" for i in range(4)]


class Worker:
    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.shutting_down = False
        self.gateway = SimpleNamespace(id=str(id(self)))

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.waiting += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("tests", [BROWSER + OTHER, BROWSER[:4] + OTHER, BROWSER, OTHER])
@pytest.mark.parametrize("hastes", [(1, 1, 1), (5, 1, 1), (1, 5, 2)])
def test_every_test_runs_once_and_those_with_a_browser_last(
    request: pytest.FixtureRequest, count: int, tests: list[str], hastes: tuple[int, ...]
) -> None:
    """Each worker in turn does as many tests as its haste says."""
    request.config.option.tx = [f"{count}*popen"]
    scheduler = ByPlace(request.config, None)
    workers: dict[Any, list[str]] = {Worker(): [] for _ in range(count)}
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, tests)
    scheduler.schedule()
    while any(worker.waiting for worker in workers):
        for (worker, done), haste in zip(workers.items(), hastes, strict=False):
            for _ in range(min(haste, len(worker.waiting))):
                index = worker.waiting.pop(0)
                done.append(tests[index])
                scheduler.mark_test_complete(worker, index)
    assert sorted(chain(*workers.values())) == sorted(tests)
    for done in workers.values():
        kinds = ["/browser/" in test for test in done]
        assert kinds == sorted(kinds), "a test came after a browser's"
    if count > 1 and tests == BROWSER + OTHER:
        assert all(workers.values()), "one worker did everything"
