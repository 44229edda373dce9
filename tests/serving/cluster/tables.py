"""The table in parts, as its users read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from landmark_ml.config import ClusterConfig
from serving.cluster.storage import PART_SCHEMA


def files(config: ClusterConfig) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(config.out).iterdir()}


def table(config: ClusterConfig) -> dict[str, dict[str, Any]]:
    """Rows by path, read as a user would: the folder is one table."""
    read = pq.read_table(config.out)
    assert read.schema.equals(PART_SCHEMA)
    rows = read.to_pylist()
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row for row in rows}
