"""The token that clients are asked for, as the environment of the server gives it."""

from __future__ import annotations

import os
import re

TOKEN_VARIABLE = "LANDMARKS_TOKEN"  # noqa: S105 - the name of a variable
# What stands in a header as it is: no blank, no letter that clients spell in different bytes.
_SENDABLE = re.compile(r"[!-~]+")


def configured_token() -> str:
    """Token of the environment, empty where none is set.

    Raises ValueError when it is blank or no client could send it. The message does not hold it.
    """
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return ""
    token = given.strip()
    if not token:
        # Left open, the server would answer everyone, which is not what was meant.
        raise ValueError(f"{TOKEN_VARIABLE} is set but blank; give it a token, or unset it")
    if not _SENDABLE.fullmatch(token):
        raise ValueError(
            f"{TOKEN_VARIABLE} holds a blank or a character outside of printable ASCII, which no"
            " client can send; give it ASCII letters, digits and signs alone"
        )
    return token
