"""`mlflow run . -e history`: who became champion when, by whom and why."""

from __future__ import annotations

from experiments import cli
from landmark_ml.config import HistoryConfig
from landmark_ml.promotion import tell_history


def main() -> None:
    """Print one line an entry; those in brackets came too late and changed nothing."""
    table, repaired = tell_history(cli.parse(HistoryConfig(), __doc__ or ""))
    for note in repaired:
        print(f"repaired: {note}")
    print(table.to_string(index=False) if len(table) else "nothing has happened yet")


if __name__ == "__main__":
    cli.run(main)
