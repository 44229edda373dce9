"""The figures of an evaluation say what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from landmark_ml import figures


def test_risk_and_coverage_are_drawn_with_what_5_percent_risk_allows() -> None:
    confidence = np.linspace(1, 0, 100)
    figure = figures.risk_coverage_curve(confidence, np.arange(100) < 57)
    assert "60.0% of 100 photos" in figure.get_suptitle()
    assert np.size(figure.axes[0].get_lines()[0].get_xdata()) == 100


def test_location_error_counts_those_without_coordinates() -> None:
    figure = figures.location_error(np.array([0.0, 3.0, 4000.0, np.inf, np.nan]))
    assert figure.get_suptitle().startswith("50.0% of 4 landmark photos")
    assert "Photos without coordinates: 1." in figure.get_supxlabel()
    assert figures.location_error(np.array([np.inf])).axes


def test_the_worst_corruption_is_named() -> None:
    table = pd.DataFrame(
        {
            "corruption": ["clean", "low_light", "jpeg"],
            "photos": 20,
            "top1": [0.9, 0.2, 1.0],
            "low": [0.7, 0.1, 0.84],
            "high": [0.97, 0.4, 1.0],
        }
    )
    figure = figures.robustness_bars(table)
    assert figure.get_suptitle() == "Low light costs most: top-1 0.200 against 0.900"
    unharmed = figures.robustness_bars(table.assign(top1=0.9))
    assert unharmed.get_suptitle() == "No corruption costs accuracy"
    with pytest.raises(ValueError, match="lacks 'clean'"):
        figures.robustness_bars(table[1:])
