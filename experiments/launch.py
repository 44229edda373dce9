"""Start an entry point again in several processes, as `torchrun` on the command line would."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from landmark_ml.inference.runtime import usable_cpus
from landmark_ml.training.processes import started_by_torchrun


def share_among(processes: int) -> None:
    """Go on in so many processes of this machine; return where it is one, or torchrun's already.

    This process becomes torchrun, so that MLflow, Ctrl-C and exit status stay what they are.
    """
    if processes > 1 and not started_by_torchrun():
        _become_torchrun(processes, sys.modules["__main__"].__spec__)


def _become_torchrun(processes: int, entry_point: object) -> NoReturn:
    module = getattr(entry_point, "name", None)
    if module is None:
        raise ValueError(
            f"processes={processes} needs an entry point that Python can start again; call it as"
            " python -m experiments.<name>, or start it with torchrun"
        )
    # Without a number torchrun gives each one core, and says so at length.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // processes)))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launcher, "-m", module, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module
