"""File names that are no UTF-8, in letters."""

from __future__ import annotations


def spelled(text: str) -> str:
    """Text that a table, a log and a terminal take, whatever file names stand in it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
