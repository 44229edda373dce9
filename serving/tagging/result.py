"""What a library holds and what was done about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.tagging.counts import Counts

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(kw_only=True)
class TagResult(Counts):
    """What a library holds and what was done about it.

    seconds: of recognition; other_pictures: files of suffixes that are not read; unreadable: why
    which folders could not be opened; sidecars: what was done with how many, or would be if it were
    no dry run; gallery: its first page.
    """

    out: Path
    model: str
    seconds: float = 0.0
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    sidecars: Counter[str] = field(default_factory=Counter)
    dry_run: bool = False
    in_albums: int = 0
    gallery: Path | None = None
    location: str = ""

    @property
    def photos_per_second(self) -> float:
        """Rate of recognition; 0 when nothing was new."""
        return self.recognised / self.seconds if self.seconds else 0.0

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        done = {} if self.dry_run else self.sidecars
        return {
            **super().metrics(),
            **{f"tag/sidecars_{action}": count for action, count in done.items()},
            "tag/seconds": self.seconds,
            "tag/photos_per_second": self.photos_per_second,
        }
