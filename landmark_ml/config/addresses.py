"""Addresses among the values of a configuration, which MLflow records as they are."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# What stands before a port is no user name, and an @ may stand in a path after it.
_USER_AND_PASSWORD = re.compile(r"://[^/@\[]*:(?!\d*/)[^@]*@")
_SECRET_OPTION = re.compile(
    r"[?&][^=&]*(password|secret|token|signature)[^=&]*=|[?&]sig=", re.IGNORECASE
)


def refuse_password(name: str, address: str, instead: str) -> None:
    """Take no address that holds a password or another secret.

    instead: how the secret is given. Raises ValueError, which does not repeat the address.
    """
    if _USER_AND_PASSWORD.search(address) or _SECRET_OPTION.search(address):
        raise ValueError(
            f"{name} is an address that holds a password, which MLflow would record with the run;"
            f" leave it out and {instead}. `mlflow run -P {name}=…` has recorded it already:"
            " change a password that was given so"
        )


def without_user(address: str) -> str:
    """An address as anyone may see it: without the user and the password in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
