"""Run as a script: load a served model and answer the photos a parent process sends.

In a process of its own a model answers with the code it was logged with, and its memory is its own.
This script must import nothing of this project: it would hide the model's copy of the same code.

A request is a line of JSON, `{"sizes": [bytes of each photo], "params": {...}}`, then the bytes of
the photos. The reply is a line of JSON: `answers` or `failure`, and `peak_mb` of memory so far.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import IO, Any

import mlflow.pyfunc
import pandas as pd

_BYTES_IN_MAXRSS = 1 if sys.platform == "darwin" else 1024


def main(model: str, threads: int) -> None:
    """Answer until the parent closes the pipe; threads: cores to use, 0: as the model chooses."""
    # What a library prints must not get between the replies, so it goes to stderr.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A model logged without a configuration warns when it is given one.
    settings = {"threads": threads} if threads else None
    loaded = mlflow.pyfunc.load_model(model, model_config=settings)
    _reply(replies, answers=[])
    while header := sys.stdin.buffer.readline():
        request = json.loads(header)
        photos = [sys.stdin.buffer.read(size) for size in request["sizes"]]
        try:
            answers = loaded.predict(pd.DataFrame({"image": photos}), params=request["params"])
            _reply(replies, answers=answers.to_dict(orient="records"))
        except Exception as error:
            # The parent raises it.
            _reply(replies, failure=f"{type(error).__name__}: {error}")


def _reply(replies: IO[str], **content: Any) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_IN_MAXRSS / 1e6
    replies.write(json.dumps({**content, "peak_mb": peak}) + "\n")
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
