"""The file format: header, sections, and every check that needs no decoding.

Version 1 holds the learned tool's latents, version 2 the payload of any other coding tool
(docs/format.md). Integers of unknown size are LEB128 varints of at most 5 bytes::

    C0 54 4D | version | flags+QP | width | height | fingerprint | lengths | CRC-32
       3     |    1    |    1     | 1..3  |  1..3  |      4      | varints |   4
    map | latents | extras

lengths: of the latents, of the map if there is one, of the extras if there are any.
flags+QP: bits 0..5 base QP, bit 6 a map section follows, bit 7 extras follow::

    C0 54 4D | version | tool+flags | quality | reason | width | height | lengths | CRC-32
       3     |    1    |     1      |    1    |   1    |  1..3 |  1..3  | varints |   4
    payload | extras

lengths: of the payload, of the extras if there are any.

tool+flags: bits 0..4 the tool (1..31), bits 5..6 the samples of a pixel (0: 1, 1: 3, 2: 4), bit 7
extras follow. quality: 0..100. reason: why the encoder chose the tool (tools.choosing.reasons).

The CRC covers every other byte of the file.
Extras are optional sections: type (1 byte), length (varint), payload; unknown types are skipped.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from codec.errors import (
    BadArgument,
    Corrupt,
    NotACotamFile,
    TooLarge,
    Truncated,
    UnsupportedVersion,
)

MAGIC = b"\xc0TM"
MEDIA_TYPE = "image/x-cotam"
SUFFIX = ".ctm"
VERSION = 1  # of files of the learned tool
TOOL_VERSION = 2  # of files of other tools
TOOL_MASK = 0x1F  # bits of the flags that number the tool
CHANNELS_SHIFT = 5  # position of the channels' code in the flags
CHANNELS = (1, 3, 4)  # samples of a pixel, by their code
BEST_QUALITY = 100
FINGERPRINT_BYTES = 4
CRC_BYTES = 4
HEADER_LIMIT = 64  # bytes; no header is longer
QP_MASK = 0x3F  # bits of the flags that hold the base QP
MAP_FLAG = 0x40
EXTRAS_FLAG = 0x80
VARINT_BYTES = 5  # at most
VARINT_LIMIT = 1 << 35
DEFAULT_LIMIT_PIXELS = 1 << 28
DEFAULT_LIMIT_MEMORY = 8 << 30  # bytes
MAX_SIDE = (1 << 20) - 1  # pixels
# Memory beyond what the program itself takes, measured at 4096x4096 pixels and rounded up. Large
# arrays are on disk, so memory grows more slowly beyond LARGE_FROM.
ENCODE_BYTES = 40  # bytes per pixel
DECODE_BYTES = 24  # bytes per pixel
LARGE_BYTES = 5  # bytes per pixel
LARGE_FROM = 1 << 29  # bytes

EXTRA_ALPHA = 0x41  # "A", a PNG
EXTRA_EXIF = 0x45  # "E"
EXTRA_GREY = 0x47  # "G", empty: decode to grey
EXTRA_ICC = 0x49  # "I", an RGB profile
EXTRA_NAMES = {EXTRA_ALPHA: "alpha", EXTRA_EXIF: "exif", EXTRA_GREY: "grey", EXTRA_ICC: "icc"}


@dataclass(frozen=True)
class Container:
    """The content of a file, still entropy-coded.

    Attributes:
        width: pixels.
        height: pixels.
        qp: base QP 0..63 of the learned tool.
        fingerprint: 4 bytes of the weights that wrote the file; empty for other tools.
        latents: the learned tool's latents, or another tool's payload.
        qp_map: the coded QP map of the learned tool.
        extras: optional sections by type.
        tool: 0 for the learned tool, else the tool's number (codec.tools).
        channels: samples of a pixel that the tool codes: 1, 3 or 4.
        quality: 0..100, of tools that have no QP.
        reason: why the encoder chose the tool (tools.choosing.reasons.REASONS).
    """

    width: int
    height: int
    qp: int
    fingerprint: bytes
    latents: bytes
    qp_map: bytes | None = None
    extras: dict[int, bytes] = field(default_factory=dict)
    tool: int = 0
    channels: int = 3
    quality: int = 0
    reason: int = 0

    @property
    def has_map(self) -> bool:
        """Whether the file has a QP map."""
        return self.qp_map is not None

    @property
    def payload(self) -> bytes:
        """The tool's payload; for the learned tool, the latents."""
        return self.latents


