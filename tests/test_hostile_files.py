"""Thousands of damaged files: a clean error or a valid load, nothing run, memory bounded; and the
memory that a large snapshot takes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from gan.generators.stylegan2 import StyleGAN2Config
from tests.tiny import TINY, tiny_model, tiny_network
from tests.tiny_pickles import snapshot, tensorflow_pickle

MUTATIONS = int(os.environ.get("LATENT_LAB_FUZZ", "1000"))
# What a load of a damaged file may take: so many times its size, and a constant for what the
# allocator keeps.
MOST_TIMES, CONSTANT = 8, 48 * 1024  # kilobytes
SMALL = StyleGAN2Config(
    resolution=8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=32, channel_max=4
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
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc"),
]


def run(project: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-m", "tests.hostile_files", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def check(done: dict[str, Any], count: int) -> None:
    print(done)
    assert sum(done["seen"].values()) == count
    assert done["ran"] == []
    assert done["grown"] < MOST_TIMES * done["size"] / 1024 + CONSTANT


def fixture(kind: str, folder: Path) -> Path:
    network = tiny_network(SMALL)
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    file = folder / kind
    if kind == "snapshot.pkl":
        file.write_bytes(snapshot(network))
    elif kind == "old-snapshot.pkl":
        file.write_bytes(snapshot(network, protocol=2))
    elif kind == "zipped-streams.pkl":
        file.write_bytes(snapshot(network, legacy=False))
    elif kind == "tensorflow.pkl":
        file.write_bytes(tensorflow_pickle(network))
    elif kind in ("zip.pt", "legacy.pt"):
        torch.save({"g_ema": tensors}, file, _use_new_zipfile_serialization=kind == "zip.pt")
    elif kind == "plain.safetensors":
        save_file(tensors, file)
    else:
        tiny_model(folder / "ours", SMALL)
        (folder / "ours" / "model.safetensors").rename(file)
    return file


@pytest.mark.parametrize(
    "kind",
    [
        *("snapshot.pkl", "old-snapshot.pkl", "zipped-streams.pkl", "tensorflow.pkl"),
        *("zip.pt", "legacy.pt", "plain.safetensors", "ours.safetensors"),
    ],
)
def test_damaged_files_are_refused_or_loaded(project: Path, tmp_path: Path, kind: str):
    done = run(project, "mutate", fixture(kind, tmp_path), MUTATIONS)
    check(done, MUTATIONS)
    assert done["seen"]["loaded"] > 0, "some damage hits weights only"
    assert len(done["seen"]) > 2, "and some is refused, in more than one way"


@pytest.mark.parametrize("name", ORACLES)
def test_damaged_reference_networks_are_refused_or_loaded(project: Path, oracles: Path, name: str):
    count = max(MUTATIONS // 10, 1)
    check(run(project, "mutate", oracles / name, count), count)


def test_only_the_generator_of_a_large_snapshot_is_read(project: Path, tmp_path: Path):
    """Three networks of 60 MB in a file: one is read, with 1.5 times its size and a constant."""
    config = StyleGAN2Config(
        32, z_dim=512, w_dim=512, mapping_layers=8, channel_base=32768, channel_max=512
    )
    file = tmp_path / "large.pkl"
    file.write_bytes(snapshot(tiny_network(config), whole=True))
    (tmp_path / "small.pkl").write_bytes(snapshot(tiny_network(TINY)))
    done = run(project, "peak", tmp_path / "small.pkl", file)
    print(done)
    assert done["file"] > 2.9 * done["generator"]
    assert done["grown"] < 1.5 * done["generator"] + 24 * 1024
