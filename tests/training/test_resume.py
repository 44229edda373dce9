"""What stands between an interrupted fit and the same fit uninterrupted: nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from landmark_ml.config import TrainConfig
from landmark_ml.config.fields import option
from landmark_ml.training.augmentation import Augmentation
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.checkpoint import (
    Checkpoints,
    ResumeError,
    config_digest,
    hold_run,
    open_saver,
)
from landmark_ml.training.devices import one_thread, seed_everything
from tests.tiny_networks import SIDE, fit_on_pixels, random_pixels, small_config, tiny_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import nn

    from landmark_ml.training.checkpoint import RunSaver

    OnEpochEnd = Callable[[dict[str, float]], None]

CONFIG = small_config(
    finetune_epochs=5,
    finetune_learning_rate=0.02,
    layer_decay=0.5,
    label_smoothing=0.1,
    mixup=0.4,
    cutmix=1.0,
    ema_decay=0.9,
)
# A rate at which nothing gets better.
HOPELESS = replace(CONFIG, finetune_epochs=40, finetune_learning_rate=5.0, ema_decay=0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


class CrashError(Exception):
    """Stands for whatever ends a process."""


def pixels(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise that is brighter in the channel of its label."""
    labels = torch.arange(count) % 3
    images = random_pixels(count, seed).permute(0, 3, 1, 2) // 2
    images[torch.arange(count), labels] += 60
    return images, labels


def train_batches(seed: int = 0) -> TensorBatches:
    images, labels = pixels(24, seed=1)
    generator = torch.Generator().manual_seed(seed)
    augmentation = Augmentation(size=SIDE, erasing=0.5)
    return TensorBatches(images, labels, 8, generator, augmentation, torch.ones(24))


def run_fit(
    folder: Path, config: TrainConfig, on_epoch_end: OnEpochEnd, seed: int = 0
) -> tuple[nn.Module, dict[str, float], RunSaver]:
    """A fit in a process of its own, as far as generators go; `seed` decides the first one."""
    seed_everything(seed)
    saver = open_saver(Checkpoints(folder), "manifest", time.perf_counter())
    model = tiny_model(seed=seed)

    def add(metrics: dict[str, float]) -> None:
        saver.history.append(metrics)
        on_epoch_end(metrics)

    val = TensorBatches(*pixels(12, seed=2), 8)
    kept = fit_on_pixels(model, train_batches(seed), val, config, add, saver)
    return model, kept, saver


def ignore(_: dict[str, float]) -> None:
    """Let every epoch pass."""


def crash_at(epoch: int) -> OnEpochEnd:
    def crash(metrics: dict[str, float]) -> None:
        if metrics["epoch"] == epoch:
            raise CrashError

    return crash


def without_speed(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if "per_second" not in k} for row in rows]


@pytest.mark.parametrize("crashes", [[0], [4], [1, 2, 2]], ids=str)
@pytest.mark.parametrize(
    "config",
    [CONFIG, replace(CONFIG, ema_decay=0, mixup=0, cutmix=0, layer_decay=1.0)],
    ids=["everything on", "plain"],
)
def test_a_fit_ends_the_same_however_often_it_crashed(
    crashes: list[int], config: TrainConfig, tmp_path: Path
) -> None:
    model, kept, saver = run_fit(tmp_path / "whole", config, ignore)
    for epoch in crashes:
        with pytest.raises(CrashError):
            run_fit(tmp_path / "crashed", config, crash_at(epoch))
    # What the new process drew before it went on makes no difference, unless it begins anew.
    seed = 0 if crashes == [0] else 7
    same, same_kept, same_saver = run_fit(tmp_path / "crashed", config, ignore, seed)
    assert without_speed([same_kept]) == without_speed([kept])
    assert without_speed(same_saver.history) == without_speed(saver.history)
    theirs = same.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


