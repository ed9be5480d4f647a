"""docs/format.md in plain Python: an implementation of the page reads what the codec writes."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.bitstream import qp_map
from codec.bitstream.container import Reader
from codec.bitstream.rans import Encoder, Tables
from codec.tools import patch
from tests.conftest import ROOT
from tests.test_patch_tool import random_patch
from tests.test_rans import TABLES, blocks

GOLDEN = ROOT / "tests" / "golden"
BITS = 24
UNIFORM = [value << 8 for value in range((1 << 16) + 1)]


class Stack:
    """Section `Latents` of the page: words, a state, and how a symbol is popped."""

    def __init__(self, data: bytes) -> None:
        self.words = [int(word) for word in np.frombuffer(data, "<u4")]
        self.state = 0
        self.fill()

    def fill(self) -> None:
        while self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def pop(self, starts: list[int]) -> int:
        q = self.state % (1 << BITS)
        entry = int(np.searchsorted(starts, q, "right")) - 1
        self.state = (self.state >> BITS) * (starts[entry + 1] - starts[entry]) + q - starts[entry]
        self.fill()
        return entry

    def block(self, ids: NDArray[np.integer], tables: list[list[int]]) -> list[int]:
        symbols, escaped = [0] * len(ids), []
        for place in np.argsort(ids, kind="stable"):
            starts = tables[ids[place]]
            entry = self.pop(starts)
            if entry == len(starts) - 2:
                escaped.append(place)
            else:
                symbols[place] = entry - (len(starts) - 3) // 2
        for place in escaped:
            raw = self.pop(UNIFORM)
            magnitude = (raw >> 1) + (len(tables[ids[place]]) - 3) // 2 + 1
            symbols[place] = -magnitude if raw & 1 else magnitude
        return symbols


def boundaries(frequencies: NDArray[np.integer]) -> list[int]:
    """The boundaries c_i of a table."""
    below = np.concatenate([[0], np.cumsum(frequencies.astype(np.int64))])[:-1]
    scaled = (below / (1 << 16)).astype(np.float32) * np.float32((1 << BITS) - len(frequencies))
    return [*(int(c) + i for i, c in enumerate(scaled)), 1 << BITS]


def all_boundaries(tables: Tables) -> list[list[int]]:
    return [boundaries(part) for part in np.split(tables.frequencies, tables.starts[1:])]


def map_tables() -> Tables:
    """The tables in section `QP map` of the page."""
    rows = []
    for a, b in ((1, 64), (1, 10), (1, 4), (9, 20), (13, 20), (17, 20)):
        weights = [2**40 * a ** abs(k) // b ** abs(k) for k in (*range(-15, 16), -15)]
        row = [1 + w * (2**16 - 32) // sum(weights) for w in weights]
        row[15] += 2**16 - sum(row)
        rows.append(row)
    return Tables(np.concatenate(rows), np.full(6, 32))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(blocks())
def test_the_coder_of_the_page_reads_what_is_written(
    found: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    encoder = Encoder(TABLES)
    for symbols, ids in found:
        encoder.push(symbols, ids)
    stack, tables = Stack(encoder.finish()), all_boundaries(TABLES)
    for symbols, ids in found:
        assert stack.block(ids, tables) == symbols.tolist()
    assert stack.state == 0
    assert not stack.words


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 5, 40]), st.sampled_from([1, 2, 4]))
def test_the_maps_of_the_page_are_those_written(seed: int, spread: int, unit: int) -> None:
    random = np.random.default_rng(seed)
    offsets = np.clip(
        random.normal(0, spread, random.integers(1, 12, 2)).round().astype(np.int64) * unit,
        -63 // unit * unit,
        60,
    )
    data = qp_map.encode_offsets(offsets)
    reader = Reader(data)
    rows, cols, code, step = reader.varint(), reader.varint(), reader.byte(), reader.byte()
    stack = Stack(data[reader.at :])
    values = np.array(
        stack.block(np.full(rows * cols, code & 15), all_boundaries(map_tables()))
    ).reshape(rows, cols)
    for axis in ((), (1,), (0,), (0, 1))[code >> 4]:
        values = np.cumsum(values, axis)
    np.testing.assert_array_equal(step * values, offsets)
    assert stack.state == 0


@pytest.mark.parametrize("table", range(0, len(TABLES), 9))
def test_every_entry_has_room(table: int) -> None:
    starts = np.array(all_boundaries(TABLES)[table])
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()


class Bytes:
    """Reads varints and slices of a file, as the page describes them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = 0
        for place in range(5):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise AssertionError("a varint has at most 5 bytes")


