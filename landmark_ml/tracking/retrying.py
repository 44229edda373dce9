"""Calls of a registry that others keep busy."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES = 12
_LONGEST_PAUSE_SECONDS = 2.0

Answer = TypeVar("Answer")


def patiently(call: Callable[[], Answer]) -> Answer:
    """Call again, a few times, while others keep the registry from answering."""
    pause = 0.02
    for tries_left in range(_TRIES, 0, -1):
        try:
            return call()
        except MlflowException as error:
            busy = error.error_code == "TEMPORARILY_UNAVAILABLE" or "Giving up" in str(error)
            if not busy or tries_left == 1:
                raise
        # Writers that met once must not meet again at the same moment.
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - no secret
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable")
