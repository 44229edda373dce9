"""What a study remembers of its search, and which other search it refuses."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from landmark_ml.config import TuneConfig
from landmark_ml.tuning.study import StudyError, check_same_search

CONFIG = TuneConfig(study="one", label_smoothing=0.1)


def begun(without: str = "") -> optuna.Study:
    """A study of `CONFIG`, as a version left it that did not know one of the fields."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="one")
    check_same_search(study, CONFIG, [])
    searched = study.user_attrs["searched"]
    study.set_user_attr("searched", {k: v for k, v in searched.items() if k != without})
    return study


def test_the_same_search_goes_on_and_another_is_refused() -> None:
    check_same_search(begun(), CONFIG, [])
    with pytest.raises(StudyError, match=r"was started with label_smoothing 0.1; give the same"):
        check_same_search(begun(), replace(CONFIG, label_smoothing=0.2), [])


def test_a_study_goes_on_that_began_before_a_field_was_added() -> None:
    check_same_search(begun(without="val_interval"), CONFIG, [])
    # All that it can have searched is what the default of the field says.
    with pytest.raises(StudyError, match="was started with val_interval 1; give the same"):
        check_same_search(begun(without="val_interval"), replace(CONFIG, val_interval=2), [])


def test_a_study_of_a_field_that_is_gone_says_what_it_was() -> None:
    study = begun()
    study.set_user_attr("searched", study.user_attrs["searched"] | {"cooling": 0.5})
    with pytest.raises(StudyError, match=r"another version of this project, with cooling 0\.5, "):
        check_same_search(study, CONFIG, [])
