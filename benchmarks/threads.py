"""`python -m benchmarks.threads`: training steps a second, alone and beside busy processes.

The threads of OpenMP meet at a barrier many times a step. One that is early spins there, and where
another process holds a core it spins in the way of the thread it waits for. How long it spins is
decided by the environment before torch is imported, so each policy has a process of its own. They
take turns, round by round: the machine's own ups and downs meet all alike.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

import torch
from torch.nn import functional

from benchmarks.tables import arguments, table, tell
from experiments.recipes import scratch
from landmark_ml.networks.create import create_model
from landmark_ml.training.devices import choose_compute

POLICIES: dict[str, dict[str, str]] = {
    "libgomp's own": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=5000": {"GOMP_SPINCOUNT": "5000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Environment of each row; all cores unless it says otherwise."""
_SIDE, _BATCH = 64, 64
_SPINNING = "while True: pass"


def work(seconds: float) -> None:
    """Train the network of `scratch` for some seconds at each line read, and answer steps/s."""
    torch.manual_seed(0)
    compute, model = choose_compute("cpu"), create_model(scratch(), 50)
    compute.place(model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    photos = torch.randint(0, 256, (_BATCH, 3, _SIDE, _SIDE), dtype=torch.uint8)
    targets = torch.randint(0, 50, (_BATCH,))

    def steps(limit: float) -> float:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < limit:
            with compute.autocast():
                loss = functional.cross_entropy(model(compute.send(photos)).float(), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
        return done / (time.perf_counter() - started)

    steps(1)
    for _ in sys.stdin:
        sys.stdout.write(f"{steps(seconds)}\n")
        sys.stdout.flush()


def measure(busy: Sequence[int], seconds: float, rounds: int) -> dict[str, dict[int, float]]:
    """Median steps a second of each policy beside each number of busy processes."""
    workers: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, dict[int, list[float]]] = {
        name: {count: [] for count in busy} for name in POLICIES
    }
    clean = {key: value for key, value in os.environ.items() if "OMP_" not in key}
    with contextlib.ExitStack() as at_the_end:
        for name, settings in POLICIES.items():
            workers[name] = subprocess.Popen(  # noqa: S603 - this very file
                [sys.executable, "-m", "benchmarks.threads", "--work", f"--seconds={seconds}"],
                env=clean | settings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            at_the_end.callback(workers[name].kill)
        for count in [*busy] * rounds:
            with contextlib.ExitStack() as after_the_round:
                for _ in range(count):
                    other = subprocess.Popen([sys.executable, "-c", _SPINNING])  # noqa: S603 - ours
                    after_the_round.callback(other.kill)
                for name, worker in workers.items():
                    if worker.stdin and worker.stdout:
                        worker.stdin.write("\n")
                        worker.stdin.flush()
                        found[name][count].append(float(worker.stdout.readline()))
    return {name: {n: median(rates) for n, rates in row.items()} for name, row in found.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = arguments("threads", __doc__)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.work:
        work(options.seconds)
        return
    found = measure(options.busy, options.seconds, options.rounds)
    header = ["steps/s", *(f"beside {n} busy" if n else "alone" for n in options.busy)]
    rows = [[name, *(f"{rate:.2f}" for rate in row.values())] for name, row in found.items()]
    tell(options.out, table(header, rows), ("torch",), steps_per_second=found)


if __name__ == "__main__":
    main()
