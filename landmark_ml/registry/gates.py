"""The gates a challenger must pass: measurements in, results out. Only one does more: it asks pip.

To add a gate, append its result in `check_gates`, or in `_compare` if it needs the champion;
receipts and the terminal show it. `Judged.metrics` lacks a metric that is undefined on the photos,
such as `auroc` without distractors; the outcome of its gate is then `not checked`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from landmark_ml.config import PromoteConfig
from landmark_ml.data import MANIFEST
from landmark_ml.evaluation.metrics import METRICS, shown
from landmark_ml.evaluation.significance import (
    PairedDifference,
    compare_paired,
    differences_by_class,
)

if TYPE_CHECKING:
    from landmark_ml.evaluation.judge import Predictions
    from landmark_ml.registry.candidates import Judged

Outcome = Literal["passed", "failed", "not checked"]

_LONGEST_SECONDS = 180
_OFFLINE = (
    "NewConnectionError",
    "Connection refused",
    "ConnectTimeout",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
)


@dataclass(frozen=True)
class GateResult:
    """One gate: what was asked, what was measured, and whether that is enough.

    Only `passed` lets a challenger through; `not checked` stops it as well.
    """

    name: str
    outcome: Outcome
    measured: str
    asked: str


@dataclass(frozen=True)
class ClassLoss:
    """How many photos of a landmark only one of the two models gets right.

    p: of a one-sided sign test that the challenger is worse, corrected (Holm) for the number of
    landmarks on which they differ.
    """

    landmark: str
    only_champion: int
    only_challenger: int
    p: float


def check_gates(
    challenger: Judged,
    champion: Judged | None,
    limits: PromoteConfig,
    *,
    challengers: int,
    installable: GateResult,
) -> list[GateResult]:
    """Results of all gates, in the order of the receipt.

    challengers: how many are tried in this promotion. The required p is divided by it
    (Bonferroni), because the best of many looks better than it is. No challenger is compared with a
    champion that cannot be judged on these photos or that learned from some of them.
    """
    said = challenger.problem or ", ".join(challenger.pickles) or "loads and answers, no pickle"
    loads = challenger.predictions is not None and not challenger.pickles
    gates = [_gate("loads without pickle", loads, said, "answers with pickle switched off")]
    if challenger.predictions is None:
        return gates
    if champion is not None:
        gates += _compare(challenger, champion, limits, limits.alpha / challengers)
    gates += [
        _gate(
            METRICS["ms_per_photo"].caption,
            challenger.metrics["ms_per_photo"] <= limits.max_ms,
            f"{shown(challenger.metrics, 'ms_per_photo')}, median of single photos",
            f"at most {limits.max_ms:g} ms on the machine that judges",
        ),
        _gate(
            "size",
            challenger.megabytes <= limits.max_mb,
            f"{challenger.megabytes:.1f} MB",
            f"at most {limits.max_mb:g} MB",
        ),
    ]
    unseen = _gate(
        "unseen photos",
        challenger.seen == 0,
        f"{challenger.seen} seen in training",
        "no test photo among those it learned from",
    )
    if challenger.seen is None:
        unseen = replace(unseen, outcome="not checked", measured=f"its run has no {MANIFEST}")
    return [*gates, unseen, installable]


def compare_answers(challenger: Predictions, champion: Predictions) -> PairedDifference:
    """Top-1 of a challenger minus that of the champion, on the same landmark photos."""
    shows = challenger.shows_landmark
    return compare_paired(challenger.correct[shows], champion.correct[shows])


def compare_classes(challenger: Predictions, champion: Predictions) -> pd.DataFrame:
    """The table of `differences_by_class`, the challenger being the first model."""
    shows = challenger.shows_landmark
    return differences_by_class(
        [challenger.classes[label] for label in challenger.labels[shows]],
        challenger.correct[shows],
        champion.correct[shows],
    )


def class_losses(challenger: Predictions, champion: Predictions) -> list[ClassLoss]:
    """Landmarks on which the two differ, the most certain loss first.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    found: list[ClassLoss] = []
    for landmark, _, won, lost in compare_classes(challenger, champion).itertuples(index=False):
        if lost + won:
            p = float(binomtest(lost, lost + won, alternative="greater").pvalue)
            found.append(ClassLoss(landmark, lost, won, p))
    found.sort(key=lambda loss: loss.p)
    corrected = holm([loss.p for loss in found])
    return [replace(loss, p=p) for loss, p in zip(found, corrected, strict=True)]


def holm(ascending: Sequence[float]) -> list[float]:
    """Corrected p of tests sorted by p, the smallest first."""
    count = len(ascending)
    scaled = [min(1.0, p * (count - rank)) for rank, p in enumerate(ascending)]
    return np.maximum.accumulate(scaled).tolist() if scaled else []


def _compare(
    challenger: Judged, champion: Judged, limits: PromoteConfig, alpha: float
) -> list[GateResult]:
    """Gates that need the champion on the same photos."""
    if challenger.predictions is None or champion.predictions is None:
        said = f"the champion cannot be judged on these photos: {champion.problem}"
        return [GateResult("better top-1", "not checked", said, "both judged on the same photos")]
    if champion.seen:
        # A model answers photos that it learned from better than any others.
        said = (
            f"the champion learned from {champion.seen} of these photos; give data that neither"
            " has seen, or a challenger trained with the data, seed and fractions of the champion,"
            " and promote with those"
        )
        asked = "photos that the champion has not seen"
        return [GateResult("better top-1", "not checked", said, asked)]
    pair = compare_answers(challenger.predictions, champion.predictions)
    gain = (
        f"{pair.difference:+.4f} (95% {pair.low:+.4f} to {pair.high:+.4f}), McNemar p ="
        f" {pair.mcnemar_p:.2g}; only it {pair.only_first}, only the champion {pair.only_second}"
        f" of {pair.photos} photos"
    )
    if champion.seen is None:
        gain += f"; its run has no {MANIFEST}, so the champion may have learned from them"
    losses = class_losses(challenger.predictions, champion.predictions)
    worse = [loss for loss in losses if loss.p < limits.class_alpha]
    loss_said = ", ".join(f"{loss.landmark} (p = {loss.p:.2g})" for loss in worse) or "none"
    if losses and not worse:
        loss_said += f"; nearest {losses[0].landmark}, p = {losses[0].p:.2g}"
    now, before = challenger.metrics, champion.metrics
    return [
        _gate(
            "better top-1",
            pair.difference > limits.min_gain and pair.mcnemar_p < alpha,
            gain,
            f"a gain above {limits.min_gain:g} with p below {alpha:.2g}",
        ),
        _gate(
            "no landmark worse",
            not worse,
            loss_said,
            f"no landmark with corrected p below {limits.class_alpha:g}",
        ),
        _gate(
            METRICS["gap"].caption,
            now["gap"] >= before["gap"] - limits.gap_margin,
            f"{now['gap']:.4f} against {before['gap']:.4f}",
            f"at most {limits.gap_margin:g} lower",
        ),
        _gate(
            METRICS["ece"].caption,
            now["ece"] <= before["ece"] + limits.ece_margin,
            f"{now['ece']:.4f} against {before['ece']:.4f}",
            f"at most {limits.ece_margin:g} higher",
        ),
    ]


def _gate(name: str, passed: bool, measured: str, asked: str) -> GateResult:
    return GateResult(name, "passed" if passed else "failed", measured, asked)


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
