"""The quick benchmark of CI: ratios of medians, and no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import input_pipeline, quick
from benchmarks.tagging import Speed


def test_the_input_pipeline_is_set_beside_both_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "ours": [300.0, 200.0, 100.0],
        "torchvision": [50.0, 50.0, 10.0],
        "scaled decode alone": [400.0],
    }
    monkeypatch.setattr(input_pipeline, "measure", lambda *_: found)
    ratios = quick.input_ratios([Path("a.jpg")], rounds=3)
    assert ratios == {
        "files to batches: ours over torchvision": 4.0,
        "files to batches: ours over scaled decode alone": 0.5,
    }


def test_tagging_is_set_beside_what_its_parts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"decode": 300.0, "network": 600.0, "tagger": 150.0}
    found = {name: Speed([rate], [1.0]) for name, rate in rates.items()}
    monkeypatch.setattr(quick, "find_version", lambda model: model)
    monkeypatch.setattr(quick, "load_version", lambda _: None)
    monkeypatch.setattr(quick, "photos_of", lambda _: [])
    monkeypatch.setattr(quick, "speeds", lambda *_, **__: found)
    (ratio,) = quick.tagging_ratio(Path("photos"), "landmarks", rounds=3).values()
    assert ratio == pytest.approx(0.75)
