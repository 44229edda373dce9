"""The table of splits: new photos move none, copies can."""

from __future__ import annotations

from benchmarks.split_growth import report


def test_new_photos_move_none_and_larger_copies_some() -> None:
    moved = {name: cell for name, cell, *_ in report(seeds=1)}
    for change in ("2% more photos", "10% more photos", "five more landmarks"):
        assert moved[change] == "0 of 3,750"
    assert moved["smaller copies of 2%"] == "0 of 3,750"
    assert 10 < int(moved["larger copies of 2%"].split()[0]) < 75
