"""Configuration: frozen dataclasses, the only source of flags and `MLproject` parameters."""

from landmark_ml.config.addresses import without_user
from landmark_ml.config.app import AppConfig
from landmark_ml.config.cluster import ClusterConfig
from landmark_ml.config.comparing import CompareConfig
from landmark_ml.config.evaluating import EvaluateConfig
from landmark_ml.config.model_names import HISTORY_SUFFIX
from landmark_ml.config.options import Configuration, canonical, default_of, to_json, to_params
from landmark_ml.config.promoting import HistoryConfig, PromoteConfig, RollbackConfig
from landmark_ml.config.tagging import TagConfig
from landmark_ml.config.training import UDACITY50_URL, DataConfig, TrainConfig
from landmark_ml.config.tuning import LOCAL_TO_A_WORKER, TuneConfig
from landmark_ml.config.user_paths import user_path

__all__ = [
    "HISTORY_SUFFIX",
    "LOCAL_TO_A_WORKER",
    "UDACITY50_URL",
    "AppConfig",
    "ClusterConfig",
    "CompareConfig",
    "Configuration",
    "DataConfig",
    "EvaluateConfig",
    "HistoryConfig",
    "PromoteConfig",
    "RollbackConfig",
    "TagConfig",
    "TrainConfig",
    "TuneConfig",
    "canonical",
    "default_of",
    "to_json",
    "to_params",
    "user_path",
    "without_user",
]
