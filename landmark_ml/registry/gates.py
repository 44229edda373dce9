"""The gates a challenger must pass: measurements in, results out. Only one does more: it asks pip.

One rule for all: what a promotion is for must be shown, and harm must be shown too. So top-1 on the
landmarks that both models know has to be better by a test; where the challenger knows new ones, the
test has to show that it is not worse by a margin, and the new ones have to be found. A gate against
harm fails when the whole 95% interval of the paired difference is worse than its margin.

To add a gate, append its result in `check_gates`, or in `_compare` if it needs the champion;
receipts and the terminal show it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import binomtest

from landmark_ml.config import PromoteConfig
from landmark_ml.console import listed
from landmark_ml.data import MANIFEST
from landmark_ml.evaluation.metrics import METRICS, bootstrap, shown
from landmark_ml.evaluation.significance import Interval, compare_shares, wilson_interval
from landmark_ml.registry.comparison import (
    Comparison,
    class_losses,
    fewest_photos,
    fewest_wins,
    least_margin,
)

if TYPE_CHECKING:
    from landmark_ml.registry.candidates import Judged

Outcome = Literal["passed", "failed", "not checked", "skipped"]

_LONGEST_SECONDS = 180
_MEGABYTES, _OF_A_LANDMARK = 100.0, 0.02
_OFFLINE = (
    "NewConnectionError",
    "Connection refused",
    "ConnectTimeout",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
)
_UNANSWERED = dict.fromkeys(_OFFLINE, "go online") | {
    "No module named pip": "install it there (`uv pip install pip`)"
}
"""What pip says when it cannot tell, and what to do."""


@dataclass(frozen=True)
class GateResult:
    """One gate: what was asked, what was measured, and whether that is enough.

    `skipped`: it was not asked for, or there are no photos of the kind it is about. `not checked`:
    it cannot be answered, and stops a challenger as `failed` does.
    """

    name: str
    outcome: Outcome
    measured: str
    asked: str

    @property
    def stops(self) -> bool:
        """Whether the challenger is refused."""
        return self.outcome in ("failed", "not checked")


def check_gates(
    challenger: Judged,
    champion: Judged | None,
    comparison: Comparison | None,
    limits: PromoteConfig,
    *,
    alpha: float,
    installable: GateResult,
) -> list[GateResult]:
    """Results of all gates, in the order of the receipt.

    comparison: of the two, None unless both could be judged. alpha: error probability of the test
    that lets the challenger through.
    """
    said = challenger.problem or ", ".join(challenger.pickles) or "loads and answers, no pickle"
    loads = not challenger.problem and not challenger.pickles
    gates = [_gate("loads without pickle", loads, said, "answers with pickle switched off")]
    if challenger.problem:
        return gates
    gates.append(_unseen_photos(challenger))
    if challenger.predictions is None:
        return gates
    if champion is not None:
        gates += _compare(champion, comparison, limits, alpha, challenger.taught_found)
    most = limits.max_mb or _MEGABYTES + _OF_A_LANDMARK * len(challenger.predictions.classes)
    return [
        *gates,
        _gate(
            METRICS["ms_per_photo"].caption,
            challenger.metrics["ms_per_photo"] <= limits.max_ms,
            f"{shown(challenger.metrics, 'ms_per_photo')}, median of single photos",
            f"at most {limits.max_ms:g} ms on the machine that judges",
        ),
        _gate(
            "size",
            challenger.megabytes <= most,
            f"{challenger.megabytes:.1f} MB",
            f"at most {most:g} MB",
        ),
        installable,
    ]


def _unseen_photos(challenger: Judged) -> GateResult:
    asked = "its run says which test photos it learned, and others are left"
    outcome: Outcome = "not checked"
    if challenger.learned is None:
        measured = f"its run has no readable {MANIFEST}"
    elif challenger.predictions is None:
        measured = _none_left(challenger)
    else:
        outcome = "passed"
        measured = f"{challenger.learned} left out, judged on {len(challenger.predictions.photos)}"
    return GateResult("unseen photos", outcome, measured, asked)


def _none_left(judged: Judged) -> str:
    return (
        f"no test photo of a landmark is left to judge it on ({judged.learned or 0} were left out,"
        " learned); add photos of other visits, or give data that it has not seen"
    )


def _compare(
    champion: Judged,
    comparison: Comparison | None,
    limits: PromoteConfig,
    alpha: float,
    taught_found: str,
) -> Iterator[GateResult]:
    """Gates that need the champion on the same photos; taught_found: see `Judged`."""
    if comparison is None:
        said = champion.problem or _none_left(champion)
        measured = f"the champion cannot be judged on these photos: {said}"
        yield GateResult("better top-1", "not checked", measured, "both judged on the same photos")
        return
    yield _top1(comparison, limits, alpha)
    if comparison.removed:
        named = f"no longer knows {listed(comparison.removed, 10)}"
        asked = "every landmark of the champion, or allow_removed=True"
        yield _gate("landmarks kept", limits.allow_removed, named, asked)
    if comparison.added:
        yield from _new_landmarks(comparison, limits, taught_found)
    now, before = comparison.challenger, comparison.champion
    shows = now.shows_landmark
    if shows.any():
        losses = class_losses(comparison)
        worse = [loss for loss in losses if loss.p < limits.class_alpha]
        named = listed([f"{loss.landmark} (p = {loss.p:.2g})" for loss in worse], 10) or "none"
        if losses and not worse:
            named += f"; nearest {losses[0].landmark}, p = {losses[0].p:.2g}"
        asked = f"no landmark with corrected p below {limits.class_alpha:g}"
        yield _gate("no landmark worse", not worse, named, asked)
        for name, difference in bootstrap(now, ("gap", "ece"), against=before).items():
            margin = limits.ece_margin if METRICS[name].lower else limits.gap_margin
            yield _no_harm(METRICS[name].caption, difference, margin, lower=METRICS[name].lower)
    for kind, first, second in (
        ("no landmark", now.accepted[~shows], before.accepted[~shows]),
        (
            "unseen landmarks",
            now.unseen.accepted if now.unseen else shows[:0],
            before.unseen.accepted if before.unseen else shows[:0],
        ),
    ):
        name = f"tags on {kind}"
        if not len(first):
            yield GateResult(name, "skipped", f"no test photo of {kind}", "photos of that kind")
            continue
        shares = f"{first.mean():.1%} of {len(first)} photos, champion {second.mean():.1%}"
        difference = compare_shares(first, second)
        yield _no_harm(name, difference, limits.false_tag_margin, lower=True, said=shares)


def _top1(comparison: Comparison, limits: PromoteConfig, alpha: float) -> GateResult:
    """Better, or with new landmarks not worse, on photos of landmarks that both know."""
    first, second = comparison.right
    photos, margin = len(first), limits.top1_margin
    if comparison.added:
        name, needed = "top-1 not worse", fewest_photos(margin, alpha)
        asked = f"the whole {_percent(alpha)} interval above -{margin:g}, on the landmarks of both"
    else:
        name, needed = "better top-1", fewest_wins(alpha)
        asked = (
            f"one-sided McNemar p below {alpha:.2g}: {needed} photos won and none lost are enough"
        )
    if photos < needed:
        measured = (
            f"{photos} photos are left of landmarks that both know and that neither learned;"
            f" {needed} is the least that can show it"
        )
        if comparison.added and photos:
            least = least_margin(photos, alpha)
            measured += f": add test photos, or accept a top1_margin above {least:.2g}"
        return GateResult(name, "not checked", measured, asked)
    difference = compare_shares(first, second, alpha=alpha)
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(won, won + lost, alternative="greater").pvalue) if won + lost else 1.0
    measured = (
        f"{_spell(difference, alpha)}{'' if comparison.added else f', p = {p:.2g}'}; only it {won},"
        f" only the champion {lost} of {photos} photos"
    )
    return _gate(name, difference.low > -margin if comparison.added else p < alpha, measured, asked)


def _new_landmarks(
    comparison: Comparison, limits: PromoteConfig, taught_found: str
) -> Iterator[GateResult]:
    new, now = comparison.new, comparison.challenger
    name, asked = "new landmarks found", f"at least {limits.min_new_found:.0%} tagged right"
    if not limits.min_new_found:
        yield GateResult(name, "skipped", "min_new_found is 0", asked)
    elif new is None and taught_found:
        # A taught landmark has no test photos: each of its photos was looked for by the others.
        right, asked_for = map(int, taught_found.split(" of "))
        measured = f"{taught_found} photos that it was taught by, each by the others"
        enough = asked_for > 0 and right >= limits.min_new_found * asked_for
        yield _gate(name, enough, measured, asked)
    elif new is None:
        measured = (
            f"no test photo of {listed(comparison.added, 10)}; add photos of them, or pass"
            " min_new_found=0"
        )
        yield GateResult(name, "not checked", measured, asked)
    else:
        found, labels = new.correct & new.accepted, new.labels
        measured = f"{found.sum()} of {len(found)} photos"
        tested = {new.classes[label] for label in labels}
        shares = np.bincount(labels, found) / np.maximum(np.bincount(labels), 1)
        worst = min(np.unique(labels), key=lambda label: shares[label])
        if len(tested) > 1:
            some = found[labels == worst]
            measured += f", fewest of {new.classes[worst]} ({some.sum()} of {len(some)})"
        if untested := sorted(set(comparison.added) - tested):
            measured += f"; no test photo of {listed(untested, 10)}"
        yield _gate(name, found.mean() >= limits.min_new_found, measured, asked)
    is_added = np.isin(now.classes, comparison.added)
    shows = now.shows_landmark
    taken = now.accepted & is_added[now.best]
    count, photos = int(taken.sum()), len(taken)
    if not photos:
        return
    low, _ = wilson_interval(count, photos)
    measured = (
        f"{taken[shows].sum()} of {shows.sum()} photos of other landmarks, {taken[~shows].sum()} of"
        f" {(~shows).sum()} of no landmark; {count / photos:.1%} (95% from {low:.1%})"
    )
    asked = f"not surely above {limits.max_new_taken:.1%}"
    yield _gate("taken for new landmarks", low <= limits.max_new_taken, measured, asked)


def _no_harm(
    name: str, difference: Interval, margin: float, *, lower: bool, said: str = ""
) -> GateResult:
    """A gate that fails when a model is surely worse than another by more than a margin."""
    least = difference.low if lower else -difference.high
    measured = _spell(difference, 0.025) + (f"; {said}" if said else "")
    asked = f"not surely more than {margin:g} {'higher' if lower else 'lower'}"
    return _gate(name, least <= margin, measured, asked)


def _spell(difference: Interval, alpha: float) -> str:
    value, low, high = difference
    return f"{value:+.4f} ({_percent(alpha)} {low:+.4f} to {high:+.4f})"


def _percent(alpha: float) -> str:
    """Level of the interval both ends of which err with probability alpha, never shown as 100%."""
    return f"{100 - float(f'{200 * alpha:.2g}'):.15g}%"


def _gate(name: str, passed: bool, measured: str, asked: str) -> GateResult:
    return GateResult(name, "passed" if passed else "failed", measured, asked)


def check_requirements(requirements: Sequence[str], *, wanted: bool = True) -> GateResult:
    """Ask pip with `--dry-run --no-deps`: the pins are exact, so finding each is enough.

    Without a network or pip the result is `not checked`, which refuses. wanted=False skips it.
    """

    def result(outcome: Outcome, measured: str) -> GateResult:
        return GateResult("requirements", outcome, measured, "pip finds each pinned package")

    if not wanted:
        return result("skipped", "check_requirements is off")
    if not requirements:
        return result("failed", "the model lists none")
    code, said = ask_pip(requirements)
    if code == 0:
        return result("passed", f"{len(requirements)} packages can be installed")
    lines = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-1:]
    reason = " ".join(lines).replace("ERROR: ", "")[:500]
    for sign, fix in _UNANSWERED.items():
        if sign in said:
            return result("not checked", f"{reason}; {fix}, or pass check_requirements=False")
    return result("failed", reason)


def ask_pip(requirements: Sequence[str]) -> tuple[int, str]:
    """Exit code and messages of a pip that looks for requirements of this Python."""
    flags = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--no-input")
    quick = ("--disable-pip-version-check", "--retries", "1", "--timeout", "15")
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "pip", "install", *flags, *quick, *requirements],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_SECONDS,
            # Nothing is installed, so a Python that the system manages need not object.
            env=os.environ | {"PIP_BREAK_SYSTEM_PACKAGES": "1"},
        )
    except subprocess.TimeoutExpired:
        return 1, f"ConnectTimeout: no answer in {_LONGEST_SECONDS} s"
    return done.returncode, done.stderr
