r"""Arrays of any size: large ones are mapped from an unnamed temporary file, a part at a time.

::

    empty(shape) --small--> memory                          for band in bands(...):
        \--large--> file on disk, mapped: pages come and go      work on array[band]; release(array)
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from codec.errors import NoRoom

SPILL_BYTES = 64 << 20  # arrays from this size on are on disk
BAND_BYTES = 16 << 20  # about what is worked on at a time
# Parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT_BYTES = 256 << 20  # freed memory that glibc may keep
KEPT_PIECE = 32 << 20  # larger pieces are mapped, and go back to the system when freed
_kept_bytes = 0


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an uninitialised array, in memory or on disk.

    Args:
        shape: of the array.
        dtype: of the array.

    Returns:
        The array; a memory-mapped one from SPILL_BYTES on.

    Raises:
        NoRoom: the disk for temporary files (TMPDIR) is too full for a large array.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size < SPILL_BYTES:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="cotam-") as file:
            # Otherwise a full disk kills the process later, by SIGBUS.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise NoRoom(
            f"a large picture needs {size / 1e6:.0f} MB in the folder for temporary files, "
            f"which has no room for it ({error.strerror or 'no such folder'}); "
            "point TMPDIR to a larger disk"
        ) from error


def release(*arrays: NDArray[Any]) -> None:
    """Give the memory of mapped arrays back to the system; their content stays on disk.

    If one of them is large, the C library also gives back the memory of arrays freed before.

    Args:
        arrays: of `empty`, or views of them; small ones are ignored.
    """
    large = [mapped for array in arrays if (mapped := getattr(array, "_mmap", None)) is not None]
    for mapped in large:
        if hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)
    if large and (trim := _of_c_library("malloc_trim")):
        trim(0)


def keep_freed_memory(most: int = KEPT_BYTES) -> None:
    """Let glibc keep freed memory for the next arrays, until `release`.

    By default arrays of a few MB go back to the system each time, and each page of the next one
    costs a fault: a fifth of a decode. Other C libraries are left alone.

    Args:
        most: bytes to keep. If called repeatedly, the largest value applies.
    """
    global _kept_bytes
    _kept_bytes = max(_kept_bytes, most)
    if mallopt := _of_c_library("mallopt"):
        mallopt(M_MMAP_THRESHOLD, KEPT_PIECE)
        mallopt(M_TRIM_THRESHOLD, _kept_bytes)


@lru_cache
def _of_c_library(name: str) -> Any:
    """A function of glibc; None with other C libraries."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate one-dimensional arrays; a large result is on disk."""
    if len(parts) == 1:
        return parts[0]
    whole = empty((sum(len(part) for part in parts),), parts[0].dtype)
    return np.concatenate(parts, out=whole)


def bands(rows: int, row_bytes: int) -> Iterator[slice]:
    """Divide rows into parts of about BAND_BYTES.

    Args:
        rows: of the array.
        row_bytes: of one row.

    Yields:
        Slices of rows; a single one for a small array.
    """
    height = max(1, BAND_BYTES // max(1, row_bytes))
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))
