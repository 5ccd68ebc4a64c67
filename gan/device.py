"""Where tensors live, in which number format, on how many threads: decided here, and only here.

A process or a run chooses a `Device` once, applies it once, and stores it; a resumed run uses the
stored one, so that it goes on with the same arithmetic.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gan import system
from gan.errors import LabError

KINDS = ("cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
MOST_THREADS = 1024
_WORTH_IT = 1.2  # bfloat16 costs precision: on a CPU it has to be at least this much faster


@dataclass(frozen=True)
class Device:
    """A checked choice. `dtype` is the format inside `autocast`; weights and sums stay float32."""

    kind: str
    dtype: str
    threads: int

    @property
    def torch(self) -> torch.device:
        return torch.device(self.kind)

    def describe(self) -> dict[str, Any]:
        """Plain JSON to store with a run: the choice, and what it ran on."""
        return {
            "kind": self.kind,
            "dtype": self.dtype,
            "threads": self.threads,
            "hardware": _hardware(self.kind),
            "torch": torch.__version__,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Device":
        """The device of `describe()`. LabError where this machine does not have it."""
        return choose(stored["kind"], stored["dtype"], stored["threads"])


def choose(
    kind: str = "auto", dtype: str = "auto", threads: int | None = None, background: bool = False
) -> Device:
    """The best device here, or the one asked for; LabError where it is unknown or absent.

    "auto" takes cuda, then mps, then cpu. `background` work leaves one core to the person in
    front. Choosing bfloat16 on a CPU costs one micro-benchmark (see `bfloat16_speedup`).
    """
    kind = _choose_kind(kind)
    threads = _choose_threads(threads, background)
    return Device(kind, _choose_dtype(dtype, kind), threads)


def apply(device: Device, fixed_shapes: bool = False) -> None:
    """Sets this process up for `device`. Call it once, before the threads that draw are started.

    `fixed_shapes` (training) lets cuDNN search for its fastest kernels, which pays only where the
    same shapes come again and again. In float32 nothing is rounded; in the other formats what
    stays outside autocast may use TF32.
    """
    torch.set_num_threads(device.threads)
    if device.kind == "cuda":
        torch.backends.cudnn.benchmark = fixed_shapes
        _set_cuda_precision("ieee" if device.dtype == "float32" else "tf32")


@contextlib.contextmanager
def autocast(device: Device) -> Iterator[None]:
    """Inside, convolutions and matrix products run in `device.dtype`; float32 switches it off."""
    reduced = device.dtype != "float32"
    dtype = getattr(torch, device.dtype) if reduced else None
    with torch.autocast(device.kind, dtype=dtype, enabled=reduced):
        yield


@contextlib.contextmanager
def exact(device: Device) -> Iterator[None]:
    """Inside, everything is float32 without TF32, and cuDNN's algorithms are deterministic.

    Thread-safe on a CPU. On cuda these switches belong to the process: draw from one thread.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.autocast(device.kind, enabled=False))
        if device.kind == "cuda":
            stack.enter_context(_exact_cuda())
        yield


def bfloat16_speedup(repeats: int = 7) -> float:
    """How many times faster this CPU convolves in bfloat16 than in float32, as autocast does it.

    The best of `repeats` on one thread: 1.79 … 1.96 over 20 measurements on a busy two-core AVX-512
    machine, where medians on two threads scattered between 0.5 and 2.8. Takes about 40 ms.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        image, weight = _example_convolution()
        _seconds(image, weight, reduced=False)  # the first calls build the kernels
        if _seconds(image, weight, reduced=True) > 0.25:  # emulated: don't wait for more of it
            return 0.0
        full = [_seconds(image, weight, reduced=False) for _ in range(repeats)]
        reduced = [_seconds(image, weight, reduced=True) for _ in range(repeats)]
        return min(full) / min(reduced)
    finally:
        torch.set_num_threads(before)


def _choose_kind(kind: str) -> str:
    usable = [known for known in ("cuda", "mps", "cpu") if _is_usable(known)]
    if kind == "auto":
        return usable[0]
    if kind not in KINDS:
        raise LabError("no_such_device", kind=kind, known=", ".join(("auto", *KINDS)))
    if kind not in usable:
        raise LabError("device_absent", kind=kind, usable=", ".join(usable))
    return kind


def _is_usable(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def _choose_threads(threads: int | None, background: bool) -> int:
    if threads is None:
        wanted = os.environ.get("OMP_NUM_THREADS", "")  # the host's word, where there is one
        cores = int(wanted) if wanted.isdecimal() and int(wanted) > 0 else system.usable_cores()
        return max(1, cores - 1) if background and not wanted else cores
    if not 1 <= threads <= MOST_THREADS:
        raise LabError("bad_threads", value=threads, most=MOST_THREADS)
    return threads


def _choose_dtype(dtype: str, kind: str) -> str:
    if dtype != "auto":
        if dtype not in DTYPES:
            raise LabError("bad_number_format", value=dtype, known=", ".join(("auto", *DTYPES)))
        return dtype
    if kind == "cuda":  # float16 would need loss scaling: only where it is asked for
        return "bfloat16" if torch.cuda.is_bf16_supported(False) else "float32"
    if kind == "cpu" and bfloat16_speedup() >= _WORTH_IT:
        return "bfloat16"
    return "float32"


def _set_cuda_precision(precision: str) -> None:
    cudnn: Any = torch.backends.cudnn  # torch's type stubs don't know its parts
    torch.backends.cuda.matmul.fp32_precision = precision
    cudnn.conv.fp32_precision = precision


@contextlib.contextmanager
def _exact_cuda() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.benchmark, cudnn.deterministic
    _set_cuda_precision("ieee")
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        _set_cuda_precision(before[0])
        cudnn.benchmark, cudnn.deterministic = before[1:]


def _example_convolution() -> tuple[torch.Tensor, torch.Tensor]:
    """A middle layer of a small generator: 0.3 GFLOP, a few milliseconds on two cores."""
    image = torch.ones(4, 128, 16, 16).to(memory_format=torch.channels_last)
    weight = torch.ones(128, 128, 3, 3).to(memory_format=torch.channels_last)
    return image, weight


def _seconds(image: torch.Tensor, weight: torch.Tensor, reduced: bool) -> float:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=reduced):
        start = time.perf_counter()
        torch.nn.functional.conv2d(image, weight, padding=1)
        return time.perf_counter() - start


def _hardware(kind: str) -> str:
    return torch.cuda.get_device_name() if kind == "cuda" else system.processor_name()
