"""The pictures that both ends of a stream keep, so that a message may build on any of them.

A menu that closes, or a tab that is shown again, brings back a picture of some messages ago. A
message says whether the picture that it builds on may be forgotten. Otherwise the pictures after
single typed letters would push more useful ones out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 8
# Of all pictures that are kept, so that memory does not grow with their size.
MOST_PIXELS = 1 << 25


def kept(height: int, width: int) -> int:
    """How many pictures of a size both ends keep: 1 to 8 (docs/format.md)."""
    return max(1, min(MOST, MOST_PIXELS // (height * width)))


class Pictures(Generic[T]):
    """The last pictures by the checksum of their files; all of one size."""

    def __init__(self) -> None:
        self.by_checksum: OrderedDict[bytes, T] = OrderedDict()
        self.size = (0, 0)

    def add(self, checksum: bytes, size: tuple[int, int], picture: T) -> None:
        """Keep a picture as the newest one, and forget the oldest beyond what both ends keep."""
        if size != self.size:
            self.clear()
            self.size = size
        self.by_checksum.pop(checksum, None)
        self.by_checksum[checksum] = picture
        while len(self.by_checksum) > kept(*size):
            self.by_checksum.popitem(last=False)

    def forget(self, checksum: bytes) -> None:
        """Make room for others."""
        self.by_checksum.pop(checksum, None)

    def get(self, checksum: bytes) -> T | None:
        """A picture; None if it is not kept."""
        return self.by_checksum.get(checksum)

    def newest_first(self) -> list[tuple[bytes, T]]:
        """All of them with their checksums."""
        return list(reversed(self.by_checksum.items()))

    def clear(self) -> None:
        """Forget all."""
        self.by_checksum.clear()
