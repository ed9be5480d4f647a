"""OpenVINO runs analysis and synthesis; ONNX Runtime runs the rest, such as the entropy path.

::

    graph of a transform -> OpenVINO, in float32 -> y, pixels
    graphs of the prior, hyper-analysis, student, preview -> OnnxBackend
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.backends import THREADS
from codec.backends.onnx import OnnxBackend
from codec.errors import BadArgument
from codec.graphs.half import ANALYSIS, SYNTHESIS
from codec.weights.checkpoint import Checkpoint

TRANSFORMS = (ANALYSIS, SYNTHESIS)


class OpenVinoBackend(OnnxBackend):
    """A coding.backend.Backend whose transforms run in OpenVINO.

    They compute in float32. In bfloat16 OpenVINO would also round the layers on the main path,
    which changes pixels by more than one level (docs/decisions.md, 12).

    Args:
        source: as OnnxBackend takes it.
        device: as OnnxBackend takes it.

    Raises:
        BadArgument: OpenVINO is not installed, or as OnnxBackend raises.
        UnknownModel: as OnnxBackend raises.
    """

    def __init__(self, source: Path | Checkpoint, device: str = "auto") -> None:
        if find_spec("openvino") is None:
            raise BadArgument("the backend openvino needs OpenVINO: pip install 'cotam[openvino]'")
        super().__init__(source, device)
        self._compiled = lru_cache(maxsize=None)(self._compile)

    def _compile(self, name: str, process: int) -> Any:
        """Compile a graph. A forked child compiles its own: it lacks its parent's threads."""
        import openvino

        core = openvino.Core()
        # 0: as many as there are cores.
        threads = int(os.environ.get(THREADS, "0"))
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        return core.compile_model(core.read_model(self._model(name)), "CPU", options)

    def _run(self, name: str, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        if name not in TRANSFORMS:
            return super()._run(name, *arrays)
        compiled = self._compiled(name, os.getpid())
        # Each call makes its own request, because threads may share a codec.
        request = compiled.create_infer_request()
        outputs = request.infer([np.ascontiguousarray(array) for array in arrays])
        return [outputs[port] for port in compiled.outputs]
