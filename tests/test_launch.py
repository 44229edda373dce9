"""Every training entry point is shared among the processes that are asked for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from experiments import ensemble, finetune, scratch, transfer

if TYPE_CHECKING:
    from collections.abc import Callable


class StartedAgainError(Exception):
    """The process would have become another one here."""


@pytest.mark.parametrize("main", [transfer.main, ensemble.main, finetune.main, scratch.main])
def test_training_starts_again_under_torchrun(
    main: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def become(_: str, command: list[str]) -> None:
        commands.append(command)
        raise StartedAgainError

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(sys, "argv", ["recipe", "--processes=8", "--data=no such folder"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(StartedAgainError):
        main()
    (command,) = commands
    assert "--nproc-per-node=8" in command
    assert command[-2:] == ["--processes=8", "--data=no such folder"]
