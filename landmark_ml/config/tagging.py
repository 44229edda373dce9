"""Which photo library is tagged, by which model, and what is written about it."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import Configuration, option


@dataclass(frozen=True, kw_only=True)
class TagConfig(Configuration):
    """Everything that decides what the tagger writes."""

    photos: str = option("", "folder of the photo library, walked to any depth")
    out: str = option("tags", "folder of the table, and of the journal a later run goes on from")
    model: str = option(
        "landmarks", "registered model whose champion answers; `name/3` or `name@alias`: another"
    )
    threshold: float = option(
        -1.0,
        "`landmark_score` from which a photo shows a landmark; -1: as the model was calibrated",
    )
