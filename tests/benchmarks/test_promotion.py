"""How often the gates of a promotion err, on made-up answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.promotion import (
    GUARDS,
    SIZES,
    false_promotions,
    made_up_models,
    main,
    stopped_by,
)


@pytest.mark.parametrize("size", SIZES)
def test_equally_good_models_are_hardly_ever_refused(size: int) -> None:
    rng = np.random.default_rng(1)
    models = [made_up_models(rng, size, others=size // 2) for _ in range(60)]
    refused = [bool(stopped_by(each, resamples=200) & set(GUARDS)) for each in models]
    assert np.mean(refused) <= 0.05


def test_really_worse_models_are_refused() -> None:
    rng = np.random.default_rng(1)
    for difference, gate in (
        ({"ease": -0.85}, "GAP"),
        ({"sharpness": 0.5}, "ECE"),
        ({"tagged": 0.1}, "tags on no landmark"),
    ):
        models = [made_up_models(rng, 522, others=261, **difference) for _ in range(10)]
        assert np.mean([gate in stopped_by(each, resamples=200) for each in models]) > 0.8


def test_twenty_promotions_on_the_same_photos_stay_within_alpha() -> None:
    _, before, spent = false_promotions(522, 400)
    assert float(spent.rstrip("%")) <= 5 < float(before.rstrip("%"))


def test_the_tables_are_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "promotion.json"
    monkeypatch.setattr("sys.argv", ["promotion", "--pairs=1", f"--out={out}"])
    main()
    printed = capsys.readouterr().out
    assert "| as good | " in printed
    assert "top-1 not worse is shown, 180 photos" in printed
    tables = json.loads(out.read_text())["tables"]
    _, rows = tables["better top-1 is shown, 522 photos"]
    assert len(rows) == 4
