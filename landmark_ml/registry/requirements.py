"""Whether pip could install what a model requires, tried without installing anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.registry.gates import GateResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.registry.gates import Outcome

_LONGEST_SECONDS = 180
_OFFLINE = (
    "NewConnectionError",
    "Connection refused",
    "ConnectTimeout",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
)


def check_requirements(requirements: Sequence[str], *, wanted: bool = True) -> GateResult:
    """Ask pip with `--dry-run --no-deps`: the pins are exact, so finding each is enough.

    Without a network or pip the result is `not checked`, which refuses. wanted=False passes the
    gate and says so.
    """

    def result(outcome: Outcome, measured: str) -> GateResult:
        return GateResult("requirements", outcome, measured, "pip finds each pinned package")

    if not wanted:
        return result("passed", "skipped on request")
    if not requirements:
        return result("failed", "the model lists none")
    code, said = ask_pip(requirements)
    if code == 0:
        return result("passed", f"{len(requirements)} packages can be installed")
    if said.rstrip().endswith("No module named pip"):
        return result(
            "not checked",
            f"{sys.executable} has no pip; install it there (`uv pip install pip`), or pass"
            " check_requirements=False",
        )
    lines = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-1:]
    reason = " ".join(lines).replace("ERROR: ", "")[:500]
    if any(sign in said for sign in _OFFLINE):
        return result(
            "not checked",
            f"pip reached no index: {reason}; go online, or pass check_requirements=False",
        )
    return result("failed", reason)


def ask_pip(requirements: Sequence[str]) -> tuple[int, str]:
    """Exit code and messages of a pip that looks for requirements of this Python."""
    flags = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--no-input")
    quick = ("--disable-pip-version-check", "--retries", "1", "--timeout", "15")
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text("\n".join(requirements), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-m", "pip", "install", *flags, *quick, "-r", str(listed)],
                capture_output=True,
                text=True,
                check=False,
                timeout=_LONGEST_SECONDS,
                # Nothing is installed, so a Python that the system manages need not object.
                env=os.environ | {"PIP_BREAK_SYSTEM_PACKAGES": "1"},
            )
        except subprocess.TimeoutExpired:
            return 1, f"{_OFFLINE[0]}: no answer in {_LONGEST_SECONDS} s"
    return done.returncode, done.stderr
