"""`python -m tests.registry.promoting_process URI NAME VERSION FILE [WRITES]`: one promotion.

Waits for the file, so that several start together; WRITES: is killed before its n-th write.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mlflow.tracking import MlflowClient

from landmark_ml.registry.history import AliasHistory, ConflictError
from tests.registry.registered_models import Dying


class Doomed(Dying):
    """A client whose whole process gets SIGKILL before its n-th write."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    uri, name, version, file, *writes = sys.argv[1:]
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    since, _ = AliasHistory(name, client).reconcile()
    # By now all is imported and the evidence is gathered.
    say("ready")
    while not Path(file).exists():
        time.sleep(0.002)
    using: Any = Doomed(client, int(writes[0])) if writes else client
    try:
        AliasHistory(name, using).move("promote", int(version), since, f"by process {version}")
    except ConflictError:
        say("too late")
    else:
        say("won")


if __name__ == "__main__":
    main()
