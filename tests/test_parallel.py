"""Several processes train as one does, and go on after one of them was killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gan.control import Order
from gan.device import Device
from gan.errors import LabError
from gan.generators.stylegan2 import StyleGAN2Config
from gan.runs import Run, RunDirectory
from gan.training import checkpoint
from gan.training.config import TrainConfig
from gan.training.data import load_dataset
from gan.training.loop import Trainer
from gan.training.parallel import Group, joined

CONFIG = TrainConfig(data="digits-tiny", images=10**6, batch=32, loss="relativistic")
STEPS = 12
ENOUGH = 12_800  # images, that take longer than it takes to kill a process


def torchrun(*arguments: str, restarts: int = 0) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("--max-restarts", str(restarts), *arguments),
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


def said_by_the_first(*arguments: str) -> Any:
    """What the first of two processes prints last; where one fails, what they complained of."""
    command = torchrun(*arguments)
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_alone_everything_stays_as_it_is():
    with joined() as group:
        assert (group.rank, group.size, group.leads) == (0, 1, True)
        numbers = {"loss": torch.ones([])}
        assert group.average(torch.nn.Linear(1, 1), numbers) is numbers
        group.order(1)
        group.wait()


def test_every_sample_belongs_to_one_process_and_groups_stay_whole():
    rows = [Group(rank, 2).rows(16) for rank in range(2)]
    assert sorted(np.concatenate(rows).tolist()) == list(range(16))
    # The minibatch statistic's groups are i, i + n/4, i + n/2, i + 3n/4.
    for own in rows:
        whole = own.reshape(4, -1)
        assert (np.diff(whole, axis=0) == 4).all()


def test_each_process_gets_its_rows_of_the_same_random_numbers():
    whole = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    for rank in range(2):
        group, rng = Group(rank, 2), torch.Generator().manual_seed(1)
        with group.share():
            own = torch.randn(8, 3, generator=rng)
            assert torch.randint(0, 9, (8,), generator=rng).shape == (8,)
            assert torch.rand(8, generator=rng).shape == (8,)
            assert torch.rand(5).shape == (5,), "without a generator, nobody else draws it"
        assert torch.equal(own, whole[group.rows(16)])


def test_a_batch_that_cannot_be_shared_is_refused():
    Group(0, 2).check(32)
    Group().check(5)
    with pytest.raises(LabError, match="20"):
        Group(0, 2).check(20)


def losses(steps: int = STEPS, group: Group | None = None) -> list[dict[str, float]]:
    torch.set_num_threads(1)
    device, dataset = Device("cpu", "float32", 1), load_dataset("digits-tiny")
    trainer = Trainer(CONFIG, dataset=dataset, device=device, evaluate=False, group=group)
    steps_taken = (trainer.step() for _ in range(steps))
    return [{name: float(value) for name, value in step.items()} for step in steps_taken]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path):
    """Each with half of the batch: so the batch is twice a process's own."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import json, sys
            from gan.training.parallel import END, joined
            from tests.test_parallel import losses
            with joined() as group:
                assert group.size == 2
                found = losses(group=group)
                if group.leads:
                    print(json.dumps(found), flush=True)
                else:
                    assert group.receive()[0] == END
            """
        )
    )
    together = said_by_the_first(str(program))
    alone = losses()
    assert len(together) == len(alone) == STEPS
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("loss_g", "loss_d", "grad_norm_d"):
            assert ours[name] == pytest.approx(theirs[name], rel=2e-3, abs=2e-4), name


SMALL = StyleGAN2Config(32, z_dim=8, w_dim=8, img_channels=1, channel_base=128, channel_max=8)
GROWING = TrainConfig(
    "digits", STEPS * 8, batch=8, classes=False, generator=SMALL, grow=((16, 0.5), (32, 1.0))
)
CHANGED_AT, LONGER = 8, 24  # steps: the finer half has begun, and would be left again


def steered(folder: Path, group: Group | None = None) -> tuple[Any, list[Any]]:
    """A run of one, or as the first of several, whose budget is changed between two steps. → its
    schedule, and what it measured: [images seen, resolution, losses]."""
    torch.set_num_threads(1)
    device, dataset = Device("cpu", "float32", 1), load_dataset("digits")
    options = {"dataset": dataset, "evaluate": False}
    run = Run(folder, GROWING, device, group=group, **options)
    if group is not None:
        group.wait()  # the run is there
    changes = {CHANGED_AT: (2 * LONGER * 8, LONGER * 8)}  # two, of which the last holds
    seen = []
    step = run.trainer.step

    def pulse() -> bool:
        for images in changes.pop(run.trainer.steps, ()):
            run._change(Order(1, 0, images=images))
        return False

    def stepped() -> Any:
        numbers = step()
        resolution = run.trainer.config.resolution_at(run.trainer.images_seen - 1)
        losses = {name: float(numbers[name]) for name in ("loss_g", "loss_d", "grad_norm_d")}
        seen.append([run.trainer.images_seen, resolution, losses])
        return numbers

    run.asked_to_stop, run.trainer.step = pulse, stepped
    for _ in run.reports():
        pass
    return run.trainer.config.grow, seen


@pytest.mark.slow
def test_a_new_budget_is_every_processes_at_the_same_step(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import json, sys
            from pathlib import Path
            from gan.runs import RunDirectory
            from gan.training.loop import Trainer
            from gan.training.parallel import joined
            from tests.test_parallel import Device, load_dataset, steered
            folder = Path(sys.argv[1])
            with joined() as group:
                if group.leads:
                    print(json.dumps(steered(folder, group)), flush=True)
                else:
                    group.wait()
                    config, device = RunDirectory(folder).read_config()
                    dataset, device = load_dataset("digits"), Device.from_json(device)
                    ours = Trainer(config, dataset=dataset, device=device, group=group)
                    ours.follow()
                    Path(sys.argv[2]).write_text(json.dumps([ours.config.grow, ours.images_seen]))
            """
        )
    )
    places = [str(tmp_path / "together"), str(tmp_path / "other.json")]
    grow, together = said_by_the_first(str(program), *places)
    expected, alone = steered(tmp_path / "alone")
    assert grow == [list(stage) for stage in expected]
    assert json.loads((tmp_path / "other.json").read_text()) == [grow, LONGER * 8]
    sizes = [size for _, size, _ in alone]
    assert sizes == [16] * 6 + [32] * (LONGER - 6), "what is behind stays behind"
    assert [each[:2] for each in together] == [each[:2] for each in alone]
    for (*_, ours), (*_, theirs) in zip(together[:STEPS], alone[:STEPS], strict=True):
        assert ours == pytest.approx(theirs, rel=5e-3, abs=5e-4)


