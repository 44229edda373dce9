"""Search for a better training configuration with Optuna, on one core or on many machines.

It gives `run_tuning`, a whole search with its report and its tested winner, and `join_study`, one
worker of a search.
"""

from landmark_ml.tuning.search import TuneResult, join_study, run_tuning
from landmark_ml.tuning.space import suggest_config
