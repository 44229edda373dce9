"""Recipes: functions that return a complete configuration; flags change single values of it."""

from __future__ import annotations

from landmark_ml.config import TrainConfig


def transfer() -> TrainConfig:
    """A head on the features of a frozen ImageNet backbone: good in a minute."""
    return TrainConfig(recipe="transfer")
