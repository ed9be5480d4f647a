"""Palettes for screens, charts and drawings: few colours, exactly repeated shapes. No network.

::

    pixels --merge close colours (quality < 100)--> colours and indexes [H, W]
    indexes --blocks of one colour--> a plane of blocks --walk--+
            \\-> the other pixels ------------------------walk---+-> rANS words
    payload: colours (deflated differences) | words

At quality 100, and whenever no colours are merged, the same pixels come back. The payload is the
same on every machine: integers only.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.errors import BadArgument, Corrupt, Truncated
from codec.tools.palette_coder import Player, Recorder
from codec.tools.palette_colours import merged
from codec.tools.palette_walk import ABSENT, CONTEXTS, Ints, walk

Pixels = NDArray[np.uint8]
# More colours than this are a photograph's; rANS tables hold 2^16 entries.
MOST_COLOURS = 1 << 14
# Sides of the blocks of one colour, in pixels.
BLOCK = 8
# Pictures with fewer pixels are coded without a plane of blocks.
BLOCKS_FROM = 64 * 64


def encode(pixels: Pixels, *, quality: float = 100, effort: int = 5) -> bytes:
    """Code a picture with few colours.

    Args:
        pixels: uint8 [H, W, C] with C of 1, 3 or 4.
        quality: 0..100; 100 returns the same pixels.
        effort: 0..9; not used yet.

    Returns:
        The payload.

    Raises:
        BadArgument: there are more than MOST_COLOURS colours.
    """
    packed = _pack(pixels)
    colours, inverse = np.unique(packed, return_inverse=True)
    indexes = inverse.reshape(packed.shape).astype(np.int64)
    if quality < 100:
        colours, indexes = merged(colours, indexes, pixels.shape[2], quality)
    if len(colours) > MOST_COLOURS:
        raise BadArgument(f"the palette tool codes at most {MOST_COLOURS} colours")
    head = _write_colours(colours, pixels.shape[2])
    if len(colours) == 1:
        return head
    return head + _write_indexes(indexes, len(colours))


def decode(payload: bytes, height: int, width: int, channels: int) -> Pixels:
    """Decode a payload of `encode`.

    Args:
        payload: the bytes.
        height: pixels.
        width: pixels.
        channels: 1, 3 or 4.

    Returns:
        uint8 [H, W, C].

    Raises:
        Corrupt: the payload is damaged.
    """
    try:
        reader = Reader(payload)
        colours = _read_colours(reader, channels)
        rest = payload[reader.at :]
    except Truncated:
        raise Corrupt("the palette ends too early") from None
    if len(colours) > 1:
        indexes = _read_indexes(rest, (height, width), len(colours))
    elif rest:
        raise Corrupt("bytes follow a palette of one colour")
    else:
        indexes = np.zeros((height, width), np.int64)
    return _unpack(colours[indexes], channels)


def _pack(pixels: Pixels) -> NDArray[np.uint32]:
    """A number for each pixel [H, W]."""
    packed = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(pixels.shape[2]):
        packed <<= 8
        packed |= pixels[..., channel]
    return packed


def _unpack(packed: NDArray[np.uint32], channels: int) -> Pixels:
    pixels = np.empty((*packed.shape, channels), np.uint8)
    for channel in range(channels):
        pixels[..., channel] = packed >> 8 * (channels - 1 - channel) & 255
    return pixels


def _write_colours(colours: NDArray[np.uint32], channels: int) -> bytes:
    """Count, then differences of the sorted colours, channel by channel, deflated."""
    planes = _unpack(colours, channels).astype(np.int16)
    steps = np.diff(planes, axis=0, prepend=np.zeros((1, channels), np.int16))
    raw = steps.astype(np.uint8).T.tobytes()
    deflated = zlib.compress(raw, 9)[2:-4]
    count = put_varint(len(colours)) + put_varint(0 if len(raw) <= len(deflated) else len(deflated))
    return count + min(raw, deflated, key=len)


def _read_colours(reader: Reader, channels: int) -> NDArray[np.uint32]:
    count = reader.varint()
    size = reader.varint()
    if not 0 < count <= MOST_COLOURS:
        raise Corrupt("the palette claims no colours, or too many")
    length = count * channels
    raw = reader.take(length) if size == 0 else _inflated(reader.take(size), length)
    steps = np.frombuffer(raw, np.uint8).reshape(channels, count).T
    return _pack(np.cumsum(steps, axis=0, dtype=np.uint8)[None])[0]


def _inflated(data: bytes, length: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        raw = inflater.decompress(data, length)
    except zlib.error:
        raw = b""
    if len(raw) != length:
        raise Corrupt("the palette's colours are damaged")
    return raw


def _has_blocks(shape: tuple[int, int]) -> bool:
    return shape[0] * shape[1] >= BLOCKS_FROM


def _flat_blocks(indexes: Ints) -> Ints:
    """The index of each block of one colour, -1 for the others; whole blocks only."""
    rows = indexes.shape[0] // BLOCK
    cols = indexes.shape[1] // BLOCK
    cut = indexes[: rows * BLOCK, : cols * BLOCK]
    across = cut.reshape(rows * BLOCK, cols, BLOCK)
    low = across.min(2).reshape(rows, BLOCK, cols).min(1)
    high = across.max(2).reshape(rows, BLOCK, cols).max(1)
    return np.where(low == high, low, ABSENT)


def _spread(blocks: Ints, shape: tuple[int, int]) -> Ints:
    """Blocks as pixels [H, W], -1 where they are not of one colour."""
    known = np.full(shape, ABSENT, np.int64)
    rows = blocks.shape[0] * BLOCK
    cols = blocks.shape[1] * BLOCK
    known[:rows, :cols] = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)
    return known


def _write_indexes(indexes: Ints, count: int) -> bytes:
    """The plane of blocks, its indexes one higher so that 0 is 'several colours', then pixels."""
    shape = indexes.shape[0], indexes.shape[1]
    known = None
    words = b""
    if _has_blocks(shape):
        blocks = _flat_blocks(indexes)
        recorder = Recorder(CONTEXTS, count + 1)
        walk(recorder, (blocks.shape[0], blocks.shape[1]), blocks + 1, None)
        words = recorder.finish()
        known = _spread(blocks, shape)
    recorder = Recorder(CONTEXTS, count)
    walk(recorder, shape, indexes, known)
    length = put_varint(len(words) // 4) if known is not None else b""
    return length + words + recorder.finish()


def _read_indexes(data: bytes, shape: tuple[int, int], count: int) -> Ints:
    reader = Reader(data)
    known = None
    if _has_blocks(shape):
        words = reader.take(4 * reader.varint())
        player = Player(CONTEXTS, count + 1, words)
        blocks = walk(player, (shape[0] // BLOCK, shape[1] // BLOCK), None, None)
        player.finish()
        known = _spread(blocks - 1, shape)
    player = Player(CONTEXTS, count, data[reader.at :])
    indexes = walk(player, shape, None, known)
    player.finish()
    return indexes
