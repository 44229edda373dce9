"""The link to a run, which every client gets: it leads to the page and tells no password."""

from __future__ import annotations

from types import SimpleNamespace

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from serving.app.run_links import run_link

RUN = SimpleNamespace(info=SimpleNamespace(experiment_id="3"))


@pytest.fixture(autouse=True)
def _known_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowClient, "get_run", lambda *_: RUN)


@pytest.mark.parametrize(
    ("tracking", "ui", "base"),
    [
        ("https://me:sesame@mlflow.example:8443/ml/", "", "https://mlflow.example:8443/ml"),
        ("https://mlflow.example", "", "https://mlflow.example"),
        ("https://mlflow.example", "https://me:ses@me@ui.example", "https://ui.example"),
        ("sqlite:////tmp/mlflow.db", "", "http://127.0.0.1:5000"),
    ],
)
def test_it_leads_to_the_page_without_a_password(
    tracking: str, ui: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: tracking)
    assert run_link("abc", ui) == f"{base}/#/experiments/3/runs/abc"


def test_a_run_that_is_not_known_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise MlflowException("away")

    monkeypatch.setattr(MlflowClient, "get_run", away)
    assert run_link("abc") is None
