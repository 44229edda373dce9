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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import openvino as ov

PRECISIONS = ("f32", "bf16")

_cores: list[ov.Core] = []
_core_lock = threading.Lock()


def usable_cpus() -> int:
    """Cores this process may use; taskset, a cpuset or SLURM may grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Runtime:
    """A compiled network from uint8 pixels to named float32 outputs. Safe to share among threads.

    streams: 1 puts all cores on one call, for the lowest latency. With more streams, that many
    threads can call at the same time, each on its share of the cores, for the highest throughput.
    """

    def __init__(
        self, model: ov.Model, *, precision: str = "f32", threads: int = 0, streams: int = 1
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
        settings: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = _core().compile_model(model, "CPU", settings)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        # An infer request holds the buffers of one call, so concurrent calls need one each. Idle
        # ones are reused, because the first call of a new request is many times slower.
        self._idle: deque[ov.InferRequest] = deque()

    @classmethod
    def load(
        cls, source: Path | bytes, *, precision: str = "f32", threads: int = 0, streams: int = 1
    ) -> Runtime:
        """Compile an ONNX file, or its bytes.

        Raises FileNotFoundError for a missing file, ValueError for one that is not ONNX.
        """
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
        return cls(model, precision=precision, threads=threads, streams=streams)

    def run(self, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        """Compute outputs by name, each float32 [N, …], from uint8 pixels [N, H, W, 3]."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        results = request.infer({0: np.ascontiguousarray(pixels)}, share_inputs=True)
        outputs = {
            name: np.array(results[index], dtype=np.float32)
            for index, name in enumerate(self._names)
        }
        self._idle.append(request)
        return outputs


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
