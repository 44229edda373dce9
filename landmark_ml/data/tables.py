"""Where the photos of a table lie: a CSV or Parquet file, or the files of Google Landmarks v2."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from landmark_ml.config import without_users
from landmark_ml.console import counted, listed
from landmark_ml.data.dataset import NOT_A_LANDMARK, short_hash, visit_of
from landmark_ml.data.folders import DISTRACTORS, SPLIT_OF, ListedFile, Listing, class_name
from landmark_ml.data.stores import copy_of

logger = logging.getLogger(__name__)

COLUMNS = ("path", "label", "split", "latitude", "longitude", "captured_at", "group")
"""The first two are required."""
GLDV2_CATEGORIES = "train_label_to_category.csv"
"""The file that makes a folder one of Google Landmarks v2."""
# A copy lies under the parts of its address, which may not lead out of the cache. No password.
_ADDRESS = r"[a-z][a-z0-9+.-]*://[^/:]+(:\d+)?(/(?!\.\.?(/|$))[^/]+)+"


def list_table(table: Path, cache: Path) -> Listing:
    """List the photos of a CSV or Parquet file: `path,label`, optionally the other `COLUMNS`.

    Paths are relative to the table's folder and stay in it, or addresses of photos in object
    stores, which are to be copied into the cache. An empty label, or `not_landmarks`, is
    a photo of no landmark. The split of a row counts as that of a folder does. Where val or test is
    missing, rows of `train` and rows without a split are assigned to it. Photos of one `group` are
    one visit; so are photos of one day (`captured_at`, local time) without a group. Raises
    ValueError for a file that is not such a table, naming file, row and fix.
    """
    try:
        if table.suffix.casefold() == ".parquet":
            rows = pd.read_parquet(table)
        else:
            rows = pd.read_csv(table, dtype=str, encoding="utf-8-sig", keep_default_na=False)
            if not isinstance(rows.index, pd.RangeIndex):
                # pandas took the first column for row names.
                raise ValueError("rows have more fields than the header; quote labels with commas")
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{table} cannot be read as a table ({error}); give a Parquet file, or a CSV in UTF-8"
            " with commas between the columns"
        ) from error
    wrong = [str(column) for column in rows.columns if column not in COLUMNS]
    missing = [column for column in COLUMNS[:2] if column not in rows.columns]
    if wrong or missing:
        found = f"without {' and '.join(missing)}" if missing else f"with {listed(wrong)}"
        raise ValueError(
            f"{table} is a table {found} (columns: {', '.join(map(str, rows.columns))}); name its"
            f" columns {', '.join(COLUMNS)}, of which path and label are required, with commas"
            " between them"
        )
    return _list_rows(rows, table, cache)


def list_gldv2(root: Path) -> Listing:
    """List Google Landmarks v2 as its own tools leave it; photos that are not here are left out.

    `train_clean.csv` (or else `train.csv`), `train_label_to_category.csv`, and photos like
    `train/0/1/2/012….jpg`. Landmarks are called by their category on Wikimedia Commons, with their
    number where two share it. Source: https://github.com/cvdfoundation/google-landmark.
    """
    clean = root / "train_clean.csv"
    table = clean if clean.is_file() else root / "train.csv"
    try:
        categories = pd.read_csv(root / GLDV2_CATEGORIES, dtype=str).drop_duplicates("landmark_id")
        names = categories.set_index("landmark_id")["category"].dropna()
        rows = pd.read_csv(table, dtype=str)
        if table == clean:
            rows = rows.assign(id=rows["images"].str.split()).explode("id")
        rows = rows[["id", "landmark_id"]]
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{root} holds {GLDV2_CATEGORIES} and is not Google Landmarks v2 as its tools leave it"
            f" ({error}); download {table.name} and that file again"
        ) from error
    names = names.map(lambda category: unquote(category.rpartition("Category:")[2]))
    shared = names.map(class_name).str.casefold().duplicated(keep=False)
    names[shared] += " (" + names.index[shared] + ")"
    folder = "train/" if (root / "train").is_dir() else ""
    here = {Path(name).stem for _, _, names in os.walk(root / folder) for name in names}
    there = rows["id"].isin(here)
    if not there.all():
        logger.warning("%s of %s not in %s", counted(int((~there).sum()), "photo"), table, root)
    rows = rows[there]
    ids = rows["id"].str
    path = folder + ids[0] + "/" + ids[1] + "/" + ids[2] + "/" + rows["id"] + ".jpg"
    label = rows["landmark_id"].map(names).fillna(rows["landmark_id"])
    return _list_rows(pd.DataFrame({"path": path, "label": label}), table, root)


def _list_rows(rows: pd.DataFrame, table: Path, cache: Path) -> Listing:
    """List photos by rows of some of `COLUMNS`; cache: where photos of object stores go."""

    def require(good: pd.Series, given: pd.Series, reason: str) -> None:
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            what = f"{given.name} {without_users(given.iloc[row])!r} {reason}"
            raise ValueError(f"{table}, row {row + 1} of {len(rows):,}: {what}")

    def texts(column: str) -> pd.Series:
        given = rows[column] if column in rows.columns else pd.Series("", rows.index, name=column)
        # Whole numbers beside an empty field are floats in a Parquet file.
        return given.convert_dtypes().astype("string").fillna("").astype(str).str.strip()

    def degrees(column: str, limit: int) -> pd.Series:
        given = texts(column)
        numbers = pd.to_numeric(given, errors="coerce")
        good = numbers.abs().le(limit) | (given == "")
        require(good, given, f"is no number from -{limit} to {limit}")
        return numbers

    # Tables are written on Windows too.
    written = texts("path").str.replace("\\", "/")
    require(~written.str.contains("\0", regex=False), written, "holds a NUL character")
    there = written.str.contains("://", regex=False)
    sound = ~there | written.str.fullmatch(_ADDRESS)
    require(sound, written, "is no address of a photo; write s3://bucket/folder/photo.jpg")
    root = str(table.parent.resolve())
    paths = written.where(there, written.map(lambda path: os.path.normpath(Path(root, path))))
    inside = there | paths.str.startswith(root + os.sep)
    require(inside, written, f"is empty or leaves {root}; move the table above its photos")
    splits = texts("split").str.casefold()
    require(splits.isin(["", *SPLIT_OF]), splits, "is unknown; use train, val or test")
    splits = splits.replace(SPLIT_OF)
    if not {"val", "test"} <= set(splits):
        splits = splits.replace("train", "")
    captured = texts("captured_at").str[:19]
    times = pd.to_datetime(captured, errors="coerce", format="ISO8601")
    good = times.notna() | (captured == "")
    require(good, captured, "is no time; write 2023-07-14T10:11:12")
    visits = [
        short_hash([group]) if group else "" if pd.isna(taken) else visit_of("", taken)
        for group, taken in zip(texts("group"), times, strict=True)
    ]
    positions = zip(degrees("latitude", 90), degrees("longitude", 180), strict=True)

    labels = texts("label")
    spelled: dict[str, str] = {}
    names = {label: class_name(label) for label in sorted(set(labels))}
    for label, name in names.items():
        if (same := spelled.setdefault(name.casefold(), label)) != label:
            raise ValueError(f"{table}: labels {same!r} and {label!r} mean the same; keep one")
    landmarks = sorted(set(names.values()) - {"", class_name(DISTRACTORS)})
    numbers = {name: number for number, name in enumerate(landmarks)}
    return tuple(landmarks), [
        ListedFile(
            copy_of(path, cache) if address else Path(path),
            numbers.get(names[label], NOT_A_LANDMARK),
            SPLIT_OF.get(split),
            None if math.isnan(sum(position)) else position,
            visit,
            path if address else "",
        )
        for path, address, label, split, position, visit in zip(
            paths, there, labels, splits, positions, visits, strict=True
        )
    ]
