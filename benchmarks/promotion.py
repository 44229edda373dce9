"""`python -m benchmarks.promotion`: how often the gates of a promotion err, on made-up answers.

Photos differ in how hard they are, and two models find the same ones hard, so that two equally good
models of top-1 0.93 disagree on 5% of the photos, as two trainings of a recipe do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binom, norm
from tqdm.auto import tqdm

from benchmarks.tables import arguments, table, tell
from landmark_ml.config import PromoteConfig
from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import Floats, bootstrap
from landmark_ml.evaluation.significance import compare_shares
from landmark_ml.registry import gates
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.comparison import Comparison, Spending

SIZES = (522, 180)
PROMOTIONS = 20
LIMITS = PromoteConfig()
GUARDS = ("GAP", "ECE", "tags on no landmark")
CHALLENGERS = {
    "as good": {},
    "3 points less top-1": {"ease": -0.55},
    "6 points less top-1": {"ease": -1.0},
    "confidence too low, ECE 0.04": {"sharpness": 0.7},
    "confidence too low, ECE 0.09": {"sharpness": 0.5},
    "tags 4% of photos of no landmark": {"tagged": 0.04},
    "tags 8% of photos of no landmark": {"tagged": 0.08},
}
USES = (0, 1, 4, 19)
"""Earlier promotions on the same photos."""
BETTER, NOT_WORSE = (0.0, 0.22, 0.48, 0.8), (0.0, -0.22, -0.55)
"""How much easier a challenger finds every photo, in logits."""
_EASE, _SPREAD, _NOISE, _AGREEMENT = 4.1, 2.0, 0.7, 0.9
_LANDMARKS, _RESAMPLES = 50, 1000
_INSTALLABLE = gates.GateResult("requirements", "skipped", "", "")


def made_up_models(
    rng: np.random.Generator,
    photos: int,
    *,
    others: int = 0,
    ease: float = 0.0,
    sharpness: float = 1.0,
    tagged: float = 0.02,
) -> Comparison:
    """A challenger beside a champion, on `photos` photos of landmarks and `others` of no landmark.

    ease: how much easier (logit) the challenger finds a photo. sharpness: factor on the logit of
    its confidence. tagged: share of photos of no landmark that it tags; the champion tags 2%.
    """
    hard, luck = rng.normal(_EASE, _SPREAD, photos), rng.normal(size=photos)
    other, likeness = rng.normal(-1, 1, others), rng.normal(size=others)
    labels = np.r_[np.arange(photos) % _LANDMARKS, np.full(others, NOT_A_LANDMARK)]
    both = []
    for more, factor, share in ((ease, sharpness, tagged), (0.0, 1.0, 0.02)):
        logit = hard + more + _NOISE * rng.normal(size=photos)
        right = _alike(rng, luck) < norm.ppf(expit(logit))
        confidence = np.r_[expit(factor * logit), expit(other + _NOISE * rng.normal(size=others))]
        best = np.where(np.r_[right, np.zeros(others, bool)], labels, (labels + 1) % _LANDMARKS)
        accepted = np.r_[np.ones(photos, bool), _alike(rng, likeness) < norm.ppf(share)]
        unused = np.zeros(len(labels))
        both.append(
            Predictions(
                photos=(),
                classes=tuple(f"Landmark {number}" for number in range(_LANDMARKS)),
                labels=labels,
                best=best,
                confidence=np.maximum(confidence, 1 / _LANDMARKS),
                rank=(best != labels).astype(np.int64),
                landmark_scores=confidence,
                accepted=accepted,
                kilometres=unused,
                levels=unused.astype(str),
                level_right=best == labels,
            )
        )
    return Comparison(both[0], both[1], None, (), (), frozenset())


def _alike(rng: np.random.Generator, common: Floats) -> Floats:
    drawn: Floats = math.sqrt(_AGREEMENT) * common
    return drawn + math.sqrt(1 - _AGREEMENT) * rng.normal(size=common.shape)


def stopped_by(comparison: Comparison, resamples: int = _RESAMPLES) -> set[str]:
    """Names of the gates that stop a challenger."""
    challenger, champion = (
        Judged(version, "", Report({"ms_per_photo": 5.0}, said, pd.DataFrame()), learned=0)
        for version, said in ((2, comparison.challenger), (1, comparison.champion))
    )
    with patch.object(gates, "bootstrap", partial(bootstrap, resamples=resamples)):
        found = gates.check_gates(
            challenger, champion, comparison, LIMITS, alpha=LIMITS.alpha, installable=_INSTALLABLE
        )
    return {gate.name for gate in found if gate.stops}


def refusals(size: int, pairs: int, seed: int = 0) -> Iterator[list[str]]:
    """Rows: a challenger, and how often each gate against harm stops it."""
    for name, difference in CHALLENGERS.items():
        rng = np.random.default_rng(seed)
        models = [
            made_up_models(rng, size, others=size // 2, **difference)
            for _ in tqdm(range(pairs), desc=f"{name}, {size} photos", delay=1)
        ]
        now = [stopped_by(each) for each in models]
        columns = [sum(gate in stops for stops in now) for gate in GUARDS]
        columns.append(sum(bool(stops & set(GUARDS)) for stops in now))
        columns.append(sum("no landmark worse" in stops for stops in now))
        yield [name, *(f"{count / pairs:.1%}" for count in columns)]


def better(comparison: Comparison, alpha: float) -> bool:
    """Whether McNemar's exact one-sided test shows a gain."""
    first, second = comparison.right
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return bool(binom.sf(won - 1, won + lost, 0.5) < alpha)


