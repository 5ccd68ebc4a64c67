"""Orders: whole or not at all, for one process only, acknowledged while it is busy."""

import os
import time
from pathlib import Path

import pytest

from gan import control
from gan.control import Listener, Order
from tests.waiting import wait_until


def test_what_is_given_is_read(tmp_path: Path) -> None:
    assert control.read(tmp_path) == []
    orders = [Order(3, 77, "pause", images=640, target_quality=0.5), Order(4, 77, "save")]
    control.give(tmp_path, *orders)
    assert control.read(tmp_path) == orders
    assert [path.name for path in tmp_path.iterdir()] == [control.FILE]


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "7", "null", '{"id": 1}', '{"id": "1", "pid": 2, "action": "stop"}'),
        '{"id": 1, "pid": 2, "action": "explode"}',
        '{"id": true, "pid": 2, "action": "stop"}',
        '{"id": 1, "pid": 2, "images": 0}',
        '{"id": 1, "pid": 2, "images": "all"}',
        '{"id": 1, "pid": 2, "target_quality": NaN}',
        '{"id": 1, "pid": 2, "target_quality": 1.5}',
    ],
)
def test_nonsense_is_no_order(tmp_path: Path, content: str) -> None:
    (tmp_path / control.FILE).write_text(content)
    assert control.read(tmp_path) == []
    sense = Order(2, 2, "save")
    control.give(tmp_path, sense)
    (tmp_path / control.FILE).write_text(content + "\n" + (tmp_path / control.FILE).read_text())
    assert control.read(tmp_path) == [sense], "one that makes none is passed over"


def test_a_listener_notes_its_own_orders_once_and_in_order(tmp_path: Path) -> None:
    noted: list[int] = []
    with Listener(tmp_path, lambda order: noted.append(order.id)) as orders:
        control.give(tmp_path, Order(1, os.getpid() + 1, "stop"))  # another process's
        time.sleep(3 * control.LOOK_SECONDS)
        assert noted == []
        for number, action in ((2, "pause"), (5, "save")):
            control.give(tmp_path, Order(number, os.getpid(), action))
            wait_until(lambda number=number: number in noted)
        control.give(tmp_path, Order(4, os.getpid(), "stop"))  # older than what was noted
        time.sleep(3 * control.LOOK_SECONDS)
        first, second = orders.take(), orders.take()
        assert first is not None
        assert second is not None
        assert (first.action, second.action, orders.take()) == ("pause", "save", None)
    assert noted == [2, 5]


def test_orders_that_lie_there_together_are_all_heard_once(tmp_path: Path) -> None:
    noted: list[int] = []
    mine = [Order(number, os.getpid(), "save") for number in (1, 2, 3, 4)]
    with Listener(tmp_path, lambda order: noted.append(order.id)) as orders:
        control.give(tmp_path, mine[0], mine[1], Order(9, os.getpid() + 1, "stop"))
        wait_until(lambda: 2 in noted)
        control.give(tmp_path, *mine)  # those before weren't seen to be noted
        wait_until(lambda: 4 in noted)
        time.sleep(3 * control.LOOK_SECONDS)
        assert [orders.take() for _ in range(5)] == [*mine, None]
    assert noted == [1, 2, 3, 4]


def test_an_order_is_noted_before_it_can_be_carried_out(tmp_path: Path) -> None:
    """Or else a run would look paused, and the pause unheard: who waits until the next order is
    heard would take the pause for it."""
    early: list[Order | None] = []

    def noted(_order: Order) -> None:
        time.sleep(0.2)
        early.append(orders.take())

    with Listener(tmp_path, noted) as orders:
        control.give(tmp_path, Order(1, os.getpid(), "pause"))
        orders.wait(60)
        assert orders.take() is not None
    assert early == [None]


def test_waiting_ends_when_an_order_comes(tmp_path: Path) -> None:
    with Listener(tmp_path, lambda _order: None) as orders:
        control.give(tmp_path, Order(1, os.getpid(), "resume"))
        orders.wait(60)
        assert orders.take() is not None


def test_a_listener_leaves_no_thread(tmp_path: Path) -> None:
    import threading

    before = set(threading.enumerate())  # one of another test may end meanwhile
    with Listener(tmp_path, lambda _order: None):
        (own,) = set(threading.enumerate()) - before
    assert not own.is_alive()
