"""The served model in a local Spark through MLflow's own `spark_udf`, as docs/cluster.md says."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from landmark_ml.inference.predictor import Predictor
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo, gps_exif

pytestmark = pytest.mark.slow

LEAST_JAVA = 17
PHOTOS = {
    "a/tower.jpg": colour_photo(RED),
    "a/tower with gps.jpg": colour_photo(RED, exif=gps_exif(12, 34)),
    "b/castle.jpg": colour_photo(GREEN),
    "b/cut.jpg": colour_photo(RED, (400, 300))[:700],
    "b/hello.jpg": b"hello",
    "b/nothing.jpg": colour_photo(WHITE),
}


def java_version() -> int:
    """Major version of the Java on the path; 0 when there is none."""
    java = shutil.which("java")
    if java is None:
        return 0
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    quoted = done.stderr.split('"')
    return int(quoted[1].split(".")[0]) if len(quoted) > 1 else 0


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed here: pip install -e '.[spark]'")
    if java_version() < LEAST_JAVA:
        pytest.skip(f"Spark 4 needs Java {LEAST_JAVA} or newer, here is {java_version() or 'none'}")
    from pyspark.sql import SparkSession  # noqa: PLC0415 - not always installed

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        session = (
            SparkSession.builder.master("local[1]")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "4")
            .getOrCreate()
        )
        yield session
        session.stop()


def test_spark_gives_the_answers_of_the_predictor(
    spark: Any, model_folder: Path, predictor: Predictor, tmp_path: Path
) -> None:
    from pyspark.sql.functions import col, from_json  # noqa: PLC0415

    for name, content in PHOTOS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    model = str(model_folder)
    answer = mlflow.pyfunc.spark_udf(
        spark,
        model,
        result_type="string",
        env_manager="local",
        params={"as_json": True, "top_k": 2},
        model_config={"threads": 1},
    )
    metadata = mlflow.models.get_model_info(model).metadata
    assert metadata is not None
    photos = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    answered = photos.load(str(tmp_path)).select(
        "path", from_json(answer(col("content")), metadata["spark_schema"]).alias("answer")
    )
    rows = {
        row["path"].partition(tmp_path.name)[2][1:].replace("%20", " "): row["answer"]
        for row in answered.select("path", "answer").collect()
    }
    expected = predictor.predict(list(PHOTOS.values()), top_k=2)
    assert {name: row.asDict(recursive=True) for name, row in rows.items()} == dict(
        zip(PHOTOS, expected, strict=True)
    )
    partitioned = answered.select("path", "answer.*")
    partitioned.write.partitionBy("country").parquet(str(tmp_path / "answers"))
    again = spark.read.parquet(str(tmp_path / "answers"))
    assert again.filter("landmark = 'Eiffel Tower'").count() == 2
    assert again.filter("error.code = 'truncated'").count() == 1
