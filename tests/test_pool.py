"""gan.pool: a memory limit that holds, and nobody's model taken from under the brush."""

from dataclasses import dataclass
from typing import Any

import pytest

from gan.errors import LabError
from gan.loading import ModelInfo
from gan.loading.policy import MEGABYTE
from gan.pool import Pool


@dataclass
class Fake:
    info: Any
    size_bytes: int = MEGABYTE


def fake(name: str, revision: str = "a", megabytes: float = 1) -> Fake:
    info = ModelInfo(
        name=name,
        hash=revision * 12,
        family="stylegan2",
        classes=None,
        dataset="",
        licence="",
        path=None,  # type: ignore[arg-type]
        resolution=4,
        layers=(4,),
    )
    return Fake(info, int(megabytes * MEGABYTE))


@pytest.fixture
def busy() -> list[Fake]:
    return []


@pytest.fixture
def pool(busy: list[Fake]) -> Pool[Fake]:
    return Pool(3 * MEGABYTE, lambda model: any(model is each for each in busy))


def names(pool: Pool[Fake]) -> list[str]:
    return [info.name for info in pool.listed()]


def test_the_least_recently_used_leaves(pool: Pool[Fake]):
    for name in "abc":
        pool.put(fake(name))
    assert pool.find("a") is not None
    pool.put(fake("d"))
    assert sorted(names(pool)) == ["a", "c", "d"]
    assert pool.size_bytes == 3 * MEGABYTE


def test_a_large_one_takes_the_place_of_several(pool: Pool[Fake]):
    for name in "abc":
        pool.put(fake(name))
    pool.put(fake("large", megabytes=2))
    assert sorted(names(pool)) == ["c", "large"]


def test_one_that_draws_never_leaves(pool: Pool[Fake], busy: list[Fake]):
    for name in "abc":
        pool.put(fake(name))
    first = pool.find("a")
    pool.find("b")
    pool.find("c")
    busy.append(first)  # type: ignore[arg-type]
    pool.put(fake("d"))
    assert sorted(names(pool)) == ["a", "c", "d"]
    busy += [pool.find("c"), pool.find("d")]  # type: ignore[list-item]
    with pytest.raises(LabError) as caught:
        pool.put(fake("e"))
    assert caught.value.code == "no_room"
    assert sorted(names(pool)) == ["a", "c", "d"]


def test_what_never_fits_is_refused_and_nobody_leaves_for_it(pool: Pool[Fake]):
    pool.put(fake("a"))
    with pytest.raises(LabError):
        pool.put(fake("giant", megabytes=4))
    assert names(pool) == ["a"]


def test_the_same_weights_are_kept_once(pool: Pool[Fake]):
    first = pool.put(fake("a"))
    assert pool.put(fake("a")) is first
    assert pool.size_bytes == MEGABYTE


def test_two_revisions_of_one_name_live_side_by_side(pool: Pool[Fake]):
    one, other = pool.put(fake("o/n", "a")), pool.put(fake("o/n", "b"))
    assert pool.find("o/n", "a" * 12) is one
    assert pool.find("o/n", "b" * 12) is other
    assert pool.find("o/n", "c" * 12) is None
    pool.find("o/n", "a" * 12)
    assert pool.find("o/n") is one, "the last one used"


def test_a_name_of_its_own_goes_first(pool: Pool[Fake]):
    own = pool.put(fake("digits", "a"), is_named=True)
    run = pool.put(fake("digits", "b"))
    assert pool.find("digits") is own
    assert pool.find("digits", "b" * 12) is run
    assert pool.find("digits", "c" * 12) is own, "who asks must learn that it is another"


def test_what_somebody_dropped_is_found_by_its_revision_only(pool: Pool[Fake]):
    dropped = pool.put(fake("_file/x"), is_listed=False)
    assert names(pool) == []
    assert pool.find("_file/x") is None
    assert pool.find("_file/x", "b" * 12) is None
    assert pool.find("_file/x", "a" * 12) is dropped


def test_room_is_made_before_a_model_takes_it(pool: Pool[Fake], busy: list[Fake]):
    for name in "abc":
        pool.put(fake(name))
    with pool.reservation() as reservation:
        pool.reserve(reservation, "d", 2 * MEGABYTE)
        assert names(pool) == ["c"]
        with pytest.raises(LabError) as caught, pool.reservation() as other:
            pool.reserve(other, "e", 2 * MEGABYTE)
        assert caught.value.code == "no_room", "the same place was given twice"
        pool.put(fake("d", megabytes=2), reservation=reservation)
        assert names(pool) == ["c", "d"]
    with pytest.raises(ZeroDivisionError), pool.reservation() as reservation:
        pool.reserve(reservation, "f", 3 * MEGABYTE)
        _ = 1 / 0
    pool.put(fake("g", megabytes=3))
    assert names(pool) == ["g"], "what wasn't opened keeps its place"
