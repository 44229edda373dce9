"""Links from a version to the page of its run in the MLflow UI."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

import mlflow
from mlflow.tracking import MlflowClient

from landmark_ml.config import without_user

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` shows a tracking database that has no server."""
RETRY_SECONDS = 60.0
"""Pause after a look-up that failed."""


def run_link(run_id: str, ui: str = "") -> str:
    """Address of a run's page in the UI given, or else on the tracking server, without a password.

    Raises MlflowException when the tracking server does not know the run or does not answer.
    """
    tracking = mlflow.get_tracking_uri()
    base = ui or (tracking if tracking.startswith(("http://", "https://")) else LOCAL_UI)
    run = MlflowClient().get_run(run_id)
    return f"{without_user(base).rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run_id}"


class RunLinks:
    """Links by run id, looked up in the background: the tracking server may be slow or away.

    find: looks one up or raises, however long that takes.
    """

    def __init__(self, find: Callable[[str], str], retry_seconds: float = RETRY_SECONDS) -> None:
        self._find = find
        self._retry_seconds = retry_seconds
        self._links: dict[str, str] = {}
        self._not_before: dict[str, float] = {}

    def get(self, run_id: str) -> str | None:
        """The link, or None until it is found; never waits. Call it from one thread only."""
        if run_id not in self._links and time.monotonic() >= self._not_before.get(run_id, 0.0):
            self._not_before[run_id] = math.inf
            # A daemon, because MLflow may keep the thread for minutes after the app should end.
            threading.Thread(
                target=self._look_up, args=(run_id,), name="run-link", daemon=True
            ).start()
        return self._links.get(run_id)

    def _look_up(self, run_id: str) -> None:
        try:
            self._links[run_id] = self._find(run_id)
        # Whatever went wrong, it is tried again later.
        except Exception as error:
            logger.warning("no link to run %s: %r", run_id, error)
        self._not_before[run_id] = time.monotonic() + self._retry_seconds
