"""What a promotion has to prove, and who may be rolled back."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import NOT_NEGATIVE, POSITIVE, SHARE, Configuration, option
from landmark_ml.config.training import DataConfig

LONGEST_REASON = 1000


def _check_reason(reason: str) -> None:
    if len(reason) > LONGEST_REASON:
        raise ValueError(
            f"reason has {len(reason)} characters; say it in {LONGEST_REASON} or fewer"
        )


@dataclass(frozen=True, kw_only=True)
class PromoteConfig(DataConfig):
    """Who is judged on which photos, and the gates that a challenger has to pass."""

    name: str = option("landmarks", "registered model whose champion is at stake")
    candidates: str = option(
        "newest",
        "`newest`, `newest:3` or `experiment:NAME` (its best three by `val/top1`), a version"
        " number, or a `models:/…` URI",
    )
    reason: str = option("", "why, in your words; written to the history")
    alpha: float = option(
        0.05,
        "largest p of McNemar's test that the challenger is better, divided by the challengers",
        within=SHARE,
    )
    min_gain: float = option(0.0, "least gain in top-1, above 0 in any case", within=NOT_NEGATIVE)
    class_alpha: float = option(
        0.05, "family-wise error of calling a landmark worse (sign tests, Holm)", within=SHARE
    )
    gap_margin: float = option(0.005, "how far GAP may fall", within=NOT_NEGATIVE)
    ece_margin: float = option(0.01, "how far ECE may rise", within=NOT_NEGATIVE)
    max_ms: float = option(
        150.0, "median latency of one photo, on this machine", unit="ms", within=POSITIVE
    )
    max_mb: float = option(100.0, "size of the logged model", unit="MB", within=POSITIVE)
    check_requirements: bool = option(
        True, "ask pip whether the model's requirements can be installed; False: skip this gate"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reason(self.reason)


@dataclass(frozen=True, kw_only=True)
class RollbackConfig(Configuration):
    """Which champion goes, and why."""

    name: str = option("landmarks", "registered model whose champion goes back")
    reason: str = option("", "why; written to the history, and required")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_reason(self.reason)


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(Configuration):
    """Whose history is told."""

    name: str = option("landmarks", "registered model whose history is printed")
