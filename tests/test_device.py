"""gan.device: what is chosen where; cuda as far as a machine without one can tell."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gan import device
from gan.device import Device, choose
from gan.errors import LabError


@pytest.fixture
def no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: pytest.fail("measured needlessly"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has an Ampere card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Pretend")


@pytest.fixture
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(("speedup", "dtype"), [(1.19, "float32"), (1.2, "bfloat16")])
def test_a_cpu_takes_bfloat16_only_where_it_pays(
    only_cpu: None, monkeypatch: pytest.MonkeyPatch, speedup: float, dtype: str
) -> None:
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: speedup)
    assert choose(threads=3) == Device("cpu", dtype, 3)


def test_speedup_is_measured_and_leaves_the_threads_alone() -> None:
    before = torch.get_num_threads()
    assert 0 <= device.bfloat16_speedup(repeats=1) < 20
    assert torch.get_num_threads() == before


def test_speedup_gives_up_early_where_bfloat16_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []

    def slow_when_reduced(_image: object, _weight: object, reduced: bool) -> float:
        calls.append(reduced)
        return 3.0 if reduced else 0.01

    monkeypatch.setattr(device, "_seconds", slow_when_reduced)
    assert device.bfloat16_speedup() == 0
    assert calls == [False, True]


def test_threads_follow_the_cores_and_the_host(
    only_cpu: None, no_benchmark: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device.system, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choose(dtype="float32").threads == 8
    assert choose(dtype="float32", background=True).threads == 7
    monkeypatch.setattr(device.system, "usable_cores", lambda: 1)
    assert choose(dtype="float32", background=True).threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose(dtype="float32", background=True).threads == 3
    assert choose(dtype="float32", threads=5).threads == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert choose(dtype="float32").threads == 1


def test_auto_prefers_cuda_then_mps(
    cuda: None, no_benchmark: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose(threads=1) == Device("cuda", "bfloat16", 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    assert choose(threads=1).dtype == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose(threads=1) == Device("mps", "float32", 1)


@pytest.mark.parametrize(
    ("arguments", "code", "value"),
    [
        ({"kind": "tpu"}, "no_such_device", "tpu"),
        ({"kind": "cuda"}, "device_absent", "cuda"),
        ({"kind": "mps"}, "device_absent", "mps"),
        ({"dtype": "int4"}, "bad_number_format", "int4"),
        ({"threads": 0}, "bad_threads", 0),
        ({"threads": 1025}, "bad_threads", 1025),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    only_cpu: None, no_benchmark: None, arguments: dict, code: str, value: object
) -> None:
    with pytest.raises(LabError) as refused:
        choose(**arguments)
    assert refused.value.code == code
    assert value in refused.value.values.values()
    assert str(value) in str(refused.value)


def test_a_stored_device_comes_back_without_a_benchmark(only_cpu: None, no_benchmark: None) -> None:
    chosen = Device("cpu", "bfloat16", 3)
    stored = json.loads(json.dumps(chosen.describe()))
    assert Device.from_json(stored) == chosen
    assert stored["hardware"]
    assert stored["torch"] == torch.__version__


def test_a_run_stored_on_cuda_is_refused_without_one(only_cpu: None) -> None:
    with pytest.raises(LabError, match="cuda"):
        Device.from_json({"kind": "cuda", "dtype": "float32", "threads": 1})


def test_describe_names_the_card(cuda: None) -> None:
    assert Device("cuda", "bfloat16", 1).describe()["hardware"] == "NVIDIA Pretend"


def test_apply_sets_the_threads() -> None:
    before = torch.get_num_threads()
    try:
        device.apply(Device("cpu", "float32", 1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def product() -> torch.Tensor:
    return torch.nn.functional.conv2d(torch.ones(1, 4, 8, 8), torch.ones(4, 4, 3, 3))


def test_autocast_follows_the_dtype_and_exact_overrules_it() -> None:
    reduced, full = Device("cpu", "bfloat16", 1), Device("cpu", "float32", 1)
    with device.autocast(reduced):
        assert product().dtype == torch.bfloat16
        with device.exact(reduced):
            assert product().dtype == torch.float32
        with device.autocast(full):
            assert product().dtype == torch.float32
    assert product().dtype == torch.float32


def switches() -> tuple[Any, Any, bool, bool]:
    backends = torch.backends
    return (
        backends.cuda.matmul.fp32_precision,
        vars(backends)["cudnn"].conv.fp32_precision,
        backends.cudnn.benchmark,
        backends.cudnn.deterministic,
    )


@pytest.fixture
def restored_switches() -> Iterator[None]:
    matmul, conv, benchmark, deterministic = switches()
    yield
    torch.backends.cuda.matmul.fp32_precision = matmul
    vars(torch.backends)["cudnn"].conv.fp32_precision = conv
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = deterministic


@pytest.mark.parametrize(("dtype", "precision"), [("float32", "ieee"), ("bfloat16", "tf32")])
def test_cuda_rounds_to_tf32_only_where_a_reduced_format_was_chosen(
    cuda: None, restored_switches: None, dtype: str, precision: str
) -> None:
    threads = torch.get_num_threads()
    device.apply(Device("cuda", dtype, threads), fixed_shapes=True)
    assert switches() == (precision, precision, True, False)


def test_exact_on_cuda_is_full_precision_and_comes_back(
    cuda: None, restored_switches: None
) -> None:
    chosen = Device("cuda", "bfloat16", torch.get_num_threads())
    device.apply(chosen, fixed_shapes=True)
    before = switches()
    with device._exact_cuda():
        assert switches() == ("ieee", "ieee", False, True)
    assert switches() == before
