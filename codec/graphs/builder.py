"""A graph under construction: values are names, operators are calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.graphs import onnx_file
from codec.graphs.compact import Stored, stored
from codec.graphs.onnx_file import Array, Attribute
from codec.networks.config import LEAK

Floats = NDArray[np.float32]


class Graph:
    """Collects operators over values [1, C, h, w]; inputs and outputs are arrays [h, w, C]."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[bytes] = []
        self.constants: dict[str, Array] = {}
        self.inputs: list[bytes] = []
        self.outputs: list[bytes] = []

    def bytes(self, compact: bool = False) -> bytes:
        """The graph as an ONNX file.

        Args:
            compact: store float32 constants in fewer bytes where that is exact (graphs.compact);
                a runtime computes them when it opens the file.
        """
        nodes = []
        constants: dict[str, Array] = {}
        for name, array in self.constants.items():
            small = stored(array) if compact else None
            if small is None:
                constants[name] = array
            else:
                nodes += _restored(name, small, constants)
        return onnx_file.model(
            self.name, [*nodes, *self.nodes], constants, self.inputs, self.outputs
        )

    def input(self, name: str, dtype: str, sides: Sequence[int | str]) -> str:
        """Declare an input; returns its name."""
        self.inputs.append(onnx_file.value(name, dtype, sides))
        return name

    def output(self, value: str, name: str, dtype: str, sides: Sequence[int | str]) -> None:
        """Declare a value as an output of this name."""
        self.nodes.append(onnx_file.node("Identity", name, [value], [name]))
        self.outputs.append(onnx_file.value(name, dtype, sides))

    def constant(self, array: Array) -> str:
        """Add a constant; returns its name."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def number(self, value: float) -> str:
        """A float32 constant without dimensions."""
        return self.constant(np.asarray(value, np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operator with one output; returns the output's name."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(onnx_file.node(kind, name, inputs, [name], **attributes))
        return name

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Attribute) -> list[str]:
        """Add an operator with several outputs; returns their names."""
        name = f"v{len(self.nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(onnx_file.node(kind, name, inputs, names, **attributes))
        return names

    def batch(self, array: str) -> str:
        """[h, w, C] as [1, C, h, w]."""
        axes = self.constant(np.zeros(1, np.int64))
        return self.op("Transpose", self.op("Unsqueeze", array, axes), perm=[0, 3, 1, 2])

    def array(self, batch: str) -> str:
        """[1, C, h, w] as [h, w, C]."""
        axes = self.constant(np.zeros(1, np.int64))
        return self.op("Squeeze", self.op("Transpose", batch, perm=[0, 2, 3, 1]), axes)

    def conv(self, x: str, weight: Floats, bias: Floats, stride: int = 1, padding: int = 0) -> str:
        """A convolution; a weight [C, 1, k, k] for C channels makes it depthwise."""
        groups = weight.shape[0] if weight.shape[1] == 1 and padding else 1
        return self.op(
            "Conv",
            x,
            self.constant(weight),
            self.constant(bias),
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[padding] * 4,
            group=groups,
        )

    def leaky(self, x: str) -> str:
        """The leaky ReLU of the transforms."""
        return self.op("LeakyRelu", x, alpha=LEAK)

    def shuffle(self, x: str, factor: int) -> str:
        """[1, C f f, h, w] -> [1, C, f h, f w], as torch's pixel_shuffle."""
        return self.op("DepthToSpace", x, blocksize=factor, mode="CRD")

    def rows_at(self, table: Array, qp: str) -> str:
        """Rows [h, w, C] of a table [64, C] at a QP field [h, w]."""
        return self.op("Gather", self.constant(table), qp, axis=0)

    def doubled(self, qp: str) -> str:
        """A QP field [h, w] as [2 h, 2 w], by repetition."""
        axes = self.constant(np.array([0, 1], np.int64))
        field = self.op("Unsqueeze", self.op("Cast", qp, to=onnx_file.TYPES["float32"]), axes)
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        repeated = self.op(
            "Resize",
            field,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        whole = self.op("Cast", repeated, to=onnx_file.TYPES["int64"])
        return self.op("Squeeze", whole, axes)


def _restored(name: str, small: Stored, constants: dict[str, Array]) -> list[bytes]:
    """Operators that compute a constant from its stored form, which is added to `constants`."""
    float32 = onnx_file.TYPES["float32"]
    constants[f"{name}_small"] = small.values
    if small.scale is None:
        return [onnx_file.node("Cast", name, [f"{name}_small"], [name], to=float32)]
    constants[f"{name}_scale"] = small.scale
    wide = f"{name}_wide"
    return [
        onnx_file.node("Cast", wide, [f"{name}_small"], [wide], to=float32),
        onnx_file.node("Mul", name, [wide, f"{name}_scale"], [name]),
    ]
