"""ONNX Runtime, without PyTorch: the graphs that `cotam export` writes."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import memory
from codec.backends import THREADS
from codec.backends.manifest import graph_file, read_manifest
from codec.coding.backend import QpField
from codec.coding.latent_grid import CELL, STRIDE, Floats
from codec.errors import BadArgument, GuideUnavailable
from codec.networks.config import LatentLayer


class OnnxBackend:
    """A coding.backend.Backend over one exported half.

    An encoder's half cannot decode pictures, a decoder's half cannot encode them. Graphs take whole
    QP fields; a single QP is first spread over the grid. What the entropy coder depends on is
    integer arithmetic carried in float32 (networks.integer), so ONNX Runtime and PyTorch compute
    the same numbers.

    Args:
        folder: the half's folder.
        device: "auto" or "cpu".

    Attributes:
        checkpoint: the half's manifest, in the place of a Checkpoint.

    Raises:
        BadArgument: another device.
        UnknownModel: the folder holds no usable half.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise BadArgument(
                "the exact part of exported graphs runs on the CPU; "
                "choose device='cpu', or load a checkpoint"
            )
        memory.keep_freed_memory()
        self.checkpoint = read_manifest(folder)
        self.session = lru_cache(maxsize=None)(self._session)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.checkpoint.folder)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the path of the folder, because sessions cannot be pickled."""
        return OnnxBackend, (self.checkpoint.folder.resolve(),)

    def _session(self, name: str) -> Any:
        """Open a graph. Raises BadArgument without ONNX Runtime or for the other half's graphs."""
        try:
            import onnxruntime
        except ImportError:
            raise BadArgument(
                "exported codecs need ONNX Runtime: pip install 'cotam[onnx]'"
            ) from None
        path = self.checkpoint.folder / name
        if not path.is_file():
            raise BadArgument(
                f"{self.checkpoint.folder} is the {self.checkpoint.half} half of a codec; "
                "this needs the other one"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = int(os.environ.get(THREADS, "0"))
        # The sessions take turns. With threads that keep spinning after their session's turn,
        # everything was four times slower.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

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
        return self._run("analysis.onnx", pixels, field)[0]

    def hyper_analysis(self, y: Floats) -> Floats:
        """See Backend.hyper_analysis."""
        return self._run("hyper_analysis.onnx", y)[0]

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
        """Refuse: only PyTorch backends compute tokens.

        Raises:
            BadArgument: always.
        """
        raise BadArgument(
            "tokens need PyTorch: load the codec's checkpoint instead of an exported half"
        )

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """See Backend.synthesis."""
        return self._run("synthesis.onnx", y_hat, self._field(qp, *y_hat.shape[:2]))[0]

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """See Backend.preview."""
        return self._run("preview.onnx", y_hat, self._field(qp, *y_hat.shape[:2]))[0]

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
        if self.checkpoint.half != "encoder":
            raise GuideUnavailable("the guidance student is in the encoder half")
        attention, sensitivity, document = self._run("student.onnx", pixels)
        return attention, sensitivity, float(document)
