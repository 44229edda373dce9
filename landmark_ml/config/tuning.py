"""What a search over training configurations tries, for how long, and where its study lies."""

from __future__ import annotations

from dataclasses import dataclass, fields

from landmark_ml.config.fields import POSITIVE, no_password, option
from landmark_ml.config.training import TrainConfig

LOCAL_TO_A_WORKER = (
    *("study", "storage", "trials", "minutes", "heartbeat", "register", "resume"),
    *("data", "not_landmarks", "places", "cache_dir", "udacity50_url", "device", "threads"),
)
"""Fields in which the workers of one study may differ; the photos themselves must be the same."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """A search: what is not searched stays as in the training configuration it extends."""

    study: str = option("", "name of the study to continue or to share; empty: a new one")
    storage: str = option(
        "",
        "database that workers share; empty: `studies.db` beside the MLflow database",
        no_password("set PGPASSWORD or write ~/.pgpass wherever a worker runs"),
    )
    space: str = option(
        "head", "what is searched: the head, or fine-tuning too", ("head", "finetune")
    )
    backbones: str = option(
        "tf_efficientnet_lite0,tf_efficientnet_lite2",
        "timm models to choose from besides `backbone`, where weights are pretrained",
    )
    keep: str = option("", "parameters of the space to leave as they are, such as `framing,views`")
    trials: int = option(200, "trials of the study, over all workers; 0: no limit", unit="trials")
    minutes: float = option(0.0, "when this worker starts no more trials; 0: no limit", unit="min")
    objectives: str = option("top1", "what to optimise", ("top1", "top1,latency", "top1,size"))
    pruner: str = option(
        "auto",
        "what ends hopeless trials; auto: hyperband if fine-tuning for one objective",
        ("auto", "none", "hyperband", "halving"),
    )
    folds: int = option(1, "train/val splits that each trial is validated on", POSITIVE)
    heartbeat: int = option(
        30, "retry a trial whose process is silent for twice as long", POSITIVE, unit="s"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.trials and not self.minutes:
            raise ValueError(
                "trials and minutes are both 0, so the search would never end; give one"
            )
        if self.space == "finetune" and not self.finetune_epochs:
            raise ValueError(
                "space 'finetune' with finetune_epochs 0 would fine-tune nothing; give the epochs"
                " of a trial, such as finetune_epochs=6"
            )
        if self.space == "head" and (not self.epochs or self.finetune_epochs):
            raise ValueError(
                f"space 'head' with epochs {self.epochs} and finetune_epochs"
                f" {self.finetune_epochs}: a head needs epochs, and fine-tuning space 'finetune'"
            )
        if self.pruner in ("hyperband", "halving") and "," in self.objectives:
            raise ValueError(
                f"pruner {self.pruner!r} cannot weigh two objectives; give pruner none, or"
                " objectives top1"
            )
        if self.processes > 1:
            raise ValueError(
                f"processes is {self.processes}, and each trial trains in one process; to share a"
                " search, start more workers with the same study and storage"
            )
        if self.resume:
            raise ValueError(
                f"resume is {self.resume!r}, and a search is not a single run; continue it with"
                " study=<its name>"
            )

    def training(self) -> TrainConfig:
        """The training configuration that the search starts from."""
        names = [item.name for item in fields(TrainConfig)]
        return TrainConfig(**{name: getattr(self, name) for name in names})

    def prunes(self) -> str:
        """Name of the pruner, `auto` resolved."""
        if self.pruner != "auto":
            return self.pruner
        return "hyperband" if self.space == "finetune" and self.objectives == "top1" else "none"