def payload_of(data: bytes) -> tuple[int, int, int, int, bytes]:
    """Section `Version 2` of the page: tool, samples, width, height, payload."""
    file = Bytes(data)
    assert file.take(4) == b"\xc0TM\x02"
    flags, quality, _reason = file.take(3)
    assert quality <= 100
    width = file.varint()
    height = file.varint()
    length = file.varint()
    extras = file.varint() if flags & 128 else 0
    head = data[: file.at]
    checksum = file.take(4)
    assert len(data) == file.at + length + extras
    assert checksum == zlib.crc32(head + data[file.at :]).to_bytes(4, "little")
    return flags & 31, (1, 3, 4)[flags >> 5 & 3], width, height, file.take(length)


def webp_of(payload: bytes, width: int, height: int, samples: int) -> bytes:
    """Row 2 of the page's table: makes a WebP file of the picture."""
    fields = width - 1 | height - 1 << 14 | (samples == 4) << 28
    body = b"\x2f" + fields.to_bytes(4, "little") + payload
    chunk = b"VP8L" + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk


@pytest.mark.parametrize("name", ["palette", "palette-exact"])
def test_the_page_reads_a_palette_file(name: str) -> None:
    data = (GOLDEN / f"v2-{name}.ctm").read_bytes()
    tool, samples, width, height, payload = payload_of(data)
    assert tool == 2
    with Image.open(io.BytesIO(webp_of(payload, width, height, samples))) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert np.array_equal(pixels, np.asarray(codec.decode(data).convert("RGBA")))


def test_the_page_reads_a_mixed_file() -> None:
    data = (GOLDEN / "v2-mixed.ctm").read_bytes()
    toy = codec.load(GOLDEN / "toy.safetensors", "cpu")
    tool, samples, width, height, payload = payload_of(data)
    assert (tool, samples) == (3, 3)
    part = Bytes(payload)
    base = part.take(1)[0]
    assert part.take(4).hex() == toy.fingerprint
    part.take(part.varint())
    covered = np.zeros((height, width), bool)
    for _ in range(part.varint()):
        left, top, columns, rows = (8 * part.varint() for _ in range(4))
        part.take(part.varint())
        assert not covered[top : top + rows, left : left + columns].any()
        covered[top : top + rows, left : left + columns] = True
    assert base in (1, 2)
    assert part.at == len(payload)
    assert covered[200, 100]
    assert not covered[5, 5]


