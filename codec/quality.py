"""Quality 0..100 <-> QP 0..63, and the search for a target size."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

from codec.errors import BadArgument, TargetTooSmall, shown
from codec.networks.config import QP_MAX

DEFAULT_QUALITY = 50.0
BEST_QUALITY = 100.0


def quality_to_qp(quality: float | str) -> int:
    """Convert a quality to a QP, linearly. A larger QP is a finer step, as in DCVC-RT.

    Args:
        quality: 0..100, as a number or as text.

    Returns:
        The QP 0..63, rounded.

    Raises:
        BadArgument: the quality is no number or out of range.
    """
    try:
        # True would pass as 1.
        value = -1.0 if isinstance(quality, bool) else float(quality)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 <= value <= 100:
        raise BadArgument(f"quality must be a number between 0 and 100, not {shown(quality)}")
    return int(value * QP_MAX / 100 + 0.5)


def qp_to_quality(qp: int) -> float:
    """Convert a QP 0..63 to a quality 0..100, not rounded."""
    return qp * 100 / QP_MAX


def parse_size(text: str | int | float) -> int:
    """Read a size.

    Args:
        text: such as '20KB', '1.5 MiB', '8GiB', '800' or 800; KB is 1000 bytes, KiB 1024.

    Returns:
        Bytes, at least 1.

    Raises:
        BadArgument: it is not a size.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, float, Real)):
        raise BadArgument(f"{shown(text)} is not a size; write 20KB, 1.5MB or a number of bytes")
    text = str(text)
    units = {
        "": 1,
        "b": 1,
        "k": 1000,
        "kb": 1000,
        "kib": 1024,
        "m": 10**6,
        "mb": 10**6,
        "mib": 1 << 20,
    }
    units |= {"g": 10**9, "gb": 10**9, "gib": 1 << 30}
    stripped = text.strip().lower()
    number = stripped.rstrip("bikmg ")
    try:
        size = int(float(number) * units[stripped[len(number) :].strip()])
    except (KeyError, ValueError, OverflowError):
        raise BadArgument(
            f"'{text}' is not a size; write 20KB, 1.5MB or a number of bytes"
        ) from None
    if size <= 0:
        raise BadArgument("a size must be above zero")
    return size


def search_qp(encode: Callable[[int], bytes], target_bytes: int) -> bytes:
    """Find the file of the largest QP that fits a size, by bisection (at most 7 encodings).

    Args:
        encode: from a QP to a file.
        target_bytes: the largest size.

    Returns:
        The file.

    Raises:
        TargetTooSmall: even the file of QP 0 is larger.
    """
    low = 0
    high = QP_MAX
    best = None
    while low <= high:
        middle = (low + high) // 2
        data = encode(middle)
        if len(data) <= target_bytes:
            best = data
            low = middle + 1
        else:
            high = middle - 1
            smallest = len(data)
    if best is None:
        raise TargetTooSmall(too_small(smallest), smallest)
    return best


def too_small(smallest: int) -> str:
    """The error for a target that even the smallest file exceeds; it says what to do."""
    return (
        f"the smallest file of this picture has {smallest} bytes; "
        "ask for more, keep no metadata or shrink the picture"
    )
