"""What the rows of a table add up to, wherever they were made."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST_EXAMPLES = 20


@dataclass
class Counts:
    """Photos, how many of them were recognised now, and what the rows say.

    landmarks: photos of each; areas: photos of which only the `city` or the `country` is answered;
    refused: photos without an answer by code, of which `examples` are the first few as (path, code,
    reason).
    """

    photos: int = 0
    recognised: int = 0
    landmarks: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    def counted(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows of a table, each taken into the counts as it passes."""
        for row in rows:
            self.count(row)
            yield row

    def count_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in what rows say."""
        for row in rows:
            self.count(row)

    def count(self, row: Mapping[str, Any]) -> None:
        """Take in what one row says."""
        if row["landmark"]:
            self.landmarks[row["landmark"]] += 1
        elif row["level"]:
            self.areas[row["level"]] += 1
        if row["error_code"]:
            self.refused[row["error_code"]] += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append((row["path"], row["error_code"], row["error_reason"]))

    def add(self, other: Counts) -> None:
        """Take in what was counted elsewhere; the examples are the first by path, in any order."""
        self.photos += other.photos
        self.recognised += other.recognised
        self.landmarks += other.landmarks
        self.areas += other.areas
        self.refused += other.refused
        self.examples = sorted(self.examples + other.examples)[:MOST_EXAMPLES]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON can hold them."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Counts:
        """Counts that `to_dict` gave out."""
        return cls(
            photos=values["photos"],
            recognised=values["recognised"],
            landmarks=Counter(values["landmarks"]),
            areas=Counter(values["areas"]),
            refused=Counter(values["refused"]),
            examples=[tuple(example) for example in values["examples"]],
        )

    def most_photographed(self) -> list[tuple[str, int]]:
        """Landmarks and their photos, the most first, the same order whoever counted."""
        return sorted(self.landmarks.items(), key=lambda item: (-item[1], item[0]))

    def landmarks_csv(self) -> str:
        """Photos of each landmark as CSV."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerows([("landmark", "photos"), *self.most_photographed()])
        return text.getvalue()

    def metrics(self) -> dict[str, float]:
        """Counts for an MLflow run."""
        return {
            "tag/photos": self.photos,
            "tag/recognised": self.recognised,
            "tag/showing_a_landmark": self.landmarks.total(),
            "tag/placed_in_an_area": self.areas.total(),
            "tag/refused": self.refused.total(),
        }

    def summary(self) -> str:
        """The counts in one clause."""
        return (
            f"{self.photos} photos, {self.landmarks.total()} of them of"
            f" {len(self.landmarks)} landmarks"
        )
