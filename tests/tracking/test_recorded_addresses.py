"""What MLflow records of a run holds no password: an address with one makes no configuration."""

from __future__ import annotations

from typing import Any

import pytest

from landmark_ml.config import ClusterConfig, TrainConfig, TuneConfig, to_json


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql://me:sesame@db.example/studies",
        "postgresql+psycopg://:sesame@db.example:5432/studies",
        "postgresql://me:ses/ame@db.example/studies",
        "postgresql://me:sesame@[::1]:5432/studies",
        "postgresql://me@db.example/studies?password=sesame",
    ],
)
def test_a_study_is_given_no_password(storage: str) -> None:
    with pytest.raises(ValueError, match=r"^storage .*holds a password.*PGPASSWORD.*pgpass") as no:
        TuneConfig(storage=storage)
    assert "sesame" not in str(no.value)
    assert "/ame" not in str(no.value)


@pytest.mark.parametrize("query", ["", "?X-Amz-Signature=sesame", "?Signature=sesame"])
def test_a_dataset_is_downloaded_without_a_password(query: str) -> None:
    user = "" if query else "me:sesame@"
    with pytest.raises(ValueError, match=r"^udacity50_url .*password.*by hand") as refused:
        TrainConfig(udacity50_url=f"https://{user}mirror.example/landmarks.zip{query}")
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("name", ["photos", "out"])
@pytest.mark.parametrize(
    "address",
    [
        "s3://key:sesame@bucket/photos",
        "s3://key:ses/ame@bucket/photos",
        "simplecache::ftp://me:sesame@host/photos",
        "abfs://photos@account.dfs.core.windows.net/?client_secret=sesame",
        "https://account.blob.core.windows.net/photos?sv=2024&sig=sesame",
    ],
)
def test_photos_and_table_are_given_no_password(name: str, address: str) -> None:
    values: dict[str, Any] = {name: address}
    with pytest.raises(ValueError, match=rf"^{name} .*password.*AWS_SECRET_ACCESS_KEY") as refused:
        ClusterConfig(**values)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@db.example:5432/studies",
        "postgresql://db.example:5432/studies?application_name=a@b",
        "sqlite:////home/me@work/a:b@c.db",
        "s3://bucket/photos?region=eu-west-1&endpoint_override=localhost:9000",
        "ftp://host:2121/photos@home",
        "/photos/a:b@c",
        "",
    ],
)
def test_addresses_without_one_are_taken(address: str) -> None:
    assert TuneConfig(storage=address).storage == address
    assert address in to_json(ClusterConfig(photos=address))
