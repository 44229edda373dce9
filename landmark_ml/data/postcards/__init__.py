"""Postcards: the embedded sample dataset, landmark pictures drawn by code in seconds."""

from landmark_ml.data.postcards.drawing import LANDMARKS, draw_postcard
from landmark_ml.data.postcards.writing import write_postcards

__all__ = ["LANDMARKS", "draw_postcard", "write_postcards"]
