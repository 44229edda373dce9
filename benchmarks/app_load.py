"""`python -m benchmarks.app_load`: how many photos a second the web app answers, and how soon.

Starts the app on a free port of this machine with two copies of a model in a registry of its own,
and asks it with 1, 8 and 32 clients in turn. Before and after each, the bare network answers four
of the photos, decoded beforehand, again and again with the same cores. The clients take time from
the app, and others may share the machine, so the processor time that each spends on a photo stands
beside the rates. One request in twenty is garbage. In a last load, by 8 clients, the other copy
becomes the champion; reading it takes processor time of its own, so that load stands apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import numpy as np
import psutil
from tqdm.auto import tqdm

from benchmarks.servers.running import Running, start
from benchmarks.tables import arguments, table, tell
from experiments.cli import run
from landmark_ml.inference.predictor import Predictor
from landmark_ml.registry.register import log_model

CLIENTS = (1, 8, 32)
CLIENTS_AT_PROMOTION = 8
MOST_PHOTOS = 200
BATCH = 4
GARBAGE = 0.05
_NAME = "load"


@dataclass(frozen=True)
class Speed:
    """Photos a second, and seconds of processor time a photo."""

    rate: float
    cpu: float


@dataclass
class Load:
    """What some clients saw: seconds of each valid request, and what went wrong."""

    clients: int
    seconds: list[float] = field(default_factory=list)
    garbage: int = 0
    failures: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    elapsed: float = 0.0
    cpu: float = 0.0

    @property
    def speed(self) -> Speed:
        """Of the valid photos; the garbage costs time too."""
        return Speed(len(self.seconds) / self.elapsed, self.cpu / len(self.seconds))


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, judged once the clock stands still."""

    garbage: bool
    seconds: float
    body: bytes


def keep_asking(
    send: Callable[[bytes], bytes], photos: Sequence[bytes], seed: int, end: float
) -> Iterator[Exchange]:
    """Send photos, and now and then as much noise, until a time. Raises what `send` does."""
    chance = random.Random(seed)  # noqa: S311 - which photo comes next is no secret
    while time.monotonic() < end:
        sent, bad = chance.choice(photos), chance.random() < GARBAGE
        if bad:
            sent = chance.randbytes(len(sent))
        started = time.perf_counter()
        answer = send(sent)
        yield Exchange(bad, time.perf_counter() - started, answer)


def promote(version: str) -> None:
    """Make a version the champion."""
    mlflow.MlflowClient().set_registered_model_alias(_NAME, "champion", version)


@contextlib.contextmanager
def started_app(folder: Path, artifact: Path, example: bytes) -> Iterator[Running]:
    """An app that answers with an artifact registered twice; ended at the end."""
    os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment(_NAME, str(folder / "artifacts"))
    mlflow.set_experiment(_NAME)
    with mlflow.start_run():
        logged = log_model(artifact, example, {})
    for _ in range(2):
        mlflow.register_model(f"models:/{logged.model_id}", _NAME)
    promote("1")
    with contextlib.ExitStack() as ends:
        yield start("our app", _NAME, ends)


