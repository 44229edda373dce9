"""`python -m benchmarks.training --data <folder>`: minutes and accuracy beside what others pick.

Each peer learns the same photos from the same weights on the same cores, in a process of its own,
one after the other and round by round. A peer's clock does not run while it judges itself on the
test photos; ours runs until the model is logged. Needs `pip install -e '.[bench]'`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tqdm.auto import tqdm

from benchmarks.peers.contract import BACKBONES, Point
from benchmarks.peers.run import PEERS
from benchmarks.tables import arguments, table, tell
from experiments.cli import run

PACKAGES = ("torch", "timm", "openvino", "fastai", "transformers")
Curves = dict[str, list[list[Point]]]
"""Points of every round of every peer."""


def run_peer(peer: str, options: argparse.Namespace) -> list[Point]:
    """Points that a peer printed; raises ValueError with its last words when it failed."""
    command = [sys.executable, "-m", "benchmarks.peers.run", peer, "--data", str(options.data)]
    command += ["--recipe", options.recipe, "--epochs", str(options.epochs)]
    command += ["--minutes", str(max(options.minutes))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ValueError(f"{peer} failed:\n{done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"peer"')]
    return [Point(**json.loads(line)) for line in lines]


def seconds_to(curves: Sequence[Sequence[Point]], top1: float) -> float | None:
    """Median over the rounds of the seconds until a top-1; None unless all rounds got there."""
    firsts = [[point.seconds for point in curve if point.top1 >= top1] for curve in curves]
    return median(min(found) for found in firsts) if all(firsts) else None


def top1_at(curves: Sequence[Sequence[Point]], minutes: float) -> float | None:
    """Median over the rounds of the best top-1 known by then; None when a round had none yet."""
    known = [[p.top1 for p in curve if p.seconds <= 60 * minutes] for curve in curves]
    return median(max(found) for found in known) if all(known) else None


def report(curves: Curves, minutes: Sequence[float], goal: float) -> str:
    """Table of all peers: time to the goal, its ratio to ours, top-1 at equal minutes.

    photos/s counts the photos learned from over all seconds, those from a cache included.
    """
    ours = seconds_to(curves.get("landmark-ml", []), goal) if curves.get("landmark-ml") else None
    rows = []
    for peer, rounds in curves.items():
        needed = seconds_to(rounds, goal)
        ratio = f"{needed / ours:.1f}" if needed and ours else "-"
        known = [top1_at(rounds, minute) for minute in minutes]
        reached = f"{needed:.0f}" if needed else "not reached"
        shown = [f"{value:.3f}" if value is not None else "-" for value in known]
        speed = median(curve[-1].photos / curve[-1].seconds for curve in rounds)
        rows.append([peer, reached, ratio, *shown, f"{speed:.0f}"])
    times = [f"at {minute:g} min" for minute in minutes]
    header = ["", f"s to top-1 {goal:.2f}", "times ours", *times, "photos/s"]
    return table(header, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run all rounds and print the table."""
    parser = arguments("training", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of train/ and test/")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--recipe", choices=BACKBONES, default="transfer")
    parser.add_argument("--epochs", type=int, default=5, help="of a schedule on pixels")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 3, 10, 30])
    parser.add_argument("--goal", type=float, default=0.90)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args(argv)
    curves: Curves = defaultdict(list)
    turns = [peer for _ in range(options.repeats) for peer in options.peers]
    for peer in tqdm(turns, desc="peers"):
        curves[peer].append(run_peer(peer, options))
    tell(
        options.out,
        report(curves, options.minutes, options.goal),
        PACKAGES,
        recipe=options.recipe,
        data=options.data.name,
        points={p: [[vars(q) for q in c] for c in cs] for p, cs in curves.items()},
    )


if __name__ == "__main__":
    run(main)
