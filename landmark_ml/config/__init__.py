"""Configuration: every value a user may set, said once in a frozen dataclass.

Gives the other rooms their configurations; flags, `MLproject` and `docs/parameters.md` are made
from them.
"""

from landmark_ml.config.fields import (
    HISTORY_SUFFIX,
    Configuration,
    repeated,
    shown_host,
    to_json,
    to_params,
    user_path,
    without_users,
)
from landmark_ml.config.models import (
    AppConfig,
    ClusterConfig,
    CompareConfig,
    EvaluateConfig,
    HistoryConfig,
    PageConfig,
    PromoteConfig,
    QueryConfig,
    ReviewConfig,
    RollbackConfig,
    ServeConfig,
    TagConfig,
    TeachConfig,
    UiConfig,
    UntagConfig,
)
from landmark_ml.config.training import LOCAL_TO_A_WORKER, DataConfig, TrainConfig, TuneConfig
