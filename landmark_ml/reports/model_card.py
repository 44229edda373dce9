"""The model card: what a version is, what it can do and where it fails, in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.evaluation.metrics import METRICS, shown, summary_names

if TYPE_CHECKING:
    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset
    from landmark_ml.evaluation.judge import Report


@dataclass(frozen=True)
class NetworkFacts:
    """Size and cost of a network: macs are multiply-accumulates of one photo."""

    parameters: int
    macs: int
    resolution: int
    artifact_bytes: int
    has_background: bool


def model_card(config: TrainConfig, dataset: Dataset, facts: NetworkFacts, report: Report) -> str:
    """Markdown shown on the run and on the registered version."""
    metrics = report.metrics
    names = summary_names(metrics)
    results = "\n".join(f"| {METRICS[name].caption} | {shown(metrics, name)} |" for name in names)
    counted = (
        f"{metrics['photos']:.0f} landmark photos, {metrics['distractors']:.0f} without a landmark"
    )
    table = report.predictions.per_class()
    weakest = table[table["photos"] > 0].nsmallest(5, "recall")
    rows = "\n".join(
        f"| {landmark} | {photos} | {precision:.2f} | {recall:.2f} |"
        for landmark, photos, precision, recall, _ in weakest.itertuples(index=False)
    )
    splits = ", ".join(f"{len(dataset.landmarks(s))} {s}" for s in ("train", "val", "test"))
    known = (
        "A photo that shows none of these landmarks is told apart by a background class."
        if facts.has_background
        else "It was trained without photos of no landmark, so it tells those apart poorly."
    )
    return f"""### {config.backbone}, recipe {config.recipe}

Recognises {dataset.num_classes} landmarks of `{dataset.name}` in a photo and gives back where it\
 was taken and which tags suit it.

| on the test photos ({counted}) | value (95% interval) |
|---|---|
{results}

**Network.** {facts.parameters / 1e6:.1f} million parameters, {facts.macs / 1e6:.0f} million\
 multiply-accumulates a photo at {facts.resolution} px, {facts.artifact_bytes / 1e6:.1f} MB on\
 disk; initial weights: {config.weights}.

**Data.** {splits} photos; {len(dataset.unreadable)} unreadable, {len(dataset.leaked)} left out\
 because the same or nearly the same photo is in the test or validation split,\
 {len(dataset.conflicting)} because they carry two labels.

**Weakest landmarks**

| landmark | test photos | precision | recall |
|---|---|---|---|
{rows}

**Limits.** It knows only these landmarks. {known} Confidence is calibrated on photos like those it\
 was trained on.
"""
