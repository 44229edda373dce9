"""The benchmark of landmarks never seen: they are nowhere in the training, and are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchmarks.left_out import class_folders, leave_out, photos_of
from benchmarks.rejection import judge, main, report

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("01.Eiffel_Tower", "02.Big_Ben", "03.Taj_Mahal")


def _dataset(root: Path, *sides: str) -> Path:
    for side in sides or ("",):
        for name in CLASSES:
            (root / side / name).mkdir(parents=True)
            (root / side / name / f"{side or 'a'}.jpg").write_bytes(b"x")
    (root.parent / "not_landmarks").mkdir()
    (root / "places.csv").write_text("landmark\n")
    return root


def _files(folder: Path) -> set[str]:
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    return {str(path.relative_to(folder)) for path in links}


@pytest.mark.parametrize("sides", [("train", "test"), ()])
def test_a_landmark_left_out_is_on_no_side(tmp_path: Path, sides: tuple[str, ...]) -> None:
    root = _dataset(tmp_path / "data" / "photos", *sides)
    made = leave_out(root, ["02.Big_Ben"], tmp_path / "made")
    kept = {f"{side}/{name}".strip("/") for side in sides or ("",) for name in CLASSES[::2]}
    assert _files(made) == {*kept, "places.csv"}
    assert (tmp_path / "made" / "not_landmarks").is_dir()


def test_it_is_left_out_whatever_its_folder_is_called(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "data" / "photos", "train", "test")
    (root / "test" / "02.Big_Ben").rename(root / "test" / "Big Ben")
    made = leave_out(root, ["02.Big_Ben"], tmp_path / "made")
    assert not (made / "test" / "Big Ben").exists()
    assert [path.name for path in photos_of(root, ["02.Big_Ben"])] == ["train.jpg", "test.jpg"]


def test_landmarks_are_the_class_folders(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "data" / "photos")
    (root / "not_landmarks").mkdir()
    assert class_folders(root) == list(CLASSES)


def test_the_known_are_set_against_the_unseen_and_against_everyday_photos() -> None:
    answers = pd.DataFrame(
        {
            "label": ["Big Ben"] * 4 + [""] * 2,
            "landmark_score": [0.9, 0.8, 0.7, 0.6, 0.1, 0.2],
            "accepted": [True, True, True, False, False, False],
            "correct": [True, True, False, True, False, False],
        }
    )
    unseen = pd.DataFrame({"landmark_score": [0.65, 0.5], "is_landmark": [True, False]})
    found = judge(answers, unseen, ["Taj Mahal"])
    assert (found.top1, found.known_tagged) == (0.75, 0.75)
    assert (found.everyday_auroc, found.everyday_tagged) == (1.0, 0.0)
    assert found.unseen_auroc == pytest.approx(7 / 8)
    assert (found.unseen_at_95_recall, found.unseen_tagged) == (0.5, 0.5)
    text = report([found, found])
    assert "| AUROC against landmarks never seen | 0.875 | 0.875 to 0.875 |" in text


def test_more_cannot_be_left_out_than_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _dataset(tmp_path / "data" / "photos")
    assert main(["--data", str(root), "--leave", "2"]) == 1
    assert "leave out at most 1 with --leave" in capsys.readouterr().err
