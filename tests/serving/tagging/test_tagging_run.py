"""A run of the tagger with a registered model: what MLflow holds of it, and what is refused."""

from __future__ import annotations

import errno
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import mlflow
import pytest
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from experiments import cli, tag
from landmark_ml.config import TagConfig
from landmark_ml.files import write_whole
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT
from serving.champion import find_version, load_version
from serving.tagging import run_tagging
from tests.colour_artifact import TOWER, log_artifact
from tests.serving.tagging.tables import parquet

NO_PHOTOS = 7


@pytest.fixture(scope="module")
def registered(tracking_uri: str) -> str:
    """Name of a registered model with a champion."""
    name = "tagged_with"
    client = mlflow.MlflowClient()
    version = mlflow.register_model(log_artifact(tracking_uri).model_uri, name)
    client.set_registered_model_alias(name, "champion", version.version)
    return name


def last_run() -> Run:
    return mlflow.search_runs(
        experiment_names=[DEFAULT_EXPERIMENT],
        filter_string="tags.kind = 'tag'",
        max_results=1,
        output_format="list",
    )[0]


def all_that_is_recorded(run: Run, folder: Path) -> str:
    """Parameters, tags and the content of every artifact of a run."""
    mlflow.artifacts.download_artifacts(run_id=run.info.run_id, dst_path=str(folder))
    files = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    assert files
    return "\n".join([str(run.data.params), str(run.data.tags), *files])


def test_the_run_names_the_folders_and_no_photo_or_position(
    config: TagConfig, registered: str, photos: Path, tmp_path: Path
) -> None:
    run_tagging(replace(config, model=registered, sidecars="photo.jpg.xmp", gallery=True))
    found = last_run()
    assert (found.data.params["photos"], found.data.params["out"]) == (config.photos, config.out)
    recorded = all_that_is_recorded(found, tmp_path / "recorded")
    assert config.photos in recorded
    assert not [path for path in photos.rglob("*") if path.is_file() and path.name in recorded]
    positions = {row["latitude"] for row in parquet(config).values()} - {None}
    assert TOWER.latitude in positions
    assert not [latitude for latitude in positions if str(float(latitude)) in recorded]


def test_the_run_holds_counts(
    config: TagConfig, registered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_tagging(replace(config, model=registered))
    found = last_run()
    assert found.data.metrics["tag/photos"] == NO_PHOTOS
    assert found.data.metrics["tag/showing_a_landmark"] == 4
    assert found.data.tags["model"] == f"{registered}/1"
    counts = mlflow.artifacts.load_text(f"runs:/{found.info.run_id}/landmarks.csv")
    assert counts.splitlines()[:2] == ["landmark,photos", "Eiffel Tower,2"]
    tag.print_tagging(result)
    said = capsys.readouterr().out
    assert "7, of a landmark 4" in said
    assert "empty.png: empty:" in said
    assert "1 *.crw file;" in said
    assert found.info.run_id in said


def test_a_folder_that_may_not_be_written_to_fails_the_run_in_words(
    config: TagConfig,
    registered: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read_only(path: Path, content: bytes, scratch_name: str) -> None:
        if path.parent.name == "paris":
            raise PermissionError(errno.EPERM, "Operation not permitted", scratch_name)
        write_whole(path, content, scratch_name)

    monkeypatch.setattr("serving.tagging.sidecars.write_whole", read_only)
    asked = replace(config, model=registered, sidecars="photo.jpg.xmp")
    monkeypatch.setattr(sys, "argv", ["landmarks"])
    with pytest.raises(SystemExit, match=r"^error: 2 sidecars could not be written.*tag again"):
        cli.run(lambda: tag.main(asked))
    said = capsys.readouterr().out
    assert f"not written 2 sidecars in {photos}/2024/paris: Operation not permitted" in said
    listed = (Path(config.out) / "sidecars.csv").read_text(encoding="utf-8")
    assert "tower.jpg.xmp,refused,Operation not permitted" in listed
    assert last_run().info.status == "FAILED"
    monkeypatch.undo()
    assert run_tagging(asked).written["created"] == 2


def test_a_library_in_which_nothing_can_be_read_fails_the_run(
    config: TagConfig, registered: str, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"no photo could be read \(empty 1\)"):
        run_tagging(replace(config, model=registered, photos=str(tmp_path / "bad")))
    assert len(parquet(config)) == 1


def test_the_model_may_be_named_in_three_ways(registered: str) -> None:
    for model in (registered, f"{registered}@champion", f"{registered}/1"):
        found = find_version(model)
        assert (found.name, int(found.version)) == (registered, 1)
    loaded = load_version(found, ui="https://me:sesame@mlflow.example/ml/")
    assert loaded.label == f"{registered}/1"
    assert f"/runs/{loaded.run_id}?" in str(loaded.run_url)
    assert str(loaded.run_url).startswith("https://mlflow.example/ml/#/experiments/")


@pytest.mark.parametrize("model", ["unheard_of", "unheard_of/3", "tagged_with@second"])
def test_a_model_that_is_not_there_is_named(model: str, registered: str) -> None:
    with pytest.raises(ValueError, match=f"model={model} is not in the registry") as refused:
        find_version(model)
    assert f"make transfer model={re.split('[/@]', model)[0]}" in str(refused.value)


def test_a_registry_that_is_away_is_not_taken_for_an_empty_one(
    registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise MlflowException("the server does not answer")

    monkeypatch.setattr(mlflow.MlflowClient, "get_model_version_by_alias", away)
    with pytest.raises(MlflowException, match=r"^the server does not answer$"):
        find_version(registered)


def test_a_library_must_be_named() -> None:
    with pytest.raises(ValueError, match="photos is empty; name the folder"):
        run_tagging(TagConfig())


def test_one_photo_is_tagged_apart_from_its_library(
    config: TagConfig, registered: str, photos: Path
) -> None:
    alone = replace(config, model=registered, photos=str(photos / "2024/castle.jpeg"))
    for one in (replace(alone, photos=str(photos)), replace(alone, sidecars="photo.jpg.xmp")):
        run_tagging(one)
    apart = replace(config, out=str(Path(config.out) / "castle.jpeg"))
    assert list(parquet(apart)) == ["castle.jpeg"]
    assert len(parquet(config)) == NO_PHOTOS
    assert [path.name for path in photos.rglob("*.xmp")] == ["castle.jpeg.xmp"]


def test_two_taggers_do_not_write_to_one_place(config: TagConfig, registered: str) -> None:
    Path(config.out).mkdir()
    held = FileLock(Path(config.out) / ".lock")
    with held, pytest.raises(ValueError, match="another run writes"):
        run_tagging(config)
