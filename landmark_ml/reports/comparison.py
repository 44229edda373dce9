"""Runs side by side: which were judged on the same photos, their table, and the best two paired."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from landmark_ml.evaluation.paired_tests import PairedDifference, compare_paired
from landmark_ml.tracking.read_runs import EvaluatedRun, LeftOut

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pair:
    """The best two runs, compared photo by photo.

    `classes`: columns landmark, photos, only_first, only_second; a row a landmark, photos being
    those of the test side.
    """

    first: EvaluatedRun
    second: EvaluatedRun
    difference: PairedDifference
    classes: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs judged on the same test photos, best first; `pair` is None with one run alone.

    caution: says which runs were not even looked at; empty when all were.
    """

    experiment: str
    test_digest: str
    runs: tuple[EvaluatedRun, ...]
    left_out: tuple[LeftOut, ...]
    pair: Pair | None
    caution: str = ""

    @property
    def photos(self) -> int:
        """Test photos of a landmark that every run was judged on."""
        return len(self.runs[0].answers)


def compare_runs(
    experiment: str,
    runs: Sequence[EvaluatedRun],
    left_out: Sequence[LeftOut] = (),
    *,
    seed: int = 0,
    caution: str = "",
) -> Comparison:
    """Compare the largest group of runs with the same test photos; the newer of equal groups.

    Runs of the other groups join those left out. Raises ValueError without runs.
    """
    if not runs:
        reasons = "; ".join(f"{run.name} ({run.run_id}): {run.reason}" for run in left_out)
        raise ValueError(
            f"no run of experiment {experiment!r} can be compared: {reasons or 'there is none'}"
        )
    groups: dict[str, list[EvaluatedRun]] = defaultdict(list)
    for run in runs:
        groups[run.test_digest].append(run)
    chosen = max(groups.values(), key=lambda group: (len(group), max(run.started for run in group)))
    digest = chosen[0].test_digest
    strangers = [_left_out(run) for run in runs if run.test_digest != digest]
    ranked = tuple(sorted(chosen, key=_rank))
    pair = pair_runs(ranked[0], ranked[1], seed=seed) if len(ranked) > 1 else None
    return Comparison(experiment, digest, ranked, (*strangers, *left_out), pair, caution)


def pair_runs(first: EvaluatedRun, second: EvaluatedRun, *, seed: int = 0) -> Pair:
    """Compare two runs photo by photo.

    Raises ValueError when their answers are not about the same photos.
    """
    one, other = _ordered(first), _ordered(second)
    if not one[["sha256", "label"]].equals(other[["sha256", "label"]]):
        raise ValueError(
            f"runs {first.run_id} and {second.run_id} carry the same test_digest"
            f" {first.test_digest} and answers to different photos ({len(one)} and {len(other)});"
            " evaluate them again"
        )
    right, other_right = one["correct"].to_numpy(), other["correct"].to_numpy()
    difference = compare_paired(right, other_right, seed=seed)
    return Pair(first, second, difference, _by_class(one["label"], right, other_right))


def comparison_table(comparison: Comparison) -> pd.DataFrame:
    """One row a run, best first; shares as 0 to 1, `artifact_mb` in 10^6 bytes."""
    return pd.DataFrame(
        [
            {
                "rank": rank,
                "run": run.name,
                "run_id": run.run_id,
                "recipe": run.recipe,
                "backbone": run.backbone,
                "parameters": run.parameters,
                "macs": run.macs,
                "train_minutes": run.metric("train_seconds") / 60,
                "top1": run.metric("test/top1"),
                "top1_low": run.metric("test/top1_low"),
                "top1_high": run.metric("test/top1_high"),
                "top3": run.metric("test/top3"),
                "ece": run.metric("test/ece"),
                "artifact_mb": run.artifact_bytes / 1e6,
                "ms_per_photo": run.metric("test/ms_per_photo"),
            }
            for rank, run in enumerate(comparison.runs, start=1)
        ]
    )


def readable_table(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison table as a person reads it: text in every cell, `n/a` for what is unknown."""
    text = {
        "#": table["rank"].astype(str),
        "run": table["run"],
        "recipe": table["recipe"].replace("", "n/a"),
        "backbone": table["backbone"].replace("", "n/a"),
        "parameters": _formatted(table["parameters"] / 1e6, "{:.1f} M"),
        "MACs": _formatted(table["macs"] / 1e6, "{:.0f} M"),
        "train min": _formatted(table["train_minutes"], "{:.1f}"),
        "top-1": _formatted(table["top1"], "{:.3f}"),
        "95% interval": [
            f"{low:.3f} to {high:.3f}" if low <= high else "n/a"
            for low, high in zip(table["top1_low"], table["top1_high"], strict=True)
        ],
        "top-3": _formatted(table["top3"], "{:.3f}"),
        "ECE": _formatted(table["ece"], "{:.3f}"),
        "MB": _formatted(table["artifact_mb"], "{:.1f}"),
        "ms a photo": _formatted(table["ms_per_photo"], "{:.1f}"),
    }
    return pd.DataFrame(text)


def verdict(comparison: Comparison) -> str:
    """One sentence: which run is best, and whether the next is really worse."""
    best = comparison.runs[0]
    if comparison.pair is None:
        return f"Only {best.name} was judged on these photos: there is nothing to compare it with."
    second, gap = comparison.pair.second, comparison.pair.difference
    interval = f"95% {gap.low:+.3f} to {gap.high:+.3f}, McNemar p = {gap.mcnemar_p:.2g}"
    if gap.is_clear:
        return f"#1 {best.name} beats #2 {second.name} by {gap.difference:.3f} top-1 ({interval})."
    return (
        f"#1 {best.name} and #2 {second.name} cannot be told apart on {gap.photos:,} photos:"
        f" the difference in top-1 is {gap.difference:.3f} ({interval})."
    )


def _rank(run: EvaluatedRun) -> tuple[float, float, int]:
    return -run.metric("test/top1"), -run.metric("test/top3"), -run.started


def _left_out(run: EvaluatedRun) -> LeftOut:
    others = f"tags.test_digest = '{run.test_digest}'"
    return LeftOut(
        run.name, run.run_id, f'judged on other test photos; compare those with filter "{others}"'
    )


def _ordered(run: EvaluatedRun) -> pd.DataFrame:
    return run.answers.sort_values("sha256", kind="stable", ignore_index=True)


def _by_class(
    labels: pd.Series[str], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> pd.DataFrame:
    photos = pd.DataFrame(
        {
            "landmark": labels,
            "photos": 1,
            "only_first": (first & ~second).astype(int),
            "only_second": (second & ~first).astype(int),
        }
    )
    return photos.groupby("landmark", as_index=False).sum()


def _formatted(values: pd.Series[float], pattern: str) -> list[str]:
    return ["n/a" if pd.isna(value) else pattern.format(value) for value in values]
