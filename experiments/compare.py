"""`mlflow run . -e compare`: the finished runs of an experiment side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import cli
from landmark_ml.config import CompareConfig

if TYPE_CHECKING:
    from landmark_ml.reports.comparison import ComparisonResult


def main() -> None:
    """Print the table and what it shows, and log both as a report."""
    config = cli.parse(CompareConfig(), __doc__ or "")

    from landmark_ml.reports.comparison import run_comparison

    print_comparison(run_comparison(config))


def print_comparison(result: ComparisonResult) -> None:
    """Print the table, the verdict, which runs are not in it and why, and where the report is."""
    from landmark_ml.reports.comparison import comparison_table, readable_table, verdict

    comparison = result.comparison
    print(f"\n{readable_table(comparison_table(comparison)).to_string(index=False)}\n")
    print(verdict(comparison))
    for run in comparison.left_out:
        print(f"left out: {run.name} ({run.run_id}): {run.reason}")
    if comparison.caution:
        print(comparison.caution)
    print(f"\nreport  {result.report}")
    print(f"run     {result.location}")


if __name__ == "__main__":
    cli.run(main)
