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


@dataclass(frozen=True)
class Picture:
    """A figure ready to be embedded: heading, what it shows for those who do not see it, PNG."""

    heading: str
    alternative: str
    data: str

    @classmethod
    def of(cls, heading: str, figure: Figure) -> Picture:
        """Picture of a figure, whose title says what it shows."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        return cls(heading, figure.get_suptitle().replace("\n", " "), data)


def render(template: str, made: datetime | None = None, **values: Any) -> str:
    """HTML of a template in `landmark_ml/templates`; it is given the values, and `made` as text.

    A value that the template asks for and that is not given raises.
    """
    moment = f"{made or datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return _environment().get_template(template).render(made=moment, **values)


@functools.cache
def _environment() -> Environment:
    # Kept, because a template is translated to Python when it is first asked for.
    return Environment(
        loader=PackageLoader("landmark_ml"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
