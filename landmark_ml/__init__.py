"""Recognise the landmark in a photo: from a dataset to a trained, judged and registered model."""

import os

__version__ = "0.2.0"

# MLflow reports how it is used unless this is set before it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
