"""Thousands of damaged files: a clean error or a valid load, nothing run, memory bounded; and the
memory that a large snapshot takes.

2,000 damaged forms of each small file made here, of every family and format, and of each reference
network; LATENT_LAB_FUZZ asks for another number.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from gan.generators.stylegan2 import StyleGAN2Config
from tests.families import tiny_biggan, tiny_dcgan, tiny_fastgan, tiny_r3gan, tiny_stylegan3
from tests.tiny import TINY, tiny_model, tiny_network
from tests.tiny_pickles import snapshot, tensorflow_pickle

MUTATIONS = int(os.environ.get("LATENT_LAB_FUZZ", "2000"))
# What a load of a damaged file may take: so many times its size, and a constant for what the
# allocator keeps.
MOST_TIMES, CONSTANT = 8, 48 * 1024  # kilobytes
SMALL = StyleGAN2Config(
    resolution=8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=32, channel_max=4
)
LARGE = StyleGAN2Config(
    32, z_dim=512, w_dim=512, mapping_layers=8, channel_base=32768, channel_max=512
)
ORACLES = (
    *("sg2_skip_m8/network.pkl", "sg2_skip_m2_cond5/network.pkl", "sg2_resnet_m8/network.pkl"),
    *("sg2_skip_clamp/network.pkl", "sg2ada_skip_m8/network.pkl"),
    *("rosinality_64/stylegan2-small.pt", "rosinality_64/training-000100.pt"),
    *("sg3_t/network.pkl", "sg3_r/network.pkl", "r3gan_32/network.pkl"),
    "biggan_deep_tiny/pytorch_model.bin",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fuzz,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]


Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Does a task of hostile_files.py, which is started once for all of them."""
    errors = tmp_path_factory.mktemp("errors") / "errors.txt"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.hostile_files"],
            cwd=project,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # more threads wouldn't survive a fork
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def run(*task: object) -> dict[str, Any]:
            stdin.write(json.dumps(list(map(str, task))) + "\n")
            stdin.flush()
            done = json.loads(stdout.readline() or "{}")
            assert "size" in done or "file" in done, errors.read_text()[-3000:]
            return done

        yield run


def check(done: dict[str, Any], count: int) -> None:
    print(done)
    assert sum(done["seen"].values()) == count
    assert done["ran"] == []
    assert done["grown"] < MOST_TIMES * done["size"] / 1024 + CONSTANT


def saved(tree: Any, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(tree, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


def ours(folder: Path) -> bytes:
    tiny_model(folder / "ours", SMALL)
    return (folder / "ours" / "model.safetensors").read_bytes()


SMALL_FILES: dict[str, Callable[[Path], bytes]] = {
    "snapshot.pkl": lambda _: snapshot(tiny_network(SMALL)),
    "old-snapshot.pkl": lambda _: snapshot(tiny_network(SMALL), protocol=2),
    "zipped-streams.pkl": lambda _: snapshot(tiny_network(SMALL), legacy=False),
    "tensorflow.pkl": lambda _: tensorflow_pickle(tiny_network(SMALL)),
    "zip.pt": lambda _: saved({"g_ema": tiny_network(SMALL).state_dict()}),
    "legacy.pt": lambda _: saved({"g_ema": tiny_network(SMALL).state_dict()}, legacy=True),
    "plain.safetensors": lambda _: safetensors.torch.save(tiny_network(SMALL).state_dict()),
    "ours.safetensors": ours,
    "stylegan3.pkl": lambda _: snapshot(tiny_stylegan3()),
    "r3gan.pkl": lambda _: snapshot(tiny_r3gan(c_dim=3)),
    "dcgan.tar": lambda _: saved({"epoch": 3, "netG_state_dict": tiny_dcgan().state_dict()}),
    "biggan.bin": lambda _: saved(tiny_biggan().state_dict()),
    "fastgan.pth": lambda _: saved({"g": tiny_fastgan().state_dict()}, legacy=True),
}


@pytest.mark.parametrize("name", SMALL_FILES)
def test_damaged_files_are_refused_or_loaded(run: Run, tmp_path: Path, name: str):
    file = tmp_path / name
    file.write_bytes(SMALL_FILES[name](tmp_path))
    done = run("mutate", file, MUTATIONS)
    check(done, MUTATIONS)
    assert done["seen"]["loaded"] > 0, "some damage hits weights only"
    assert len(done["seen"]) > 2, "and some is refused, in more than one way"


@pytest.mark.parametrize("name", ORACLES)
def test_damaged_reference_networks_are_refused_or_loaded(run: Run, oracles: Path, name: str):
    check(run("mutate", oracles / name, MUTATIONS), MUTATIONS)


def test_a_large_model_of_ours_takes_little_more_memory_than_itself(run: Run, tmp_path: Path):
    tiny_model(tmp_path / "small")
    tiny_model(tmp_path / "large", LARGE)
    weights = "model.safetensors"
    done = run("peak", tmp_path / "small" / weights, tmp_path / "large" / weights)
    print(done)
    assert done["generator"] > 60 * 1024
    assert done["grown"] < 1.5 * done["generator"] + 24 * 1024


def test_only_the_generator_of_a_large_snapshot_is_read(run: Run, tmp_path: Path):
    """Three networks of 60 MB in a file: one is read, with 1.5 times its size and a constant."""
    file = tmp_path / "large.pkl"
    file.write_bytes(snapshot(tiny_network(LARGE), whole=True))
    (tmp_path / "small.pkl").write_bytes(snapshot(tiny_network(TINY)))
    done = run("peak", tmp_path / "small.pkl", file)
    print(done)
    assert done["file"] > 2.9 * done["generator"]
    assert done["grown"] < 1.5 * done["generator"] + 24 * 1024
