"""`landmarks tune`: search for a better training configuration."""

from experiments.train import interval
from landmark_ml.config import TuneConfig
from landmark_ml.tuning import run_tuning


def main(config: TuneConfig) -> None:
    """Search, and say what was found and how to train it again."""
    result = run_tuning(config)
    counts = ", ".join(f"{count} {state}" for state, count in result.counts.items())
    winner = result.winner
    print(f"\nstudy       {result.study}: {counts}")
    print(f"best        val top-1 {result.best_top1:.3f} in trial {winner.trial}")
    if not winner.trial:
        print("            no trial was better than the first, the configuration you have")
    for name, value in result.params.items():
        print(f"            {name} {value}")
    print(f"test top-1  {interval(winner.metrics, 'top1')}")
    print(f"run         {result.location}")
    if winner.registered:
        print(f"registered  {winner.registered} version {winner.version} is the challenger")
    print(f"\nagain:\n  {result.command}")
