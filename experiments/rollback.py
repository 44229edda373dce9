"""`mlflow run . -e rollback -P reason=…`: make the champion before champion again."""

from __future__ import annotations

from experiments import cli
from landmark_ml.config import RollbackConfig


def main() -> None:
    """Move the alias back and say from where to where."""
    config = cli.parse(RollbackConfig(), __doc__ or "")

    from landmark_ml.registry.rollback import roll_back

    result = roll_back(config)
    for note in result.repaired:
        print(f"repaired: {note}")
    entry = result.entry
    before = f"version {result.before}" if result.before else "nobody"
    print(f"champion of {result.name} was {before} and is now version {entry.champion}")
    print(f"history  {entry.number}: {entry.by}, {entry.at}: {entry.reason}")


if __name__ == "__main__":
    cli.run(main)
