"""`landmarks evaluate`: judge a registered model on photos it was not trained on."""

import json

import pandas as pd

from landmark_ml.config import EvaluateConfig
from landmark_ml.evaluation.report import EvaluationResult, run_evaluation, summary_table


def main(config: EvaluateConfig) -> None:
    """Ask the model, measure, log, and print what came of it."""
    result = run_evaluation(config)
    if config.json:
        print(to_json(result))
    else:
        print_evaluation(result)


def to_json(result: EvaluationResult) -> str:
    """Every metric, which photos they are of, and where page and run are; NaN is null."""
    content = {
        "model": result.model,
        "data": result.photos.dataset.name,
        "metrics": json.loads(pd.Series(result.report.metrics).to_json(double_precision=15)),
        "left_out": result.photos.left_out,
        "not_known": result.photos.unchecked,
        "page": result.page,
        "run_id": result.run_id,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def print_evaluation(result: EvaluationResult) -> None:
    """Print the table of measures, which photos they are of, and where the page is."""
    metrics, photos = result.report.metrics, result.photos
    rows = summary_table(result.report)
    width = max(len(name) for name, _ in rows)
    print(f"\n{result.model} on {metrics['photos']:.0f} landmark photos and", end=" ")
    print(f"{metrics['distractors']:.0f} without a landmark ({photos.dataset.name})")
    if photos.left_out:
        print(
            f"left out: {photos.left_out} photos the model was trained on or chosen by, copies too"
        )
    if photos.unchecked:
        print(f"not known: {photos.unchecked}")
    print()
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    print(f"\npage  {result.page}")
    print(f"run   {result.location}")
