"""`landmarks rollback --reason …`: make the champion before champion again."""

from landmark_ml.config import RollbackConfig
from landmark_ml.registry.history import roll_back


def main(config: RollbackConfig) -> None:
    """Move the alias back and say from where to where."""
    champion, entry, repaired = roll_back(config)
    for note in repaired:
        print(f"repaired: {note}")
    before = f"version {champion}" if champion else "none"
    print(f"champion of {config.model} was {before} and is now version {entry.champion}")
    print(f"history  {entry.number}: {entry.by}, {entry.at}: {entry.reason}")
