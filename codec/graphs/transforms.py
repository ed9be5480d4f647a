"""Graphs of g_a, h_a, g_s and the preview; see networks.transforms for what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codec.errors import UnknownModel
from codec.graphs.builder import Floats, Graph
from codec.graphs.onnx_file import TYPES, Array
from codec.networks.config import ANCHORS, QP_COUNT, QP_MAX

BLOCK = 8  # pixels of the picture per position at 1/8
BYTE_MAX = 255


class Weights:
    """Float32 arrays of a checkpoint by name.

    Args:
        arrays: of the checkpoint.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays

    def __call__(self, name: str) -> Floats:
        """An array. Raises UnknownModel where it is missing."""
        try:
            return self.arrays[name].astype(np.float32)
        except KeyError:
            raise UnknownModel(f"the checkpoint lacks {name}") from None

    def layer(self, name: str) -> tuple[Floats, Floats]:
        """Weight and bias of a layer."""
        return self(f"{name}.weight"), self(f"{name}.bias")

    def halving(self, name: str) -> tuple[Floats, Floats]:
        """A 1x1 layer on unshuffled pixels as a 2x2 layer of stride 2 (blocks.HalvingLayer)."""
        weight, bias = self.layer(name)
        return weight.reshape(len(weight), -1, 2, 2), bias

    def gains(self, name: str) -> Floats:
        """The factors [64, C] of a gain, interpolated in the logarithm (gains.Gain)."""
        position = np.arange(QP_COUNT, dtype=np.float32) * (ANCHORS - 1) / QP_MAX
        distance = np.abs(position[:, None] - np.arange(ANCHORS))
        mix = np.clip(1 - distance, 0, None).astype(np.float32)
        return np.exp(mix @ self(f"{name}.log_gain"))


def _block(graph: Graph, weights: Weights, name: str, x: str) -> str:
    """blocks.ResidualBlock."""
    hidden = graph.conv(x, *weights.layer(f"{name}.depthwise"), padding=1)
    hidden = graph.leaky(graph.conv(hidden, *weights.layer(f"{name}.expand")))
    return graph.op("Add", x, graph.conv(hidden, *weights.layer(f"{name}.project")))


def blocks(graph: Graph, weights: Weights, name: str, count: int, x: str) -> str:
    """Residual blocks in a row."""
    for index in range(count):
        x = _block(graph, weights, f"{name}.{index}", x)
    return x


def _gain(graph: Graph, table: Floats, x: str, qp: str) -> str:
    """Multiply [1, C, h, w] by the rows of a table at a QP field [h, w]."""
    return graph.op("Mul", x, graph.batch(graph.rows_at(table, qp)))


def analysis(arrays: Mapping[str, Array], config: dict[str, Any]) -> Graph:
    """g_a: pixels uint8 [16 h, 16 w, 3], qp int64 [h, w] -> y [h, w, M]."""
    weights = Weights(arrays)
    graph = Graph("analysis")
    pixels = graph.input("pixels", "uint8", ["height", "width", 3])
    qp = graph.input("qp", "int64", ["rows", "columns"])
    weight, bias = weights.layer("g_a.stem")
    # 1x1 on 8x8 unshuffled pixels; x / 255 - 0.5 is part of the layer.
    kernel = weight.reshape(len(weight), 3, BLOCK, BLOCK)
    offset = bias - 0.5 * weight.reshape(len(weight), -1).sum(1)
    x = graph.batch(graph.op("Cast", pixels, to=TYPES["float32"]))
    x = graph.conv(x, kernel / np.float32(BYTE_MAX), offset, stride=BLOCK)
    x = _gain(graph, weights.gains("g_a.gain8"), x, graph.doubled(qp))
    x = blocks(graph, weights, "g_a.blocks8", config["blocks_a8"], x)
    x = graph.conv(x, *weights.halving("g_a.down"), stride=2)
    x = blocks(graph, weights, "g_a.blocks16", config["blocks_a16"], x)
    x = _gain(graph, weights.gains("g_a.gain"), graph.conv(x, *weights.layer("g_a.head")), qp)
    graph.output(graph.array(x), "y", "float32", ["rows", "columns", config["m"]])
    return graph