class PatchReader:
    """Section `Patches` of the page: the coder and its binary decisions."""

    def __init__(self, data: bytes) -> None:
        self.data = iter(data)
        self.code = 0
        for _ in range(4):
            self.code = 256 * self.code + next(self.data, 0)
        self.range = 2**32
        self.counts: dict[tuple[int, int], list[int]] = {}

    def answer(self, context: tuple[int, int]) -> int:
        counts = self.counts.setdefault(context, [1, 1])
        bound = self.range * counts[0] // sum(counts)
        answer = int(self.code >= bound)
        if answer:
            self.code -= bound
            self.range -= bound
        else:
            self.range = bound
        while self.range < 2**24:
            self.range *= 256
            self.code = 256 * self.code + next(self.data, 0)
        counts[answer] += 2
        if sum(counts) > 254:
            counts[:] = [-(-count // 2) for count in counts]
        return answer


def patch_of(payload: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """The pixels [H, W, 3] of a patch."""
    count = payload[0] % 128 + 1
    samples = 1 if payload[0] & 128 else 3
    table = np.frombuffer(payload[1 : 1 + samples * count], np.uint8).reshape(count, samples)
    coder = PatchReader(payload[1 + samples * count :])
    index: dict[tuple[int, int], int] = {}
    for y in range(height):
        for x in range(width):
            near = ((y, x - 1), (y, x - 2), (y - 1, x), (y - 1, x - 1), (y - 1, x + 1))
            left, left2, above, corner, right = (index.get(place, 0) for place in near)
            index[y, x] = (
                _index(coder, left, left2, above, corner, right, count) if count > 1 else 0
            )
    pixels = [[table[index[y, x]] for x in range(width)] for y in range(height)]
    return np.broadcast_to(np.array(pixels), (height, width, 3))


def _index(
    coder: PatchReader, left: int, left2: int, above: int, corner: int, right: int, count: int
) -> int:
    first, second = (left, above) if above == corner else (above, left)
    state = (left == above) + 2 * (above == corner) + 4 * (left == corner)
    state += 8 * (above == right) + 16 * (left == left2)
    if coder.answer((0, state)):
        return first
    second = right if second == first else second
    if second != first and coder.answer((1, state)):
        return second
    bits = (count - 1).bit_length()
    value = 1
    for _ in range(bits):
        value = 2 * value + coder.answer((2, value))
    return value - 2**bits


def signed(part: Bytes) -> int:
    value = part.varint()
    return -(value + 1) // 2 if value % 2 else value // 2


def tones_of(part: Bytes) -> list[tuple[int, int]]:
    """Gain and offset of red, green and blue."""
    flags = part.take(1)[0]
    if flags == 8:
        return 3 * [(256 + signed(part), signed(part))]
    own = [flags // 2**channel % 2 for channel in range(3)]
    return [(256 + signed(part), signed(part)) if has else (256, 0) for has in own]


def with_tones(pixels: NDArray[np.uint8], tones: list[tuple[int, int]]) -> NDArray[np.uint8]:
    wide = pixels.astype(int)
    for channel, (gain, offset) in enumerate(tones):
        wide[..., channel] = (gain * wide[..., channel] + 256 * offset + 128) // 256
    return wide.clip(0, 255).astype(np.uint8)


def shown_after(
    data: bytes,
    kept: dict[bytes, NDArray[np.uint8]],
    last: bytes,
    again: list[NDArray[np.uint8]],
) -> bytes:
    """Section `Messages of a stream`: adds a file's picture to the kept ones; returns its name."""
    tool, samples, width, height, payload = payload_of(data)
    part = Bytes(data)
    part.take(7)
    lengths = [part.varint() for _ in range(3)]
    name = part.take(4)
    assert lengths[:2] == [width, height]
    if tool == 2:
        with Image.open(io.BytesIO(webp_of(payload, width, height, samples))) as image:
            kept[name] = np.asarray(image.convert("RGB"))
        again.clear()
        return name
    assert (tool, samples) == (4, 3)
    part = Bytes(payload)
    head = part.varint()
    assert part.take(4) == last
    base = part.take(4) if head & 2 else last
    before = kept[base]
    pixels = before.copy()
    count = part.varint()
    for _ in range(count % 64):
        x, y, w, h = (part.varint() for _ in range(4))
        dx, dy = signed(part), signed(part)
        copied = before[y + dy : y + dy + h, x + dx : x + dx + w]
        pixels[y : y + h, x : x + w] = with_tones(copied, tones_of(part)) if count > 63 else copied
    for _ in range(part.varint()):
        x, y, w, h = (part.varint() for _ in range(4))
        kind = part.take(1)[0]
        body = part.take(part.varint())
        if kind == 0:
            new = patch_of(body, w, h)
        elif kind == 4:
            new = again[-1 - Bytes(body).varint()]
            assert new.shape[:2] == (h, w)
        else:
            assert kind == 2
            with Image.open(io.BytesIO(webp_of(body, w, h, 3))) as image:
                new = np.asarray(image.convert("RGB"))
        if kind < 3 and len(body) >= 16:
            again.append(new)
            del again[:-64]
        pixels[y : y + h, x : x + w] = new
    assert part.at == len(payload)
    if head & 1:
        del kept[base]
    kept[name] = pixels
    return name


@pytest.mark.parametrize(("name", "count", "left"), [("screens", 6, 5), ("tones", 5, 4)])
def test_the_page_reads_a_stream(name: str, count: int, left: int) -> None:
    kept: dict[bytes, NDArray[np.uint8]] = {}
    again: list[NDArray[np.uint8]] = []
    decoder = codec.StreamDecoder()
    last = b""
    for number in range(count):
        data = (GOLDEN / "streams" / f"{name}-{number}.ctm").read_bytes()
        last = shown_after(data, kept, last, again)
        frame = decoder.decode(data)
        assert last.hex() == frame.checksum
        assert np.array_equal(kept[last], frame.pixels)
    assert len(kept) == left


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))
def test_the_patches_of_the_page_are_those_written(
    seed: int, height: int, width: int, colours: int
) -> None:
    pixels = random_patch(seed, height, width, colours)
    payload = patch.encode(pixels)
    assert payload is not None
    assert np.array_equal(patch_of(payload, width, height), pixels)
