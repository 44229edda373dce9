"""`mlflow run . -e app`: a page and an HTTP API that answer for photos with the champion."""

from __future__ import annotations

import contextlib

from experiments import cli
from landmark_ml.config import AppConfig


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    config = cli.parse(AppConfig(), __doc__ or "")

    from landmark_ml.tracking.run import connect
    from serving.app import serve

    def say_where(address: str) -> None:
        print(f"\nthe page   {address}\nthe API    {address}/docs\nCtrl-C ends it", flush=True)

    connect()
    # Ending on a signal is success: a supervisor must not count it as a failure.
    with contextlib.suppress(KeyboardInterrupt):
        serve(config, say_where)


if __name__ == "__main__":
    cli.run(main)
