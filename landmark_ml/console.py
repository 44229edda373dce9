"""What a run says in a terminal: progress bars, counts and lists of names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

_DELAY_SECONDS = 2


class Bar(tqdm):  # type: ignore[type-arg]
    """Progress with the time left, of what takes over two seconds; in a file or a CI log, none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # None: only in a terminal.
        options = {"delay": _DELAY_SECONDS, "disable": None, "dynamic_ncols": True}
        super().__init__(*args, **options | kwargs)

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Show the bar again, but never before its delay has passed: it would stand at 0%."""
        if not self.disable and time.time() >= self.start_t + _DELAY_SECONDS:
            super().refresh(*args, **kwargs)


def counted(number: int, noun: str) -> str:
    """`1 photo`, `1,234 photos`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[object], most: int = 3, between: str = ", ") -> str:
    """The first names, and how many more there are: `a, b, c and 1 more`."""
    more = len(names) - most
    return between.join(map(str, names[:most])) + (f" and {more:,} more" if more > 0 else "")
