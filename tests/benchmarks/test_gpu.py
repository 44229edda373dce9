"""The benchmark of a device: three rates of ours and of a plain loop, here on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from tests.photo_folders import write_two_classes


@pytest.mark.slow
def test_each_part_has_a_rate_of_ours_and_of_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "HEAD_PHOTOS", 512)
    data, out = write_two_classes(tmp_path / "photos"), tmp_path / "gpu.json"
    gpu.main(
        [f"--data={data}", "--backbone=test_resnet", "--batch=4", "--precision=f32", f"--out={out}"]
    )
    rows = json.loads(out.read_text())["rows"]
    assert [row[0] for row in rows] == list(gpu.PARTS)
    assert all(float(rate.replace(",", "")) > 0 for row in rows for rate in row[1:])
    assert "| test_resnet on cpu, f32 | ours | plain timm loop |" in capsys.readouterr().out
