"""Configuration: frozen dataclasses, the only source of flags and `MLproject` parameters."""

from landmark_ml.config.app import AppConfig
from landmark_ml.config.comparing import CompareConfig
from landmark_ml.config.options import Configuration, canonical, default_of, to_json, to_params
from landmark_ml.config.tagging import TagConfig
from landmark_ml.config.training import UDACITY50_URL, DataConfig, TrainConfig

__all__ = [
    "UDACITY50_URL",
    "AppConfig",
    "CompareConfig",
    "Configuration",
    "DataConfig",
    "TagConfig",
    "TrainConfig",
    "canonical",
    "default_of",
    "to_json",
    "to_params",
]
