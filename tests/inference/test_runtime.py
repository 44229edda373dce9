"""The runtime: a network from a file or from memory, called from many threads; how many cores."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from landmark_ml.inference.runtime import PRECISIONS, Runtime, usable_cpus
from landmark_ml.networks.export import Calibration, add_classifier, trace_backbone
from tests.source_tree import ROOT, modules
from tests.tiny_networks import (
    lay_traced,
    processor_of,
    random_pixels,
    score_of_probability,
    tiny_model,
)


def sums_graph() -> onnx.ModelProto:
    """Graph from uint8 [N, 2, 2, 3] to the sum of each picture."""
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["values", "axes"], ["sums"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 2, 2, 3])],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 5])
def test_a_file_and_its_bytes_compute_the_same(count: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(sums_graph(), path)
    pixels = pictures(count)
    for runtime in (Runtime(path), Runtime(path.read_bytes(), threads=1)):
        sums = runtime.run(pixels)["sums"]
        assert sums.dtype == np.float32
        assert sums.tolist() == pixels.sum(axis=(1, 2, 3)).tolist()


def test_answers_are_not_overwritten_by_the_next_call() -> None:
    runtime = Runtime(sums_graph().SerializeToString())
    first = runtime.run(pictures(3))["sums"]
    kept = first.copy()
    runtime.run(pictures(3)[::-1])
    assert np.array_equal(first, kept)


def test_views_of_other_arrays_are_read_as_they_look() -> None:
    runtime = Runtime(sums_graph().SerializeToString())
    flipped = pictures(4)[::-1]
    assert runtime.run(flipped)["sums"].tolist() == flipped.sum(axis=(1, 2, 3)).tolist()


def test_photos_that_do_not_fill_a_batch_are_computed_too() -> None:
    runtime = Runtime(sums_graph().SerializeToString(), batch=2)
    for count in (1, 2, 5):
        pixels = pictures(count)
        assert runtime.run(pixels)["sums"].tolist() == pixels.sum(axis=(1, 2, 3)).tolist()


def test_threads_do_not_mix_their_answers() -> None:
    runtime = Runtime(sums_graph().SerializeToString(), threads=1)
    batches = [pictures(1 + index % 7) for index in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda pixels: runtime.run(pixels)["sums"].tolist(), batches))
    assert answers == [pixels.sum(axis=(1, 2, 3)).tolist() for pixels in batches]


def test_a_missing_file_and_a_broken_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx does not exist; export"):
        Runtime(tmp_path / "nowhere.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph at all")
    with pytest.raises(ValueError, match=r"broken\.onnx.* is not an ONNX graph"):
        Runtime(broken)
    with pytest.raises(ValueError, match="is not an ONNX graph"):
        Runtime(b"no graph at all")


def test_in_bf16_the_network_is_computed_and_what_follows_its_features_stays_in_f32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = trace_backbone(tiny_model(), lay_traced(tmp_path))
    calibration = Calibration(0.5, score_of_probability(0.5))
    graph = add_classifier(backbone, tiny_model().classifier, 3, calibration).SerializeToString()
    asked = processor_of(monkeypatch, has_bf16=True)
    pixels = random_pixels(3).numpy()
    whole, divided = (Runtime(graph, precision=each).run(pixels) for each in PRECISIONS)
    assert asked[0] == ("probabilities", "f32")
    assert sorted(asked[1:]) == [("feature_maps", "bf16"), ("probabilities", "f32")]
    assert set(divided) == set(whole)
    assert "attention" in divided
    for name, values in whole.items():
        assert np.allclose(divided[name], values, atol=1e-6)


CTRL_C = """
import signal, sys, threading
from pathlib import Path
import numpy as np
from landmark_ml.inference.runtime import Runtime

runtimes = [Runtime(Path(sys.argv[1]))]
runtimes[0].run(np.zeros((1, 2, 2, 3), dtype=np.uint8))
freeing = threading.Thread(target=runtimes.clear)
freeing.start()
freeing.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


# Threads that change places at every turn, and meet where run hands its pixels to the runtime.
FIRST_CALLS = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from landmark_ml.inference.runtime import Runtime

class MeetingPoint:
    together = threading.Barrier(32)

    def __array__(self, dtype=None, copy=None):
        self.together.wait()
        return np.ones((1, 2, 2, 3), dtype=np.uint8)

runtime = Runtime(Path(sys.argv[1]))
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(32) as pool:
    print(sum(pool.map(lambda _: runtime.run(MeetingPoint())["sums"].item(), range(32))))
"""


def run_script(script: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of a new process given the path of a graph; one that hangs is ended."""
    onnx.save(sums_graph(), folder / "sums.onnx")
    done = subprocess.run(  # noqa: S603 - our own interpreter on our own script
        [sys.executable, "-c", script, str(folder / "sums.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_ctrl_c_reaches_a_process_that_freed_a_graph_on_another_thread(tmp_path: Path) -> None:
    assert run_script(CTRL_C, tmp_path) == (0, "interrupted\n")


def test_threads_that_make_their_first_call_together_all_get_an_answer(tmp_path: Path) -> None:
    assert run_script(FIRST_CALLS, tmp_path) == (0, "384.0\n")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_held_to_one_core_counts_one_and_needs_no_openvino_for_it() -> None:
    code = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from landmark_ml.inference.runtime import usable_cpus
print(usable_cpus(), "openvino" in sys.modules)
"""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1 False\n", done.stderr


@pytest.mark.parametrize(("cores", "usable"), [(8, 8), (None, 1)])
def test_all_cores_count_where_the_system_has_no_affinity(
    cores: int | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert usable_cpus() == usable


def test_all_code_counts_cores_with_usable_cpus() -> None:
    counting = [name for name, path in modules().items() if "cpu_count" in path.read_text("utf-8")]
    assert counting == ["landmark_ml.inference.runtime"]
