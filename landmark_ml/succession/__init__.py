"""Who is champion, who was before, and why: an append-only history and the aliases it rules."""

from landmark_ml.succession.aliases import OvertakenError, Succession
from landmark_ml.succession.entry import Entry, Kind, counted, rolled_back
from landmark_ml.succession.history import history_name
from landmark_ml.succession.registered import CHALLENGER, CHAMPION, PREVIOUS

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "Entry",
    "Kind",
    "OvertakenError",
    "Succession",
    "counted",
    "history_name",
    "rolled_back",
]
