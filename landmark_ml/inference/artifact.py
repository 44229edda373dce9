"""The artifact: a folder with `model.onnx` and `metadata.json`. Export writes it, serving reads it.

This file names what is in it and reads the metadata.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landmark_ml.inference.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 2
"""Raise it when this code can no longer read artifacts written by an older version."""

ARTIFACT = "landmark_model"
"""Name of the artifact folder inside a logged model."""
GRAPH_FILE = "model.onnx"
METADATA_FILE = "metadata.json"

INPUT_COLUMN = "image"
"""Column of photos that the served model takes."""
PROBABILITIES, LANDMARK_SCORE = "probabilities", "landmark_score"
ATTENTION = "attention"
"""Outputs of the network; `attention` is missing where the network cannot compute it."""


@dataclass(frozen=True)
class Metadata:
    """Everything in an artifact beside the network.

    names: what answers call each class. places: a gazetteer entry for each class, or None.
    threshold: lowest landmark score of a landmark. min_confidence: see `areas`.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    places: tuple[dict[str, Any] | None, ...]
    preprocessing: Preprocessing
    threshold: float
    min_confidence: float
    precision: str
    run_id: str

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Read `metadata.json`.

        Raises ValueError for another schema version or a missing field, FileNotFoundError for a
        missing file.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {values.get('schema_version')} and this code reads"
                f" {SCHEMA_VERSION}; export the model again with this version"
            )
        try:
            return cls(
                classes=tuple(row["landmark"] for row in values["classes"]),
                names=tuple(row["name"] for row in values["classes"]),
                places=tuple(row["place"] for row in values["classes"]),
                preprocessing=Preprocessing.from_dict(values["preprocessing"]),
                threshold=float(values["threshold"]),
                min_confidence=float(values["min_confidence"]),
                precision=str(values["precision"]),
                run_id=str(values["run_id"]),
            )
        except KeyError as error:
            raise ValueError(f"{path} lacks {error}; export the model again") from None
