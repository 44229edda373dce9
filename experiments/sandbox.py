"""A place for notebooks to try things in: a folder of its own that goes when the notebook does."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path

from landmark_ml.config import user_path
from landmark_ml.data.postcards import write_postcards


def open_sandbox(per_class: int = 16, not_landmarks: int = 48, test_per_class: int = 8) -> Path:
    """Folder of a few postcards to learn on; what else is written goes beside it.

    The working folder moves there too, so that runs, models and caches of a notebook never mix with
    those of the project. Set LANDMARKS_DATA to a folder of class folders to see your own photos.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"mlflow\.")
    own = os.environ.get("LANDMARKS_DATA")
    photos = user_path(own).resolve() if own else None
    if photos is not None and not photos.is_dir():
        raise ValueError(f"LANDMARKS_DATA is {photos}, which is not a folder; give one of photos")
    folder = Path(tempfile.mkdtemp(prefix="landmarks-notebook-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ.pop("MLFLOW_RUN_ID", None)
    return photos or write_postcards(
        folder / "postcards",
        per_class=per_class,
        not_landmarks=not_landmarks,
        test_per_class=test_per_class,
    )
