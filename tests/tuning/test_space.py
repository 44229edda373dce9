"""What the search suggests is always a configuration that can be trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from landmark_ml.config import TuneConfig
from landmark_ml.tuning.space import (
    kept_params,
    searched_backbones,
    starting_params,
    suggest_config,
)

HEAD = TuneConfig()
FINETUNE = TuneConfig(space="finetune", finetune_epochs=3)


def draw(base: TuneConfig, trials: int = 60) -> list[tuple[dict[str, Any], Any]]:
    """Parameters and configurations of random trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked = [study.ask() for _ in range(trials)]
    return [(trial.params, config) for trial in asked for config in [suggest_config(trial, base)]]


@pytest.mark.parametrize("base", [HEAD, FINETUNE], ids=["head", "finetune"])
def test_the_search_starts_from_the_configuration_it_is_given(base: TuneConfig) -> None:
    started = suggest_config(FixedTrial(starting_params(base)), base)
    assert started == replace(base.training(), refit=False, model="")


def test_values_outside_the_usual_ranges_can_be_started_from() -> None:
    base = TuneConfig(learning_rate=0.5, epochs=3, drop_rate=0.95, batch_size=77)
    started = suggest_config(FixedTrial(starting_params(base)), base)
    assert started == replace(base.training(), refit=False, model="")


@pytest.mark.parametrize("base", [HEAD, FINETUNE], ids=["head", "finetune"])
def test_a_trial_never_trains_on_what_judges_it(base: TuneConfig) -> None:
    assert not any(config.refit for _, config in draw(base))
    assert not any(config.model for _, config in draw(base))


def test_strengths_of_mixing_are_asked_for_only_where_it_is_used() -> None:
    needed = {"none": set(), "mixup": {"mixup"}, "cutmix": {"cutmix"}, "both": {"mixup", "cutmix"}}
    drawn = draw(FINETUNE)
    assert {params["mix"] for params, _ in drawn} == set(needed)
    for params, config in drawn:
        assert {"mixup", "cutmix"} & set(params) == needed[params["mix"]]
        assert ("mix_probability" in params) == (params["mix"] != "none")
        assert (config.mixup > 0, config.cutmix > 0) == (
            "mixup" in params,
            "cutmix" in params,
        )


def test_a_larger_scale_is_a_multiple_of_what_a_network_takes() -> None:
    base = replace(HEAD, backbones="tf_efficientnet_lite2")
    sides = {(c.backbone, c.resolution) for _, c in draw(base)}
    assert sides == {
        ("tf_efficientnet_lite0", 0),
        ("tf_efficientnet_lite0", 288),
        ("tf_efficientnet_lite2", 0),
        ("tf_efficientnet_lite2", 320),
    }


def test_numbers_are_those_a_person_would_type() -> None:
    for _, config in draw(HEAD, 20):
        assert len(f"{config.learning_rate:.10f}".strip("0.").replace(".", "")) <= 3


def test_what_is_kept_is_named_as_the_space_names_it() -> None:
    assert kept_params(replace(HEAD, keep="framing, epochs")) == {"framing": "squash", "epochs": 30}
    with pytest.raises(ValueError, match="keep names colour, which the space 'head' does not"):
        kept_params(replace(HEAD, keep="colour"))


def test_weights_from_a_file_fit_one_backbone() -> None:
    assert searched_backbones(replace(HEAD, weights="mine.pth")) == (HEAD.backbone,)
    assert searched_backbones(replace(HEAD, backbones="")) == (HEAD.backbone,)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"trials": 0}, "the search would never end"),
        ({"space": "finetune"}, "would fine-tune nothing"),
        ({"finetune_epochs": 2}, "fine-tuning space 'finetune'"),
        ({"processes": 8}, "processes is 8, and each trial trains in one process"),
        ({"resume": "auto"}, "resume is 'auto', and a search is not a single run"),
    ],
)
def test_a_search_that_cannot_be_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TuneConfig(**values)


@pytest.mark.parametrize("name", ["weight_decay", "finetune_weight_decay"])
def test_a_search_in_powers_cannot_start_from_nothing(name: str) -> None:
    changes: dict[str, Any] = {name: 0.0}
    base = replace(FINETUNE, **changes)
    with pytest.raises(ValueError, match=rf"^{name} is 0\.0, .* give a number above 0, such as"):
        starting_params(base)
