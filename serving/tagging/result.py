"""What a library holds and what was done about it, counted as the photos pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from serving.tagging.journal import Tagged

MOST_EXAMPLES = 20


@dataclass
class TagResult:
    """What a library holds and what was done about it.

    seconds: of recognition; landmarks: photos of each; areas: photos of which only the `city` or
    the `country` is answered; refused: photos without an answer by code, of which `examples` are
    the first few; other_pictures: files of suffixes that are not read; sidecars: what was done with
    how many, or would be in a dry run; gallery: its first page.
    """

    out: Path
    model: str
    photos: int = 0
    recognised: int = 0
    seconds: float = 0.0
    landmarks: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[Tagged] = field(default_factory=list)
    other_pictures: Counter[str] = field(default_factory=Counter)
    sidecars: Counter[str] = field(default_factory=Counter)
    in_albums: int = 0
    gallery: Path | None = None
    location: str = ""

    @property
    def photos_per_second(self) -> float:
        """Rate of recognition; 0 when nothing was new."""
        return self.recognised / self.seconds if self.seconds else 0.0

    def counted(self, photos: Iterable[Tagged]) -> Iterator[Tagged]:
        """Answered photos, each taken into the counts as it passes."""
        for photo in photos:
            self._count(photo)
            yield photo

    def _count(self, photo: Tagged) -> None:
        answer = photo.answer
        if answer["landmark"]:
            self.landmarks[answer["landmark"]] += 1
        elif answer["level"]:
            self.areas[answer["level"]] += 1
        if answer["error"]:
            self.refused[answer["error"]["code"]] += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append(photo)

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        return {
            "tag/photos": self.photos,
            "tag/recognised": self.recognised,
            "tag/showing_a_landmark": self.landmarks.total(),
            "tag/placed_in_an_area": self.areas.total(),
            "tag/refused": self.refused.total(),
            **{f"tag/sidecars_{action}": count for action, count in self.sidecars.items()},
            "tag/seconds": self.seconds,
            "tag/photos_per_second": self.photos_per_second,
        }
