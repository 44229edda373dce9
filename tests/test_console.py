"""What a run says in a terminal: bars that never stand still, counts, and lists of names."""

from __future__ import annotations

import io
import logging
import time

import pytest
from tqdm import std

from experiments import cli
from landmark_ml.console import Bar, counted, listed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    for module in (time, std):
        monkeypatch.setattr(module, "time", lambda: now[0])
    return now


def epochs(terminal: io.StringIO, clock: list[float], seconds: float) -> str:
    """What stands in the terminal after ten epochs of so many seconds."""
    bar = Bar(range(10), "head", file=terminal)
    for epoch in bar:
        clock[0] += seconds
        bar.set_postfix_str(f"loss {epoch}")
    return terminal.getvalue()


def test_a_short_phase_shows_no_bar(clock: list[float]) -> None:
    assert "head" not in epochs(Terminal(), clock, 0.1)


def test_a_long_phase_shows_how_far_it_is_and_how_long_it_takes(clock: list[float]) -> None:
    said = epochs(Terminal(), clock, 1.0)
    assert "6/10 [00:06<00:04" in said
    assert "10/10" in said
    assert "loss 9" in said


def test_a_file_gets_no_bars(clock: list[float]) -> None:
    assert epochs(io.StringIO(), clock, 1.0) == ""


def test_a_log_line_shows_no_bar_before_its_time(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    handler = cli._Lines(terminal)
    bar = Bar(total=10, desc="head", file=terminal)
    for level, text in ((logging.INFO, "ten photos"), (logging.WARNING, "one is damaged")):
        handler.handle(logging.LogRecord("x", level, "", 0, text, None, None))
    assert "ten photos\n" in terminal.getvalue()
    assert "warning: one is damaged\n" in terminal.getvalue()
    assert "head" not in terminal.getvalue()
    bar.close()


def test_counts_and_lists_read_as_sentences_do() -> None:
    assert [counted(number, "photo") for number in (0, 1, 1234)] == [
        "0 photos",
        "1 photo",
        "1,234 photos",
    ]
    assert listed("abc") == "a, b, c"
    assert listed("abcd") == "a, b, c and 1 more"
