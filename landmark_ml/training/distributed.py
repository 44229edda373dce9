"""Several processes that train one network: what they share, average and check together.

torchrun starts them, one a GPU or one a core. In a single process every method returns its input,
so the training loop reads the same. Plain torch.distributed: batches, precision and checkpoints are
ours, so Accelerate or Fabric would only wrap the model.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from timm.layers import convert_sync_batchnorm
from timm.utils import distribute_bn
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

Value = TypeVar("Value")

# The others wait while the first process draws or downloads photos and trains the head.
_TIMEOUT = timedelta(hours=2)


class ProcessLostError(ValueError):
    """Another process of the training has ended, so this one cannot go on."""


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is; local_rank counts those of this host alone."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the process that logs, saves and registers."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Network with the weights of the first process, whose gradients are averaged over all.

        On GPUs its batch norms are replaced in place by synchronised ones; PyTorch has none for
        CPUs, see `average_statistics`.
        """
        if self.count == 1:
            return model
        on_gpu = next(model.parameters()).device.type == "cuda"
        if on_gpu:
            convert_sync_batchnorm(model)
        with warnings.catch_warnings():
            # torch 2.15 gave the argument a second name, which older ones do not know.
            warnings.simplefilter("ignore", FutureWarning)
            return DistributedDataParallel(
                model, device_ids=[self.local_rank] if on_gpu else None, broadcast_buffers=False
            )

    def average_statistics(self, *models: nn.Module) -> None:
        """Average the running means and variances of batch norms over all processes."""
        if self.count > 1:
            for model in models:
                distribute_bn(model, self.count, reduce=True)

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.count

    def share(self, value: Value) -> Value:
        """The value of the first process, in every process."""
        if self.count == 1:
            return value
        held: list[Any] = [value if self.is_first else None]
        distributed.broadcast_object_list(held, src=0)
        shared: Value = held[0]
        return shared

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes by rank, in every process."""
        if self.count == 1:
            return [value]
        held: list[Any] = [None] * self.count
        distributed.all_gather_object(held, value)
        return held

    def gather_rows(self, rows: Tensor) -> Tensor:
        """All rows [N, …] in order; each process gives rows rank, rank + count and so on."""
        parts = self.gather(rows)
        every = torch.empty(sum(map(len, parts)), *rows.shape[1:], dtype=rows.dtype)
        for rank, part in enumerate(parts):
            every[rank :: self.count] = part
        return every

    def agree(self, value: str, meaning: str) -> None:
        """Raise ValueError when a value that must be the same everywhere differs."""
        found = self.gather(value)
        if len(set(found)) > 1:
            raise ValueError(
                f"the {meaning} differ between processes ({', '.join(found)}); start them with the"
                " same command, and on several hosts with the same photos and the same seed"
            )

    @contextlib.contextmanager
    def first_on_host(self) -> Iterator[None]:
        """Let the first process of each host fill the caches that the others then read."""
        if self.count > 1 and self.local_rank > 0:
            self.gather(None)
        yield
        if self.count > 1 and self.local_rank == 0:
            self.gather(None)


ALONE = Processes()


def started_by_torchrun() -> bool:
    """Whether torchrun has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextlib.contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Connect to the other processes that torchrun has started; ALONE without torchrun.

    device: as in `choose_compute`. Raises ValueError when this process finds no GPU of its own,
    ProcessLostError when another one ends before the work is done.
    """
    if not started_by_torchrun():
        yield ALONE
        return
    rank, count, local_rank = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    )
    backend = "gloo"
    if device in ("auto", "cuda") and torch.cuda.is_available():
        there = torch.cuda.device_count()
        if local_rank >= there:
            raise ValueError(
                f"process {local_rank} of this host finds no GPU of its own, there are {there};"
                f" start at most {there} processes, or give device=cpu"
            )
        torch.cuda.set_device(local_rank)
        # Objects go through the CPU, where a lost process is noticed at once.
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=_TIMEOUT)
    try:
        with report_lost_processes():
            yield Processes(rank, count, local_rank)
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def report_lost_processes() -> Iterator[None]:
    """Turn a broken connection to another process into a ProcessLostError."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or "onnection" in str(error)
        if not lost or not started_by_torchrun():
            raise
        raise ProcessLostError(
            "another process of this training has ended: its own message is above, or there is"
            " none when the system ended it (memory?); resume=auto goes on after the last epoch"
        ) from error
