"""Runs side by side: which were judged on the same photos, their table, the best two, the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import mlflow
import pandas as pd

from landmark_ml.config import CompareConfig
from landmark_ml.evaluation.metrics import METRICS
from landmark_ml.evaluation.significance import (
    Interval,
    compare_shares,
    differences_by_class,
    landmark_wins,
    mcnemar_p,
    wilson_interval,
)
from landmark_ml.figures.html import render
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import (
    EvaluatedRun,
    LeftOut,
    differing_params,
    read_evaluated_runs,
)

REPORT = "comparison.html"
_SIGNIFICANT = 0.05
COMPARED = [name for name, metric in METRICS.items() if metric.on == "comparisons"]
"""Metrics with a column of their own."""


@dataclass(frozen=True, eq=False)
class Pair:
    """The best two runs, compared photo by photo; classes: the table of `differences_by_class`.

    difference: in top-1, with its 95% interval. mcnemar_p: of no difference.
    """

    first: EvaluatedRun
    second: EvaluatedRun
    difference: Interval
    mcnemar_p: float
    classes: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs judged on the same test photos, best first; `pair` is None with one run alone.

    caution: says which runs were not even looked at; empty when all were.
    """

    experiment: str
    test_digest: str
    runs: tuple[EvaluatedRun, ...]
    left_out: tuple[LeftOut, ...]
    pair: Pair | None
    caution: str = ""

    @property
    def photos(self) -> int:
        """Test photos of a landmark that every run was judged on."""
        return len(self.runs[0].answers)


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What was compared, and where the run and the HTML report are."""

    run_id: str
    location: str
    report: str
    comparison: Comparison


def run_comparison(config: CompareConfig) -> ComparisonResult:
    """Read the runs, compare those judged on the same photos, and log the outcome to a run.

    Raises ValueError when the experiment does not exist or holds nothing to show: then there is no
    run.
    """
    tracking.connect()
    experiment = config.experiment or tracking.current_experiment()
    read = read_evaluated_runs(experiment, config.filter, config.most)
    comparison = compare_runs(experiment, read.runs, read.left_out, read.caution)
    with tracking.start_run(config, f"compare-{experiment}", {"kind": "compare"}) as run:
        run.log_table(comparison_table(comparison), "comparison")
        mlflow.log_text(render_report(comparison), REPORT)
        run.set_tags({"test_digest": comparison.test_digest})
        run.describe(f"{verdict(comparison)} {comparison.caution}".strip())
        if pair := comparison.pair:
            found = {"difference": pair.difference.value, "mcnemar_p": pair.mcnemar_p}
            run.log_metrics({f"compare/{name}": value for name, value in found.items()})
            run.log_table(pair.classes, "landmarks_of_the_best_two")
        page = mlflow.get_artifact_uri(REPORT)
        return ComparisonResult(run.run_id, run.location, page, comparison)


def compare_runs(
    experiment: str,
    runs: Sequence[EvaluatedRun],
    left_out: Sequence[LeftOut] = (),
    caution: str = "",
) -> Comparison:
    """Compare the largest group of runs with the same test photos; the newer of equal groups.

    Runs of the other groups join those left out. Raises ValueError without runs.
    """
    if not runs:
        reasons = "; ".join(f"{run.name} ({run.run_id}): {run.reason}" for run in left_out)
        raise ValueError(
            f"no run of experiment {experiment!r} can be compared: {reasons or 'there is none'}"
        )
    groups: dict[str, list[EvaluatedRun]] = defaultdict(list)
    for run in runs:
        groups[run.test_digest].append(run)
    chosen = max(groups.values(), key=lambda group: (len(group), max(run.started for run in group)))
    digest = chosen[0].test_digest
    others = [
        LeftOut(
            run.name,
            run.run_id,
            "judged on other test photos; compare those with filter"
            f" \"tags.test_digest = '{run.test_digest}'\"",
        )
        for run in runs
        if run.test_digest != digest
    ]
    ranked = sorted(
        chosen, key=lambda run: (-run.metric("test/top1"), -run.metric("test/top3"), -run.started)
    )
    pair = pair_runs(ranked[0], ranked[1]) if len(ranked) > 1 else None
    return Comparison(experiment, digest, tuple(ranked), (*others, *left_out), pair, caution)


def pair_runs(first: EvaluatedRun, second: EvaluatedRun) -> Pair:
    """Compare two runs of one test_digest photo by photo."""
    one, other = (
        run.answers.sort_values("sha256", kind="stable", ignore_index=True)
        for run in (first, second)
    )
    right = one["correct"].to_numpy(), other["correct"].to_numpy()
    classes = differences_by_class(one["label"].tolist(), *right)
    return Pair(first, second, compare_shares(*right), mcnemar_p(*right), classes)


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a run, best first; shares as 0 to 1, `artifact_mb` in 10^6 bytes."""
    rows = []
    for rank, run in enumerate(comparison.runs, start=1):
        right = run.answers["correct"]
        low, high = wilson_interval(int(right.sum()), len(right))
        rows.append(
            {
                "rank": rank,
                "run": run.name,
                "run_id": run.run_id,
                "recipe": run.recipe,
                "backbone": run.backbone,
                "parameters": run.parameters,
                "macs": run.macs,
                "train_minutes": run.metric("train_seconds") / 60,
                **{name: run.metric(f"test/{name}") for name in COMPARED},
                "top1_low": low,
                "top1_high": high,
                "artifact_mb": run.artifact_bytes / 1e6,
            }
        )
    return pd.DataFrame(rows)


