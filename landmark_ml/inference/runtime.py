"""Run an exported network on the CPU with OpenVINO. Features, evaluation and serving all use it.

Needs only numpy and openvino, and imports openvino when the first network is loaded.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import openvino as ov

PRECISIONS = ("f32", "bf16")

FEATURES = "features"
FEATURE_MAPS = "feature_maps"
"""Tensors of a graph, [N, F] and [N, F, h, w]: where the network ends and the classifier begins."""

_cores: list[ov.Core] = []
_core_lock = threading.Lock()


def usable_cpus() -> int:
    """Cores this process may use; taskset, a cpuset or SLURM may grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bf16() -> bool:
    """Whether this processor has bfloat16 instructions that OpenVINO uses."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class Runtime:
    """A compiled network from uint8 pixels to named float32 outputs. Safe to share among threads.

    source: an ONNX file, or its bytes. precision: of the network up to its features, f32, or bf16
    where `has_bf16` (elsewhere OpenVINO would silently take f32); what follows them is always
    computed in f32. streams: 1 puts all cores on one call, for the lowest latency. With more
    streams, that many threads can call at the same time, each on its share of the cores, for the
    highest throughput. batch: photos computed together. Raises FileNotFoundError for a missing
    file, ValueError for one that is not ONNX.
    """

    def __init__(
        self,
        source: Path | bytes,
        *,
        precision: str = "f32",
        threads: int = 0,
        streams: int = 1,
        batch: int = 1,
    ) -> None:
        if not isinstance(source, bytes) and not source.is_file():
            raise FileNotFoundError(f"graph {source} does not exist; export the model again")
        try:
            content = io.BytesIO(source) if isinstance(source, bytes) else source
            model = _core().read_model(content)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"{source!r:.200} is not an ONNX graph ({reason}); export it again"
            ) from None
        settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        # In f32 the graph stays whole: two parts cost two calls.
        parts = [model] if precision == "f32" else _divide(model)
        # Read first: reshaping may give an output a second name.
        self._names = [[output.get_any_name() for output in part.outputs] for part in parts]
        self._parts = []
        for part, each in zip(parts, (precision, "f32"), strict=False):
            # With a batch of any size OpenVINO takes 1.1 times as long. In f32 a batch of fixed
            # size is no faster than its photos one by one.
            shapes = {port: port.get_partial_shape() for port in part.inputs}
            for shape in shapes.values():
                shape[0] = batch
            part.reshape(shapes)
            hint = {"INFERENCE_PRECISION_HINT": each}
            self._parts.append(_core().compile_model(part, "CPU", settings | hint))
        self._batch = batch
        # An infer request holds the buffers of one call, so concurrent calls need one each. Idle
        # ones are reused, because the first call of a new request is many times slower.
        self._idle: deque[list[ov.InferRequest]] = deque()

    def run(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Compute outputs by name, each float32 [N, …], from uint8 pixels [N, H, W, 3]."""
        try:
            requests = self._idle.pop()
        except IndexError:
            requests = [part.create_infer_request() for part in self._parts]
        pixels, rows = np.ascontiguousarray(pixels), []
        for start in range(0, len(pixels), self._batch):
            photos = pixels[start : start + self._batch]
            if len(photos) < self._batch:
                photos = np.resize(photos, (self._batch, *photos.shape[1:]))
            values: dict[Any, NDArray[Any]] = {0: photos}
            for request, names in zip(requests, self._names, strict=True):
                results = request.infer(values, share_inputs=True, share_outputs=True)
                values = {name: results[index] for index, name in enumerate(names)}
            # Copies: the next call writes over the buffers of the request.
            rows.append({name: np.array(row, dtype=np.float32) for name, row in values.items()})
        self._idle.append(requests)
        return {
            name: np.concatenate([row[name] for row in rows])[: len(pixels)] for name in rows[0]
        }


def _divide(model: ov.Model) -> list[ov.Model]:
    """The network up to its features, and what follows them; one part where nothing does.

    OpenVINO computes a graph in bf16 up to the last product of matrices in it. So features would
    not be those that the head was trained on, and 8 bits are too few to rank photos by.
    """
    from openvino import Model, opset13  # noqa: PLC0415 - heavy

    if FEATURES in model.output(0).get_names():
        return [model]
    ends = {
        name: output
        for node in model.get_ops()
        for output in node.outputs()
        for name in output.get_names() & {FEATURES, FEATURE_MAPS}
    }
    network = Model(list(ends.values()), model.get_parameters())
    inside = {node.get_friendly_name() for node in network.get_ops()}
    starts = []
    for name, output in ends.items():
        start = opset13.parameter(output.get_partial_shape(), np.float32, name)
        start.output(0).set_names({name})
        starts.append(start)
        for reader in output.get_target_inputs():
            if reader.get_node().get_friendly_name() not in inside:
                reader.replace_source_output(start.output(0))
    return [network, Model(model.get_results(), starts)]


def _core() -> ov.Core:
    with _core_lock:
        if not _cores:
            import openvino as ov  # noqa: PLC0415 - heavy, and counting cores must not load it

            # Kept for the life of the process: a core gives the thread that makes it a signal stack
            # and takes it away when it is freed. Freed on another thread, the next Ctrl-C would
            # crash.
            _cores.append(ov.Core())
            # OpenVINO's binding sets numpy up at its first use, and two threads that do so at the
            # same time deadlock.
            ov.Type.f32.to_dtype()
        return _cores[0]
