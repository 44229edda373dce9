"""Configurations: values out of range are refused by a sentence, spellings are one."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from experiments.recipes import RECIPES
from landmark_ml.config import (
    AppConfig,
    ClusterConfig,
    CompareConfig,
    Configuration,
    DataConfig,
    TagConfig,
    TrainConfig,
    to_json,
    to_params,
    user_path,
    without_users,
)

NUMBERS = [item.name for item in fields(TrainConfig) if type(item.default) in (int, float)]
FLOATS = [item.name for item in fields(TrainConfig) if isinstance(item.default, float)]


def configured(**values: Any) -> TrainConfig:
    return TrainConfig(**values)


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_may_be_negative(name: str) -> None:
    # -1 lets the backbone decide how many of its stages are seen.
    value = -2 if name == "feature_stages" else -1
    with pytest.raises(ValueError, match=rf"^{name} is {value}; give a number "):
        configured(**{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", FLOATS)
def test_numbers_are_finite(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is {value}; give a finite number"):
        configured(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("max_unreadable", 1.01, "from 0 to 1"),
        ("drop_rate", 1.0, "from 0 to below 1"),
        ("label_smoothing", 2.0, "from 0 to 1"),
        ("erasing", 1.1, "from 0 to 1"),
        ("ema_decay", 1.0, "from 0 to below 1"),
        ("layer_decay", 1.1, "from 0 to 1"),
        ("val_fraction", 0.0, "above 0 and below 1"),
        ("val_fraction", 1.0, "above 0 and below 1"),
        ("test_fraction", 1.0, "above 0 and below 1"),
        ("min_crop", 0.0, "above 0 and at most 1"),
        ("seed", 2**32, "below"),
        ("seed", -1, "from 0"),
        ("batch_size", 0, "above 0"),
        ("finetune_batch_size", 0, "above 0"),
        ("learning_rate", 0.0, "above 0"),
        ("clip_grad", 0.0, "above 0"),
        ("device", "tpu", "one of auto, cpu, cuda, mps"),
        ("framing", "stretch", "one of squash, crop"),
    ],
)
def test_a_value_out_of_range_names_field_value_and_fix(name: str, value: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}; .*{fix}"):
        configured(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drop_rate", 0.0),
        ("layer_decay", 1.0),
        ("min_crop", 1.0),
        ("label_smoothing", 0.0),
        ("patience", 0),
        ("resolution", 0),
        ("warmup_epochs", 0.0),
        ("weight_decay", 0.0),
        ("max_unreadable", 1.0),
    ],
)
def test_the_ends_of_a_range_belong_to_it(name: str, value: float) -> None:
    assert getattr(configured(**{name: value}), name) == value


def test_other_configurations_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"^most is 0; give a number above 0"):
        CompareConfig(most=0)


@pytest.mark.parametrize("kind", [TagConfig, ClusterConfig])
def test_a_threshold_is_a_share_or_that_of_the_model(kind: type[TagConfig | ClusterConfig]) -> None:
    assert [kind(threshold=value).threshold for value in (-1, 0, 1)] == [-1, 0, 1]
    for value in (-0.5, 1.01):
        with pytest.raises(ValueError, match=rf"^threshold is {value}; .* from 0 to 1, or -1"):
            kind(threshold=value)


def test_a_port_that_no_address_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^port is 70000; give a number from 0 to 65535"):
        AppConfig(port=70000)


def test_a_tilde_is_a_home_folder_in_every_path() -> None:
    assert user_path("~/cache") == Path.home() / "cache"


def test_one_photo_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match=r"^finetune_batch_size is 1, .* give 2 or more"):
        configured(finetune_batch_size=1, mixup=0.2)
    assert configured(finetune_batch_size=1).finetune_batch_size == 1


def test_patience_that_ends_before_the_next_validation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^patience is 3 and val_interval 4: .* or 0$"):
        configured(patience=3, val_interval=4)
    assert configured(patience=4, val_interval=4).val_interval == 4
    assert configured(patience=0, val_interval=4).patience == 0


def test_training_nothing_and_training_on_noise_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs and finetune_epochs are both 0"):
        configured(epochs=0)
    with pytest.raises(ValueError, match="weights 'random' with finetune_epochs 0"):
        configured(weights="random")
    assert configured(weights="random", epochs=0, finetune_epochs=1).finetune_epochs == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mine/landmarks", "holds no /"),
        ("landmarks:2", "holds no :"),
        ("landmark's", "holds no '"),
        ("landmarks.history", ".history ends the names of the histories"),
        ("  ", "starts or ends with a space"),
        ("..", "is a path or starts or ends with a space"),
    ],
)
def test_a_name_that_cannot_be_registered_is_refused_before_training(
    name: str, reason: str
) -> None:
    sentence = re.escape(f"model is {name!r}, ") + ".*" + re.escape(reason)
    with pytest.raises(ValueError, match=sentence):
        configured(model=name)


@pytest.mark.parametrize("name", ["", "landmarks", "my photos", "main.ml.landmarks", "v1.2"])
def test_a_name_that_can_be_registered_is_taken(name: str) -> None:
    assert configured(model=name).model == name


def test_every_field_is_a_parameter_and_stands_in_the_json() -> None:
    config = configured(learning_rate=0.001, refit=False)
    params, values = to_params(config), json.loads(to_json(config))
    names = {item.name for item in fields(TrainConfig)}
    assert set(params) == set(values) == names
    assert (params["learning_rate"], params["refit"]) == ("0.001", "False")
    assert TrainConfig(**values) == config


@pytest.mark.parametrize("config_class", [DataConfig, TrainConfig, CompareConfig])
def test_every_field_has_a_default_and_a_meaning(config_class: type[Configuration]) -> None:
    for item in fields(config_class):
        assert item.metadata["help"]
        assert getattr(config_class, item.name) == getattr(config_class(), item.name)


def test_a_recipe_records_its_own_name() -> None:
    assert {name: recipe().recipe for name, recipe in RECIPES.items()} == {n: n for n in RECIPES}
    assert RECIPES["transfer"]() == TrainConfig()


@pytest.mark.parametrize("side", [41, 160])
def test_crops_begin_at_a_size_networks_take(side: int) -> None:
    with pytest.raises(ValueError, match=f"start_resolution is {side}; give a multiple of 32"):
        configured(resolution=128, start_resolution=side)
    assert configured(resolution=128, start_resolution=64).start_resolution == 64


def test_crops_may_be_smaller_than_what_is_served() -> None:
    with pytest.raises(ValueError, match="at most the side of the training crops, 96"):
        configured(resolution=160, train_resolution=96, start_resolution=128)
    assert configured(resolution=160, train_resolution=96, start_resolution=64).resolution == 160


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("API request to http://me:secret@127.0.0.1:9/api failed", "to http://127.0.0.1:9/api f"),
        ("postgresql://me:s3@cret/secret@db:5432/runs", "postgresql://db:5432/runs"),
        ("http://secret@host/, then http://me:secret@other", "http://host/, then http://other"),
        ("s3://bucket/a@b.jpg and http://host:5000/a@b", "s3://bucket/a@b.jpg and http://host:5"),
    ],
)
def test_users_and_passwords_are_taken_out_of_messages(text: str, shown: str) -> None:
    assert shown in without_users(text)
    assert "secret" not in without_users(text)