def test_a_fit_that_was_done_is_not_trained_again(tmp_path: Path) -> None:
    model, kept, _ = run_fit(tmp_path, CONFIG, ignore)
    epochs: list[dict[str, float]] = []
    again, kept_again, saver = run_fit(tmp_path, CONFIG, epochs.append)
    assert epochs == []
    assert kept_again == kept
    assert len(saver.history) == 5
    theirs = again.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


def test_a_fit_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    config = replace(
        CONFIG, finetune_epochs=40, finetune_learning_rate=5.0, ema_decay=0, patience=2
    )
    _, kept, saver = run_fit(tmp_path, config, ignore)
    stopped = len(saver.history)
    assert stopped == kept["epoch"] + 3 < 40
    epochs: list[dict[str, float]] = []
    _, kept_again, _ = run_fit(tmp_path, config, epochs.append)
    assert (epochs, kept_again) == ([], kept)


def test_patience_counts_the_epochs_before_the_crash(tmp_path: Path) -> None:
    config = replace(
        CONFIG, finetune_epochs=40, finetune_learning_rate=5.0, ema_decay=0, patience=3
    )
    _, kept, saver = run_fit(tmp_path / "whole", config, ignore)
    with pytest.raises(CrashError):
        run_fit(tmp_path / "crashed", config, crash_at(int(kept["epoch"]) + 2))
    _, _, same = run_fit(tmp_path / "crashed", config, ignore)
    assert without_speed(same.history) == without_speed(saver.history)


def test_the_time_before_the_crash_counts(tmp_path: Path) -> None:
    now = time.perf_counter()
    open_saver(Checkpoints(tmp_path), "manifest", now - 500).save(0, {})
    assert open_saver(Checkpoints(tmp_path), "manifest", now).started == pytest.approx(
        now - 500, abs=5
    )


def test_a_checkpoint_says_whose_it_is(tmp_path: Path) -> None:
    open_saver(Checkpoints(tmp_path / "abc"), "the photos", 0.0).save(3, {"done": 4})
    found = Checkpoints(tmp_path / "abc").load()
    assert found is not None
    assert found[0] == 3
    assert found[1].items() >= {"run_id": "abc", "manifest": "the photos", "done": 4}.items()


def test_other_photos_are_refused_and_the_checkpoint_stays(tmp_path: Path) -> None:
    open_saver(Checkpoints(tmp_path), "before", 0.0).save(0, {})
    with pytest.raises(ResumeError, match="manifest before then, after now; bring them back"):
        open_saver(Checkpoints(tmp_path), "after", 0.0)
    assert open_saver(Checkpoints(tmp_path), "before", 0.0).state is not None


def test_a_run_is_held_once_and_let_go(tmp_path: Path) -> None:
    with hold_run(tmp_path, "one") as checkpoints:
        checkpoints.save(0, {})
        with (
            pytest.raises(ResumeError, match="run one is being trained by another process"),
            hold_run(tmp_path, "one"),
        ):
            pass
        with hold_run(tmp_path, "two") as others:
            assert others.load() is None
    with pytest.raises(CrashError), hold_run(tmp_path, "one"):
        raise CrashError
    with hold_run(tmp_path, "one") as checkpoints:
        assert checkpoints.load() == (0, {})


def test_a_field_that_is_added_leaves_earlier_runs_as_they_are() -> None:
    @dataclass(frozen=True, kw_only=True)
    class LaterConfig(TrainConfig):
        added: int = option(1, "what a later version can do too")

    values: dict[str, Any] = {"recipe": "mine", "epochs": 3}
    assert config_digest(LaterConfig(**values)) == config_digest(TrainConfig(**values))
    assert config_digest(LaterConfig(added=2)) != config_digest(TrainConfig())


def test_the_digest_is_that_of_what_is_trained() -> None:
    config = TrainConfig()
    assert config_digest(replace(config, resume="auto")) == config_digest(config)
    for change in ({"seed": 1}, {"finetune_epochs": 3}, {"data": "elsewhere"}):
        assert config_digest(replace(config, **change)) != config_digest(config)
