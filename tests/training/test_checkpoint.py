"""Checkpoints come back as they were written, or are refused; none is ever lost to a new one."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest
import torch
from torch import nn

from landmark_ml.config import TrainConfig
from landmark_ml.config.fields import option
from landmark_ml.training.batches import Augmentation, TensorBatches
from landmark_ml.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    ResumeError,
    RunSaver,
    config_digest,
    hold_run,
    open_saver,
    read_checkpoint,
)
from landmark_ml.training.devices import one_thread, seed_everything
from tests.tiny_networks import SIDE, fit_on_pixels, random_pixels, small_config, tiny_model

OnEpochEnd = Callable[[dict[str, float]], None]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run")


def files(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write_named(folder: Path, epoch: int, content: bytes) -> Path:
    """File under the name that its content deserves, whatever the content."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    return path


def test_a_state_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    weights = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    state: dict[str, Any] = {
        "model": {"weight": weights, "half": torch.ones(2, dtype=torch.bfloat16)},
        "steps": [7, -1, 2**70],
        "random": (3, (1, 2), None, "MT19937"),
        "rows": [{"val/loss": 0.1, "epoch": 0.0}],
        "ema": None,
        "done": True,
    }
    checkpoints.save(3, state)
    found = checkpoints.load()
    assert found is not None
    epoch, loaded = found
    tensors = loaded.pop("model")
    assert epoch == 3
    assert torch.equal(tensors["weight"], weights)
    assert tensors["weight"].is_contiguous(memory_format=torch.channels_last)
    assert tensors["half"].dtype == torch.bfloat16
    assert loaded == {name: value for name, value in state.items() if name != "model"}


def test_an_empty_folder_has_no_checkpoint(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None


def test_the_last_two_are_kept(checkpoints: Checkpoints) -> None:
    written = [checkpoints.save(epoch, {"epoch": epoch}).name for epoch in (8, 9, 10, 11)]
    assert files(checkpoints) == written[-2:]
    assert checkpoints.load() == (11, {"epoch": 11})


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit])
def test_a_damaged_one_is_refused_and_the_one_before_taken(
    damage: Callable[[Path], None],
    checkpoints: Checkpoints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    checkpoints.save(0, {"epoch": 0})
    newest = checkpoints.save(1, {"epoch": 1})
    damage(newest)
    with caplog.at_level(logging.WARNING):
        assert checkpoints.load() == (0, {"epoch": 0})
    assert f"{newest} is truncated or was changed" in caplog.text


def test_a_damaged_one_never_takes_the_place_of_a_sound_one(checkpoints: Checkpoints) -> None:
    first = checkpoints.save(0, {"epoch": 0})
    flip_a_bit(checkpoints.save(1, {"epoch": 1}))
    again = checkpoints.save(1, {"epoch": 1, "again": True})
    assert files(checkpoints) == sorted([first.name, again.name])
    assert checkpoints.load() == (1, {"epoch": 1, "again": True})


def test_an_unreadable_checkpoint_is_skipped(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, {"epoch": 0})
    newest = checkpoints.save(1, {"epoch": 1})
    newest.unlink()
    newest.mkdir()
    assert checkpoints.load() == (0, {"epoch": 0})


def test_when_all_are_damaged_it_says_so(checkpoints: Checkpoints) -> None:
    for epoch in (0, 1):
        truncate(checkpoints.save(epoch, {"epoch": epoch}))
    with pytest.raises(CheckpointError, match=r"every checkpoint in .*run is damaged; remove"):
        checkpoints.load()


class Trap:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.victim,))


