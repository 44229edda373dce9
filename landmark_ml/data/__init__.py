"""Photos with labels: a dataset by name or folder, split into train, val and test.

Gives other rooms `Dataset` and `Photo`, the manifest that records a split, in `opening` the way to
open a dataset, and in `near_duplicates` what tells whether a model has learned a photo (`Learned`).
"""

from landmark_ml.data.dataset import (
    LARGE_MANIFEST,
    MANIFEST,
    MOST_JSON,
    NOT_A_LANDMARK,
    SPLITS,
    Dataset,
    Photo,
    Split,
    UnreadablePhoto,
    label_name,
    manifest_digest,
    read_manifest,
    read_rows,
    rebuild_dataset,
    split_digest,
    write_manifest,
)
