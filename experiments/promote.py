"""`mlflow run . -e promote`: judge challengers against the champion, and let the best take over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import cli
from landmark_ml.config import PromoteConfig
from landmark_ml.registry.promote import run_promotion

if TYPE_CHECKING:
    from landmark_ml.registry.promote import PromotionResult
    from landmark_ml.registry.receipt import Verdict


def main() -> None:
    """Print the gates and who is champion; a refusal is an outcome, not a failure."""
    print_promotion(run_promotion(cli.parse(PromoteConfig(), __doc__ or "")))


def print_promotion(result: PromotionResult) -> None:
    """Print what was repaired, each challenger's gates, the outcome, and where the receipt is."""
    for note in result.repaired:
        print(f"repaired: {note}")
    for verdict in result.receipt.verdicts:
        _print_gates(verdict)
    print(f"\n{result.receipt.conclusion}")
    if result.entry is not None:
        name, entry = result.receipt.name, result.entry
        print(f"champion of {name} is now version {entry.champion} (history: {entry.number})")
    print(f"receipt  {result.page}")
    print(f"run      {result.location}")


def _print_gates(verdict: Verdict) -> None:
    print(f"\nversion {verdict.judged.version}")
    for gate in verdict.gates:
        print(f"  {gate.outcome:<12} {gate.name:<22} {gate.measured}")


if __name__ == "__main__":
    cli.run(main)
