"""`python -m benchmarks.serving --photos <folder>`: one photo and many, from server to server.

Starts every server on 127.0.0.1, asks them in turn, round by round, one client first and then
eight, and does the bare work in this process beside it. Needs `pip install -e '.[bench]'`
and a champion. All servers stay up, so an idle one is asked while the others sleep. What is sent is
encoded beforehand: the clients share the cores with the servers.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
from tqdm.auto import tqdm

from benchmarks.servers.running import SERVERS, Running, start
from benchmarks.tables import arguments, table, tell
from experiments.cli import run
from landmark_ml.inference.predictor import Predictor
from landmark_ml.inference.runtime import Runtime
from serving.champion import Champion

BARE = "decode and network alone"
CLIENTS = (1, 8)
PACKAGES = ("mlflow", "openvino", "torch", "fastapi", "uvicorn", "litserve")


@dataclass(frozen=True)
class Peer:
    """A server: photos in the form it takes, and by number of clients the call that sends one."""

    bodies: Sequence[bytes]
    asks: dict[int, Callable[[bytes], object]]


Findings = dict[tuple[str, int], list[list[float]]]
"""Of each round the seconds of every request, then of all: by server and number of clients."""


def rows_of(found: Findings) -> Iterator[list[str]]:
    """p50 and p99 of one client, times bare, then photos/s and p99 of eight."""

    def milliseconds(name: str, clients: int, share: int) -> float:
        rounds = [seconds[:-1] for seconds in found[name, clients]]
        return 1000 * float(np.percentile(rounds, share))

    for name in dict.fromkeys(name for name, _ in found):
        p50, most = milliseconds(name, 1, 50), CLIENTS[-1]
        rate = median((len(seconds) - 1) / seconds[-1] for seconds in found[name, most])
        cells = p50, milliseconds(name, 1, 99), p50 / milliseconds(BARE, 1, 50), rate
        shown = map("{:.{}f}".format, cells, (1, 1, 2, 1))
        yield [name, *shown, f"{milliseconds(name, most, 99):.0f}"]


def measure(peers: dict[str, Peer], requests: int, rounds: int) -> Findings:
    """Ask all servers in turn, after a round that is not counted."""
    findings: Findings = defaultdict(list)
    turns = [
        (turn, name, clients) for turn in range(rounds + 1) for clients in CLIENTS for name in peers
    ]
    for turn, name, clients in tqdm(turns, desc="rounds"):
        asked = list(islice(cycle(peers[name].bodies), requests))
        started = time.perf_counter()
        seconds = _ask_all(peers[name].asks[clients], asked, clients)
        if turn:
            findings[name, clients].append([*seconds, time.perf_counter() - started])
    return findings


def encoded_for(running: Running, photos: Sequence[bytes]) -> Peer:
    """A server, and photos as it wants them sent."""
    bodies = [running.server.body(photo) for photo in photos]
    return Peer(bodies, dict.fromkeys(CLIENTS, running.send))


def bare_work(predictor: Predictor, photos: Sequence[bytes]) -> Peer:
    """Decoding and network without a server, with the predictor's faster runtime for each."""

    def alone(runtime: Runtime, photo: bytes) -> None:
        runtime.run(predictor.metadata.preprocessing.read(photo)[np.newaxis])

    # All cores on one photo answer it soonest; a photo a core answers the most photos.
    runtimes = zip(CLIENTS, (predictor.runtime, predictor.batch_runtime), strict=True)
    return Peer(photos, {clients: partial(alone, runtime) for clients, runtime in runtimes})


def main(argv: Sequence[str] | None = None) -> None:
    """Start, ask, print the table. Raises ValueError without photos and when a server fails."""
    parser = arguments("serving", __doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--model", default="landmarks", help="registered model with a champion")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--requests", type=int, default=60, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    photos = [path.read_bytes() for path in sorted(options.photos.glob("*.jpg"))]
    if not photos:
        raise ValueError(f"no .jpg file in {options.photos}; name another with --photos")
    with ExitStack() as running:
        champion = running.enter_context(Champion(options.model))
        servers = {name: start(name, options.model, running) for name in options.servers}
        peers = {name: encoded_for(server, photos) for name, server in servers.items()}
        peers[BARE] = bare_work(champion.current.predictor, photos)
        rows = list(rows_of(measure(peers, options.requests, options.rounds)))
    header = ["", "p50 ms", "p99 ms", "times alone", "photos/s, 8 clients", "p99 ms, 8 clients"]
    tell(options.out, table(header, rows), PACKAGES, header=header, rows=rows)


def _ask_all(ask: Callable[[bytes], object], bodies: Sequence[bytes], clients: int) -> list[float]:
    def timed(body: bytes) -> float:
        started = time.perf_counter()
        ask(body)
        return time.perf_counter() - started

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(timed, bodies))


if __name__ == "__main__":
    run(main)
