"""Checkpoints come back as they were written, or are refused; none is ever lost to a new one."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import os
import pickle
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import pytest
import torch

from landmark_ml.training.checkpoint import CheckpointError, Checkpoints, read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable


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
    checkpoints.save(0, {"epoch": 0})
    victim = tmp_path / "victim"
    plain = write_named(checkpoints.folder, 1, pickle.dumps(Trap(victim), protocol=2))
    torch.save({"model": Trap(victim)}, tmp_path / "zipped")
    zipped = write_named(checkpoints.folder, 2, (tmp_path / "zipped").read_bytes())
    for path in (plain, zipped):
        with pytest.raises(CheckpointError, match="something else than tensors"):
            read_checkpoint(path)
    assert checkpoints.load() == (0, {"epoch": 0})
    assert not victim.exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 half a zip", b"\x80\x02."])
def test_other_content_under_the_name_of_a_checkpoint_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="was not written by this program"):
        read_checkpoint(write_named(tmp_path, 0, content))


def test_a_state_that_is_not_a_dictionary_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor")
    with pytest.raises(CheckpointError, match="was not written by this program"):
        read_checkpoint(write_named(tmp_path, 0, (tmp_path / "tensor").read_bytes()))


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
