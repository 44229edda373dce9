"""Which photos a cluster tags, by which model, and how many workers share them."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.addresses import refuse_password
from landmark_ml.config.options import CALIBRATED, NOT_NEGATIVE, POSITIVE, Configuration, option

_INSTEAD = (
    "give it to every worker in its environment, such as AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY"
)


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(Configuration):
    """Everything that decides what a cluster writes, and who of it works."""

    photos: str = option(
        "", "folder that every worker sees, or an address such as `s3://bucket/photos`"
    )
    out: str = option(
        "tags/parts", "folder or address of the table, which a later run goes on from"
    )
    model: str = option(
        "landmarks", "registered model whose champion answers; `name/3` or `name@alias`: another"
    )
    threshold: float = option(
        -1.0,
        "`landmark_score` from which a photo shows a landmark; -1: as the model was calibrated",
        within=CALIBRATED,
    )
    places: str = option(
        "", "CSV as `places.csv`: its cities and countries win for photos taken within 1 km"
    )
    part_photos: int = option(
        1000, "photos of a part, about; settled when `out` is new", within=POSITIVE
    )
    workers: int = option(
        0,
        "Ray actors, each with a model of its own; 0: as many as the cluster has CPUs for now",
        within=NOT_NEGATIVE,
    )
    cpus: int = option(1, "CPUs of each worker", within=POSITIVE)
    reads: int = option(
        4, "files that each worker reads at once; more of them hide a slow store", within=POSITIVE
    )
    address: str = option(
        "", "Ray cluster to join, such as `auto`; empty: RAY_ADDRESS, else this machine alone"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("photos", "out"):
            refuse_password(name, getattr(self, name), _INSTEAD)
