"""Bits of a header, the first one in the highest place of a byte."""

from __future__ import annotations

from codec.errors import Corrupt


class BitReader:
    """Reads forward through bytes; raises Corrupt at their end."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        if count > self.left:
            raise Corrupt("a header inside the file ends too early; fetch or copy it again")
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)


class BitWriter:
    """Collects bits."""

    def __init__(self) -> None:
        self.value = 0
        self.count = 0

    def put(self, value: int, count: int) -> None:
        """The lowest `count` bits of a number."""
        self.value = self.value << count | value & ((1 << count) - 1)
        self.count += count

    def bytes(self) -> bytes:
        """All of them, with zeros to the end of the last byte."""
        missing = -self.count % 8
        return (self.value << missing).to_bytes((self.count + missing) // 8, "big")
