"""A challenger and the champion on the photos that neither has learned, and how sure that is.

The library may have grown between the two: only what both know is compared, and what one of them
alone knows stands apart. And the same test photos may have decided before, see `Spending`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from landmark_ml.console import Bar
from landmark_ml.data import NOT_A_LANDMARK, read_rows
from landmark_ml.evaluation.judge import Predictions
from landmark_ml.evaluation.significance import differences_by_class
from landmark_ml.registry.history import Entry
from landmark_ml.tracking.read_runs import fetch_manifest


@dataclass(frozen=True, eq=False)
class Comparison:
    """Answers of two models to the same photos, apart by who knows what they show.

    challenger, champion: on photos of landmarks that both know and of no landmark, row by row the
    same photo; their `unseen` are those of landmarks that neither knows, None without any. new: the
    challenger's on photos of landmarks that it alone knows, None without any. added, removed:
    landmarks that only the challenger, only the champion knows. photos: sha256 of those of shared
    landmarks, on which the test of top-1 decides. The challenger's answers keep their photos.
    """

    challenger: Predictions
    champion: Predictions
    new: Predictions | None
    added: tuple[str, ...]
    removed: tuple[str, ...]
    photos: frozenset[str]

    @classmethod
    def of(
        cls, challenger: Predictions, champion: Predictions, corrected: Collection[str] = ()
    ) -> Comparison:
        """Pair the answers by photo; photos that one of them was not asked about are left out.

        corrected: sha256 of photos that people corrected. People look where the champion errs, so
        these count only where they show a landmark that it does not know.
        """
        both, neither, new = (
            _in_common(first, second, left_out)
            for first, second, left_out in (
                (challenger, champion, corrected),
                (challenger.unseen, champion.unseen, corrected),
                (challenger, champion.unseen, ()),
            )
        )
        apart: list[Predictions | None] = [None, None]
        if challenger.unseen and champion.unseen and neither.size:
            apart = [challenger.unseen.take(neither[0]), champion.unseen.take(neither[1])]
        paired = [challenger.photos[row] for row in both[0]]
        return cls(
            challenger=replace(challenger.take(both[0]), unseen=apart[0], photos=tuple(paired)),
            champion=replace(champion.take(both[1]), unseen=apart[1]),
            new=challenger.take(new[0]) if new.size else None,
            added=tuple(sorted(set(challenger.classes) - set(champion.classes))),
            removed=tuple(sorted(set(champion.classes) - set(challenger.classes))),
            photos=frozenset(photo.sha256 for photo in paired if photo.label != NOT_A_LANDMARK),
        )

    @property
    def right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether the challenger, and whether the champion, is right on each shared landmark."""
        shows = self.challenger.shows_landmark
        return self.challenger.correct[shows], self.champion.correct[shows]

    def by_landmark(self) -> pd.DataFrame:
        """The table of `differences_by_class`, the challenger being the first model."""
        shows = self.challenger.shows_landmark
        labels = self.challenger.labels[shows]
        return differences_by_class(
            [self.challenger.classes[label] for label in labels], *self.right
        )


def _in_common(
    first: Predictions | None, second: Predictions | None, left_out: Collection[str]
) -> NDArray[np.intp]:
    """Rows of the photos that both were asked about, [2, photos], without those left out."""
    places = {photo.path: row for row, photo in enumerate(second.photos)} if second else {}
    asked = enumerate(first.photos) if first else ()
    pairs = [
        (row, places[photo.path])
        for row, photo in asked
        if photo.path in places and photo.sha256 not in left_out
    ]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2).T


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


def class_losses(comparison: Comparison) -> list[ClassLoss]:
    """Shared landmarks on which the two differ, the most certain loss first.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    found: list[ClassLoss] = []
    for landmark, _, won, lost in comparison.by_landmark().itertuples(index=False):
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


def fewest_wins(alpha: float) -> int:
    """Photos that a model must win, losing none, before a one-sided McNemar's p is below alpha."""
    return math.floor(-math.log2(alpha)) + 1


def fewest_photos(margin: float, alpha: float) -> int:
    """Photos on which two models must agree before `compare_shares` shows no loss of a margin."""
    z2 = float(norm.isf(alpha)) ** 2
    return math.floor(z2 * (1 / margin - 1)) + 1


def least_margin(photos: int, alpha: float) -> float:
    """The margin that `fewest_photos` turns into these photos."""
    z2 = float(norm.isf(alpha)) ** 2
    return z2 / (photos + z2)


@dataclass(frozen=True)
class Spending:
    """What is spent of an error probability on one more decision by the same test photos.

    Decision k on the same photos is tested at `total / (k (k + 1))`. These sum to `total`, so it
    bounds the chance that any decision on them, however many there are, promotes a challenger that
    is no better; a union bound, which holds although all use the same photos. Spending alpha goes
    back to Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 1983.

    uses: k - 1. An earlier promotion counts by the share of these photos that it had among its
    test photos, so new test photos renew alpha. promotions: how many there were. unread:
    those of them whose test photos are not known any more; they count in full.
    """

    total: float
    uses: float
    promotions: int
    unread: int

    @classmethod
    def of(
        cls, total: float, earlier: Sequence[frozenset[str] | None], photos: Collection[str]
    ) -> Spending:
        """What may be spent on these photos; earlier: the test photos of earlier promotions."""
        shares = [
            1.0 if before is None else len(before.intersection(photos)) / max(1, len(photos))
            for before in earlier
        ]
        return cls(total, sum(shares), sum(share > 0 for share in shares), earlier.count(None))

    @property
    def now(self) -> float:
        """Probability to spend on this decision."""
        return self.total / ((1 + self.uses) * (2 + self.uses))

    @property
    def left(self) -> float:
        """What is left for all later decisions on the same photos."""
        return self.total / (2 + self.uses)


def earlier_test_photos(
    entries: Sequence[Entry], champion: int, challengers: Sequence[int], test: frozenset[str]
) -> list[frozenset[str] | None]:
    """Sha256 of the test photos of each earlier promotion; None: not known any more.

    To repeat a promotion is no new chance. So one that judged the same versions on the same photos
    counts once, and not at all if it judged just these challengers against this champion on just
    these test photos.
    """
    judged: dict[str, set[tuple[int, int]]] = {}
    for entry in entries:
        before = entry.champion if entry.kind == "refuse" else next(reversed(entry.former), 0)
        if entry.kind in ("promote", "refuse") and entry.receipt and before:
            judged.setdefault(entry.receipt, set()).add((entry.version, before))
    again = {(version, champion) for version in challengers}
    found, counted = [], set()
    for run_id, pairs in Bar(judged.items(), desc="earlier promotions", unit=" runs"):
        photos = _test_photos(run_id)
        use = (photos, frozenset(pairs))
        if photos is None or (use not in counted and not (photos == test and pairs == again)):
            found.append(photos)
            counted.add(use)
    return found


def _test_photos(run_id: str) -> frozenset[str] | None:
    with tempfile.TemporaryDirectory(prefix="promotion-") as folder:
        manifest = fetch_manifest(run_id, Path(folder))
        if manifest is None:
            return None
        try:
            _, rows = read_rows(manifest.read_bytes(), manifest.name)
        except ValueError:
            return None
        tested = rows.filter(pc.equal(rows["split"], "test"))
        return frozenset(tested["sha256"].to_pylist())
