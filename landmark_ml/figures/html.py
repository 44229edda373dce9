"""One HTML page that needs nothing else: figures are embedded, nothing is fetched."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_REM_PER_INCH = 6.4


@dataclass(frozen=True)
class Picture:
    """A figure ready to be embedded: its heading, its alternative text, and its PNG as base64.

    width: that it is shown at, in rem, so that type has one size on the page.
    """

    heading: str
    alternative: str
    data: str
    width: float

    @classmethod
    def of(cls, heading: str, figure: Figure) -> Picture:
        """Picture of a figure, whose title says what it shows."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        width = _REM_PER_INCH * figure.get_figwidth()
        return cls(heading, figure.get_suptitle().replace("\n", " "), data, width)


def render(template: str, made: datetime | None = None, **values: Any) -> str:
    """Fill a template of `landmark_ml/templates` with the values, and with `made` as text.

    Raises UndefinedError when a value that the template uses is missing.
    """
    moment = f"{made or datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return _environment().get_template(template).render(made=moment, **values)


@functools.cache
def _environment() -> Environment:
    # Cached, because a template is compiled when it is first used.
    return Environment(
        loader=PackageLoader("landmark_ml"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
