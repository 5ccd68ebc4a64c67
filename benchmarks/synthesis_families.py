"""How fast the large published networks are drawn, beside their plain equations and the machine.

    python benchmarks/synthesis_families.py [--networks NAME …] [--batches 1 8 16] [--threads 2]

Random weights in the published sizes. *ours* is what the app draws with, *plain* the same network
written straight from the paper (`plain.py`, `plain_stylegan3.py`: a copy of the weights for each
sample, grouped convolutions, zeros inserted and filtered). *gain* is plain / ours; *share* is our
convolutions a second over those of plain 3×3 convolutions of the network's own largest sizes,
measured beside it. StyleGAN3 has most of its work elsewhere, and is drawn picture by picture: only
a batch of one is compared.

Times are the processor's own (`time.process_time` over the threads), so that other programs on the
machine count little; each is the best of `--repeats`, taken in turn. With several threads that
includes waiting in a spin lock: set OMP_WAIT_POLICY=PASSIVE.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from typing import Any

import torch
from torch.nn import functional as F

from benchmarks import plain, plain_stylegan3
from gan.generators.prepared import prepare
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from gan.generators.stylegan3 import StyleGAN3, StyleGAN3Config

FULL: dict[str, Any] = {
    "z_dim": 512,
    "w_dim": 512,
    "mapping_layers": 8,
    "channel_base": 32768,
    "channel_max": 512,
}
NETWORKS = {
    "stylegan2-64": StyleGAN2Config(resolution=64, **FULL),
    "stylegan2-256": StyleGAN2Config(resolution=256, **FULL),
    "stylegan3-t-256": StyleGAN3Config(),
    "stylegan3-r-256": StyleGAN3Config(
        conv_kernel=1, use_radial_filters=True, channel_base=65536, channel_max=1024
    ),
}


def operations(config: StyleGAN2Config) -> float:
    """Floating-point operations (2 a multiply-add) of one picture's 3×3 convolutions."""
    total, c = 0, config.channels
    for r in config.block_resolutions:
        total += 9 * c(r) ** 2 * r**2
        if r > 4:  # a transposed convolution of stride 2 reads each of its inputs nine times
            total += 9 * c(r // 2) * c(r) * (r // 2) ** 2
    return 2.0 * total


def convolutions(config: StyleGAN2Config) -> tuple[Callable[[], object], float]:
    """→ plain 3×3 convolutions at the three finest resolutions, and their operations."""
    pairs, total = [], 0.0
    for r in config.block_resolutions[-3:]:
        channels = config.channels(r)
        x = torch.randn(1, channels, r, r).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3)
        pairs.append((x, weight.contiguous(memory_format=torch.channels_last)))
        total += 2.0 * 9 * channels**2 * r**2
    return lambda: [F.conv2d(x, weight, padding=1) for x, weight in pairs], total


def contenders(config: StyleGAN2Config | StyleGAN3Config, batch: int) -> dict[str, Callable]:
    """Name → a call that draws `batch` pictures."""
    torch.manual_seed(0)
    ws = torch.randn(batch, config.num_ws, config.w_dim)
    if isinstance(config, StyleGAN3Config):
        third = StyleGAN3(config)
        return {
            "ours": lambda: third.synthesis(ws),
            "plain": lambda: plain_stylegan3.plain_synthesis(third, ws),
        }
    second = StyleGAN2(config)
    prepared = prepare(second)
    return {
        "ours": lambda: prepared(ws),
        "plain": lambda: plain.plain_synthesis(second, ws),
    }


def best_seconds(calls: dict[str, Callable], repeats: int) -> dict[str, float]:
    """The least processor time of each call, over rounds in which they take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


def row(name: str, batch: int, repeats: int) -> str:
    config = NETWORKS[name]
    calls, its_operations = contenders(config, batch), 0.0
    if isinstance(config, StyleGAN2Config):
        calls["convolution"], its_operations = convolutions(config)
    best = best_seconds(calls, repeats)
    ours, plainly = best["ours"] / batch, best["plain"] / batch
    shown = f"{name:17} {batch:5} {ours:8.2f} {plainly:8.2f} {plainly / ours:6.2f}"
    if isinstance(config, StyleGAN2Config):
        machine = its_operations / best["convolution"]
        rate = operations(config) / ours
        shown += f"{rate / 1e9:12.0f} {machine / 1e9:9.0f} {100 * rate / machine:5.0f} %"
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Processor seconds a picture of large networks.")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    print(f"{os.cpu_count()} cores, {load}torch {torch.__version__}, {options.threads} thread(s)")
    print("network           batch  ours, s plain, s   gain     GFLOP/s   machine  share")
    with torch.inference_mode():
        for name in options.networks:
            for batch in options.batches if "stylegan2" in name else [1]:
                print(row(name, batch, options.repeats), flush=True)


if __name__ == "__main__":
    main()
