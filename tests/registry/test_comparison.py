"""Two models on the same photos, and how often those photos may still decide."""

from __future__ import annotations

import json
from dataclasses import replace

import mlflow
import numpy as np
import pytest

from landmark_ml.evaluation.significance import compare_shares
from landmark_ml.registry.comparison import (
    Comparison,
    Spending,
    class_losses,
    earlier_test_photos,
    fewest_photos,
    fewest_wins,
    holm,
    least_margin,
)
from landmark_ml.registry.history import Entry
from tests.registry.judged_versions import CLASSES, none, predictions, together

MORE = (*CLASSES, "Moai")


def test_each_photo_stands_where_the_two_models_knowledge_puts_it() -> None:
    # Photos 0 to 9: shared, 20 to 24: none, 40 to 43: new, 60 to 62: neither knows, 80: removed.
    challenger = together(
        predictions([True] * 10, classes=MORE),
        replace(none(5, first=20), classes=MORE),
        predictions([True] * 4, classes=MORE, labels=[2] * 4, first=40),
        unseen=together(none(3, first=60), none(1, first=80)),
    )
    old = (*CLASSES, "Old")
    champion = together(
        replace(none(5, tagged=2, first=20), classes=old),
        predictions([False] * 12, classes=old),
        predictions([True], classes=old, labels=[2], first=80),
        unseen=together(none(4, first=40), none(3, tagged=1, first=60)),
    )
    found = Comparison.of(challenger, champion)
    assert (found.added, found.removed) == (("Moai",), ("Old",))
    # Photos 10 and 11 were left out for the challenger; rows are in its order.
    assert [side.sum() for side in found.right] == [10, 0]
    shows = found.challenger.shows_landmark
    assert (shows.sum(), (~shows).sum()) == (10, 5)
    assert found.champion.accepted[~shows].sum() == 2
    assert found.new is not None
    assert len(found.new.labels) == 4
    assert found.challenger.unseen is not None
    assert found.champion.unseen is not None
    assert len(found.challenger.unseen.labels) == 3
    assert found.champion.unseen.accepted.tolist() == [True, False, False]
    assert found.photos == {f"{number:064x}" for number in range(10)}
    # Photos that people corrected: shared, none, new and one that neither knows.
    people = {f"{number:064x}" for number in (3, 21, 40, 60)}
    fewer = Comparison.of(challenger, champion, people)
    assert fewer.photos == found.photos - people
    assert (~fewer.challenger.shows_landmark).sum() == 4
    assert fewer.new is not None
    assert len(fewer.new.labels) == 4
    assert fewer.challenger.unseen is not None
    assert len(fewer.challenger.unseen.labels) == 2


def test_losses_are_corrected_for_the_number_of_landmarks() -> None:
    champion = predictions([True] * 5 + [False] * 5 + [True] * 5 + [False] * 5)
    losses = class_losses(Comparison.of(predictions([False] * 20), champion))
    # A sign test of 5 to 0 has p = 1/32; of two landmarks the surest counts twice.
    assert [loss.p for loss in losses] == [pytest.approx(2 / 32)] * 2


