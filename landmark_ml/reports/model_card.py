"""The model card: what a version is, what it can do and where it fails, in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset


@dataclass(frozen=True)
class NetworkFacts:
    """Size and cost of a network: macs are multiply-accumulates of one photo."""

    parameters: int
    macs: int
    resolution: int
    artifact_bytes: int
    has_background: bool


def model_card(
    config: TrainConfig,
    dataset: Dataset,
    facts: NetworkFacts,
    metrics: Mapping[str, float],
    table: pd.DataFrame,
) -> str:
    """Markdown shown on the run and on the registered version; metrics without prefix."""
    sections = [
        f"### {config.backbone}, recipe {config.recipe}",
        f"Recognises {dataset.num_classes} landmarks of `{dataset.name}` in a photo and gives back"
        " where it was taken and which tags suit it.",
        _results(metrics),
        _network(config, facts),
        _data(dataset),
        _weak_classes(table),
        _limits(facts.has_background),
    ]
    return "\n\n".join(sections) + "\n"


def _results(metrics: Mapping[str, float]) -> str:
    rows = [
        (
            "top-1",
            f"{metrics['top1']:.3f} ({metrics['top1_low']:.3f} to {metrics['top1_high']:.3f})",
        ),
        (
            "top-3",
            f"{metrics['top3']:.3f} ({metrics['top3_low']:.3f} to {metrics['top3_high']:.3f})",
        ),
        ("macro F1", f"{metrics['macro_f1']:.3f}"),
        ("calibration error (ECE)", f"{metrics['ece']:.3f}"),
        ("GAP", f"{metrics['gap']:.3f}"),
    ]
    if "auroc" in metrics:
        rows += [
            ("AUROC of landmark or not", f"{metrics['auroc']:.3f}"),
            ("photos of no landmark that are tagged", f"{metrics['distractors_tagged']:.1%}"),
        ]
    body = "\n".join(f"| {name} | {value} |" for name, value in rows)
    counted = f"{metrics['photos']:.0f} photos of landmarks, {metrics['distractors']:.0f} of none"
    return f"| on the test photos ({counted}) | value (95% interval) |\n|---|---|\n{body}"


def _network(config: TrainConfig, facts: NetworkFacts) -> str:
    return (
        f"**Network.** {facts.parameters / 1e6:.1f} million parameters,"
        f" {facts.macs / 1e6:.0f} million multiply-accumulates a photo at {facts.resolution} px,"
        f" {facts.artifact_bytes / 1e6:.1f} MB on disk; initial weights: {config.weights}."
    )


def _data(dataset: Dataset) -> str:
    sides = ", ".join(f"{len(dataset.landmarks(side))} {side}" for side in ("train", "val", "test"))
    return (
        f"**Data.** {sides} photos; {len(dataset.unreadable)} unreadable,"
        f" {len(dataset.leaked)} left out because they (nearly) stand in the test or validation"
        f" photos too, {len(dataset.conflicting)} because they carry two labels."
    )


def _weak_classes(table: pd.DataFrame) -> str:
    weakest = table[table["photos"] > 0].nsmallest(5, "recall")
    columns = ["landmark", "photos", "precision", "recall"]
    rows = [
        f"| {landmark} | {photos} | {precision:.2f} | {recall:.2f} |"
        for landmark, photos, precision, recall in weakest[columns].itertuples(index=False)
    ]
    head = ["| landmark | test photos | precision | recall |", "|---|---|---|---|"]
    return "**Weakest landmarks**\n\n" + "\n".join([*head, *rows])


def _limits(has_background: bool) -> str:
    known = (
        "A photo that shows none of these landmarks is told apart by a background class."
        if has_background
        else "It was trained without photos of no landmark, so it tells those apart poorly."
    )
    return (
        f"**Limits.** It knows only these landmarks. {known} Confidence is calibrated on photos"
        " like those it was trained on."
    )
