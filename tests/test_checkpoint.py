"""Checkpoints are complete, whole or absent, and survive damage."""

import pytest
import torch

from gan.errors import LabError
from gan.training import checkpoint


def state(value: float = 1.0) -> dict:
    return {
        "networks": {"a": torch.full([2, 3], value), "b": torch.tensor([1, 2], dtype=torch.int64)},
        "optimizers": [{"0": {"step": torch.tensor(3.0), "moment": torch.zeros(2)}}],
        "numbers": {"images_seen": 12, "seconds": 1.25, "best": None, "name": "digits"},
        "rng": torch.Generator().manual_seed(0).get_state(),
    }


def test_what_was_written_is_read(tmp_path):
    path = checkpoint.write(tmp_path, 12, state())
    assert checkpoint.digest(checkpoint.read(path)) == checkpoint.digest(state())


def test_digest_tells_states_apart():
    other = state()
    other["networks"]["a"][1, 2] += 1e-6
    renamed = state()
    renamed["numbers"]["images_seen"] = 13
    assert len({checkpoint.digest(s) for s in (state(), other, renamed)}) == 3


def test_only_the_newest_two_stay(tmp_path):
    for images_seen in (30, 100, 2000):
        checkpoint.write(tmp_path, images_seen, state())
    assert [int(path.stem) for path in checkpoint.every(tmp_path)] == [100, 2000]


def test_what_is_written_after_going_back_is_never_given_up_for_damaged_ones(tmp_path):
    for images_seen in (100, 200, 300):
        path = checkpoint.write(tmp_path, images_seen, state(), best=100)
        if images_seen > 100:
            path.write_bytes(b"")
    assert checkpoint.read_newest(tmp_path)[0] is not None
    written = checkpoint.write(tmp_path, 150, state(2.0), best=100)
    assert [int(path.stem) for path in checkpoint.every(tmp_path)] == [100, 150]
    found, damaged = checkpoint.read_newest(tmp_path)
    assert found is not None
    assert checkpoint.digest(found) == checkpoint.digest(checkpoint.read(written))
    assert damaged == []


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "no metadata"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, damage):
    checkpoint.write(tmp_path, 1, state(1.0))
    newest = checkpoint.write(tmp_path, 2, state(2.0))
    content = newest.read_bytes()
    if damage == "no metadata":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, newest)
    else:
        newest.write_bytes({"cut": content[:-40], "empty": b"", "noise": b"\xff" * 99}[damage])
    found, damaged = checkpoint.read_newest(tmp_path)
    assert damaged == [newest.name]
    assert found is not None
    assert checkpoint.digest(found) == checkpoint.digest(state(1.0))


def test_only_damaged_ones_are_an_error_that_names_them(tmp_path):
    checkpoint.write(tmp_path, 1, state()).write_bytes(b"<html>")
    with pytest.raises(LabError, match="000000000001"):
        checkpoint.read_newest(tmp_path)


def test_nothing_there_is_no_state(tmp_path):
    assert checkpoint.read_newest(tmp_path) == (None, [])


def test_a_killed_writer_leaves_the_old_state_and_is_swept(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, 1, state())
    (tmp_path / ".000000000002.safetensors.abcd1234.partial").write_bytes(b"half")
    found, _ = checkpoint.read_newest(tmp_path)
    assert found is not None
    monkeypatch.setattr("gan.files.time.time", lambda: 4e9)
    checkpoint.write(tmp_path, 2, state())
    assert not list(tmp_path.glob(".*"))
