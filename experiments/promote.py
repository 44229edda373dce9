"""`landmarks promote`: judge challengers against the champion, and let the best take over."""

from landmark_ml.config import PromoteConfig
from landmark_ml.registry.promote import explain, run_promotion


def main(config: PromoteConfig) -> None:
    """Print what was repaired, each challenger's gates, the outcome, and where the receipt is.

    A refusal is an outcome, not a failure.
    """
    result = run_promotion(config)
    for note in result.repaired:
        print(f"repaired: {note}")
    for verdict in result.receipt.verdicts:
        print(f"\nversion {verdict.judged.version}")
        for line in explain(verdict, result.receipt):
            print(f"  {line}")
        for gate in verdict.gates:
            print(f"  {gate.outcome:<12} {gate.name:<24} {gate.measured}")
    print(f"\n{result.receipt.conclusion}")
    if result.entry is not None:
        name, entry = result.receipt.name, result.entry
        print(f"champion of {name} is now version {entry.champion} (history: {entry.number})")
    print(f"receipt  {result.page}")
    print(f"run      {result.location}")
