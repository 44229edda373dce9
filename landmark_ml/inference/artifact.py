"""What stands where in a served artifact: said once, for the export that writes it and serving.

Needs nothing: it is shipped inside the served model.
"""

SCHEMA_VERSION = 2
"""Raised when an artifact of before can no longer be read."""

ARTIFACT = "landmark_model"
"""Name of the artifact folder inside a logged model."""
GRAPH_FILE = "model.onnx"
METADATA_FILE = "metadata.json"

INPUT_COLUMN = "image"
"""Column of photos that the served model takes."""
PROBABILITIES, LANDMARK_SCORE = "probabilities", "landmark_score"
ATTENTION = "attention"
"""Outputs of the graph; `attention` only where the network can tell."""
