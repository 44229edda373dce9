"""The tagger's table as its users read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from landmark_ml.config import TagConfig
from serving.tagging.table import PARQUET, SCHEMA


def parquet(config: TagConfig) -> dict[str, dict[str, Any]]:
    """Rows by path."""
    table = pq.read_table(Path(config.out) / PARQUET)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row for row in rows}
