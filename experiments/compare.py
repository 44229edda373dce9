"""`landmarks compare`: the finished runs of an experiment side by side."""

import json
from dataclasses import asdict

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
    result = run_comparison(config)
    if config.json:
        print(to_json(result))
    else:
        print_comparison(result)


def to_json(result: ComparisonResult) -> str:
    """What `print_comparison` prints; a number that was not recorded is null."""
    comparison = result.comparison
    content = {
        "runs": json.loads(comparison_table(comparison).to_json(orient="records")),
        "verdict": verdict(comparison),
        "left_out": [asdict(run) for run in comparison.left_out],
        "caution": comparison.caution,
        "report": result.report,
        "run_id": result.run_id,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


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
