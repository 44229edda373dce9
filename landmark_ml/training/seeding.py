"""One seed for every generator that training draws from, and their state to go on from."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from landmark_ml.training.processes import Processes


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """State of all generators, on every device, as tensors and plain values for a checkpoint."""
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
    """Go on drawing where `random_state` was taken."""
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
    """Go on drawing as the first process does, but for dropout: there each draws on its own.

    Mixup and CutMix draw from numpy, and all parts of a batch are mixed alike.
    """
    restore_random_state(processes.share(random_state()))
    if processes.rank:
        torch.manual_seed(torch.initial_seed() + processes.rank)
