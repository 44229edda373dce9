"""Whether pip could install what a model asks for, tried without installing anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.registry.gates import FAILED, NOT_CHECKED, PASSED, GateResult

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "requirements"
_ASKED = "pip finds each pinned package for this Python"
_LONGEST_SECONDS = 180
_OFFLINE = (
    "NewConnectionError",
    "Connection refused",
    "ConnectTimeout",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
)
# Of `python -m pip` itself, as in an environment that uv made.
_NO_PIP = "No module named pip"


def check_requirements(requirements: Sequence[str], *, wanted: bool = True) -> GateResult:
    """Ask pip with `--dry-run --no-deps`: the pins are exact, so that finding each is enough.

    Without network or pip nothing is known: the result is then `not checked`, which refuses.
    wanted=False passes the gate and says so.
    """
    if not wanted:
        return GateResult(NAME, PASSED, "skipped on request", _ASKED)
    if not requirements:
        return GateResult(NAME, FAILED, "it lists none", _ASKED)
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "requirements.txt"
        listed.write_text("\n".join(requirements), encoding="utf-8")
        return _result(_ask_pip(listed), requirements)


def _ask_pip(listed: Path) -> tuple[int, str]:
    flags = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--no-input")
    quick = ("--disable-pip-version-check", "--retries", "1", "--timeout", "15")
    command = [sys.executable, "-m", "pip", "install", *flags, *quick, "-r", str(listed)]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command,
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


def _result(answer: tuple[int, str], requirements: Sequence[str]) -> GateResult:
    code, said = answer
    if code == 0:
        return GateResult(NAME, PASSED, f"{len(requirements)} packages can be installed", _ASKED)
    if said.rstrip().endswith(_NO_PIP):
        missing = f"{sys.executable} has no pip"
        hint = "; install it there (`uv pip install pip`), or pass check_requirements=False"
        return GateResult(NAME, NOT_CHECKED, missing + hint, _ASKED)
    lines = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-1:]
    reason = " ".join(lines).replace("ERROR: ", "")[:500]
    if any(sign in said for sign in _OFFLINE):
        hint = "; go online, or pass check_requirements=False"
        return GateResult(NAME, NOT_CHECKED, f"pip reached no index: {reason}{hint}", _ASKED)
    return GateResult(NAME, FAILED, reason, _ASKED)
