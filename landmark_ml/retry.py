"""Try a call again after growing pauses: the one backoff of the project."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


def retry(
    call: Callable[[], T], is_temporary: Callable[[Exception], bool], pauses: Iterable[float]
) -> T:
    """Result of a call, tried once more after each pause as long as it fails temporarily.

    Raises what the call raises when that is not temporary, or when no pause is left.
    """
    for pause in pauses:
        try:
            return call()
        except Exception as error:
            if not is_temporary(error):
                raise
        time.sleep(pause)
    return call()


def backoff(
    first: float, longest: float, *, tries: int | None = None, seconds: float | None = None
) -> Iterator[float]:
    """Pauses in seconds that double from `first` to `longest`, give or take a half.

    The random part keeps callers that failed together from trying again together. It ends after
    `tries` calls, or once `seconds` have passed since the first; with neither it never ends.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    pause = first
    for _ in itertools.count() if tries is None else range(tries - 1):
        if deadline is not None and time.monotonic() > deadline:
            return
        yield pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        pause = min(2 * pause, longest)