def test_holm_never_falls_and_never_exceeds_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.9][:1]) == [0.01]
    assert holm([0.01, 0.02, 0.5]) == pytest.approx([0.03, 0.04, 0.5])
    assert holm([0.2, 0.21, 0.9]) == pytest.approx([0.6, 0.6, 0.9])
    assert holm([0.9, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_fewest_photos_are_those_with_which_the_test_can_pass() -> None:
    assert [fewest_wins(alpha) for alpha in (0.025, 1 / 64, 0.0001)] == [6, 7, 14]
    assert [fewest_photos(margin, 0.025) for margin in (0.03, 0.1)] == [125, 35]
    assert fewest_photos(0.03, 0.001) > fewest_photos(0.03, 0.025)
    agreed = np.ones(81, dtype=bool)
    assert least_margin(81, 0.01) == pytest.approx(compare_shares(agreed, agreed, alpha=0.01).high)
    assert fewest_photos(least_margin(81, 0.01) + 1e-6, 0.01) == 81


PHOTOS = frozenset("abcdefghij")


def test_all_that_is_ever_spent_on_the_same_photos_is_alpha() -> None:
    spent = [Spending.of(0.05, [PHOTOS] * uses, PHOTOS) for uses in range(1000)]
    assert spent[0].now == pytest.approx(0.025)
    assert sum(each.now for each in spent) < 0.05
    for number, each in enumerate(spent[:20]):
        assert each.left == pytest.approx(0.05 - sum(before.now for before in spent[: number + 1]))


def test_new_photos_renew_alpha_by_their_share() -> None:
    full, none_left = Spending.of(0.05, [], PHOTOS), Spending.of(0.05, [PHOTOS] * 3, PHOTOS)
    half = frozenset("abcde12345")
    renewed = Spending.of(0.05, [PHOTOS] * 3, half)
    assert (renewed.uses, renewed.promotions) == (1.5, 3)
    assert none_left.now < renewed.now < full.now
    assert Spending.of(0.05, [PHOTOS] * 3, frozenset("12345")).now == full.now


def test_photos_that_are_not_known_any_more_count_in_full() -> None:
    spending = Spending.of(0.05, [None, PHOTOS, frozenset("xyz")], PHOTOS)
    assert (spending.uses, spending.promotions, spending.unread) == (2.0, 2, 1)


def refused(version: int, champion: int, receipt: str) -> Entry:
    return Entry("refuse", version, champion, (), 1, "", receipt)


def promotion(*photos: str, manifest: str = "") -> str:
    """Id of a run whose manifest holds these test photos."""
    client = mlflow.MlflowClient()
    run_id = client.create_run("0").info.run_id
    split_of = {**dict.fromkeys(photos, "test"), "learned": "train"}
    rows = [
        {"sha256": photo, "split": split, "fingerprint": "", "path": ""}
        for photo, split in split_of.items()
    ]
    text = manifest or json.dumps({"schema_version": 3, "photos": rows})
    client.log_text(run_id, text, "split_manifest.json")
    return str(run_id)


@pytest.mark.usefixtures("tracking_uri")
def test_earlier_promotions_are_read_from_the_history() -> None:
    same, other, damaged = promotion("a", "b"), promotion("a"), promotion(manifest="{")
    entries = [
        Entry("register", 1, 1, (), 0, "", same),
        # Without a champion nothing was compared.
        Entry("promote", 2, 2, (), 1, "", same),
        Entry("promote", 3, 3, (2,), 2, "", other),
        refused(4, 3, same),
        refused(5, 3, same),
        # Twice the same is one chance.
        refused(3, 2, other),
        refused(3, 2, promotion("a")),
        refused(6, 3, damaged),
        refused(7, 3, "a-run-that-is-gone"),
        Entry("rollback", 2, 2, (), 3, "", ""),
        Entry("promote", 8, 8, (2,), 2, "by hand", ""),
    ]
    test = frozenset("ab")
    everything = earlier_test_photos(entries, 3, [9], test)
    assert everything == [frozenset("a"), test, None, None]
    # To judge 4 and 5 once more against 3 on the same photos is no new chance.
    assert earlier_test_photos(entries, 3, [4, 5], test) == [frozenset("a"), None, None]
    assert earlier_test_photos(entries, 2, [4, 5], test) == everything
    assert earlier_test_photos(entries, 3, [4], test) == everything
    assert earlier_test_photos(entries, 3, [4, 5], frozenset("abc")) == everything


@pytest.mark.usefixtures("tracking_uri")
def test_more_challengers_each_time_do_not_bring_back_what_was_spent() -> None:
    receipts = [promotion("a", "b") for _ in range(3)]
    entries = [
        refused(version, 1, receipts[count])
        for count in range(3)
        for version in range(2, 3 + count)
    ]
    earlier = earlier_test_photos(entries, 1, [2, 3, 4, 5], frozenset("ab"))
    assert earlier == [frozenset("ab")] * 3


@pytest.mark.usefixtures("tracking_uri")
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"photos": 1}', '{"photos": [{}]}'])
def test_a_damaged_manifest_of_an_earlier_promotion_counts_in_full(text: str) -> None:
    entries = [refused(2, 1, promotion(manifest=text))]
    assert earlier_test_photos(entries, 1, [3], frozenset("ab")) == [None]
