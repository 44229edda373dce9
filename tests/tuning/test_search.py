"""What a search refuses before it begins, how it ends when a database fails, and its page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import mlflow
import optuna
import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException
from optuna.storages import RDBStorage

from landmark_ml.config import TuneConfig
from landmark_ml.geo.gazetteer import GazetteerError
from landmark_ml.tuning import recording, run_tuning, search
from landmark_ml.tuning.recording import StudyRun, TrialRun
from landmark_ml.tuning.search import Winner, study_page
from landmark_ml.tuning.study import StudyError, open_storage
from landmark_ml.tuning.worker import TrialRunner
from tests.mlflow_out import fail
from tests.tuning.small_search import NO_PHOTOS, small_search

CONFIG = TuneConfig(study="one")


class StudyBeganError(Exception):
    """The study began: everything before it was in order."""


@pytest.fixture
def _no_study(monkeypatch: pytest.MonkeyPatch, tracking_uri: str) -> None:
    def began(*_: object) -> None:
        raise StudyBeganError

    monkeypatch.setattr(search, "join_study", began)


@pytest.mark.usefixtures("_no_study")
@pytest.mark.parametrize("resolution", [0, 160])
def test_our_own_network_can_be_searched(tmp_path: Path, resolution: int) -> None:
    config = small_search(
        tmp_path,
        backbone="landmark_cnn",
        weights="random",
        feature_stages=0,
        space="finetune",
        epochs=0,
        finetune_epochs=6,
        resolution=resolution,
    )
    with pytest.raises(StudyBeganError):
        run_tuning(config)


@pytest.mark.usefixtures("_no_study")
def test_a_mistaken_backbone_is_found_before_the_photos_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "open_dataset", lambda *_: pytest.fail("photos were read"))
    for mistaken in ({"backbones": "test_eficientnet"}, {"teacher": "test_eficientnet"}):
        config = small_search(tmp_path, weights="pretrained", **mistaken)
        with pytest.raises(ValueError, match=r"'test_eficientnet' is unknown .*test_efficientnet"):
            run_tuning(config)


@pytest.mark.usefixtures("_no_study")
def test_a_dataset_without_test_photos_is_refused(tmp_path: Path) -> None:
    config = small_search(tmp_path, max_unreadable=1.0)
    for photo in (tmp_path / "photos" / "test").rglob("*.*"):
        photo.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="has no readable test photo of a landmark"):
        run_tuning(config)


@pytest.mark.usefixtures("_no_study")
def test_a_mistake_in_the_places_is_found_before_the_search(tmp_path: Path) -> None:
    places = tmp_path / "mine.csv"
    places.write_text("landmark,latitude,longitude\nred,95,0\n")
    with pytest.raises(GazetteerError, match="line 2, column latitude"):
        run_tuning(small_search(tmp_path, places=str(places)))


@pytest.fixture
def parent(tracking_uri: str) -> StudyRun:
    return StudyRun(mlflow.MlflowClient().create_run("0").info.run_id)


@pytest.fixture
def out(tmp_path: Path) -> optuna.Study:
    """A study whose database can no longer be read."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url = f"sqlite:///{tmp_path}/studies.db"
    study = optuna.create_study(storage=url, study_name="one")
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE trials"))
    return study


def status(parent: StudyRun) -> str:
    return str(mlflow.get_run(parent.run_id).info.status)


def test_an_outage_is_a_sentence_and_ends_the_parent_run(
    out: optuna.Study, parent: StudyRun
) -> None:
    sentence = (
        r"database of study 'one' failed: .*no such table: trials; once it is back, continue with"
        " study=one"
    )
    with pytest.raises(StudyError, match=sentence), search.closing(CONFIG, out, parent):
        out.get_trials()
    assert status(parent) == "FAILED"


def test_ctrl_c_during_an_outage_stays_one(out: optuna.Study, parent: StudyRun) -> None:
    with pytest.raises(KeyboardInterrupt), search.closing(CONFIG, out, parent):
        raise KeyboardInterrupt
    assert status(parent) == "KILLED"


def test_what_else_went_wrong_is_not_hidden_by_an_outage(
    out: optuna.Study, parent: StudyRun
) -> None:
    with pytest.raises(OSError, match="disk full"), search.closing(CONFIG, out, parent):
        raise OSError("disk full")
    assert status(parent) == "FAILED"


def test_a_lock_that_cannot_be_taken_is_an_outage(out: optuna.Study, parent: StudyRun) -> None:
    refused = sqlalchemy.exc.OperationalError("SELECT pg_advisory_lock", {}, OSError("no route"))
    sentence = r"database of study 'one' failed: no route; once it is back, continue with study=one"
    with pytest.raises(StudyError, match=sentence), search.closing(CONFIG, out, parent):
        raise refused from refused.orig
    assert status(parent) == "FAILED"


