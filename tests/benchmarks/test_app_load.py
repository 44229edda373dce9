"""The load on the app: what is sent, and what counts as a failure."""

from __future__ import annotations

import json
import time

from benchmarks.app_load import Exchange, Load, Speed, failures_of, judge, keep_asking, report

PHOTOS = [bytes([number]) * 5000 for number in range(3)]


def test_photos_and_now_and_then_garbage_are_sent_until_the_end() -> None:
    exchanges = list(keep_asking(bytes, PHOTOS, 0, time.monotonic() + 0.05))
    share = sum(exchange.garbage for exchange in exchanges) / len(exchanges)
    assert 0.01 < share < 0.15
    for exchange in exchanges:
        assert (exchange.body in PHOTOS) != exchange.garbage
        assert len(exchange.body) == 5000


def _answered(error: object, version: int = 1) -> bytes:
    return json.dumps({"model": {"version": version}, "photos": [{"error": error}]}).encode()


def test_an_error_for_a_photo_and_an_answer_to_garbage_are_failures() -> None:
    load = Load(clients=1)
    judge(Exchange(False, 0.01, _answered(None, 2)), load)
    judge(Exchange(True, 0.01, _answered({"code": "not_a_photo"})), load)
    assert (load.seconds, load.garbage, load.versions, load.failures) == ([0.01], 1, {2}, [])
    judge(Exchange(False, 0.01, _answered({"code": "not_a_photo"})), load)
    judge(Exchange(True, 0.01, _answered(None)), load)
    assert len(load.failures) == 2
    assert len(load.seconds) == 1


def test_a_row_sets_the_app_beside_the_bare_network() -> None:
    load = Load(clients=8, seconds=[0.01] * 100, garbage=5, elapsed=1.0, cpu=0.8)
    row = report([load], [Speed(rate=200, cpu=0.004)]).splitlines()[-1]
    assert row == "| 8 | 100.0 | 50% | 8.00 | 50% | 10.0 | 10.0 | 5 | 0 |"


def test_a_promotion_that_no_client_saw_is_a_failure() -> None:
    quiet = Load(clients=8, versions={1, 2})
    assert failures_of([Load(clients=1, failures=["503"])], quiet) == ["503"]
    assert failures_of([quiet], quiet) == []
    (failure,) = failures_of([quiet], Load(clients=8, versions={1}))
    assert "no promotion was seen" in failure
