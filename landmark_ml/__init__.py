"""Recognise the landmark in a photo: data, training, evaluation and export."""

__version__ = "0.1.0"
