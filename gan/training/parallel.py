"""Several processes, one training: `torchrun --nproc-per-node N -m gan train …`.

Every process holds both networks and computes an equal share of each batch; one sum over all of
them makes the gradients the whole batch's, so N processes train as one would. The first process
leads: it alone decides, measures and writes, and tells the others what to do next.

DistributedDataParallel is not used: it breaks on two forward passes before one backward pass, and
on gradients of gradients, which the penalties are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.overrides import TorchFunctionMode

from gan.errors import LabError

GROUP = 4  # samples that the discriminator's minibatch statistic compares stay together
END, STEP, RESTORE, CHANGE = range(4)  # what the first process may tell the others
PATIENCE = timedelta(days=30)  # a paused training is waited for; a dead process is noticed at once
_DRAWS = {torch.rand, torch.randn, torch.randint}


class Group:
    """The processes of one training; `Group()` is a single one, for which all of this is free."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def check(self, batch: int) -> None:
        """LabError unless the batch can be shared out in whole groups."""
        if self.size > 1 and batch % (GROUP * self.size):
            raise LabError("batch_not_shared", value=batch, processes=self.size, step=GROUP)

    def rows(self, count: int) -> np.ndarray:
        """Which of `count` samples are ours: int64 [count / size]. The statistic's groups, which
        are every (count / 4)-th sample, stay whole."""
        return np.arange(count).reshape(GROUP, self.size, -1)[:, self.rank].reshape(-1)

    def share(self) -> contextlib.AbstractContextManager[Any]:
        """Inside, random numbers are drawn for the whole batch, and our rows of them returned:
        so every process's generator stays where a single process's would be."""
        return contextlib.nullcontext() if self.size == 1 else _OwnRows(self)

    def average(self, network: nn.Module, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes gradients, and means that belong to them, those of the whole batch: flattened
        into one vector, one `all_reduce`."""
        if self.size == 1:
            return numbers
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        means = torch.stack([value.float() for value in numbers.values()])
        flat = torch.cat([*(grad.flatten() for grad in grads), means])
        dist.all_reduce(flat)
        *parts, means = flat.div_(self.size).split([*(g.numel() for g in grads), len(means)])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view_as(grad))
        return dict(zip(numbers, means.unbind(), strict=True))

    def order(self, command: int, text: str = "") -> None:
        """The first process tells the others what comes next, and what belongs to it."""
        if self.size > 1 and self.leads:
            content = torch.tensor(list(text.encode()), dtype=torch.uint8)
            dist.broadcast(torch.tensor([command, len(content)]), 0)
            if len(content):
                dist.broadcast(content, 0)

    def receive(self) -> tuple[int, str]:
        """The others wait for it. → the command and its text."""
        message = torch.zeros(2, dtype=torch.int64)
        dist.broadcast(message, 0)
        command, size = message.tolist()
        content = torch.zeros(size, dtype=torch.uint8)
        if size:
            dist.broadcast(content, 0)
        return command, bytes(content.tolist()).decode()

    def wait(self) -> None:
        """Goes on when all are here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))


class _OwnRows(TorchFunctionMode):
    """Numbers drawn from a generator are drawn for all processes; ours are returned."""

    def __init__(self, group: Group):
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _DRAWS or kwargs.get("generator") is None:
            return func(*args, **kwargs)
        bounds = args[:-1] if func is torch.randint else ()
        shape = args[len(bounds) :]
        count, *rest = shape[0] if isinstance(shape[0], tuple | list | torch.Size) else shape
        whole = func(*bounds, (count * self.group.size, *rest), **kwargs)
        return whole[torch.from_numpy(self.group.rows(len(whole)))]


@contextlib.contextmanager
def joined() -> Iterator[Group]:
    """The processes that torchrun started, while the block runs; a single one without it.

    Gradients on GPUs travel by NCCL, everything on the CPU by gloo. At the end the first process
    lets the others go.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Group()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://"))
    # Where torchrun restarts the processes they meet in the same store, which still holds the
    # addresses of the dead: whoever reads one there is refused, and that was the restart.
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:  # else counts may differ
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(attempt, store)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=size)
    group = Group(rank, size)
    try:
        yield group
        group.order(END)  # after an error, torchrun ends the others
    finally:
        dist.destroy_process_group()