def hyper_analysis(arrays: Mapping[str, Array], config: dict[str, Any]) -> Graph:
    """h_a: y [4 a, 4 b, M] -> z [a, b, Z], not rounded."""
    weights = Weights(arrays)
    graph = Graph("hyper_analysis")
    y = graph.batch(graph.input("y", "float32", ["rows", "columns", config["m"]]))
    damped = graph.op("Mul", graph.op("Abs", y), graph.number(0.1))
    x = graph.op("Div", y, graph.op("Add", damped, graph.number(1)))
    x = graph.leaky(graph.conv(x, *weights.halving("h_a.down2"), stride=2))
    x = blocks(graph, weights, "h_a.blocks2", 1, x)
    x = graph.leaky(graph.conv(x, *weights.halving("h_a.down4"), stride=2))
    x = blocks(graph, weights, "h_a.blocks4", 1, x)
    x = graph.conv(x, *weights.layer("h_a.head"))
    graph.output(graph.array(x), "z", "float32", ["a", "b", config["z"]])
    return graph


def synthesis(arrays: Mapping[str, Array], config: dict[str, Any]) -> Graph:
    """g_s: y_hat [h, w, M], qp int64 [h, w] -> pixels uint8 [16 h, 16 w, 3]."""
    weights = Weights(arrays)
    graph = Graph("synthesis")
    y_hat = graph.input("y_hat", "float32", ["rows", "columns", config["m"]])
    qp = graph.input("qp", "int64", ["rows", "columns"])
    gains = graph.rows_at(weights.gains("g_s.gain"), qp)
    x = graph.batch(graph.op("Mul", y_hat, gains))
    x = graph.conv(x, *weights.layer("g_s.stem"))
    x = blocks(graph, weights, "g_s.blocks16", config["blocks_s16"], x)
    x = graph.shuffle(graph.conv(x, *weights.layer("g_s.up")), 2)
    x = blocks(graph, weights, "g_s.blocks8", config["blocks_s8"], x)
    x = _gain(graph, weights.gains("g_s.gain8"), x, graph.doubled(qp))
    weight, bias = weights.layer("g_s.head")
    graph.output(
        _as_bytes(graph, graph.conv(x, *_to_bytes(weight, bias + 0.5)), BLOCK),
        "pixels",
        "uint8",
        ["height", "width", 3],
    )
    return graph


def preview(arrays: Mapping[str, Array], config: dict[str, Any]) -> Graph:
    """The preview: y_hat [h, w, low], qp int64 [h, w] -> pixels uint8 [2 h, 2 w, 3]."""
    weights = Weights(arrays)
    graph = Graph("preview")
    low = config["low"]
    y_hat = graph.input("y_hat", "float32", ["rows", "columns", low])
    qp = graph.input("qp", "int64", ["rows", "columns"])
    gains = graph.rows_at(weights.gains("g_s.gain")[:, :low], qp)
    around = graph.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    x = graph.op("Pad", graph.batch(graph.op("Mul", y_hat, gains)), around, mode="edge")
    x = graph.conv(x, *_to_bytes(weights("preview.weight"), weights("preview.bias")))
    graph.output(_as_bytes(graph, x, 2), "pixels", "uint8", ["height", "width", 3])
    return graph


def _to_bytes(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Scale a layer's outputs from 0..1 to 0..255, plus 1/2 so that rounding down is nearest."""
    return weight * np.float32(BYTE_MAX), bias * np.float32(BYTE_MAX) + np.float32(0.5)


def _as_bytes(graph: Graph, x: str, factor: int) -> str:
    """[1, 3 f f, h, w] in 0..255 -> uint8 [f h, f w, 3]."""
    clipped = graph.op("Clip", x, graph.number(0), graph.number(BYTE_MAX))
    return graph.op("Cast", graph.array(graph.shuffle(clipped, factor)), to=TYPES["uint8"])
