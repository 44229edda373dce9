"""What is counted of a library."""

from __future__ import annotations

import csv
from collections import Counter

from serving.tagging import Counts


def test_a_landmark_with_a_comma_in_its_name_stays_one_value() -> None:
    counts = Counts(landmarks=Counter({'Great Mosque, "Djenné"': 2, "Tower": 1}))
    assert list(csv.reader(counts.landmarks_csv().splitlines())) == [
        ["landmark", "photos"],
        ['Great Mosque, "Djenné"', "2"],
        ["Tower", "1"],
    ]
