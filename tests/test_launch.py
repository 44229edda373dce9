"""Every training entry point is shared among the processes that are asked for."""

from __future__ import annotations

import importlib.util
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
    # As `python -m` sets it; the main module of a test run is another one, or has none.
    spec = importlib.util.find_spec(main.__module__)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    with pytest.raises(StartedAgainError):
        main()
    (command,) = commands
    assert "--nproc-per-node=8" in command
    assert main.__module__ in command
    assert command[-2:] == ["--processes=8", "--data=no such folder"]
