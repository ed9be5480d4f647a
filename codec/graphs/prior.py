"""Graphs of the integer prior; see networks.prior for what they compute.

Activations are whole numbers, in units of 2^-FRACTION_BITS (networks.integer). Scaling by powers of
two is exact, so every rounding is the one that PyTorch does, and the results are the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codec.graphs.builder import Floats, Graph
from codec.graphs.onnx_file import TYPES, Array
from codec.graphs.transforms import Weights
from codec.networks.config import (
    ACTIVATION_MAX,
    EXACT_LIMIT,
    FRACTION_BITS,
    MEAN_LIMIT,
    MEAN_UNIT,
    PRIOR_STEPS,
    SCALE_COUNT,
    SCALE_GAIN,
    SCALE_OFFSET,
    Z_UNIT,
    LatentLayer,
    split_layers,
)

UNITS = 2.0**FRACTION_BITS


class _Prior:
    """The prior's layers in a graph.

    Args:
        graph: where operators are added.
        arrays: of the checkpoint.
    """

    def __init__(self, graph: Graph, arrays: Mapping[str, Array]) -> None:
        self.graph = graph
        self.weights = Weights(arrays)
        self.half = graph.number(0.5)
        self.top = graph.number(ACTIVATION_MAX + 0.5)
        self.bottom = graph.number(-ACTIVATION_MAX)
        self.zero = graph.number(0)

    def layer(self, name: str) -> tuple[Floats, Floats]:
        """Weight and bias for activations in whole units, and outputs in whole units."""
        scale = np.exp2(-self.weights(f"prior.{name}.exponent"))
        weight = self.weights(f"prior.{name}.weight") * scale[:, None, None, None]
        return weight, self.weights(f"prior.{name}.bias") * scale

    def conv(self, name: str, x: str, more: float = 0.0) -> str:
        """A layer's output, with a number added to its bias."""
        weight, bias = self.layer(name)
        return self.graph.conv(x, weight, bias + np.float32(more), padding=weight.shape[2] // 2)

    def rounded(self, x: str) -> str:
        """floor(x + 1/2)."""
        return self.graph.op("Floor", self.graph.op("Add", x, self.half))

    def activation(self, x: str, relu: bool = False) -> str:
        """integer.quantize_activation; from 0 if it is a ReLU."""
        return self._cut(self.graph.op("Add", x, self.half), relu)

    def _cut(self, raised: str, relu: bool) -> str:
        """Clip and round down values to which 1/2 was added.

        Clipping comes first, because ONNX Runtime fuses it into the preceding layer: floor(clip(v))
        with an upper limit of ACTIVATION_MAX + 1/2 equals clip(floor(v)).
        """
        low = self.zero if relu else self.bottom
        return self.graph.op("Floor", self.graph.op("Clip", raised, low, self.top))

    def activated(self, name: str, x: str, relu: bool = False) -> str:
        """The activation of a layer's output."""
        if self._is_exact_with_half(name):
            return self._cut(self.conv(name, x, 0.5), relu)
        return self.activation(self.conv(name, x), relu)

    def _is_exact_with_half(self, name: str) -> bool:
        """Whether 1/2 may be part of the bias: every partial sum stays an integer below 2^24."""
        weight = self.weights.arrays[f"prior.{name}.weight"].astype(np.int64)
        bias = np.abs(self.weights.arrays[f"prior.{name}.bias"].astype(np.int64))
        half = np.exp2(self.weights(f"prior.{name}.exponent") - 1)
        sums = ACTIVATION_MAX * np.abs(weight).reshape(len(weight), -1).sum(1) + bias
        return bool((half >= 1).all() and (sums + half < EXACT_LIMIT).all())

    def block(self, name: str, x: str) -> str:
        """integer.IntegerBlock, or IntegerDepthwise where there are no pointwise layers."""
        if f"prior.{name}.expand.weight" not in self.weights.arrays:
            return self.activation(self.graph.op("Add", x, self.conv(f"{name}.depthwise", x)))
        hidden = self.activated(f"{name}.depthwise", x)
        hidden = self.activated(f"{name}.expand", hidden, relu=True)
        return self.activation(self.graph.op("Add", x, self.conv(f"{name}.project", hidden)))

    def qp_features(self, name: str, qp: str) -> str:
        """The embedding of a QP field [2 h, 2 w], mapped to the features' channels."""
        table = self.weights(f"prior.{name}.qp_table")
        rows = self.graph.batch(self.graph.rows_at(table, qp))
        cells = self.graph.op("SpaceToDepth", rows, blocksize=2)
        weight, bias = self.layer(f"{name}.qp_in")
        # SpaceToDepth puts the four places of a cell first, pixel_unshuffle the channels.
        by_place = weight.reshape(len(weight), -1, 4, 1, 1).swapaxes(1, 2)
        return self.graph.conv(cells, by_place.reshape(weight.shape), bias)


def features(arrays: Mapping[str, Array], config: dict[str, Any], layer: LatentLayer) -> Graph:
    """The features of a layer of y: z [a, b, Z], qp int64 [4 a, 4 b] -> [1, P, 2 a, 2 b]."""
    low = layer != split_layers(config.get("low", 0), config["m"])[-1]
    name = "low_hyper" if low else "hyper"
    graph = Graph("features")
    prior = _Prior(graph, arrays)
    z = graph.batch(graph.input("z", "float32", ["a", "b", config["z"]]))
    qp = graph.input("qp", "int64", ["rows", "columns"])
    x = graph.op("Mul", z, graph.number(Z_UNIT * UNITS))
    if not low:
        x = prior.block(f"{name}.block4", prior.activated(f"{name}.stem", x, relu=True))
    x = graph.shuffle(prior.activated(f"{name}.up", x), 2)
    x = prior.activation(graph.op("Add", x, prior.qp_features(name, qp)), relu=True)
    width = config["p_low"] if low else config["p"]
    graph.output(prior.block(f"{name}.block2", x), "features", "float32", [1, width, "h", "w"])
    return graph


def step(
    arrays: Mapping[str, Array], config: dict[str, Any], layer: LatentLayer, index: int
) -> Graph:
    """A step of a layer of y: features and earlier sets [h, w, C] -> mean, index [h, w, C]."""
    layers = split_layers(config.get("low", 0), config["m"])
    low = layer != layers[-1]
    name = f"{'low_steps' if low else 'steps'}.{index}"
    graph = Graph("step")
    prior = _Prior(graph, arrays)
    width = config["p_low"] if low else config["p"]
    x = graph.input("features", "float32", [1, width, "h", "w"])
    before = [one for one in layers[: layer.index] for _ in range(PRIOR_STEPS)] + [layer] * index
    scale = np.exp2(prior.weights("prior.mean_exponent"))
    if before:
        sets = [
            graph.input(f"set{number}", "float32", ["h", "w", one.stop - one.start])
            for number, one in enumerate(before)
        ]
        units = np.concatenate([UNITS / scale[one.start : one.stop] for one in before])
        context = graph.op("Concat", *sets, axis=2) if len(sets) > 1 else sets[0]
        scaled = graph.op("Mul", context, graph.constant(units.astype(np.float32)))
        context = graph.batch(prior.activation(scaled))
        joined = graph.op("Add", x, prior.conv(f"{name}.context", context))
        x = prior.activation(joined, relu=True)
    channels = layer.stop - layer.start
    out = prior.conv(f"{name}.head", prior.block(f"{name}.block", x))
    sizes = graph.constant(np.array([channels, channels], np.int64))
    mean, spread = graph.ops("Split", 2, out, sizes, axis=1)
    per_unit = scale[layer.start : layer.stop] / np.float32(MEAN_UNIT * UNITS)
    mean = graph.op("Mul", mean, graph.constant(per_unit.reshape(1, -1, 1, 1)))
    mean = graph.op("Mul", prior.rounded(mean), graph.number(MEAN_UNIT))
    mean = graph.op("Clip", mean, graph.number(-MEAN_LIMIT), graph.number(MEAN_LIMIT))
    spread = graph.op("Mul", spread, graph.number(SCALE_GAIN / UNITS))
    spread = prior.rounded(graph.op("Add", spread, graph.number(SCALE_OFFSET)))
    spread = graph.op("Clip", spread, prior.zero, graph.number(SCALE_COUNT - 1))
    sides: list[int | str] = ["h", "w", channels]
    graph.output(graph.array(mean), "mean", "float32", sides)
    whole = graph.op("Cast", graph.array(spread), to=TYPES["uint8"])
    graph.output(whole, "index", "uint8", sides)
    return graph
