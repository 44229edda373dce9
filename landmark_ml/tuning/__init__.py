"""Search for a better training configuration with Optuna, on one core or on many machines."""

from landmark_ml.tuning.search import TuneResult, join_study, run_tuning
from landmark_ml.tuning.space import suggest_config

__all__ = ["TuneResult", "join_study", "run_tuning", "suggest_config"]
