"""Threads that decode and recognise photos, for tests of how many there are."""

from __future__ import annotations

import threading


def predicting() -> set[threading.Thread]:
    """Those that are alive now, of all predictors of this process."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("predict")}
