"""Where the arithmetic runs, and in which precision and memory layout it is fastest there."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import torch

from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

Module = TypeVar("Module", bound="nn.Module")


@dataclass(frozen=True)
class Compute:
    """A device, whether its convolutions run in bfloat16 (weights stay float32), and beside whom.

    processes: those that train the same network, this one alone by default.
    """

    device: torch.device
    bf16: bool
    processes: Processes = ALONE

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which the forward pass uses the chosen precision."""
        if not self.bf16:
            return _full_precision()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def exact(self) -> Compute:
        """The same in float32 throughout, as models are served."""
        return replace(self, bf16=False)

    def place(self, module: Module) -> Module:
        """Module on the device, its convolution weights laid out channels last."""
        return module.to(device=self.device).to(memory_format=torch.channels_last)

    def send(self, tensor: Tensor) -> Tensor:
        """Batch on the device; pictures channels last, as the weights are."""
        if tensor.ndim == 4:
            return tensor.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return tensor.to(self.device, non_blocking=True)


def choose_compute(device: str = "auto", threads: int = 0, processes: Processes = ALONE) -> Compute:
    """Best device of this machine, or the one asked for; of several GPUs that of this process.

    Raises ValueError when the asked-for device is not there, or takes no more than one process.
    """
    if threads:
        torch.set_num_threads(threads)
    elif processes.count > 1:
        # torchrun gives each process one thread, also the one that decodes for all of a host.
        torch.set_num_threads(max(torch.get_num_threads(), _cores_each()))
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
    own = f"cuda:{processes.local_rank}" if chosen == "cuda" else chosen
    return Compute(torch.device(own), bf16_pays(chosen), processes)


def _cores_each() -> int:
    """Cores of this host for each of its processes."""
    return usable_cpus() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Convolutions of float32 in float32: cuDNN cuts it to 10 bits where a GPU has TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread for a while: for steps too small to be shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bf16_pays(device: str) -> bool:
    """Whether a kind of device (cpu, cuda, mps) computes faster in bfloat16 than in float32."""
    if device == "cuda":
        # Before compute capability 8 it is emulated, which is slower than float32.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    # Measured on convolutions that train: 1.3 to 1.9 times as fast as float32 with AVX-512's own
    # bfloat16 instructions, more with tiles (AMX); 2 to 3 times slower where neither is there.
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
