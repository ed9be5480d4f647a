"""Ray Data over many machines: classes for `map_batches`, one codec per worker; they need nothing of Ray themselves.

::

    read_binary_files (disk, S3, GCS) -> Encode: bytes -> ctm -> write_parquet
    read_parquet -> Decode: ctm -> image -> a model
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codec
from codec.api import Codec
from codec.errors import BadArgument, CodecError
from codec.results import Level

Batch = dict[str, NDArray[Any]]


def _threads(count: int) -> None:
    """Workers share the cores of a machine: by default each takes one."""
    import torch

    torch.set_num_threads(count)


def _column(batch: Batch, name: str) -> NDArray[Any]:
    if name not in batch:
        raise BadArgument(f"the batch has no column '{name}', but {', '.join(batch)}")
    return batch[name]


def _apply(
    values: NDArray[Any], work: Callable[[Any], Any], empty: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(results, errors), both as long as values: where there is a sentence in errors, the result is `empty`."""
    results = np.empty(len(values), object)
    errors = np.full(len(values), "", object)
    for index, value in enumerate(values):
        try:
            results[index] = work(value)
        except (CodecError, OSError) as error:
            results[index] = empty
            errors[index] = str(error)
    return results, errors


class Encode:
    """`ds.map_batches(Encode, concurrency=8, fn_constructor_kwargs={"quality": 40})`.

    column: picture files' bytes, or pictures uint8 [H, W, 3]; output: the new column of `.ctm` bytes. A picture that cannot be
    encoded is b"" and its sentence is in the column `error`; the job goes on. options: as `Codec.encode` takes them.
    """

    def __init__(
        self,
        model: str = "default",
        column: str = "bytes",
        output: str = "ctm",
        device: str = "auto",
        threads: int = 1,
        **options: Any,
    ) -> None:
        _threads(threads)
        self.codec: Codec = codec.load(model, device)
        self.column = column
        self.output = output
        self.options = options

    def __call__(self, batch: Batch) -> Batch:
        coded, errors = _apply(_column(batch, self.column), self._encode, b"")
        return batch | {self.output: coded, "error": errors}

    def _encode(self, value: Any) -> bytes:
        source = (
            io.BytesIO(value)
            if isinstance(value, (bytes, bytearray, memoryview))
            else np.asarray(value)
        )
        return self.codec.encode(source, **self.options)


class Decode:
    """The reverse: `.ctm` bytes of any shipped weights to pictures uint8 [H, W, 3], each of its own size.

    level: `pixels` or `preview`; keep: leave the column of bytes in the batch.
    """

    def __init__(
        self,
        column: str = "ctm",
        output: str = "image",
        level: Level = "pixels",
        device: str = "auto",
        threads: int = 1,
        keep: bool = False,
    ) -> None:
        if level not in ("pixels", "preview"):
            raise BadArgument(f"level must be pixels or preview, not '{level}'")
        _threads(threads)
        self.column = column
        self.output = output
        self.level = level
        self.device = device
        self.keep = keep

    def __call__(self, batch: Batch) -> Batch:
        decoded, errors = _apply(
            _column(batch, self.column), self._decode, np.zeros((0, 0, 3), np.uint8)
        )
        rest = (
            batch
            if self.keep
            else {name: values for name, values in batch.items() if name != self.column}
        )
        return rest | {self.output: decoded, "error": errors}

    def _decode(self, value: Any) -> NDArray[np.uint8]:
        return codec.decode(bytes(value), "array", self.level, self.device)
