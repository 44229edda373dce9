"""Compare the runs of an experiment and leave the table and the report in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from landmark_ml.reports.comparison import compare_runs, comparison_table, verdict
from landmark_ml.reports.comparison_page import render_report
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import Order, read_evaluated_runs

if TYPE_CHECKING:
    from landmark_ml.config import CompareConfig
    from landmark_ml.reports.comparison import Comparison, Pair

REPORT = "comparison.html"


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """What was compared, and where the run and the HTML report are."""

    run_id: str
    location: str
    report: str
    comparison: Comparison


def run_comparison(config: CompareConfig) -> ComparisonResult:
    """Read the runs, compare those judged on the same photos, and log what came of it.

    Raises ValueError when the experiment does not exist or holds nothing to show.
    """
    with tracking.start_run(config, "compare", {"kind": "compare"}) as run:
        experiment = config.experiment or run.experiment
        # The configuration allows no other order.
        order = cast(Order, config.order)
        read = read_evaluated_runs(experiment, config.filter, config.most, order)
        comparison = compare_runs(
            experiment, read.runs, read.left_out, seed=config.seed, caution=read.caution
        )
        run.log_table(comparison_table(comparison), "comparison")
        run.log_text(render_report(comparison), REPORT)
        run.set_tags({"test_digest": comparison.test_digest})
        run.describe(f"{verdict(comparison)} {comparison.caution}".strip())
        if comparison.pair is not None:
            run.log_metrics(_pair_metrics(comparison.pair))
            run.log_table(comparison.pair.classes, "landmarks_of_the_best_two")
        return ComparisonResult(run.run_id, run.location, run.artifact_uri(REPORT), comparison)


def _pair_metrics(pair: Pair) -> dict[str, float]:
    gap = pair.difference
    return {
        "compare/difference": gap.difference,
        "compare/difference_low": gap.low,
        "compare/difference_high": gap.high,
        "compare/share_first_ahead": gap.share_first_ahead,
        "compare/mcnemar_p": gap.mcnemar_p,
    }
