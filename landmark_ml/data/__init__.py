"""Photos with labels: a dataset by name or folder, split into train, val and test.

Gives other rooms `Dataset` and `Photo`, `open_dataset`, and the manifest that records a split.
"""

from landmark_ml.data.dataset import (
    NOT_A_LANDMARK,
    SPLITS,
    Dataset,
    Photo,
    Split,
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
from landmark_ml.data.opening import find_root, open_dataset, open_folds
from landmark_ml.files import spelled

__all__ = [
    "MANIFEST",
    "NOT_A_LANDMARK",
    "SPLITS",
    "Dataset",
    "Photo",
    "Split",
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
