"""`landmarks app`: a page and an HTTP API that answer for photos with the champion."""

import contextlib

from landmark_ml.config import AppConfig
from landmark_ml.tracking.run import connect
from serving.app import serve


def main(config: AppConfig) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    connect()
    said = "\nthe page   {0}\nthe API    {0}/docs\nCtrl-C ends it"
    # Ending on a signal is success: a supervisor must not count it as a failure.
    with contextlib.suppress(KeyboardInterrupt):
        serve(config, lambda address: print(said.format(address), flush=True))
