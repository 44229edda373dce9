"""`python -m benchmarks.before --tree <folder> -- -m experiments transfer --data=<folder>`.

Runs one command of Python by this code and by the code in another folder, in turn, and prints how
long each takes. Every run gets an empty folder to work in, with a database and a cache of its own,
so nothing is there that an earlier one computed, and paths in the command must be absolute. Get the
other code with `git worktree add <folder> <commit>`. A module that it does not have is taken from
an installed project instead: name only modules that both have.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.tables import arguments, table, tell

_HERE = Path(__file__).resolve().parents[1]


def seconds(tree: Path, command: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run by the code in a folder.

    Raises RuntimeError with the end of what it said when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(tree),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }
        used, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(  # noqa: S603 - the command that was typed
            [sys.executable, *command],
            check=False,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wall = time.perf_counter() - started
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{tree}: exit status {done.returncode}\n{done.stdout[-3000:]}")
        sys.stderr.write(f"{tree.name}: {wall:.1f} s, load {os.getloadavg()[0]:.1f}\n")
        return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = arguments("before", __doc__)
    parser.add_argument("--tree", type=Path, required=True, help="folder of the other code")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("command", nargs="+", help="what Python gets, after --")
    options = parser.parse_args(argv)
    trees = {"before": options.tree.resolve(), "now": _HERE}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
    for _ in range(options.rounds):
        for name, tree in trees.items():
            runs[name].append(seconds(tree, options.command))
    found = {
        name: [median(values) for values in zip(*each, strict=True)] for name, each in runs.items()
    }
    ratios = [now / before for before, now in zip(*found.values(), strict=True)]
    rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in found.items()]
    rows.append(["now / before", *(f"{ratio:.2f}" for ratio in ratios)])
    shown, packages = table(["", "wall s", "CPU s"], rows), ("torch", "openvino")
    tell(options.out, shown, packages, command=options.command, runs=runs)


if __name__ == "__main__":
    main()
