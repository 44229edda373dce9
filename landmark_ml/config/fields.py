"""What a field of a configuration is: a default with its help, unit, choices and allowed values.

A configuration is a frozen dataclass of such fields. The command line (`experiments/cli.py`),
`MLproject` and `docs/parameters.md` are all made from them.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

HISTORY_SUFFIX = ".history"
"""End of the name of the registered model that holds the alias history of another."""

# A port after the host is not a password, and an @ may stand in a path.
_USER_AND_PASSWORD = re.compile(r"://[^\s/@\[]*:(?!\d*/)\S*@")
_USER = re.compile(rf"{_USER_AND_PASSWORD.pattern}|://[^\s/]*@")
_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to
_SECRET_OPTION = re.compile(
    r"[?&][^=&]*(password|secret|token|signature)[^=&]*=|[?&]sig=", re.IGNORECASE
)


Check = Callable[[str, Any], None]
"""Takes a field's name and value; raises ValueError for a value that cannot be."""


def number(phrase: str, holds: Callable[[float], bool]) -> Check:
    """Check that a number is in a range, which the phrase describes."""

    def check(name: str, value: float) -> None:
        if not holds(value):
            raise ValueError(f"{name} is {value}; give a number {phrase}")

    return check


NOT_NEGATIVE = number("of 0 or more", lambda value: value >= 0)
POSITIVE = number("above 0", lambda value: value > 0)
UNIT = number("from 0 to 1", lambda value: 0 <= value <= 1)
BELOW_ONE = number("from 0 to below 1", lambda value: 0 <= value < 1)
PART = number("above 0 and at most 1", lambda value: 0 < value <= 1)
SHARE = number("above 0 and below 1", lambda value: 0 < value < 1)
CALIBRATED = number("from 0 to 1, or -1", lambda value: 0 <= value <= 1 or value == -1)
PORT = number("from 0 to 65535", lambda value: 0 <= value <= 65535)
SEED = number("from 0 to below 2**32", lambda value: 0 <= value < 2**32)  # what numpy takes


def option(
    default: Any,
    meaning: str,
    allowed: tuple[str, ...] | Check | None = None,
    *,
    unit: str = "",
    group: str = "",
    settable: bool = True,
) -> Any:
    """Declare a field of a configuration.

    allowed: choices, or a check; of numbers NOT_NEGATIVE where none is given. group: heading that
    the field stands under in `--help` and the docs. settable: False for what an entry point
    decides: it is recorded and has no flag.
    """
    choices, check = (allowed, None) if isinstance(allowed, tuple) else ((), allowed)
    if check is None and not isinstance(default, str):
        check = NOT_NEGATIVE
    metadata = {"help": meaning, "choices": choices, "check": check, "unit": unit}
    return field(default=default, metadata=metadata | {"group": group, "settable": settable})


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Base of all configurations: checks every value when it is set."""

    def __post_init__(self) -> None:
        for item in fields(self):
            name, value = item.name, getattr(self, item.name)
            choices, check = item.metadata["choices"], item.metadata["check"]
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; give a finite number")
            if choices and value not in choices:
                raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
            if check is not None:
                check(name, value)


def to_params(config: Configuration) -> dict[str, str]:
    """Every field as MLflow records it."""
    return {name: str(value) for name, value in asdict(config).items()}


def repeated(config: Configuration, defaults: Configuration) -> str:
    """What to add to a command for the same values: ` data=photos seed=1`, nothing for defaults."""
    values = [(item.name, getattr(config, item.name)) for item in fields(defaults)]
    changed = [(name, value) for name, value in values if value != getattr(defaults, name)]
    return "".join(f" {name}={shlex.quote(str(value))}" for name, value in changed)


def to_json(config: Configuration) -> str:
    """Whole configuration as JSON, logged beside the parameters."""
    return json.dumps(asdict(config), indent=2, sort_keys=True)


def no_password(instead: str) -> Check:
    """Check that refuses an address which holds a password or another secret.

    instead: how to give the secret. The error does not repeat the address.
    """

    def check(name: str, address: str) -> None:
        if _USER_AND_PASSWORD.search(address) or _SECRET_OPTION.search(address):
            raise ValueError(
                f"{name} is an address that holds a password, and MLflow would record it with the"
                f" run; leave it out and {instead}. `mlflow run -P {name}=…` has recorded it"
                " already: change a password that was given so"
            )

    return check


def at_most_1000_characters(name: str, text: str) -> None:
    """Check that a text fits into the alias history."""
    if len(text) > 1000:
        raise ValueError(f"{name} has {len(text)} characters; use 1000 or fewer")


def registrable(field_name: str, name: str) -> None:
    """Check before training that the registry will take a name for the trained model."""
    # MLflow allows no path in a name, and a quote would end the name in a search.
    found = [sign for sign in "/:'" if sign in name]
    if found:
        reason = f"and a name in the registry holds no {found[0]}"
    elif name.endswith(HISTORY_SUFFIX):
        reason = f"and {HISTORY_SUFFIX} ends the names of the histories of other models"
    elif name != name.strip() or name == "." or name.startswith(".."):
        reason = "which is a path or starts or ends with a space"
    else:
        return
    raise ValueError(f"{field_name} is {name!r}, {reason}; give a name such as landmarks")


def without_users(text: str) -> str:
    """Address or message without the users and passwords of the addresses in it."""
    return _USER.sub("://", text)


def shown_host(host: str, names: str = "localhost") -> str:
    """Host in an address that opens; names: with commas, of a server that listens on all."""
    if host in _EVERY_ADDRESS:
        return names.partition(",")[0].strip()
    return f"[{host}]" if ":" in host else host


def user_path(text: str) -> Path:
    """Path that a user gave as text, `~` being a home folder."""
    return Path(text).expanduser()
