"""8-bit residual branches for exported transforms.

Layers on the main (non-residual) path and the entropy path stay in float32: with everything in
int8, the synthesis of a photo had a PSNR of 34.7 dB to the float32 one (docs/decisions.md, 13).

::

    pictures -> exported float32 halves -> recorded inputs of a transform, at several qualities
    transform -> channels inside each branch equalised -> ONNX Runtime's static quantisation
              -> the same file
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from codec.api import Codec
from codec.backends.onnx import OnnxBackend
from codec.io.images import read_shown

TRANSFORMS = {"encoder": "analysis.onnx", "decoder": "synthesis.onnx"}  # by half
QUALITIES = (15, 50, 85)  # at which ranges are recorded
MOST_PICTURES = 12
LARGEST = 512  # pixels, a side of the crop of each picture
LEAST_PEAK = 1e-6  # of a channel; smaller ones count as this
Feeds = list[dict[str, NDArray[Any]]]


class _Branch(NamedTuple):
    """Two consecutive layers of a residual branch, with nothing or a leaky ReLU in between."""

    first: onnx.NodeProto
    second: onnx.NodeProto


class _RecordingBackend(OnnxBackend):
    """A backend that records the inputs of one graph.

    Args:
        folder: the half's folder.
        graph: the graph's file.
    """

    def __init__(self, folder: Path, graph: str) -> None:
        super().__init__(folder)
        self.graph = graph
        self.feeds = Feeds()

    def _run(self, name: str, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        if name == self.graph:
            names = [graph_input.name for graph_input in self.session(name).get_inputs()]
            self.feeds.append(
                {key: np.ascontiguousarray(value) for key, value in zip(names, arrays, strict=True)}
            )
        return super()._run(name, *arrays)


class _Reader(CalibrationDataReader):
    """Provides recorded inputs one after another to ONNX Runtime's quantiser."""

    def __init__(self, feeds: Feeds) -> None:
        self.remaining = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next inputs; None at the end."""
        return next(self.remaining, None)


def record_inputs(folder: Path, pictures: list[Path]) -> dict[str, Feeds]:
    """Record the inputs of the transforms while the centres of pictures are coded.

    Args:
        folder: the folder of both halves.
        pictures: at least one picture; at most MOST_PICTURES are used.

    Returns:
        Half -> the inputs of its transform.

    Raises:
        CodecError: a picture cannot be read.
    """
    backends = {half: _RecordingBackend(folder / half, graph) for half, graph in TRANSFORMS.items()}
    encoder, decoder = (Codec(backend) for backend in backends.values())
    for path in pictures[:: max(1, len(pictures) // MOST_PICTURES)][:MOST_PICTURES]:
        pixels = read_shown(path, encoder.limit_pixels)
        top, left = (max(0, side - LARGEST) // 2 for side in pixels.shape[:2])
        for quality in QUALITIES:
            crop = pixels[top : top + LARGEST, left : left + LARGEST]
            data = encoder.encode(crop, quality=quality, tool="learned")
            decoder.decode(data, output="array")
    return {half: backend.feeds for half, backend in backends.items()}


def branches(model: onnx.ModelProto) -> Iterator[_Branch]:
    """Find the pairs of layers inside residual branches.

    Args:
        model: a transform.

    Yields:
        Depthwise -> pointwise, and pointwise -> leaky ReLU -> pointwise.
    """
    weights = {item.name: item for item in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        before = producers.get(node.input[0]) if node.op_type == "Conv" else None
        if before is None:
            continue
        if before.op_type == "LeakyRelu":
            yield _Branch(producers[before.input[0]], node)
        elif (
            before.op_type == "Conv"
            and before.input[1] in weights
            and weights[before.input[1]].dims[1] == 1
        ):
            # A halving layer's weights are reshaped first, so they are not among the initializers.
            yield _Branch(before, node)


def equalised(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """Bring the channels inside each branch to one range, without changing the function.

    The first layer's outputs are divided by a factor per channel and the second layer's inputs are
    multiplied by it (cross-layer equalisation, arXiv 1906.04721). A leaky ReLU in between allows
    this because the factors are positive. Otherwise the lowest DCT frequencies, in the first
    channels, would set the range for all.

    Args:
        model: a transform; changed in place.
        feeds: its recorded inputs.

    Returns:
        The model.
    """
    pairs = list(branches(model))
    peaks = _peaks(model, [pair.second.input[0] for pair in pairs], feeds)
    weights = {item.name: item for item in model.graph.initializer}

    def multiply(name: str, factors: NDArray[np.float32]) -> None:
        weights[name].CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(weights[name]) * factors, name)
        )

    for pair, peak in zip(pairs, peaks):
        mean = max(float(peak.mean()), LEAST_PEAK)
        scale = (np.maximum(peak, LEAST_PEAK) / mean).astype(np.float32)
        multiply(pair.first.input[1], 1 / scale[:, None, None, None])
        multiply(pair.first.input[2], 1 / scale)
        multiply(pair.second.input[1], scale[None, :, None, None])
    return model


def _peaks(model: onnx.ModelProto, names: list[str], feeds: Feeds) -> list[NDArray[np.float32]]:
    """Return the largest magnitude [channels] of each named value over all feeds."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        observed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [
        np.max([np.abs(v).max((0, 2, 3)) for v in values], 0)
        for values in zip(*(session.run(names, feed) for feed in feeds))
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser, which warns that a model was not prepared although it was."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def quantise(graph: Path, feeds: Feeds) -> None:
    """Quantise the pointwise branch layers of a graph to int8, in place.

    Weights are quantised per output channel, activations per layer.

    Args:
        graph: the graph's file.
        feeds: its recorded inputs.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        even = str(Path(folder) / "even.onnx")
        prepared = str(Path(folder) / "prepared.onnx")
        onnx.save(equalised(onnx.load(graph), feeds), even)
        quant_pre_process(even, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            str(graph),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[pair.second.name for pair in branches(onnx.load(prepared))],
        )


def quantise_halves(folder: Path, pictures: list[Path]) -> None:
    """Quantise the transforms of both halves, in place.

    Args:
        folder: the folder of both halves.
        pictures: at least one picture, to record ranges on.

    Raises:
        CodecError: a picture cannot be read.
    """
    feeds = record_inputs(folder, pictures)
    for half, graph in TRANSFORMS.items():
        quantise(folder / half / graph, feeds[half])
