"""Fields of configurations: default, meaning, unit, allowed values, all in one place.

A configuration is a frozen dataclass; it is the only source of flags and `MLproject` parameters.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers that a field may have, and how a person would say it.

    besides: a number outside that means something of its own.
    """

    phrase: str
    low: float = -math.inf
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True
    besides: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number is in the range."""
        above = value >= self.low if self.with_low else value > self.low
        below = value <= self.high if self.with_high else value < self.high
        return (above and below) or value == self.besides


UNIT = Range("from 0 to 1", 0, 1)
BELOW_ONE = Range("from 0 to below 1", 0, 1, with_high=False)
PART = Range("above 0 and at most 1", 0, 1, with_low=False)
SHARE = Range("above 0 and below 1", 0, 1, with_low=False, with_high=False)
NOT_NEGATIVE = Range("of 0 or more", 0)
CALIBRATED = Range("from 0 to 1, or -1", 0, 1, besides=-1)
PORT = Range("from 0 to 65535", 0, 65535)
POSITIVE = Range("above 0", 0, with_low=False)


def option(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    choices: tuple[str, ...] = (),
    within: Range | None = None,
) -> Any:
    """Field of a configuration with what a reader of `--help` and of the README needs."""
    metadata = {"help": meaning, "unit": unit, "choices": choices, "within": within}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What all configurations share: their values are checked when they are set."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check(item.name, getattr(self, item.name), item.metadata)


def canonical(value: object) -> str:
    """One spelling for a value in MLflow and on command lines: `0.001`, `True`, `postcards`."""
    return str(value)


def to_params(config: Configuration) -> dict[str, str]:
    """Parameters of a run as MLflow records them."""
    return {name: canonical(value) for name, value in asdict(config).items()}


def to_json(config: Configuration) -> str:
    """Whole configuration as JSON, logged beside the parameters."""
    return json.dumps(asdict(config), indent=2, sort_keys=True)


def default_of(config_class: type[Configuration], name: str) -> Any:
    """Default value of one field."""
    found = next(item for item in fields(config_class) if item.name == name)
    if found.default is MISSING:
        raise ValueError(f"{config_class.__name__}.{name} has no default")
    return found.default


def _check(name: str, value: Any, metadata: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; give a finite number")
    choices, within = metadata["choices"], metadata["within"]
    if choices and value not in choices:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(choices)}")
    if within is not None and not within.holds(value):
        raise ValueError(f"{name} is {value}; give a number {within.phrase}")
