"""8-bit residual branches for exported transforms. Layers that the signal itself passes, and the entropy path, stay as they are.

::

    pictures -> exported halves in float32 -> what a transform is given, several qualities
    transform -> channels inside each branch brought to one range -> ONNX Runtime's static quantisation -> the same file
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

TRANSFORMS = {"encoder": "analysis.onnx", "decoder": "synthesis.onnx"}
QUALITIES = (15, 50, 85)
MOST_PICTURES = 12
LARGEST = 512
Feeds = list[dict[str, NDArray[Any]]]


class _Branch(NamedTuple):
    """Two layers in a row of a residual branch: what `first` gives, `second` takes, with nothing or a leaky ReLU in between."""

    first: onnx.NodeProto
    second: onnx.NodeProto


class _Watched(OnnxBackend):
    """Remembers what one graph is given."""

    def __init__(self, folder: Path, graph: str) -> None:
        super().__init__(folder)
        self.graph = graph
        self.seen = Feeds()

    def _run(self, name: str, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        if name == self.graph:
            names = [given.name for given in self.session(name).get_inputs()]
            self.seen.append(
                {key: np.ascontiguousarray(value) for key, value in zip(names, arrays, strict=True)}
            )
        return super()._run(name, *arrays)


class _Reader(CalibrationDataReader):
    def __init__(self, feeds: Feeds) -> None:
        self.left = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self.left, None)


def given(folder: Path, pictures: list[Path]) -> dict[str, Feeds]:
    """half -> what its transform is given when the centres of the pictures are coded."""
    watched = {half: _Watched(folder / half, graph) for half, graph in TRANSFORMS.items()}
    encoder, decoder = (Codec(backend) for backend in watched.values())
    for path in pictures[:: max(1, len(pictures) // MOST_PICTURES)][:MOST_PICTURES]:
        pixels = read_shown(path, encoder.limit_pixels)
        top, left = (max(0, side - LARGEST) // 2 for side in pixels.shape[:2])
        for quality in QUALITIES:
            decoder.decode(
                encoder.encode(pixels[top : top + LARGEST, left : left + LARGEST], quality), "array"
            )
    return {half: backend.seen for half, backend in watched.items()}


def branches(model: onnx.ModelProto) -> Iterator[_Branch]:
    """Depthwise -> pointwise, and pointwise -> leaky ReLU -> pointwise."""
    weights = {item.name: item for item in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        before = made_by.get(node.input[0]) if node.op_type == "Conv" else None
        if before is None:
            continue
        if before.op_type == "LeakyRelu":
            yield _Branch(made_by[before.input[0]], node)
        elif (
            before.op_type == "Conv"
            and before.input[1] in weights
            and weights[before.input[1]].dims[1] == 1
        ):
            # a halving layer's weights are reshaped first, and none of the initializers
            yield _Branch(before, node)


def equalised(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """The same function with channels of one range inside each branch: what a layer gives is divided, what the next one takes is
    multiplied (cross-layer equalisation, arXiv 1906.04721; a leaky ReLU lets positive factors through).
    """
    pairs = list(branches(model))
    inside = [pair.second.input[0] for pair in pairs]
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inside
    )
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = [
        np.max([np.abs(v).max((0, 2, 3)) for v in values], 0)
        for values in zip(*(session.run(inside, f) for f in feeds))
    ]
    weights = {item.name: item for item in model.graph.initializer}

    def multiply(name: str, factors: NDArray[np.float32]) -> None:
        weights[name].CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(weights[name]) * factors, name)
        )

    for pair, peak in zip(pairs, largest):
        scale = (np.maximum(peak, 1e-6) / max(float(peak.mean()), 1e-6)).astype(np.float32)
        multiply(pair.first.input[1], 1 / scale[:, None, None, None])
        multiply(pair.first.input[2], 1 / scale)
        multiply(pair.second.input[1], scale[None, :, None, None])
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser warns of what was done just before."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def quantise(graph: Path, feeds: Feeds) -> None:
    """The graph's pointwise branch layers in int8, weights per output channel, activations per layer; in place."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        even = str(Path(folder) / "even.onnx")
        ready = str(Path(folder) / "ready.onnx")
        onnx.save(equalised(onnx.load(graph), feeds), even)
        quant_pre_process(even, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            str(graph),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[pair.second.name for pair in branches(onnx.load(ready))],
        )


def quantise_halves(folder: Path, pictures: list[Path]) -> None:
    """Both halves' transforms; at least one picture. Raises CodecError for one that cannot be read."""
    feeds = given(folder, pictures)
    for half, graph in TRANSFORMS.items():
        quantise(folder / half / graph, feeds[half])