@pytest.mark.slow
def test_a_killed_process_is_replaced_and_the_run_goes_on(tmp_path):
    out = tmp_path / "r"
    options = ["-m", "gan", "train", "--data", "digits-tiny", "--out", str(out), "--quiet"]
    options += ["--device", "cpu", "--dtype", "float32", "--images"]
    subprocess.run([sys.executable, *options, "640"], env=environment(), check=True)
    stored = json.loads((out / "config.json").read_text())
    stored["training"]["checkpoint_images"] = 640
    (out / "config.json").write_text(json.dumps(stored))
    directory = RunDirectory(out)

    def newest() -> int:
        return int(checkpoint.every(directory.checkpoints)[-1].stem)

    command = torchrun(*options, str(ENOUGH), restarts=1)
    launcher = subprocess.Popen(command, env=environment(), start_new_session=True)
    try:
        wait_for(lambda: newest() > 640)
        saved, first = newest(), pid_of(directory)
        (other,) = (pid for pid in children(launcher.pid) if pid != first)
        os.kill(other, signal.SIGKILL)
        wait_for(lambda: pid_of(directory) != first)
        wait_for(lambda: (directory.status() or {}).get("images_seen") is not None)
        assert (directory.status() or {})["images_seen"] >= saved, "not from the beginning"
        assert launcher.wait(600) == 0
        status = directory.status() or {}
        assert (status["state"], status["images_seen"]) == ("finished", ENOUGH)
        images = [line["images_seen"] for line in directory.metrics()]
        assert images == sorted(set(images)), "only the first process writes"
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()


def pid_of(directory: RunDirectory) -> int:
    return (directory.status() or {})["pid"]


def wait_for(true, seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in found.split()]
