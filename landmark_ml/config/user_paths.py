"""Paths that a user gives as text."""

from __future__ import annotations

from pathlib import Path


def user_path(text: str) -> Path:
    """Path that a text means, `~` being a home folder.

    Raises ValueError for the home of a user whom this machine does not know.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{text}: {error}; write the folder out, or ./{text} for one of this name"
        ) from None
