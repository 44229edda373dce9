"""`landmarks compare`: the finished runs of an experiment side by side."""

from landmark_ml.config import CompareConfig
from landmark_ml.reports.comparison import (
    ComparisonResult,
    comparison_table,
    readable_table,
    run_comparison,
    verdict,
)


def main(config: CompareConfig) -> None:
    """Print the table and what it shows, and log both as a report."""
    print_comparison(run_comparison(config))


def print_comparison(result: ComparisonResult) -> None:
    """Print the table, the verdict, which runs are not in it and why, and where the report is."""
    comparison = result.comparison
    print(f"\n{readable_table(comparison_table(comparison)).to_string(index=False)}\n")
    print(verdict(comparison))
    for run in comparison.left_out:
        print(f"left out: {run.name} ({run.run_id}): {run.reason}")
    if comparison.caution:
        print(comparison.caution)
    print(f"\nreport  {result.report}")
    print(f"run     {result.location}")
