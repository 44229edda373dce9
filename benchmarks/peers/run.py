"""`python -m benchmarks.peers.run PEER --data …`: one peer in a process of its own."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.contract import BACKBONES, Stopwatch, Task

PEERS = {
    "landmark-ml": "landmark_ml_run",
    "plain loop": "plain_loop",
    "fastai": "fastai_learner",
    "transformers": "huggingface_trainer",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Train one peer; its points go to standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run", description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", choices=BACKBONES, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    options = parser.parse_args(argv)
    task = Task(options.data.resolve(), options.recipe, options.epochs, options.minutes)
    peer = importlib.import_module(f"benchmarks.peers.{PEERS[options.peer]}")
    peer.train(task, Stopwatch(options.peer, options.minutes))


if __name__ == "__main__":
    main()
