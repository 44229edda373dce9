"""Notebooks are short, narrated and free of outputs, and `make notebooks` executes every one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.source_tree import ROOT

NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
MOST_CODE_LINES = 80


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def test_the_four_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "1_explore_and_preprocess",
        "2_cnn_from_scratch",
        "3_transfer_learning",
        "4_best_model_in_an_app",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_keep_no_outputs(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert code
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_tells_a_short_story(path: Path) -> None:
    texts = [cell for cell in cells(path) if cell["cell_type"] == "markdown"]
    code = [line for cell in cells(path) if cell["cell_type"] == "code" for line in cell["source"]]
    assert cells(path)[0]["source"][0].startswith(f"# {path.stem[0]}. ")
    assert len(texts) >= 4
    assert len(code) <= MOST_CODE_LINES


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_anywhere_and_leaves_nothing_behind(
    path: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nbconvert", reason="pip install -e '.[notebooks]'")
    before = sorted(path.parent.iterdir())
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html"]
    command += ["--template", "html", f"--TemplateExporter.extra_template_basedirs={path.parent}"]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*command, "--output-dir", str(tmp_path), str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [item.name for item in tmp_path.iterdir()] == [f"{path.stem}.html"]
    page = (tmp_path / f"{path.stem}.html").read_text(encoding="utf-8")
    assert not re.findall(
        r'<script[^>]* src=|(?:src|href)="https?:|"application/vnd.jupyter.stderr"', page
    )
    for other in re.findall(r"\((\w+)\.ipynb\)", path.read_text(encoding="utf-8")):
        assert f'href="{other}.html"' in page
    assert sorted(path.parent.iterdir()) == before
