"""Where training computes, in which precision and memory layout, and from which random numbers."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.training.distributed import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

Module = TypeVar("Module", bound="nn.Module")


@dataclass(frozen=True)
class Compute:
    """A device, its precision, and the processes that train the same network.

    bf16: convolutions run in bfloat16; weights stay float32.
    """

    device: torch.device
    bf16: bool
    processes: Processes = ALONE

    def autocast(self) -> AbstractContextManager[object]:
        """Context in which a forward pass uses the chosen precision."""
        if not self.bf16:
            return _full_precision()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @property
    def exact(self) -> Compute:
        """The same in float32, as models are served."""
        return replace(self, bf16=False)

    def place(self, module: Module) -> Module:
        """Module on the device, its convolution weights laid out channels last."""
        return module.to(device=self.device).to(memory_format=torch.channels_last)

    def send(self, tensor: Tensor) -> Tensor:
        """Batch on the device; images channels last, as the weights are."""
        if tensor.ndim == 4:
            return tensor.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return tensor.to(self.device, non_blocking=True)


def choose_compute(device: str = "auto", threads: int = 0, processes: Processes = ALONE) -> Compute:
    """Best device of this machine, or the requested one; of several GPUs the one of this process.

    threads: CPU threads of torch, 0 leaves them. Raises ValueError when the device is not there or
    cannot train in several processes.
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
    own = f"cuda:{processes.local_rank}" if chosen == "cuda" else chosen
    return Compute(torch.device(own), bf16_pays(chosen), processes)


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 convolutions without TF32, with which cuDNN keeps 10 bits of the mantissa."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


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
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


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
