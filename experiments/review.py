"""`landmarks review`: look over what `tag` said of a library, and correct it."""

import contextlib
import logging

from landmark_ml.config import ReviewConfig
from serving.review import serve_review


def main(config: ReviewConfig) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    # A line for every picture would bury all else.
    logging.getLogger("serving.app.application").setLevel(logging.WARNING)
    said = "\nthe page   {0}\nCtrl-C ends it"
    # Ending on a signal is success: a supervisor must not count it as a failure.
    with contextlib.suppress(KeyboardInterrupt):
        serve_review(config, lambda address: print(said.format(address), flush=True))
