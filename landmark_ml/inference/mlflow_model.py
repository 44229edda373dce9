"""The model MLflow serves: photos in, predictions out. Logged as code, nothing pickled.

MLflow runs this file when the model is logged and again when it is loaded, so it must do nothing
but define the model.
"""

from __future__ import annotations

import binascii
import contextlib
import json
from pathlib import Path
from typing import Any

# MLflow resolves the annotations of `predict`, so these are imported for real.
import pandas as pd
import pybase64
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from landmark_ml.inference.photos import DEFAULT_LIMITS
from landmark_ml.inference.predictor import (
    ARTIFACT,
    DEFAULT_THRESHOLD,
    DEFAULT_TOP_K,
    INPUT_COLUMN,
    Predictor,
)

JSON_COLUMN = "answer"
"""The only column of a prediction with `as_json`."""
# Base64 takes 4 bytes for 3, and a line break after every 76.
_MAX_TEXT = DEFAULT_LIMITS.max_bytes * 3 // 2


class LandmarkModel(PythonModel):
    """Takes a DataFrame with a `binary` column `image` and gives one prediction for each row."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Load the artifact; called once before the first prediction.

        The model's configuration may set `threads`: cores to use; 0: all of them.
        """
        threads = int((context.model_config or {}).get("threads", 0))
        self.predictor = Predictor.load(Path(context.artifacts[ARTIFACT]), threads=threads)
        self.predictor.warm_up()

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - the interface's
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predictions as columns; params: `top_k`, `threshold` and `as_json`.

        as_json: give each prediction as JSON in one text column, for engines that cannot read
        nested columns with nulls.

        Raises MlflowException, which the server answers with status 400, for values out of range.
        """
        chosen = params or {}
        threshold = float(chosen.get("threshold", DEFAULT_THRESHOLD))
        try:
            answers = self.predictor.predict(
                [_photo_bytes(value) for value in model_input[INPUT_COLUMN]],
                top_k=int(chosen.get("top_k", DEFAULT_TOP_K)),
                threshold=None if threshold == DEFAULT_THRESHOLD else threshold,
            )
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        if chosen.get("as_json"):
            lines = [json.dumps(answer, ensure_ascii=False) for answer in answers]
            return pd.DataFrame({JSON_COLUMN: lines}, dtype=object)
        # dtype object keeps None; pandas would turn it into NaN, which is not JSON.
        return pd.DataFrame(answers, dtype=object)


def _photo_bytes(value: Any) -> bytes:
    """Bytes of a photo given as bytes or as base64 text.

    MLflow decodes base64 in the `dataframe_…` forms of a request and leaves it as ASCII text in
    `inputs` and `instances`. Text that is not base64 is returned as it is and refused as a photo.
    """
    if pd.isna(value):
        # A row without a photo is refused like an empty photo.
        return b""
    photo = value.encode() if isinstance(value, str) else value
    if not isinstance(photo, bytes | bytearray | memoryview):
        given = type(value).__name__
        raise ValueError(f"image is a {given}; give the photo's bytes or their base64")
    photo = bytes(photo)
    # Too long a row is refused as it is: decoding it would take its memory once more.
    if len(photo) > _MAX_TEXT or not photo.isascii():
        return photo
    # Text without line breaks first: most has none, and taking them out is slower than decoding.
    with contextlib.suppress(binascii.Error):
        return pybase64.b64decode(photo, validate=True)
    with contextlib.suppress(binascii.Error):
        return pybase64.b64decode(b"".join(photo.split()), validate=True)
    return photo


set_model(LandmarkModel())
