"""Photos with labels, from a name or a folder to train, val and test sides and their manifest."""

from landmark_ml.data.dataset import (
    NOT_A_LANDMARK,
    Dataset,
    Photo,
    Side,
    UnreadablePhoto,
    label_name,
)
from landmark_ml.data.manifest import (
    MANIFEST,
    manifest_digest,
    parse_manifest,
    read_manifest,
    split_digest,
    write_manifest,
)
from landmark_ml.data.opening import open_dataset, open_folds
from landmark_ml.data.sources import find_root
from landmark_ml.files import spelled

__all__ = [
    "MANIFEST",
    "NOT_A_LANDMARK",
    "Dataset",
    "Photo",
    "Side",
    "UnreadablePhoto",
    "find_root",
    "label_name",
    "manifest_digest",
    "open_dataset",
    "open_folds",
    "parse_manifest",
    "read_manifest",
    "spelled",
    "split_digest",
    "write_manifest",
]