def test_an_outage_of_mlflow_does_not_hide_what_ended_the_search(
    tmp_path: Path, parent: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/more.db", study_name="one")
    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", fail)
    with pytest.raises(KeyboardInterrupt), search.closing(CONFIG, study, parent):
        raise KeyboardInterrupt


def test_metrics_wait_until_mlflow_is_back(
    parent: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = TrialRun(parent.run_id)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", fail)
        trial.add({"val/top1": 0.5})
    trial.add({"val/top1": 0.75})
    trial.end("complete", {})
    points = mlflow.MlflowClient().get_metric_history(parent.run_id, "val/top1")
    assert [(point.step, point.value) for point in points] == [(0, 0.5), (1, 0.75)]


def test_an_mlflow_that_never_comes_back_ends_a_trial(
    parent: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = TrialRun(parent.run_id)
    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", fail)
    monkeypatch.setattr(recording, "_FLUSH_SECONDS", 0.0)
    trial.add({"val/top1": 0.5})
    monkeypatch.setattr(recording, "_PATIENCE_SECONDS", 0.0)
    with pytest.raises(MlflowException, match="503"):
        trial.add({"val/top1": 0.75})


def test_the_parent_run_gets_its_status_even_when_the_report_fails(
    tmp_path: Path, parent: StudyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/more.db", study_name="two")
    monkeypatch.setattr(search, "best_trial", fail)
    with pytest.raises(KeyboardInterrupt), search.closing(CONFIG, study, parent):
        raise KeyboardInterrupt
    assert status(parent) == "KILLED"


def test_an_outage_while_a_worker_joins_is_a_sentence(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TuneConfig(study="one", storage=f"sqlite:///{tmp_path}/studies.db")
    opened = open_storage

    def lost_at_once(url: str, *rest: Any) -> RDBStorage:
        made = opened(url, *rest)
        with sqlalchemy.create_engine(url).begin() as connection:
            connection.execute(sqlalchemy.text("DROP TABLE studies"))
        return made

    monkeypatch.setattr(search, "open_storage", lost_at_once)
    with pytest.raises(
        StudyError, match="no such table: studies; once it is back, continue with study=one"
    ):
        search.join_study(config, NO_PHOTOS, create_autospec(TrialRunner, instance=True))


VALUES = (0.7, 0.9, 0.8)


def _page(winner: Winner | None = None, values: Sequence[float] = VALUES) -> str:
    study = optuna.create_study(study_name="<heads>", direction="maximize")
    rate = optuna.distributions.FloatDistribution(0.0, 1.0)
    kind = optuna.distributions.CategoricalDistribution(["squash"])
    for reached in values:
        study.add_trial(
            optuna.trial.create_trial(
                params={"drop_rate": reached / 2, "framing": "squash"},
                distributions={"drop_rate": rate, "framing": kind},
                value=reached,
            )
        )
    command = "make transfer drop_rate=0.45"
    return study_page(study, "val/top1", "3 complete & one best", command, winner)


def test_the_best_trials_stand_in_a_table_without_what_they_share() -> None:
    page = _page()
    table = page.split("<h2>The best trials</h2>")[1].split("</table>")[0]
    assert re.findall("#[0-9]", table) == ["#1", "#2", "#0"]
    assert re.findall("<td>([^<]+)", table) == ["0.9", "0.8", "0.7", "0.45", "0.4", "0.35"]
    assert "framing" not in table
    assert "make transfer drop_rate=0.45" in page
    assert "Study &lt;heads&gt;" in page
    assert "3 complete &amp; one best" in page


def test_a_study_page_tells_the_test_of_the_winner() -> None:
    assert "The winner is trained again and tested when all trials have ended." in _page()
    metrics = {"top1": 0.95, "top1_low": 0.93, "top1_high": 0.966, "photos": 612.0}
    metrics = {f"test/{name}": value for name, value in metrics.items()}
    with mlflow.start_run() as run:
        winner = Winner(1, run.info.run_id, "models:/m-1", metrics, "tuned", 3)
    page = " ".join(_page(winner).split())
    assert "top-1 <strong>0.950</strong> (95% 0.930 to 0.966) on 612 test photos" in page
    assert "as tuned version 3" in page
    assert f"runs/{run.info.run_id}" in page


def test_from_thirty_trials_the_page_says_which_parameter_mattered() -> None:
    assert "What mattered" not in _page()
    page = _page(values=[step / 40 for step in range(30)])
    table = page.split("What mattered</h2>")[1].split("</table>")[0]
    assert re.findall(">(drop_rate|framing)<.*<td>(.*)</td>", table) == [
        ("drop_rate", "100%"),
        ("framing", "0%"),
    ]


def test_one_trial_differs_from_no_other() -> None:
    assert "differ" not in _page(values=VALUES[:1])