def readable_table(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison table as a person reads it: text in every cell, `n/a` for what is unknown."""

    def text(name: str, form: str, scale: float = 1.0) -> list[str]:
        return ["n/a" if pd.isna(cell) else form.format(cell / scale) for cell in table[name]]

    measured = {METRICS[name].caption: text(name, METRICS[name].form) for name in COMPARED}
    ends = zip(text("top1_low", "{:.3f}"), text("top1_high", "{:.3f}"), strict=True)
    return pd.DataFrame(
        {
            "#": table["rank"].astype(str),
            "run": table["run"],
            "recipe": table["recipe"].replace("", "n/a"),
            "backbone": table["backbone"].replace("", "n/a"),
            "parameters": text("parameters", "{:.1f} M", 1e6),
            "MACs": text("macs", "{:.0f} M", 1e6),
            "train min": text("train_minutes", "{:.1f}"),
            "top-1": measured.pop("top-1"),
            "95% interval": [" to ".join(pair) for pair in ends],
            **measured,
            "MB": text("artifact_mb", "{:.1f}"),
        }
    )


def verdict(comparison: Comparison) -> str:
    """One sentence: which run is best, and whether the next is really worse."""
    best = comparison.runs[0]
    if comparison.pair is None:
        return f"Only {best.name} was judged on these photos: there is nothing to compare it with."
    second, paired = comparison.pair.second, comparison.pair.difference
    p = comparison.pair.mcnemar_p
    interval = f"95% {paired.low:+.3f} to {paired.high:+.3f}, McNemar p = {p:.2g}"
    if p < _SIGNIFICANT:
        return f"#1 {best.name} beats #2 {second.name} by {paired.value:.3f} top-1 ({interval})."
    return (
        f"#1 {best.name} and #2 {second.name} cannot be told apart on {comparison.photos:,} photos:"
        f" the difference in top-1 is {paired.value:.3f} ({interval})."
    )


def render_report(comparison: Comparison, made: datetime | None = None) -> str:
    """HTML of a comparison; nothing is fetched."""
    table = comparison_table(comparison)
    pair = comparison.pair
    return render(
        REPORT,
        made,
        comparison=comparison,
        verdict=verdict(comparison),
        differing=differing_params([run.params for run in comparison.runs]),
        ranks=[f"#{rank}" for rank in table["rank"]],
        pages=[tracking.page_of(run.run_id, run.experiment_id) for run in comparison.runs],
        table=readable_table(table),
        meanings=[METRICS[name] for name in COMPARED],
        wins=landmark_wins(pair.classes, "#1", "#2") if pair else None,
    )