@dataclass(frozen=True)
class Header:
    """A header, before the sections are read.

    Attributes:
        width: pixels.
        height: pixels.
        flags: the byte after the version.
        fingerprint: 4 bytes, empty for tools without weights.
        latents: length of the latents or payload in bytes, as the header claims.
        qp_map: length of the QP map in bytes.
        extras: length of the optional sections in bytes.
        size: length of the header in bytes, including the checksum.
        tool: 0 for the learned tool.
        channels: samples of a pixel that the tool codes.
        quality: 0..100, of tools that have no QP.
        reason: why the encoder chose the tool.
    """

    width: int
    height: int
    flags: int
    fingerprint: bytes
    latents: int
    qp_map: int
    extras: int
    size: int
    tool: int = 0
    channels: int = 3
    quality: int = 0
    reason: int = 0


def put_varint(value: int) -> bytes:
    """Encode an integer as a LEB128 varint.

    Args:
        value: 0..2^35 - 1.

    Returns:
        1 to 5 bytes.

    Raises:
        BadArgument: the value is out of range.
    """
    if not 0 <= value < VARINT_LIMIT:
        raise BadArgument(f"{value} does not fit a varint")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


class Reader:
    """Read forward through bytes.

    Args:
        data: the bytes.

    Attributes:
        at: the position of the next byte.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """Read bytes.

        Raises:
            Truncated: fewer than `count` bytes are left.
        """
        missing = count - (len(self.data) - self.at)
        if missing > 0:
            raise Truncated(f"the file ends {missing} bytes too early; fetch or copy it again")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        """Read one byte. Raises Truncated at the end."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Read a LEB128 varint.

        Raises:
            Truncated: the bytes end inside it.
            Corrupt: it is longer than 5 bytes or not in its shortest form.
        """
        value = 0
        for index in range(VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if index and byte == 0:
                    break
                return value
        raise Corrupt("a length in the file is malformed; fetch or copy it again")


def write(content: Container) -> bytes:
    """Write a file.

    Args:
        content: header fields and sections.

    Returns:
        The file's bytes.

    Raises:
        BadArgument: a field is out of range.
    """
    _check_fields(content)
    extras = b"".join(
        bytes([kind]) + put_varint(len(section)) + section
        for kind, section in sorted(content.extras.items())
    )
    head = _learned_head(content) if content.tool == 0 else _tool_head(content)
    head += put_varint(len(content.latents))
    qp_map = content.qp_map or b""
    head += put_varint(len(qp_map)) if content.has_map else b""
    head += put_varint(len(extras)) if content.extras else b""
    body = qp_map + content.latents + extras
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(CRC_BYTES, "little") + body


def _learned_head(content: Container) -> bytes:
    flags = content.qp | MAP_FLAG * content.has_map | EXTRAS_FLAG * bool(content.extras)
    size = put_varint(content.width) + put_varint(content.height)
    return MAGIC + bytes([VERSION, flags]) + size + content.fingerprint


def _tool_head(content: Container) -> bytes:
    channels = CHANNELS.index(content.channels) << CHANNELS_SHIFT
    flags = content.tool | channels | EXTRAS_FLAG * bool(content.extras)
    size = put_varint(content.width) + put_varint(content.height)
    return MAGIC + bytes([TOOL_VERSION, flags, content.quality, content.reason]) + size


def _check_fields(content: Container) -> None:
    if not (1 <= content.width <= MAX_SIDE and 1 <= content.height <= MAX_SIDE):
        raise BadArgument(
            f"a side must be 1..{MAX_SIDE} pixels, not {content.width}x{content.height}"
        )
    if content.tool:
        _check_tool_fields(content)
    elif not 0 <= content.qp <= QP_MASK or len(content.fingerprint) != FINGERPRINT_BYTES:
        raise BadArgument("QP must be 0..63 and the fingerprint 4 bytes")
    if any(not 0 <= kind <= 255 for kind in content.extras):
        raise BadArgument("a section type is one byte")


def _check_tool_fields(content: Container) -> None:
    if not 0 < content.tool <= TOOL_MASK or content.channels not in CHANNELS:
        raise BadArgument("a tool is 1..31 and codes 1, 3 or 4 samples a pixel")
    if not 0 <= content.quality <= BEST_QUALITY or not 0 <= content.reason <= 255:
        raise BadArgument("a tool's quality is 0..100 and its reason one byte")
    if content.has_map:
        raise BadArgument("only the learned tool has a QP map")


def read(data: bytes, limit_pixels: int = DEFAULT_LIMIT_PIXELS) -> Container:
    """Parse a file.

    Checks magic, version, limits, lengths and checksum, in this order, before it returns anything.

    Args:
        data: the file's bytes.
        limit_pixels: files that claim more pixels are refused.

    Returns:
        Header fields and sections, still entropy-coded.

    Raises:
        NotACotamFile: the magic is missing.
        UnsupportedVersion: the file has another major version.
        TooLarge: the picture is larger than the limits.
        Truncated: bytes are missing.
        Corrupt: the content is malformed or does not match its checksum.
        BadArgument: `data` is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise BadArgument(
            f"a file's bytes are needed, not {type(data).__name__}; read the file first"
        )
    data = bytes(data)
    header = read_header(data, limit_pixels)
    reader = Reader(data)
    head = reader.take(header.size - CRC_BYTES)
    checksum = int.from_bytes(reader.take(CRC_BYTES), "little")
    _check_body(header, zlib.crc32(head), checksum, memoryview(data)[reader.at :])
    has_map = not header.tool and header.flags & MAP_FLAG
    qp_map = reader.take(header.qp_map) if has_map else None
    latents = reader.take(header.latents)
    extras = read_extras(reader.take(header.extras))
    return Container(
        header.width,
        header.height,
        0 if header.tool else header.flags & QP_MASK,
        header.fingerprint,
        latents,
        qp_map,
        extras,
        header.tool,
        header.channels,
        header.quality,
        header.reason,
    )