def run_load(app: Running, photos: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Ask with `clients` clients for `seconds` seconds."""
    load, exchanges = Load(clients), list[Exchange]()
    process = psutil.Process(app.pid)
    started, spent = time.monotonic(), sum(process.cpu_times()[:2])

    def ask(seed: int) -> None:
        exchanges.extend(keep_asking(app.send, photos, seed, started + seconds))

    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask, seed) for seed in range(clients)]
    load.elapsed, load.cpu = time.monotonic() - started, sum(process.cpu_times()[:2]) - spent
    load.failures += [repr(future.exception()) for future in asked if future.exception()]
    for exchange in exchanges:
        judge(exchange, load)
    return load


def judge(exchange: Exchange, load: Load) -> None:
    """Note an answer, and whether it is what it should be."""
    found = json.loads(exchange.body)
    if bool(found["photos"][0]["error"]) != exchange.garbage:
        load.failures.append(f"garbage {exchange.garbage}, answer {exchange.body[:100]!r}")
    elif exchange.garbage:
        load.garbage += 1
    else:
        load.seconds.append(exchange.seconds)
        load.versions.add(found["model"]["version"])


def bare_speed(predictor: Predictor, photos: Sequence[bytes], seconds: float) -> Speed:
    """Of the network alone, on pixels, in batches, a thread a core."""
    pixels = np.stack([predictor.metadata.preprocessing.read(photo) for photo in photos[:BATCH]])
    cores = os.cpu_count() or 1
    end = time.monotonic() + seconds

    def keep_running(_: int) -> int:
        count = 0
        while time.monotonic() < end:
            predictor.batch_runtime.run(pixels)
            count += BATCH
        return count

    started, spent = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(cores) as pool:
        done = sum(pool.map(keep_running, range(cores)))
    return Speed(done / (time.monotonic() - started), (time.process_time() - spent) / done)


def report(loads: Sequence[Load], bare: Sequence[Speed]) -> str:
    """A row for each number of clients; bare: speed of the network alone around each."""
    header = ("clients", "photos/s", "of bare", "CPU ms", "of bare", "p50 ms", "p99 ms")
    rows = []
    for load, alone in zip(loads, bare, strict=True):
        p50, p99 = np.percentile(load.seconds, (50, 99)) * 1000
        rate, cpu = load.speed.rate, load.speed.cpu
        cells = f"{rate:.1f}", f"{rate / alone.rate:.0%}"
        costs = f"{cpu * 1000:.2f}", f"{alone.cpu / cpu:.0%}"
        counts = f"{load.garbage}", f"{len(load.failures)}"
        rows.append([f"{load.clients}", *cells, *costs, f"{p50:.1f}", f"{p99:.1f}", *counts])
    return table([*header, "garbage", "failed"], rows)


def failures_of(loads: Sequence[Load], during: Load) -> list[str]:
    """What must not be: valid requests that failed, a promotion that no client saw."""
    found = [failure for load in [*loads, during] for failure in load.failures]
    if len(during.versions) == 1:
        found.append(f"no promotion was seen, only versions {sorted(during.versions)} answered")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Load the app and print what it did; ends with status 1 when a valid request failed."""
    parser = arguments("app_load", __doc__)
    parser.add_argument("--model", default="models:/landmarks@champion", help="(%(default)s)")
    parser.add_argument("--photos", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--every", type=int, default=3, help="take every Nth photo")
    parser.add_argument("--seconds", type=float, default=15, help="of each load (%(default)s)")
    options = parser.parse_args(argv)
    paths = sorted(options.photos.rglob("*.jpg"))[:: options.every][:MOST_PHOTOS]
    if not paths:
        raise ValueError(f"no photos in {options.photos}; name a folder with --photos")
    photos = [path.read_bytes() for path in paths]
    with tempfile.TemporaryDirectory(prefix="app-load-") as scratch:
        model = mlflow.artifacts.download_artifacts(options.model, dst_path=scratch)
        (metadata,) = Path(model).rglob("metadata.json")
        with started_app(Path(scratch), metadata.parent, photos[0]) as app:
            loads, bare = _beside_bare(app, Predictor.load(metadata.parent), photos, options)
            promotion = threading.Timer(options.seconds / 3, promote, ["2"])
            promotion.start()
            during = run_load(app, photos, CLIENTS_AT_PROMOTION, 2 * options.seconds)
            promotion.join()
    rates = ", ".join(f"{speed.rate:.1f}" for speed in bare)
    size = sum(map(len, photos)) / len(photos) / 1000
    shown = f"{len(photos)} photos of {size:.0f} KB; bare network {rates} photos/s"
    seen = (
        f"promotion under {during.clients} clients: {len(during.seconds)} photos answered by"
        f" versions {' and '.join(map(str, sorted(during.versions)))}, {during.garbage} garbage,"
        f" {len(during.failures)} failed, slowest {max(during.seconds) * 1000:.0f} ms"
    )
    failures = failures_of(loads, during)
    tell(
        options.out,
        f"{shown}\n\n{report(loads, bare)}\n\n{seen}",
        ("openvino", "mlflow", "uvicorn"),
        rates=[load.speed.rate for load in loads],
        bare=[speed.rate for speed in bare],
        failures=failures,
    )
    if failures:
        sys.exit("\n".join(f"failed: {failure}" for failure in failures[:5]))


def _beside_bare(
    app: Running, predictor: Predictor, photos: Sequence[bytes], options: argparse.Namespace
) -> tuple[list[Load], list[Speed]]:
    """Load of each number of clients, and the bare network just before and after it."""
    loads, bare = [], []
    run_load(app, photos, 2, options.seconds / 3)
    for clients in tqdm(CLIENTS, desc="loads"):
        before = bare_speed(predictor, photos, options.seconds / 3)
        loads.append(run_load(app, photos, clients, options.seconds))
        after = bare_speed(predictor, photos, options.seconds / 3)
        bare.append(Speed((before.rate + after.rate) / 2, (before.cpu + after.cpu) / 2))
    return loads, bare


if __name__ == "__main__":
    run(main)
