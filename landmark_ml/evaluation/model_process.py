"""A logged model in a process of its own: it answers with the code it was logged with.

`open_served` runs this file as a script, which answers the photos that come through a pipe, so that
the model's memory is its own. The file must import nothing of this project: that would hide the
model's copy of the same code.

A request is a line of JSON, `{"sizes": [bytes of each photo], "params": {...}}`, then the bytes of
the photos. The reply is a line of JSON: `answers` or `failure`, and `peak_mb` of memory so far. A
first line has the `warnings` that the model logged while it was loaded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from logging.handlers import QueueHandler
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd

logger = logging.getLogger(__name__)

_BYTES_IN_MAXRSS = 1 if sys.platform == "darwin" else 1024
_LAST_LINES = 5


class ServedProcess:
    """A model as `mlflow models serve` loads it, asked through pipes; opened by `open_served`.

    peak_mb: largest resident memory of the process so far, in 10^6 bytes; loaded_mb: that after
    loading.
    """

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        self._process = process
        # Popen types its pipes as optional; `open_served` always asks for them.
        self._requests = cast("IO[bytes]", process.stdin)
        self._replies = cast("IO[bytes]", process.stdout)
        self._errors = errors
        self.peak_mb = 0.0
        for warning in self._read()["warnings"]:
            logger.warning("%s", warning)
        self.loaded_mb = self.peak_mb

    def predict(self, data: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answers of the model, one a row.

        Raises ValueError when the model fails or its process ends.
        """
        photos = [bytes(photo) for photo in data["image"]]
        header = json.dumps({"sizes": [len(photo) for photo in photos], "params": params or {}})
        # If the process has ended, `_read` says why.
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(header.encode() + b"\n" + b"".join(photos))
            self._requests.flush()
        return pd.DataFrame(self._read()["answers"], dtype=object)

    def _read(self) -> dict[str, Any]:
        line = self._replies.readline()
        if not line:
            self._process.wait()
            said = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ValueError(
                f"the process of the model ended with status {self._process.returncode}:"
                f" {' / '.join(said[-_LAST_LINES:])}; load it with mlflow.pyfunc.load_model to see"
                " why"
            )
        reply: dict[str, Any] = json.loads(line)
        self.peak_mb = float(reply["peak_mb"])
        if "failure" in reply:
            raise ValueError(f"the model failed: {reply['failure']}")
        return reply


@contextlib.contextmanager
def open_served(
    folder: Path, scratch: Path, threads: int = 0, *, allow_pickle: bool = True
) -> Iterator[ServedProcess]:
    """Start the model of a folder (with `MLmodel`), and end its process with the block.

    scratch: an existing folder; what the process prints goes into a file there. threads: cores that
    the model keeps busy, if it has such a setting; 0: all. Raises ValueError when the model cannot
    be loaded.
    """
    errors = scratch / "served_process.log"
    # -P keeps this project's folders off the path of the process.
    command = [sys.executable, "-P", __file__, str(folder), str(threads)]
    hidden = ("PYTHONPATH", "MLFLOW_RUN_ID")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if not allow_pickle:
        environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    with errors.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=scratch,
            env=environment,
        )
    try:
        yield ServedProcess(process, errors)
    finally:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                cast("IO[bytes]", pipe).close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answer_requests(model: str, threads: int) -> None:
    """Answer until the parent closes the pipe; threads: cores to use, 0: as the model chooses."""
    # Only the process of the model needs these.

    import mlflow.pyfunc  # noqa: PLC0415

    # What a library prints must not get between the replies, so it goes to stderr.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def reply(**content: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_IN_MAXRSS / 1e6
        replies.write(json.dumps({**content, "peak_mb": peak}) + "\n")
        replies.flush()

    # A model logged without a configuration warns when it is given one.
    settings = {"threads": threads} if threads else None
    # Such as that it answers in another precision than it was tested in.
    said: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.getLogger("landmark_ml").addHandler(QueueHandler(said))
    loaded = mlflow.pyfunc.load_model(model, model_config=settings)
    reply(warnings=[said.get().getMessage() for _ in range(said.qsize())])
    while header := sys.stdin.buffer.readline():
        request = json.loads(header)
        photos = [sys.stdin.buffer.read(size) for size in request["sizes"]]
        try:
            answers = loaded.predict(pd.DataFrame({"image": photos}), params=request["params"])
            reply(answers=answers.to_dict(orient="records"))
        except Exception as error:
            # The parent raises it.
            reply(failure=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    answer_requests(sys.argv[1], int(sys.argv[2]))
