"""Ray Data over many machines: classes for `map_batches`, one codec for each worker.

They do not import Ray.

::

    read_binary_files (disk, S3, GCS) -> Encode: bytes -> ctm -> write_parquet
    read_parquet -> Decode: ctm -> image -> a model
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import codec
from codec.api import Codec
from codec.errors import BadArgument, CodecError, only_codec_errors
from codec.results import Level

Batch = dict[str, NDArray[Any]]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Limit PyTorch to `count` threads, because the workers of a machine share its cores.

    Where nothing has imported PyTorch, another backend runs the networks; COTAM_THREADS limits its
    threads.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _column(batch: Batch, name: str) -> NDArray[Any]:
    if name not in batch:
        raise BadArgument(f"the batch has no column '{name}'; it has {', '.join(batch)}")
    return batch[name]


def _apply(
    values: NDArray[Any], work: Callable[[Any], Any], empty: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Apply `work` to each value; a failure gives `empty` and a sentence among the errors."""
    results = np.empty(len(values), object)
    errors = np.full(len(values), "", object)
    for index, value in enumerate(values):
        try:
            results[index] = work(value)
        except CodecError as error:
            results[index] = empty
            errors[index] = str(error)
    return results, errors


class Encode:
    """Encodes a column of pictures; a picture that cannot be encoded does not end the job.

    Examples:
        >>> keywords = {"quality": 40}
        >>> ds.map_batches(Encode, concurrency=8, fn_constructor_kwargs=keywords)  # doctest: +SKIP
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
        """Make an encoder.

        Args:
            model: name, path or folder of the weights.
            column: picture files' bytes, {"bytes": ..., "path": ...}, or uint8 [H, W, 3].
            output: the new column of `.ctm` bytes, b"" where the column `error` has a sentence.
            device: as for `codec.load`.
            threads: of PyTorch, while a batch is encoded.
            options: fields of codec.EncodeOptions.

        Raises:
            UnknownModel: there are no such weights.
        """
        self.threads = threads
        self.codec: Codec = codec.load(model, device)
        self.column = column
        self.output = output
        self.options = options

    def __call__(self, batch: Batch) -> Batch:
        """Encode a batch. Raises BadArgument where the column is missing."""
        with _threads(self.threads):
            coded, errors = _apply(_column(batch, self.column), self._encode, b"")
        return batch | {self.output: coded, "error": errors}

    @only_codec_errors
    def _encode(self, value: Any) -> bytes:
        source = np.asarray(value) if isinstance(value, (list, tuple)) else value
        return self.codec.encode(source, **self.options)


class Decode:
    """Decodes a column of `.ctm` bytes of any shipped weights."""

    def __init__(
        self,
        column: str = "ctm",
        output: str = "image",
        level: Level = "pixels",
        device: str = "auto",
        threads: int = 1,
        keep: bool = False,
    ) -> None:
        """Make a decoder.

        Args:
            column: `.ctm` bytes.
            output: the new column of pictures uint8 [H, W, 3], of any sizes.
            level: `pixels` or `preview`.
            device: as for `codec.load`.
            threads: of PyTorch, while a batch is decoded.
            keep: leave the column of bytes in the batch.

        Raises:
            BadArgument: the level is unknown.
        """
        if level not in ("pixels", "preview"):
            raise BadArgument(f"level must be pixels or preview, not '{level}'")
        self.threads = threads
        self.column = column
        self.output = output
        self.level = level
        self.device = device
        self.keep = keep

    def __call__(self, batch: Batch) -> Batch:
        """Decode a batch. Raises BadArgument where the column is missing."""
        nothing = np.zeros((0, 0, 3), np.uint8)
        with _threads(self.threads):
            decoded, errors = _apply(_column(batch, self.column), self._decode, nothing)
        left_out = () if self.keep else (self.column,)
        rest = {name: values for name, values in batch.items() if name not in left_out}
        return rest | {self.output: decoded, "error": errors}

    @only_codec_errors
    def _decode(self, value: Any) -> NDArray[np.uint8]:
        return codec.decode(bytes(value), output="array", level=self.level, device=self.device)
