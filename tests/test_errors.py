"""gan.errors: an error is a code with plain values, and a text in both languages."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from gan.errors import LabError


def test_it_reads_as_its_text_with_the_values() -> None:
    error = LabError("bad_threads", value=0, most=9)
    assert "0 threads" in str(error)
    assert "0 个线程" in error.message("zh")
    assert (error.code, error.values) == ("bad_threads", {"value": 0, "most": 9})


def test_an_unknown_code_still_reads_as_something() -> None:
    with pytest.warns(UserWarning, match=r"error\.nonsense"):
        assert str(LabError("nonsense")) == "error.nonsense"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (3, 3),
        (True, True),
        (None, None),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), "0.5"),
        (Path("a") / "b", str(Path("a") / "b")),
        (("x", 1), "('x', 1)"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_values_are_plain_and_short(value: object, plain: object) -> None:
    sent = LabError("bad_threads", value=value).to_json()
    assert json.loads(json.dumps(sent, allow_nan=False)) == {
        "code": "bad_threads",
        "values": {"value": plain},
    }


def test_it_crosses_between_processes() -> None:
    error = pickle.loads(pickle.dumps(LabError("bad_threads", value=0, most=9)))
    assert error.to_json() == {"code": "bad_threads", "values": {"value": 0, "most": 9}}
