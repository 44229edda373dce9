"""The photos of a training, the same ones in every process that takes part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landmark_ml.data import (
    MANIFEST,
    find_root,
    manifest_digest,
    open_dataset,
    parse_manifest,
)

if TYPE_CHECKING:
    from landmark_ml.config import DataConfig
    from landmark_ml.data import Dataset
    from landmark_ml.training.processes import Processes


def open_photos(config: DataConfig, processes: Processes, manifest: bytes | None = None) -> Dataset:
    """The photos on the sides that a manifest records, without one what the folder holds now.

    Called by all processes at once. manifest: its content; what the first process gives counts.
    Raises ValueError for a dataset that cannot be opened, that lacks what the manifest records, or
    that is not the same in every process.
    """
    dataset = _open(config, processes, processes.share(manifest))
    processes.agree(manifest_digest(dataset), "photos and their sides")
    return dataset


def _open(config: DataConfig, processes: Processes, recorded: bytes | None) -> Dataset:
    with processes.first_on_host():
        if recorded is None:
            return open_dataset(config)
        _, root = find_root(config)
        # The processes of a host read the same files: one of them checks what is in them.
        first = processes.local_rank == 0
        return parse_manifest(recorded, root, name=MANIFEST, verify=first, threads=config.threads)
