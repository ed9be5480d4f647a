"""The graph of the guidance student; see networks.student for what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codec.graphs.builder import Floats, Graph
from codec.graphs.onnx_file import TYPES, Array
from codec.graphs.transforms import BYTE_MAX, Weights, blocks


def student(arrays: Mapping[str, Array], config: dict[str, Any]) -> Graph:
    """Pixels uint8 [16 h, 16 w, 3] -> attention, sensitivity [h, w], document []."""
    weights = Weights(arrays)
    graph = Graph("student")
    pixels = graph.input("pixels", "uint8", ["height", "width", 3])
    depths = config["depths"]
    x = graph.batch(graph.op("Cast", pixels, to=TYPES["float32"]))
    x = graph.leaky(graph.conv(x, *_centred(*weights.layer("student.stem")), stride=4))
    x = blocks(graph, weights, "student.blocks4", depths[0], x)
    x = graph.leaky(graph.conv(x, *weights.layer("student.down8"), stride=2))
    x = blocks(graph, weights, "student.blocks8", depths[1], x)
    x = graph.leaky(graph.conv(x, *weights.layer("student.down16"), stride=2))
    x = blocks(graph, weights, "student.blocks16", depths[2], x)
    mean = graph.op("GlobalAveragePool", x)
    context = graph.conv(mean, *weights.layer("student.context"))
    maps = graph.conv(graph.leaky(graph.op("Add", x, context)), *weights.layer("student.head"))
    sizes = graph.constant(np.array([1, 1], np.int64))
    axes = graph.constant(np.array([0, 1], np.int64))
    for name, part in zip(("attention", "sensitivity"), graph.ops("Split", 2, maps, sizes, axis=1)):
        graph.output(graph.op("Squeeze", part, axes), name, "float32", ["h", "w"])
    weight, bias = weights.layer("student.document")
    score = graph.conv(mean, weight[..., None, None], bias)
    graph.output(graph.op("Squeeze", score), "document", "float32", [])
    return graph


def _centred(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Convert a layer for inputs 4 x / 255 - 2 into the same layer for bytes x."""
    offset = bias - 2 * weight.reshape(len(weight), -1).sum(1)
    return weight * np.float32(4 / BYTE_MAX), offset
