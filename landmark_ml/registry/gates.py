"""The gates a challenger has to pass; pure: what was measured in, results out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import binomtest

from landmark_ml.data import MANIFEST
from landmark_ml.evaluation.significance import PairedDifference, compare_paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.config import PromoteConfig
    from landmark_ml.evaluation.predictions import Predictions
    from landmark_ml.registry.judged import Judged

Outcome = Literal["passed", "failed", "not checked"]
PASSED: Outcome = "passed"
FAILED: Outcome = "failed"
NOT_CHECKED: Outcome = "not checked"


@dataclass(frozen=True)
class GateResult:
    """One gate: what was asked, what was measured, and whether that is enough.

    Only `passed` lets a challenger through; what was not checked stops it as well.
    """

    name: str
    outcome: Outcome
    measured: str
    asked: str


@dataclass(frozen=True)
class ClassLoss:
    """A landmark on which the champion is right more often: photos only one of the two gets right.

    p: one-sided sign test, Holm's correction over the landmarks on which they differ.
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

    challengers: how many are tried in this promotion; the p asked for is divided by it
    (Bonferroni), because the best of many looks better than it is. Without a champion there is
    nothing to be better than; one that cannot be judged on these photos, or learned from some of
    them, is not beaten on them, and nobody is measured by it.
    """
    gates = [_loads(challenger)]
    if challenger.predictions is None:
        return gates
    if champion is not None and champion.predictions is None:
        said = f"the champion cannot be judged on these photos: {champion.problem}"
        gates.append(GateResult("better top-1", NOT_CHECKED, said, "both judged on the same"))
    elif champion is not None and champion.seen:
        gates.append(_unfair(champion.seen))
    elif champion is not None and champion.predictions is not None:
        alpha = limits.alpha / challengers
        compared = _against(challenger.predictions, champion.predictions, limits, alpha)
        gates += compared if champion.seen == 0 else [_doubted(compared[0]), *compared[1:]]
        gates += _margins(challenger, champion, limits)
    return [*gates, *_budgets(challenger, limits), _unseen(challenger), installable]


def compare_answers(challenger: Predictions, champion: Predictions) -> PairedDifference:
    """Top-1 of a challenger minus that of the champion, photo by photo of a landmark."""
    shows = challenger.shows_landmark
    return compare_paired(challenger.correct[shows], champion.correct[shows])


def class_losses(challenger: Predictions, champion: Predictions) -> list[ClassLoss]:
    """Landmarks on which the two differ, the surest loss first, with Holm's corrected p.

    Sources: Holm, A simple sequentially rejective multiple test procedure, 1979; a sign test on
    the photos of a landmark that only one of the two recognises.
    """
    found: list[ClassLoss] = []
    for label, landmark in enumerate(challenger.classes):
        of_class = challenger.labels == label
        lost = int((of_class & champion.correct & ~challenger.correct).sum())
        won = int((of_class & challenger.correct & ~champion.correct).sum())
        if lost + won:
            p = float(binomtest(lost, lost + won, alternative="greater").pvalue)
            found.append(ClassLoss(landmark, lost, won, p))
    found.sort(key=lambda loss: loss.p)
    corrected = holm([loss.p for loss in found])
    return [
        ClassLoss(loss.landmark, loss.only_champion, loss.only_challenger, p)
        for loss, p in zip(found, corrected, strict=True)
    ]


def holm(ascending: Sequence[float]) -> list[float]:
    """Corrected p of tests sorted by p, the smallest first."""
    count = len(ascending)
    scaled = [min(1.0, p * (count - rank)) for rank, p in enumerate(ascending)]
    return np.maximum.accumulate(scaled).tolist() if scaled else []


def _against(
    challenger: Predictions, champion: Predictions, limits: PromoteConfig, alpha: float
) -> list[GateResult]:
    gap = compare_answers(challenger, champion)
    better = gap.difference > limits.min_gain and gap.mcnemar_p < alpha
    losses = class_losses(challenger, champion)
    worse = [loss for loss in losses if loss.p < limits.class_alpha]
    if worse:
        said = ", ".join(f"{loss.landmark} (p = {loss.p:.2g})" for loss in worse)
    else:
        said = "none" + (f"; nearest {losses[0].landmark}, p = {losses[0].p:.2g}" if losses else "")
    return [
        _gate(
            "better top-1",
            better,
            f"{gap.difference:+.4f} (95% {gap.low:+.4f} to {gap.high:+.4f}), McNemar p ="
            f" {gap.mcnemar_p:.2g}; only it {gap.only_first}, only the champion {gap.only_second}"
            f" of {gap.photos} photos",
            f"a gain above {limits.min_gain:g} with p below {alpha:.2g}",
        ),
        _gate(
            "no landmark worse",
            not worse,
            said,
            f"no landmark with corrected p below {limits.class_alpha:g}",
        ),
    ]


def _unfair(seen: int) -> GateResult:
    """The gate in place of all that compare: who learned from a photo answers it too well."""
    said = (
        f"the champion learned from {seen} of these photos; give data that neither has seen, or a"
        " challenger trained with the data, seed and fractions of the champion, and promote with"
        " those"
    )
    return GateResult("better top-1", NOT_CHECKED, said, "photos that the champion has not seen")


def _doubted(gate: GateResult) -> GateResult:
    said = f"; whether the champion learned from them is not known: its run has no {MANIFEST}"
    return replace(gate, measured=gate.measured + said)


def _margins(challenger: Judged, champion: Judged, limits: PromoteConfig) -> list[GateResult]:
    gap, gap_before = challenger.metrics["gap"], champion.metrics["gap"]
    ece, ece_before = challenger.metrics["ece"], champion.metrics["ece"]
    return [
        _gate(
            "GAP",
            gap >= gap_before - limits.gap_margin,
            f"{gap:.4f} against {gap_before:.4f}",
            f"at most {limits.gap_margin:g} lower",
        ),
        _gate(
            "calibration (ECE)",
            ece <= ece_before + limits.ece_margin,
            f"{ece:.4f} against {ece_before:.4f}",
            f"at most {limits.ece_margin:g} higher",
        ),
    ]


def _budgets(judged: Judged, limits: PromoteConfig) -> list[GateResult]:
    milliseconds = judged.metrics["ms_per_photo"]
    return [
        _gate(
            "latency",
            milliseconds <= limits.max_ms,
            f"{milliseconds:.1f} ms, median of single photos",
            f"at most {limits.max_ms:g} ms on the machine that judges",
        ),
        _gate(
            "size",
            judged.megabytes <= limits.max_mb,
            f"{judged.megabytes:.1f} MB",
            f"at most {limits.max_mb:g} MB",
        ),
    ]


def _loads(judged: Judged) -> GateResult:
    said = judged.problem or ", ".join(judged.pickles) or "loads and answers, no pickle in it"
    passed = judged.predictions is not None and not judged.pickles
    return _gate("loads without pickle", passed, said, "answers with pickle switched off")


def _unseen(judged: Judged) -> GateResult:
    asked = "no test photo among those it learned from"
    if judged.seen is None:
        said = f"its run has no {MANIFEST}"
        return GateResult("unseen photos", NOT_CHECKED, said, asked)
    return _gate("unseen photos", judged.seen == 0, f"{judged.seen} seen in training", asked)


def _gate(name: str, passed: bool, measured: str, asked: str) -> GateResult:
    return GateResult(name, PASSED if passed else FAILED, measured, asked)
