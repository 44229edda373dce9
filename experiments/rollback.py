"""`mlflow run . -e rollback -P reason=…`: make the champion before champion again."""

from experiments import cli
from landmark_ml.config import RollbackConfig


def main() -> None:
    """Move the alias back and say from where to where."""
    config = cli.parse(RollbackConfig(), __doc__ or "")

    from landmark_ml.registry.history import roll_back

    champion, entry, repaired = roll_back(config)
    for note in repaired:
        print(f"repaired: {note}")
    before = f"version {champion}" if champion else "none"
    print(f"champion of {config.name} was {before} and is now version {entry.champion}")
    print(f"history  {entry.number}: {entry.by}, {entry.at}: {entry.reason}")


if __name__ == "__main__":
    cli.run(main)