def not_worse(comparison: Comparison, alpha: float) -> bool:
    """Whether a loss as large as the margin is left out, as asked where landmarks were added."""
    return compare_shares(*comparison.right, alpha=alpha).low > -LIMITS.top1_margin


def shown(
    test: Callable[[Comparison, float], bool], eases: Sequence[float], size: int, pairs: int
) -> Iterator[list[str]]:
    """Rows: the mean difference in top-1, and how often the test passes after some promotions."""
    alphas = [Spending(LIMITS.alpha, uses, uses, 0).now for uses in USES]
    for ease in eases:
        rng = np.random.default_rng(0)
        models = [made_up_models(rng, size, ease=ease) for _ in range(pairs)]
        gain = np.mean(
            [each.challenger.correct.mean() - each.champion.correct.mean() for each in models]
        )
        passed = [np.mean([test(each, alpha) for each in models]) for alpha in alphas]
        yield [f"{gain:+.3f}", *(f"{share:.1%}" for share in passed)]


def false_promotions(size: int, repeats: int, seed: int = 0) -> list[str]:
    """How often any of twenty challengers that are no better is promoted on the same photos.

    With McNemar's two-sided p below 0.05 for each, and with alpha spent.
    """
    alphas = [Spending(LIMITS.alpha, use, use, 0).now for use in range(PROMOTIONS)]
    rng = np.random.default_rng(seed)
    before = now = 0
    for _ in tqdm(range(repeats), desc=f"false promotions, {size} photos", delay=1):
        hard, luck = rng.normal(_EASE, _SPREAD, size), rng.normal(size=size)
        # The same photos each time; row 0 is the champion.
        logits = hard + _NOISE * rng.normal(size=(1 + PROMOTIONS, size))
        right = _alike(rng, np.tile(luck, (1 + PROMOTIONS, 1))) < norm.ppf(expit(logits))
        won = (right[1:] & ~right[0]).sum(axis=1)
        lost = (right[0] & ~right[1:]).sum(axis=1)
        ps = binom.sf(won - 1, won + lost, 0.5)
        before += bool((ps < 0.025).any())
        now += bool((ps < alphas).any())
    return [f"{size}", f"{before / repeats:.1%}", f"{now / repeats:.1%}"]


def main() -> None:
    """Print the tables of `docs/registry.md`."""
    parser = arguments("promotion", __doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="made-up promotions of each kind")
    options = parser.parse_args()
    pairs = options.pairs
    found: dict[str, tuple[list[str], list[list[str]]]] = {}
    header = ["challenger", *GUARDS, "any of these"]
    for size in SIZES:
        title = f"Stopped, {size} photos and half as many of no landmark"
        found[title] = [*header, "no landmark worse"], list(refusals(size, pairs))
    header = ["difference in top-1", *(f"{uses} before" for uses in USES)]
    for name, test, eases in (
        ("better top-1", better, BETTER),
        ("top-1 not worse", not_worse, NOT_WORSE),
    ):
        for size in SIZES:
            title = f"{name} is shown, {size} photos"
            found[title] = header, list(shown(test, eases, size, pairs))
    title = f"A false promotion among {PROMOTIONS} on the same photos"
    rows = [false_promotions(size, pairs) for size in SIZES]
    found[title] = ["photos", "p 0.05 each", "alpha spent"], rows
    text = "\n\n".join(f"{title}\n\n{table(*each)}" for title, each in found.items())
    tell(options.out, text, ("numpy", "scipy"), tables=found)


if __name__ == "__main__":
    main()
