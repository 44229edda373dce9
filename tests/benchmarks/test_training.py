"""The training benchmark: what it says of curves, and what the stopwatch counts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from benchmarks.peers import contract
from benchmarks.peers.contract import Point, Stopwatch, Task
from benchmarks.training import report, seconds_to, top1_at


def curve(*points: tuple[float, float], peer: str = "plain loop") -> list[Point]:
    return [Point(peer, 100 * (i + 1), s, top1) for i, (s, top1) in enumerate(points)]


ROUNDS = [curve((60, 0.80), (120, 0.91)), curve((70, 0.82), (200, 0.92)), curve((80, 0.95))]


def test_the_time_to_a_goal_is_the_median_of_the_first_points_that_reach_it() -> None:
    assert seconds_to(ROUNDS, 0.90) == 120
    assert seconds_to(ROUNDS, 0.80) == 70


def test_a_goal_missed_in_one_round_is_missed() -> None:
    assert seconds_to(ROUNDS, 0.94) is None


def test_top1_at_a_time_is_the_best_known_by_then() -> None:
    assert top1_at(ROUNDS, 2) == 0.91
    assert top1_at([curve((50, 0.9), (60, 0.7))], 1) == 0.9
    assert top1_at(ROUNDS, 1) is None


def test_the_table_holds_ratios_to_our_own_time_and_says_what_was_not_reached() -> None:
    curves = {
        "landmark-ml": [curve((40, 0.91))],
        "fastai": [curve((400, 0.93))],
        "plain loop": [curve((600, 0.85))],
    }
    rows = [line.split("|")[1:-1] for line in report(curves, [1, 10], 0.90).splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[2:]}
    assert cells["fastai"] == ["400", "10.0", "-", "0.930", "0"]
    assert cells["landmark-ml"][:4] == ["40", "1.0", "0.910", "0.910"]
    assert cells["plain loop"][:2] == ["not reached", "-"]


def test_the_stopwatch_stands_still_while_a_peer_judges_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = psutil.Process().create_time() + 100
    monkeypatch.setattr(contract, "time", SimpleNamespace(time=lambda: now))
    stopwatch = Stopwatch("fastai", minutes=60)
    now += 20
    with stopwatch.paused_for_evaluation():
        now += 5000
    now += 10
    assert stopwatch.seconds == pytest.approx(130, abs=1e-3)
    stopwatch.record(0.5, photos=10)
    point = json.loads(capsys.readouterr().out)
    assert (point["peer"], point["top1"], point["photos"]) == ("fastai", 0.5, 10)
    assert point["seconds"] == pytest.approx(130, abs=1e-3)
    assert not stopwatch.is_over
    now += 3600
    assert stopwatch.is_over


def test_what_a_peer_knows_when_it_is_cut_off_counts_at_the_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopwatch = Stopwatch("fastai", minutes=0)
    assert stopwatch.is_over
    stopwatch.record(0.5, photos=10)
    known = Point(**json.loads(capsys.readouterr().out))
    assert top1_at([[known]], minutes=0) == 0.5


def test_peers_get_a_network_with_as_many_outputs_as_the_folder_has_classes(
    tmp_path: Path,
) -> None:
    for name in ("Eiffel_Tower", "Atomium"):
        (tmp_path / "train" / name).mkdir(parents=True)
    task = Task(tmp_path, "scratch", epochs=1, minutes=1)
    assert (task.num_classes, task.backbone, task.resolution) == (2, "landmark_cnn", 128)
    assert task.network()(torch.zeros(2, 3, 128, 128)).shape == (2, 2)