def test_code_in_a_file_with_a_proper_name_is_never_run(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    plain = write_named(checkpoints.folder, 1, pickle.dumps(Trap(victim), protocol=2))
    torch.save({"model": Trap(victim)}, tmp_path / "zipped")
    zipped = write_named(checkpoints.folder, 2, (tmp_path / "zipped").read_bytes())
    for path in (plain, zipped):
        with pytest.raises(pickle.UnpicklingError):
            read_checkpoint(path)
    assert not victim.exists()


def disk_full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_on_a_full_disk(path: Path, mode: str) -> IO[Any]:
    path.touch()
    return io.open("/dev/full", mode)  # noqa: UP020 - Path.open is what this stands in for


@pytest.mark.parametrize(
    ("owner", "name", "stand_in"),
    [(Path, "open", open_on_a_full_disk), (os, "fsync", disk_full), (Path, "replace", disk_full)],
    ids=["open", "fsync", "replace"],
)
def test_a_full_disk_is_a_clear_error_and_costs_no_checkpoint(
    owner: Any,
    name: str,
    stand_in: Any,
    checkpoints: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [checkpoints.save(epoch, {"epoch": epoch}).name for epoch in (0, 1)]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stand_in)
        with pytest.raises(CheckpointError) as refused:
            checkpoints.save(2, {"epoch": 2})
    message = str(refused.value)
    assert f"{checkpoints.folder}/epoch-000002" in message
    assert "No space left on device; free" in message
    assert "Earlier checkpoints are intact" in message
    assert files(checkpoints) == before
    assert checkpoints.load() == (1, {"epoch": 1})
    checkpoints.save(2, {"epoch": 2})
    assert checkpoints.load() == (2, {"epoch": 2})


def test_what_a_killed_process_left_half_written_is_gone_after_the_next(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = checkpoints.save(0, {"epoch": 0})
    with monkeypatch.context() as patch:
        # A killed process does not clean up either.
        patch.setattr(Path, "replace", disk_full)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(CheckpointError):
            checkpoints.save(1, {"epoch": 1})
    assert len(files(checkpoints)) == 2
    assert checkpoints.load() == (0, {"epoch": 0})
    second = checkpoints.save(1, {"epoch": 1})
    assert files(checkpoints) == [first.name, second.name]


def test_removed_checkpoints_are_gone(checkpoints: Checkpoints) -> None:
    checkpoints.save(0, {"epoch": 0})
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    assert checkpoints.load() is None


CONFIG = small_config(
    finetune_epochs=5,
    finetune_learning_rate=0.02,
    layer_decay=0.5,
    label_smoothing=0.1,
    mixup=0.4,
    cutmix=1.0,
    ema_decay=0.9,
    finetune_share=0.5,
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
    [CONFIG, replace(CONFIG, ema_decay=0, mixup=0, cutmix=0, layer_decay=1.0, finetune_share=1.0)],
    ids=["everything on", "plain"],
)
def test_a_fit_ends_the_same_however_often_it_crashed(
    crashes: list[int], config: TrainConfig, tmp_path: Path
) -> None:
    model, kept, saver = run_fit(tmp_path / "whole", config, ignore)
    for epoch in crashes:
        with pytest.raises(CrashError):
            run_fit(tmp_path / "crashed", config, crash_at(epoch))
    # What the new process drew before it went on makes no difference, unless it starts over.
    seed = 0 if crashes == [0] else 7
    same, same_kept, same_saver = run_fit(tmp_path / "crashed", config, ignore, seed)
    assert without_speed([same_kept]) == without_speed([kept])
    assert without_speed(same_saver.history) == without_speed(saver.history)
    theirs = same.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_of_a_version_without_shares_goes_on(tmp_path: Path) -> None:
    with pytest.raises(CrashError):
        run_fit(tmp_path, replace(CONFIG, finetune_share=1.0), crash_at(2))
    found = Checkpoints(tmp_path).load()
    assert found is not None
    epoch, state = found
    del state["started"]
    Checkpoints(tmp_path).save(epoch, state)
    _, _, saver = run_fit(tmp_path, replace(CONFIG, finetune_share=1.0), ignore)
    assert len(saver.history) == 5


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
