"""The benchmark of landmarks never seen: they are nowhere in the training, and are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rejection import leave_out, main, report, run_draw
from landmark_ml.config import TrainConfig
from tests.colour_photos import CLASSES as COLOURS
from tests.interrupted_runs import QUICK, write_colour_folders

CLASSES = ("01.Eiffel_Tower", "02.Big_Ben", "03.Taj_Mahal")


def _dataset(root: Path, *sides: str) -> Path:
    for side in sides or ("",):
        for name in CLASSES:
            (root / side / name).mkdir(parents=True)
            (root / side / name / f"{side or 'a'}.jpg").write_bytes(b"x")
    (root.parent / "not_landmarks").mkdir()
    (root.parent / "not_landmarks" / "desk.jpg").write_bytes(b"x")
    (root / "places.csv").write_text("landmark\n")
    return root


def _links(folder: Path) -> set[str]:
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    return {path.relative_to(folder).as_posix() for path in links}


@pytest.mark.parametrize("sides", [("train", "test"), ()])
def test_a_landmark_left_out_is_on_no_side(tmp_path: Path, sides: tuple[str, ...]) -> None:
    root = _dataset(tmp_path / "data" / "photos", *sides)
    made = leave_out(root, ["Big Ben"], tmp_path / "made")
    kept = {
        f"{side}/{name}/{side or 'a'}.jpg".strip("/")
        for side in sides or ("",)
        for name in CLASSES[::2]
    }
    assert _links(made) == {*kept, "places.csv"}
    assert _links(tmp_path / "made" / "not_landmarks") == {"desk.jpg"}


def test_it_is_left_out_whatever_its_folder_is_called(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "data" / "photos", "train", "test")
    (root / "test" / "02.Big_Ben").rename(root / "test" / "Big Ben")
    made = leave_out(root, ["Big Ben"], tmp_path / "made")
    assert not (made / "test" / "Big Ben").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tracking_uri")
def test_every_photo_of_a_landmark_left_out_is_asked_about(tmp_path: Path) -> None:
    root = write_colour_folders(tmp_path / "photos")
    config = TrainConfig(
        **QUICK, epochs=0, finetune_epochs=1, cache_dir=str(tmp_path / "cache"), threads=1
    )
    found = run_draw(root, config, COLOURS[:1], everyday=True)
    assert (found["unseen_photos"], found["photos"]) == (13, 6)
    assert 0 <= found["unseen_auroc"] <= 1


def test_the_table_has_the_mean_and_the_spread_of_the_draws() -> None:
    names = ("top1", "landmarks_tagged", "auroc", "distractors_tagged", "unseen_auroc")
    draw = dict.fromkeys((*names, "unseen_fpr_at_95_recall", "unseen_tagged"), 0.875)
    text = report([draw, draw | {"unseen_auroc": 0.625}])
    assert "| AUROC against landmarks never seen | 0.750 | 0.625 to 0.875 |" in text


def test_more_cannot_be_left_out_than_there_are(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "data" / "photos")
    with pytest.raises(ValueError, match="leave out at most 1 with --leave"):
        main(["--data", str(root), "--leave", "2"])
