"""Where training computes: device and precision, random numbers, and several processes."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from timm.layers import convert_sync_batchnorm
from timm.utils import distribute_bn
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from landmark_ml.inference.runtime import has_bf16, usable_cpus

Module = TypeVar("Module", bound="nn.Module")
Value = TypeVar("Value")


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

    def keeping_gradients(
        self, parallel: nn.Module, *, averaged: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Add gradients to those that a network has, averaged over all processes or not yet."""
        if averaged or self.count == 1:
            return contextlib.nullcontext()
        waiting: contextlib.AbstractContextManager[None] = parallel.no_sync()  # type: ignore[operator]
        return waiting

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
        held: list[Any] = self.gather(value if self.is_first else None)
        shared: Value = held[0]
        return shared

    def once_a_host(self, make: Callable[[], Value]) -> Value:
        """What the first process of each host makes; the others have that of the very first."""
        made = [make()] if self.local_rank == 0 else []
        shared = self.share(made)
        return (made or shared)[0]

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


@dataclass(frozen=True)
class Compute:
    """A device, its precision, and the processes that train the same network.

    bf16, fp16: convolutions run in bfloat16 or float16; weights stay float32.
    """

    device: torch.device
    bf16: bool
    processes: Processes = ALONE
    fp16: bool = False

    @property
    def precision(self) -> str:
        """`bf16`, `fp16` or `f32`."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "f32"

    @property
    def served_precision(self) -> str:
        """Precision of the exported network, which runs on CPUs."""
        return "bf16" if self.bf16 and has_bf16() else "f32"

    @property
    def of_heads(self) -> Compute:
        """Where heads learn from features: on the GPU or else the CPU, alone and in float32."""
        return Compute(self.device, bf16=False) if self.device.type == "cuda" else ON_CPU

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Let forward passes use the chosen precision."""
        if self.bf16 or self.fp16:
            dtype = torch.bfloat16 if self.bf16 else torch.float16
            with torch.autocast(self.device.type, dtype=dtype):
                yield
            return
        # Without TF32, with which cuDNN keeps 10 bits of the mantissa.
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before

    def place(self, module: Module) -> Module:
        """Module on the device, its convolution weights laid out channels last."""
        return module.to(device=self.device).to(memory_format=torch.channels_last)

    def pin(self, tensor: Tensor) -> Tensor:
        """Tensor in memory from which a GPU fetches it while it computes."""
        if self.device.type != "cuda" or not tensor.is_cpu:
            return tensor
        # A thread begins on the first GPU, whichever its process uses.
        with torch.cuda.device(self.device):
            return tensor.pin_memory()

    def send(self, tensor: Tensor) -> Tensor:
        """Batch on the device; images channels last, as the weights are."""
        if tensor.ndim == 4:
            return tensor.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return tensor.to(self.device, non_blocking=True)


ON_CPU = Compute(torch.device("cpu"), bf16=False)


def choose_compute(
    device: str = "auto",
    threads: int = 0,
    processes: Processes = ALONE,
    *,
    precision: str = "auto",
) -> Compute:
    """Best device of this machine, or the requested one; of several GPUs the one of this process.

    threads: CPU threads of torch, 0 leaves them. precision: as in TrainConfig. Raises ValueError
    when the device is not there, has not that precision or cannot train in several processes.
    """
    if threads:
        torch.set_num_threads(threads)
    elif processes.count > 1:
        # torchrun gives each process one thread, also the one that decodes for its host.
        cores_each = usable_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(max(torch.get_num_threads(), cores_each))
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    chosen = next(name for name in available if available[name]) if device == "auto" else device
    if not available.get(chosen, False):
        usable = ", ".join(name for name, usable in available.items() if usable)
        raise ValueError(f"device {device!r} is not available here; choose one of auto, {usable}")
    if chosen == "mps" and processes.count > 1:
        raise ValueError("device 'mps' takes one process; give device=cpu, or start one process")
    if precision == "bf16" and not bf16_pays(chosen):
        raise ValueError(
            f"precision is bf16, and the {chosen} of this machine has no bf16 instructions; give"
            " precision=f32, or auto, which takes bf16 where it pays"
        )
    if precision == "fp16" and chosen != "cuda":
        raise ValueError(
            f"precision is fp16, in which GPUs alone train, and the device is {chosen}; give"
            " precision=auto"
        )
    own = f"cuda:{processes.local_rank}" if chosen == "cuda" else chosen
    # Photos of a batch are of one size: the fastest algorithms are looked up once.
    torch.backends.cudnn.benchmark = chosen == "cuda"
    bf16 = precision in ("auto", "bf16") and bf16_pays(chosen)
    return Compute(torch.device(own), bf16, processes, fp16=precision == "fp16")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: for steps too small to divide."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bf16_pays(device: str) -> bool:
    """Whether a device type (cpu, cuda, mps) is faster in bfloat16 than in float32."""
    if device == "cuda":
        # Before compute capability 8 bfloat16 is emulated and slower than float32.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    # Measured on convolutions that train: 1.3 to 1.9 times as fast as float32 with AVX-512's own
    # bfloat16 instructions, more with tiles (AMX); 2 to 3 times slower where neither is there.
    # OpenVINO counts processors that only convert (AVX-NE-CONVERT), on which torch cannot train.
    capabilities = torch.cpu.get_capabilities()
    return has_bf16() and any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """State of all generators on all devices, as tensors and plain values for a checkpoint."""
    drawn = np.random.get_state(legacy=False)
    keys = torch.from_numpy(drawn["state"]["key"].astype(np.int64))
    on_apple = {"mps": torch.mps.get_rng_state()} if torch.backends.mps.is_available() else {}
    return on_apple | {
        "python": random.getstate(),
        "numpy": (keys, drawn["state"]["pos"], drawn["has_gauss"], drawn["gauss"]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put all generators back to a `random_state`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, *rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    # The run may go on where there are fewer devices, or none.
    for device, drawn in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
        torch.cuda.set_rng_state(drawn, device)
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def align_random_state(processes: Processes) -> None:
    """Take over the generators of the first process, but let each process drop out on its own.

    Mixup and CutMix draw from numpy, so all parts of a batch are mixed alike.
    """
    restore_random_state(processes.share(random_state()))
    if processes.rank:
        torch.manual_seed(torch.initial_seed() + processes.rank)


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
    # The others wait while the first process draws or downloads photos and trains the head.
    distributed.init_process_group(backend, timeout=timedelta(hours=2))
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
