"""How every benchmark is called and tells its findings: a table to read, JSON to compare later."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def arguments(name: str, about: str | None) -> argparse.ArgumentParser:
    """Parser of `python -m benchmarks.<name>`; `--out` is where the findings go."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--out", type=Path, default=Path(f"build/benchmarks/{name}.json"))
    return parser


def in_turn(
    works: Mapping[str, Callable[[int], object]], rounds: int, title: str = "rounds"
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each work in each round, by the clock and of the CPU time of this process.

    Round 0 warms up and is not counted. Each work gets the number of its round.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for turn in tqdm(range(rounds + 1), desc=title):
        for name, work in works.items():
            started, cpu = time.perf_counter(), time.process_time()
            work(turn)
            spent = time.perf_counter() - started, time.process_time() - cpu
            if turn:
                found[name].append(spent)
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table; the first column is a name, the others are numbers."""
    align = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, align, *rows))


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Cores, processor and versions that a figure was measured with."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def tell(path: Path, text: str, packages: Sequence[str] = (), **findings: Any) -> None:
    """Print what was found, and write it with the machine and its load as JSON."""
    sys.stdout.write(f"{text}\n")
    facts = {"machine": machine(packages), "load": os.getloadavg()[0]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts | findings, indent=1) + "\n", encoding="utf-8")


def resident_peak_mb() -> float:
    """The most resident memory of this process so far, in 10^6 bytes.

    From Linux alone: what getrusage tells there is also that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        raise ValueError(f"{status} is not there: peak memory is measured on Linux alone")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
    if found is None:
        raise ValueError(f"{status} tells no VmHWM")
    return int(found[1]) * 1024 / 1e6


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Model and vector instructions, which decide more than the clock does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - Linux alone has it
            lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    except OSError:
        return platform.processor()
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    flags = facts.get("flags", "").split()
    widest = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_bf16") if name in flags]
    return f"{facts.get('model name', 'unknown')} ({', '.join(widest)})"
