"""`python -m benchmarks.servers.idle_mlflow MODEL PORT`: what MLflow's server takes by itself.

Serves a copy of the champion that repeats its first answer. Requests, signature and answers are the
same; nothing is decoded or recognised.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from landmark_ml.inference import mlflow_model
from landmark_ml.tracking.read_runs import fetch_model
from landmark_ml.tracking.run import connect

_REPEAT = """
_answer = LandmarkModel.predict


def _repeat(self, context, model_input, params=None):
    if not hasattr(self, "first"):
        self.first = _answer(self, context, model_input, params)
    return self.first


LandmarkModel.predict = _repeat
"""


def main(model: str, port: str) -> None:
    """Serve until SIGTERM, then remove the copy."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    connect()
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_model(model, Path(scratch)).folder
        with (folder / Path(mlflow_model.__file__).name).open("a", encoding="utf-8") as code:
            code.write(_REPEAT)
        serve = f"models serve --env-manager local -h 127.0.0.1 -p {port} -m".split()
        subprocess.run([sys.executable, "-m", "mlflow", *serve, folder], check=True)  # noqa: S603


if __name__ == "__main__":
    main(*sys.argv[1:])
