"""ONNX Runtime: graphs that are built from a checkpoint, or those of an exported half.

::

    checkpoint -> codec.graphs -> bytes --+-> sessions, opened when they are first needed
    folder of `cotam export` -> files ----+
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import memory
from codec.backends import THREADS
from codec.backends.manifest import read_manifest
from codec.coding.backend import QpField, Weights
from codec.coding.latent_grid import CELL, STRIDE, Floats
from codec.errors import BadArgument, GuideUnavailable
from codec.graphs.half import (
    ANALYSIS,
    HYPER_ANALYSIS,
    PREVIEW,
    STUDENT,
    SYNTHESIS,
    graph_file,
    makers,
)
from codec.graphs.transforms import Weights as WeightArrays
from codec.networks.config import LatentLayer
from codec.weights.checkpoint import Checkpoint

# A graph's file, or its bytes.
Model = str | bytes


class OnnxBackend:
    """A coding.backend.Backend over ONNX Runtime.

    An exported encoder cannot decode pictures, and an exported decoder cannot encode them; a
    checkpoint does both. Graphs take whole QP fields; a single QP is first spread over the grid.
    The numbers that the entropy coder depends on are computed in integer arithmetic carried in
    float32 (networks.integer), so ONNX Runtime and PyTorch compute the same ones.

    Args:
        source: a checkpoint, or the folder of an exported half.
        device: "auto" or "cpu".

    Attributes:
        checkpoint: the weights, or the half's manifest.

    Raises:
        BadArgument: another device, or ONNX Runtime is not installed.
        UnknownModel: the folder holds no usable half.
    """

    def __init__(self, source: Path | Checkpoint, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise BadArgument(
                "the exact part of exported graphs runs on the CPU; "
                "choose device='cpu', or backend='torch'"
            )
        memory.keep_freed_memory()
        self.source = source
        self.checkpoint: Weights
        if isinstance(source, Checkpoint):
            self.checkpoint = source
            made = makers(source)
            self._model: Callable[[str], Model] = lambda name: made[name]()
        else:
            self.checkpoint = read_manifest(source)
            self._model = self._file
        self._opened = lru_cache(maxsize=None)(self._session)

    def __repr__(self) -> str:
        shown = self.checkpoint.name if isinstance(self.source, Checkpoint) else str(self.source)
        return f"{type(self).__name__}({shown!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the source, because sessions cannot be pickled."""
        source = self.source if isinstance(self.source, Checkpoint) else self.source.resolve()
        return type(self), (source,)

    def _file(self, name: str) -> str:
        """The path of a half's graph. Raises BadArgument for a graph of the other half."""
        path = Path(str(self.source)) / name
        if not path.is_file():
            half = getattr(self.checkpoint, "half", "")
            raise BadArgument(
                f"{self.source} is the {half} half of a codec; this needs the other one"
            )
        return str(path)

    def session(self, name: str) -> Any:
        """The session of a graph. A forked child opens its own: it lacks its parent's threads."""
        return self._opened(name, os.getpid())

    def _session(self, name: str, process: int) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise BadArgument("the networks need ONNX Runtime: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = int(os.environ.get(THREADS, "0"))
        # The sessions take turns. With threads that keep spinning after their session's turn,
        # everything was four times slower.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(self._model(name), options, providers=providers)

    def _run(self, name: str, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        session = self.session(name)
        feeds = {
            graph_input.name: np.ascontiguousarray(array)
            for graph_input, array in zip(session.get_inputs(), arrays, strict=True)
        }
        return session.run(None, feeds)

    @staticmethod
    def _field(qp: QpField, rows: int, cols: int) -> NDArray[np.int64]:
        return np.full((rows, cols), qp, np.int64) if isinstance(qp, int) else qp.astype(np.int64)

    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        """See Backend.analysis."""
        field = self._field(qp, pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE)
        return self._run(ANALYSIS, pixels, field)[0]

    def hyper_analysis(self, y: Floats) -> Floats:
        """See Backend.hyper_analysis."""
        return self._run(HYPER_ANALYSIS, y)[0]

    def features(self, layer: LatentLayer, z: Floats, qp: QpField) -> NDArray[np.float32]:
        """See Backend.features."""
        field = self._field(qp, CELL * z.shape[0], CELL * z.shape[1])
        return self._run(graph_file("features", layer), z, field)[0]

    def prior_step(
        self, layer: LatentLayer, step: int, features: NDArray[np.float32], decoded: list[Floats]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        """See Backend.prior_step."""
        mean, index = self._run(graph_file("step", layer, step), features, *decoded)
        return mean, index

    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        """See Backend.dequantised.

        Raises:
            BadArgument: these are exported graphs, in which the factors are built in.
        """
        if not isinstance(self.source, Checkpoint):
            raise BadArgument("tokens need a checkpoint: load it instead of an exported half")
        gains = _gains(self.source)[:, : y_hat.shape[2]]
        return y_hat * gains[self._field(qp, *y_hat.shape[:2])]

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """See Backend.synthesis."""
        return self._run(SYNTHESIS, y_hat, self._field(qp, *y_hat.shape[:2]))[0]

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """See Backend.preview."""
        return self._run(PREVIEW, y_hat, self._field(qp, *y_hat.shape[:2]))[0]

    def look(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats, float]:
        """Run the guidance student (guidance.student.Look).

        Args:
            pixels: [16 h, 16 w, 3], a small copy of the picture.

        Returns:
            attention: [h, w], log attention.
            sensitivity: [h, w], log sensitivity.
            document: log-odds that the picture is a document.

        Raises:
            GuideUnavailable: this is a decoder's half.
        """
        if getattr(self.checkpoint, "half", "encoder") != "encoder":
            raise GuideUnavailable("the guidance student is in the encoder half")
        attention, sensitivity, document = self._run(STUDENT, pixels)
        return attention, sensitivity, float(document)


def _gains(checkpoint: Checkpoint) -> Floats:
    return WeightArrays(checkpoint.arrays).gains("g_s.gain")
