"""Links to runs, looked up beside the requests: the tracking server may be slow, or away."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
"""Pause after a look-up that found nothing."""


class RunLinks:
    """Links by the id of a run; find: looks one up, None when it cannot, however long it takes."""

    def __init__(
        self, find: Callable[[str], str | None], again_seconds: float = AGAIN_SECONDS
    ) -> None:
        self._find = find
        self._again_seconds = again_seconds
        self._links: dict[str, str] = {}
        self._not_before: dict[str, float] = {}

    def get(self, run_id: str) -> str | None:
        """The link, None as long as it is not found; never waits. For one thread alone."""
        if run_id not in self._links and time.monotonic() >= self._not_before.get(run_id, 0.0):
            self._not_before[run_id] = math.inf
            # A thread that MLflow keeps for minutes must not keep the process as well.
            threading.Thread(
                target=self._look_up, args=(run_id,), name="run-link", daemon=True
            ).start()
        return self._links.get(run_id)

    def _look_up(self, run_id: str) -> None:
        link = None
        try:
            link = self._find(run_id)
        # Whatever went wrong, it is to be tried again.
        except Exception:
            logger.warning("no link to run %s", run_id, exc_info=True)
        if link is not None:
            self._links[run_id] = link
        self._not_before[run_id] = time.monotonic() + self._again_seconds
