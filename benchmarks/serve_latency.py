"""`python -m benchmarks.serve_latency`: how long the served model takes to answer for one photo.

Sends a full-size photo again and again over one connection to a running `mlflow models serve`, and
between any two requests does the same work in this process, bare: decode, resize, network. Both
see the same machine at the same moment, so their ratio holds even where others share the machine.
Given several addresses, as of servers of another commit, it asks them in turn.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from tqdm.auto import tqdm

from benchmarks.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from landmark_ml.inference.predictor import Predictor

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Latencies:
    """Seconds of each repetition: over HTTP by address, and bare in this process."""

    served: dict[str, list[float]]
    bare: list[float]

    def table(self) -> str:
        """Percentiles in milliseconds, and how many times bare the median of a server is."""
        percents = [f"p{share} ms" for share in PERCENTILES]
        rows = []
        for name, seconds in {**self.served, "bare": self.bare}.items():
            values = np.percentile(seconds, PERCENTILES) * 1000
            times = np.median(seconds) / np.median(self.bare)
            rows.append([name, *(f"{value:.2f}" for value in values), f"{times:.2f}"])
        return table(["", *percents, "times bare"], rows)


class Client:
    """One kept connection to a scoring server."""

    def __init__(self, url: str, photo: bytes) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.netloc, timeout=60)
        encoded = base64.b64encode(photo).decode("ascii")
        self._body = json.dumps({"inputs": [encoded]}).encode()

    def ask(self) -> None:
        """Send the photo and read the whole answer; raises ValueError when it is no prediction."""
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/invocations", self._body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200 or json.loads(answer)["predictions"][0]["error"]:
            raise ValueError(f"status {response.status}, no prediction: {answer[:300]!r}")


def measure(
    clients: Mapping[str, Client], predictor: Predictor, photo: bytes, requests: int, warmup: int
) -> Latencies:
    """Time requests and the bare work in turn, after a warm-up that is not counted."""
    found = Latencies({url: [] for url in clients}, [])
    for turn in tqdm(range(warmup + requests), desc="requests", delay=1):
        for url, client in clients.items():
            served, bare = _seconds(client.ask), _seconds(lambda: _answer_bare(predictor, photo))
            if turn >= warmup:
                found.served[url].append(served)
                found.bare.append(bare)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a running server; 1 when it does not answer."""
    options = _parser().parse_args(argv)
    try:
        photo = options.photo.read_bytes()
    except OSError as error:
        sys.stderr.write(f"error: --photo {options.photo}: {error.strerror}; name a photo\n")
        return 1
    try:
        model = mlflow.pyfunc.load_model(options.model).unwrap_python_model()
    except MlflowException as error:
        sys.stderr.write(f"error: {options.model}: {error}; name a model with --model\n")
        return 1
    clients = {url: Client(url, photo) for url in options.url}
    try:
        found = measure(clients, model.predictor, photo, options.requests, options.warmup)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(
            f"error: {', '.join(options.url)}: {error}; start the server with: make serve\n"
        )
        return 1
    title = f"{options.photo.name}, {len(photo):,} bytes, {options.requests} requests"
    sys.stdout.write(f"{title}\n{found.table()}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_latency", description=__doc__)
    parser.add_argument(
        "--url", nargs="+", default=["http://127.0.0.1:5001"], help="default: %(default)s"
    )
    parser.add_argument("--photo", type=Path, required=True, help="what is asked about")
    parser.add_argument(
        "--model", default="models:/landmarks@champion", help="for the bare work (%(default)s)"
    )
    parser.add_argument("--requests", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--warmup", type=int, default=10, help="default: %(default)s")
    return parser


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _answer_bare(predictor: Predictor, photo: bytes) -> None:
    pixels = predictor.metadata.preprocessing.read(photo)
    predictor.runtime.run(pixels[np.newaxis])


if __name__ == "__main__":
    sys.exit(main())
