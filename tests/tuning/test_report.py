"""The page of a study shows what people look for, and no figure without information."""

from __future__ import annotations

import re

import optuna
import pytest

from landmark_ml.tuning.search import study_page

VALUES = (0.7, 0.9, 0.8)


def _study(directions: int = 1) -> optuna.Study:
    study = optuna.create_study(study_name="<heads>", directions=["maximize"] * directions)
    rate = optuna.distributions.FloatDistribution(0.0, 1.0)
    kind = optuna.distributions.CategoricalDistribution(["squash"])
    for value in VALUES:
        params = {"drop_rate": value / 2, "framing": "squash"}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions={"drop_rate": rate, "framing": kind},
                values=[value] * directions,
            )
        )
    return study


@pytest.fixture(scope="module")
def page() -> str:
    return study_page(_study(), ["val/top1"], "3 complete").split("</script>", 1)[1]


def test_the_best_so_far_is_a_line(page: str) -> None:
    best = re.search(r'"name":"Best Value".*?"y":\[([^]]*)\]', page)
    assert best is not None
    assert [float(value) for value in best[1].split(",")] == [0.7, 0.9, 0.9]


def test_a_parameter_with_one_value_is_in_no_parallel_coordinates_or_slices(page: str) -> None:
    for title in ("Parallel coordinates", "Slices"):
        section = page.split(f"<h2>{title}", 1)[1].split("<h2>", 1)[0]
        assert "drop_rate" in section
        assert "framing" not in section


def test_the_better_a_trial_the_darker_its_line(page: str) -> None:
    section = page.split("<h2>Parallel coordinates", 1)[1].split("<h2>", 1)[0]
    colours = re.findall(r'"line":\{"color":"rgb\(([\d.]+)', section)[: len(VALUES)]
    red = dict(zip(VALUES, map(float, colours), strict=True))
    assert red[0.9] < red[0.8] < red[0.7]


def test_each_objective_has_its_figures_and_names_are_text() -> None:
    page = study_page(_study(2), ["val/top1", "size"], "a & b").split("</script>", 1)[1]
    assert "Study &lt;heads&gt;" in page
    assert "a &amp; b" in page
    for title in ("Pareto front", "Optimisation history: val/top1", "Slices: size", "Timeline"):
        assert f"<h2>{title}</h2>" in page
