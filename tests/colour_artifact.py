"""An exported artifact that knows landmarks by colour, and photos of one colour to ask it about."""

from __future__ import annotations

import functools
import io
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow.models.model import ModelInfo
from PIL import ExifTags, Image
from torch import nn

from landmark_ml.geo.gazetteer import Gazetteer, Place
from landmark_ml.networks.export import Calibration, export_network
from landmark_ml.registry.register import log_model
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from tests.tiny_networks import SIDE, lay_traced, score_of_probability, tiny_model

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 220, 30), (30, 30, 220), (235, 235, 235)
NAMES = ("Eiffel Tower", "Château d'If", "Nowhere")
"""What a red, a green and a blue photo show, as answers spell it; a white one shows none."""

TOWER = Place("Eiffel Tower", "Paris", "France", "FR", 48.8584, 2.2945, ("tower", "paris"))
CASTLE = Place("Château d'If", None, "France", "FR", 43.2799, 5.3257, ("castle", "island"))
PLACES = Gazetteer({"Tour Eiffel": TOWER, "Chateau dIf": CASTLE})
CLASSES = ("Tour Eiffel", "Chateau dIf", "Nowhere")
_THRESHOLD = 0.5


def colour_photo(
    colour: tuple[int, int, int], size: tuple[int, int] = (40, 32), exif: bytes = b""
) -> bytes:
    """JPEG of one colour."""
    jpeg = io.BytesIO()
    Image.new("RGB", size, colour).save(jpeg, "JPEG", exif=exif, quality=95)
    return jpeg.getvalue()


def gps_exif(latitude: float, longitude: float) -> bytes:
    """EXIF of a photo taken north of the equator and east of Greenwich, in whole degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "camera"
    tags: dict[int, Any] = {1: "N", 2: (latitude, 0.0, 0.0), 3: "E", 4: (longitude, 0.0, 0.0)}
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(tags)
    return exif.tobytes()


def write_artifact(folder: Path) -> Path:
    """Export a network with a fourth output for photos of no landmark; its threshold is 0.5."""
    colours = torch.tensor((RED, GREEN, BLUE, WHITE), dtype=torch.uint8)
    pixels = colours[:, :, None, None].expand(4, 3, SIDE, SIDE)
    model = tiny_model(num_outputs=4)
    with torch.no_grad():
        # The least change to the classifier that gives each colour its own output.
        solution = torch.linalg.pinv(model.features(pixels)) @ (8 * torch.eye(4))
        assert isinstance(model.classifier, nn.Linear)
        model.classifier.weight.copy_(solution.T)
        model.classifier.bias.zero_()
    cache = lay_traced(folder / "cache")
    calibration = Calibration(temperature=1.0, rejection=score_of_probability(_THRESHOLD))
    return export_network(
        model, calibration, CLASSES, "abc", PLACES, folder=folder / "artifact", cache=cache
    )


@functools.cache
def log_artifact(tracking_uri: str) -> ModelInfo:
    """The artifact as an MLflow model in that database; logged once, because it takes seconds."""
    assert mlflow.get_tracking_uri() == tracking_uri
    mlflow.set_experiment(DEFAULT_EXPERIMENT)
    example = colour_photo(RED, (1000, 800), exif=gps_exif(12, 34))
    with tempfile.TemporaryDirectory() as scratch, mlflow.start_run():
        return log_model(write_artifact(Path(scratch)), example, {"backbone": "tiny"})
