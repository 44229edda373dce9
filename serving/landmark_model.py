"""The model MLflow serves: photos in, predictions out. Logged as code, nothing pickled."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

if TYPE_CHECKING:
    from mlflow.pyfunc import PythonModelContext

    from serving.predictor import Predictor

ARTIFACT = "landmark_model"
INPUT_COLUMN = "image"
DEFAULT_THRESHOLD = -1.0
"""Value of the `threshold` parameter that means: the one the model was calibrated with."""


class LandmarkModel(PythonModel):
    """A DataFrame with a `binary` column `image` to one prediction a row."""

    predictor: Predictor

    def load_context(self, context: PythonModelContext) -> None:
        """Read the graph; called once before the first prediction."""
        # Imported here because this file is also run, inert, when the model is logged.
        from serving.predictor import Predictor  # noqa: PLC0415

        self.predictor = Predictor.load(Path(context.artifacts[ARTIFACT]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - the interface's
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predictions as columns; params: `top_k` and `threshold`."""
        chosen = params or {}
        photos = [_photo_bytes(value) for value in model_input[INPUT_COLUMN]]
        threshold = float(chosen.get("threshold", DEFAULT_THRESHOLD))
        answers = self.predictor.predict(
            photos,
            top_k=int(chosen.get("top_k", 5)),
            threshold=None if threshold == DEFAULT_THRESHOLD else threshold,
        )
        # dtype object keeps None as null; pandas would make it NaN, which is not JSON.
        return pd.DataFrame(answers, dtype=object)


def _photo_bytes(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"image is no base64 text: {error}; encode the photo's bytes") from None
    raise ValueError(f"image is a {type(value).__name__}; give the photo's bytes or their base64")


set_model(LandmarkModel())