def checksum_of(data: bytes) -> bytes:
    """The 4-byte checksum in a file's header; messages of a stream refer to the file by it.

    Raises:
        CodecError: the header is malformed, as for `read_header`.
    """
    size = read_header(data, MAX_SIDE * MAX_SIDE).size
    return bytes(data[size - CRC_BYTES : size])


def _check_body(header: Header, head_crc: int, checksum: int, body: memoryview) -> None:
    """Check what follows the header. Raises Truncated and Corrupt."""
    missing = header.latents + header.qp_map + header.extras - len(body)
    if missing > 0:
        raise Truncated(f"the file ends {missing} bytes too early; fetch or copy it again")
    if missing < 0:
        raise Corrupt(f"{-missing} bytes follow the end of the picture; fetch or copy it again")
    if zlib.crc32(body, head_crc) != checksum:
        raise Corrupt("the file's checksum does not match its content; fetch or copy it again")
    if header.flags & EXTRAS_FLAG and not header.extras:
        raise Corrupt("the file says that optional sections follow, and none do")


def read_header(data: bytes, limit_pixels: int = DEFAULT_LIMIT_PIXELS) -> Header:
    """Parse a header.

    Args:
        data: a file, or at least its first HEADER_LIMIT bytes.
        limit_pixels: files that claim more pixels are refused.

    Returns:
        The header. Neither the checksum nor the sections are checked.

    Raises:
        NotACotamFile: the magic is missing.
        UnsupportedVersion: the file has another major version.
        TooLarge: the picture is larger than the limits.
        Truncated: the header is incomplete.
        Corrupt: the header is malformed.
    """
    if not data.startswith(MAGIC):
        if data and MAGIC.startswith(data):
            raise Truncated("the file ends inside its first bytes; fetch or copy it again")
        raise NotACotamFile("this is not a CoTAM file")
    reader = Reader(data)
    reader.take(len(MAGIC))
    version = reader.byte()
    if version not in (VERSION, TOOL_VERSION):
        raise UnsupportedVersion(
            f"the file has format version {version}, this program reads {VERSION} and "
            f"{TOOL_VERSION}; update it"
        )
    if version == VERSION:
        return _learned_header(reader, limit_pixels)
    return _tool_header(reader, limit_pixels)


