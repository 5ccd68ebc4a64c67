"""How many pictures a second the bundled networks draw, and how near that is to the machine's best.

    python benchmarks/synthesis.py [--models avatars digits] [--threads 1 2] [--seconds 1]

For each network, number format, batch and number of threads: *prepared* is what draws previews,
*network* the generator as it is trained and as it draws exact pictures, *plain* the same network
written straight from the paper (`plain.py`: a copy of the weights for each sample, grouped
convolutions). *share* is the prepared network's convolutions a second over those of one large 3×3
convolution (128 channels, 64 px, a batch of 8), measured in the same run, same format and threads.

Each figure is the best of several rounds, taken in turn: a busy machine disturbs all alike.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.plain import plain_synthesis
from gan import device as devices
from gan.generators.prepared import prepare
from gan.generators.stylegan2 import StyleGAN2, StyleGAN2Config, Synthesis
from gan.loading import list_models, load_generator

ROUNDS = 4
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCHES = (1, 8, 32)


def operations(config: StyleGAN2Config) -> float:
    """Floating-point operations (2 a multiply-add) of one picture's modulated convolutions."""
    total, c = 0, config.channels
    for r in config.block_resolutions:
        total += 9 * c(r) ** 2 * r**2 + c(r) * config.img_channels * r**2
        if r > 4:  # a transposed convolution of stride 2 reads each of its inputs nine times
            total += 9 * c(r // 2) * c(r) * (r // 2) ** 2
    return 2.0 * total


def convolution(dtype: torch.dtype) -> tuple[Callable[[], Any], float]:
    """→ one large convolution, and its floating-point operations."""
    x = torch.randn(8, 128, 64, 64).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    return (
        lambda: torch.nn.functional.conv2d(x, weight, padding=1),
        2.0 * 9 * 128**2 * 64**2 * 8,
    )


def contenders(generator: StyleGAN2, dtype: torch.dtype, batch: int) -> dict[str, Callable]:
    """Name → a call that draws `batch` pictures."""
    ws = torch.randn(batch, generator.num_ws, generator.w_dim)
    prepared = prepare(generator, dtype)
    reduced = StyleGAN2(generator.config).requires_grad_(False)
    reduced.load_state_dict(generator.state_dict())
    reduced.to(dtype)
    assert isinstance(generator.synthesis, Synthesis)
    network = generator.synthesis

    def as_trained() -> None:
        network.dtype = dtype
        network(ws)

    return {
        "prepared": lambda: prepared(ws),
        "network": as_trained,
        "plain": lambda: plain_synthesis(reduced, ws.to(dtype)),
    }


def best_seconds(calls: dict[str, Callable], seconds: float) -> dict[str, float]:
    """The shortest time of each call, over rounds in which they take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()  # builds its kernels
    for _ in range(ROUNDS):
        for name, call in calls.items():
            end = time.perf_counter() + seconds / ROUNDS
            while (start := time.perf_counter()) < end:
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def row(generator: StyleGAN2, name: str, threads: int, batch: int, seconds: float) -> str:
    torch.set_num_threads(threads)
    reference, its_operations = convolution(FORMATS[name])
    calls = contenders(generator, FORMATS[name], batch) | {"convolution": reference}
    best = best_seconds(calls, seconds)
    machine = its_operations / best.pop("convolution")
    share = operations(generator.config) * batch / best["prepared"] / machine
    rates = "".join(f"{batch / best[each]:10.0f}" for each in best)
    return (
        f"{name:9} {threads:7} {batch:5} {rates}"
        f"{1000 * best['prepared'] / batch:12.2f}{machine / 1e9:12.0f}{100 * share:7.0f} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures a second of the bundled networks.")
    parser.add_argument("--models", nargs="*", default=[info.name for info in list_models()])
    cores = devices.choose().threads
    parser.add_argument("--threads", nargs="*", type=int, default=sorted({1, cores}))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    for name in options.models:
        generator = load_generator(name)
        assert isinstance(generator, StyleGAN2)
        giga = operations(generator.config) / 2e9
        print(f"\n{name}: {generator.resolution} px, {giga:.2f} giga multiply-adds a picture")
        print(
            "format    threads batch   prepared   network     plain"
            "  ms/picture  conv GFLOP/s  share"
        )
        with torch.inference_mode():
            threads_and_batches: list[tuple[int, int]] = [
                (threads, batch) for threads in options.threads for batch in BATCHES
            ]
            for form, (threads, batch) in itertools.product(FORMATS, threads_and_batches):
                print(row(generator, form, threads, batch, options.seconds), flush=True)


if __name__ == "__main__":
    main()
