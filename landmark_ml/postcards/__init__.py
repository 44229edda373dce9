"""Postcards: the embedded sample dataset, landmark pictures drawn by code in seconds."""

from landmark_ml.postcards.drawing import LANDMARKS, draw_postcard
from landmark_ml.postcards.writing import POSTCARDS_VERSION, write_postcards

__all__ = ["LANDMARKS", "POSTCARDS_VERSION", "draw_postcard", "write_postcards"]