def _learned_header(reader: Reader, limit_pixels: int) -> Header:
    flags = reader.byte()
    width = reader.varint()
    height = reader.varint()
    _check_size(width, height, limit_pixels)
    fingerprint = reader.take(FINGERPRINT_BYTES)
    latents = reader.varint()
    qp_map = reader.varint() if flags & MAP_FLAG else 0
    extras = reader.varint() if flags & EXTRAS_FLAG else 0
    reader.take(CRC_BYTES)
    return Header(width, height, flags, fingerprint, latents, qp_map, extras, reader.at)


def _tool_header(reader: Reader, limit_pixels: int) -> Header:
    flags = reader.byte()
    quality = reader.byte()
    reason = reader.byte()
    width = reader.varint()
    height = reader.varint()
    _check_size(width, height, limit_pixels)
    payload = reader.varint()
    extras = reader.varint() if flags & EXTRAS_FLAG else 0
    reader.take(CRC_BYTES)
    code = flags >> CHANNELS_SHIFT & 3
    tool = flags & TOOL_MASK
    if not tool or code >= len(CHANNELS) or quality > BEST_QUALITY:
        raise Corrupt("the file's header is malformed; fetch or copy it again")
    channels = CHANNELS[code]
    return Header(
        width, height, flags, b"", payload, 0, extras, reader.at, tool, channels, quality, reason
    )


def _check_size(width: int, height: int, limit_pixels: int) -> None:
    if not (width and height):
        raise Corrupt("the file claims a picture without pixels")
    if max(width, height) > MAX_SIDE or width * height > limit_pixels:
        raise TooLarge(
            f"the picture claims {width}x{height} pixels; the limit is {limit_pixels} "
            "(raise limit_pixels)"
        )


def in_bytes(count: float) -> str:
    """'1.2 GB', '340.0 MB' or '12 kB'."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= 0.95 * unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1e3:.0f} kB"


def check_memory(width: int, height: int, bytes_per_pixel: int, limit: int) -> None:
    """Check that a picture fits the memory limit.

    Args:
        width: pixels.
        height: pixels.
        bytes_per_pixel: ENCODE_BYTES or DECODE_BYTES, more for tuning.
        limit: bytes.

    Raises:
        TooLarge: the picture would need more.
    """
    needed = min(width * height * bytes_per_pixel, LARGE_FROM + width * height * LARGE_BYTES)
    if needed > limit:
        raise TooLarge(
            f"a picture of {width}x{height} pixels needs about {in_bytes(needed)} of memory; "
            f"the limit is {in_bytes(limit)} (raise limit_memory)"
        )


def read_extras(data: bytes) -> dict[int, bytes]:
    """Parse the optional sections.

    Args:
        data: the sections' bytes.

    Returns:
        The payloads by type, including those of unknown types.

    Raises:
        Corrupt: the sections are malformed, or a type appears twice.
    """
    reader = Reader(data)
    extras = {}
    while reader.at < len(data):
        kind = reader.byte()
        try:
            payload = reader.take(reader.varint())
        except Truncated:
            raise Corrupt("an optional section is longer than the space it is in") from None
        if kind in extras:
            raise Corrupt("an optional section appears twice")
        if kind == EXTRA_GREY and payload:
            raise Corrupt("the 'grey' section must be empty")
        extras[kind] = payload
    return extras
