"""Writes ONNX files: the few messages of onnx.proto that a graph of tensors needs.

The package `onnx` could write them, but importing it takes 60 MB and 0.3 s, and its reading,
checking and shape inference are not needed here.

Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (IR version 9).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Attribute = int | float | str | Sequence[int] | Sequence[float]
IR_VERSION = 9
OPSET = 18
# onnx.proto, TensorProto.DataType.
TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
}
# onnx.proto, AttributeProto.AttributeType.
FLOAT = 1
INT = 2
STRING = 3
FLOATS = 6
INTS = 7
VARINT = 0
BYTES = 2
FIXED32 = 5
UINT64 = (1 << 64) - 1


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement."""
    value &= UINT64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _real(field: int, value: float) -> bytes:
    return _varint(field << 3 | FIXED32) + struct.pack("<f", value)


def _data(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | BYTES) + _varint(len(data)) + data


def _each(field: int, values: Iterable[bytes | str]) -> bytes:
    return b"".join(_data(field, value) for value in values)


def attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto of a number, text or numbers."""
    if isinstance(value, str):
        return _data(1, name) + _data(4, value) + _number(20, STRING)
    if isinstance(value, float):
        return _data(1, name) + _real(2, value) + _number(20, FLOAT)
    if isinstance(value, int):
        return _data(1, name) + _number(3, value) + _number(20, INT)
    if all(isinstance(one, int) for one in value):
        numbers = b"".join(_number(8, int(one)) for one in value)
        return _data(1, name) + numbers + _number(20, INTS)
    return _data(1, name) + b"".join(_real(7, one) for one in value) + _number(20, FLOATS)


def node(
    kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute
) -> bytes:
    """A NodeProto: one operator."""
    listed = [attribute(key, value) for key, value in attributes.items()]
    return _each(1, inputs) + _each(2, outputs) + _data(3, name) + _data(4, kind) + _each(5, listed)


def tensor(name: str, array: Array) -> bytes:
    """A TensorProto: a constant with its values."""
    dims = b"".join(_number(1, side) for side in array.shape)
    values = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return dims + _number(2, TYPES[array.dtype.name]) + _data(8, name) + _data(9, values.tobytes())


def value(name: str, dtype: str, sides: Sequence[int | str]) -> bytes:
    """A ValueInfoProto: an input or output; a side is a number or the name of an unknown one."""
    dims = [_data(2, side) if isinstance(side, str) else _number(1, side) for side in sides]
    kind = _number(1, TYPES[dtype]) + _data(2, _each(1, dims))
    return _data(1, name) + _data(2, _data(1, kind))


def model(
    name: str,
    nodes: Sequence[bytes],
    constants: Mapping[str, Array],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
) -> bytes:
    """A ModelProto: a whole file.

    Args:
        name: of the graph.
        nodes: from `node`, in an order in which they can be computed.
        constants: by name.
        inputs: from `value`.
        outputs: from `value`.

    Returns:
        The file's bytes.
    """
    tensors = [tensor(key, array) for key, array in constants.items()]
    graph = (
        _each(1, nodes)
        + _data(2, name)
        + _each(5, tensors)
        + _each(11, inputs)
        + _each(12, outputs)
    )
    opset = _data(1, "") + _number(2, OPSET)
    return _number(1, IR_VERSION) + _data(2, "cotam") + _data(7, graph) + _data(8, opset)
