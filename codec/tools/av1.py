"""AV1 still pictures through Pillow's libavif, without the boxes of an AVIF file.

::

    pixels [H, W, 3] -> AVIF file -> boxes, OBU headers, sequence header are left out -> payload
    payload, H, W -> boxes and headers are written again -> AVIF file -> pixels [H, W, 3]

A payload is one byte and the body of one AV1 frame OBU (AV1 Bitstream Specification, 5.10)::

    layout (2 bits) | flags of the sequence header (6 bits) | body of the frame OBU
    0 4:0:0, 1 4:2:0, 2 4:4:4, 3 is never written

The rest of the sequence header (5.5) is fixed: a reduced still picture, 8 bits, no
super-resolution, no film grain, and the size, which the caller knows. Frames of reduced still
pictures do not repeat the size. So nothing in a payload can contradict the size, and the decoder
reserves no more memory than the size needs.

The colours are BT.601 YCbCr with full range (nclx 1/13/6), as Pillow writes them; this is not
stored either. Pictures whose three channels are equal everywhere are coded without chroma.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument, CodecError, Corrupt, TooLarge
from codec.tools.payloads.avif import COLOURS, Obu, avif_file, media_data, obu, obus
from codec.tools.payloads.bits import BitReader, BitWriter
from codec.tools.payloads.pillow import check_pixels, opened, saved

Pixels = NDArray[np.uint8]
Subsampling = Literal["4:2:0", "4:4:4"]
LAYOUTS = ("4:0:0", "4:2:0", "4:4:4")
FINEST_INDEX = 63
FASTEST_SPEED = 10
DEFAULT_SPEED = 6
# Also on one core, so that every machine writes the same bytes.
LEAST_THREADS = 2
# libavif's own limits on what it decodes.
MAX_SIDE = 32768
MAX_PIXELS = 16384 * 16384

OBU_SEQUENCE = 1
OBU_FRAME = 6
PROFILES = {"4:0:0": 0, "4:2:0": 0, "4:4:4": 1}
# The level that sets no limits (AV1 Bitstream Specification, A.3).
ANY_LEVEL = 31
SIDE_BITS = 4
FLAG_BITS = 6


@dataclass(frozen=True)
class Sequence:
    """The fields of the sequence header, except the size, that are needed to decode a frame.

    Attributes:
        layout: one of LAYOUTS.
        tools: use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter, a bit each.
        filters: enable_cdef, enable_restoration, a bit each.
        separate_uv_delta_q: 0 or 1.
    """

    layout: str
    tools: int
    filters: int
    separate_uv_delta_q: int

    @property
    def byte(self) -> int:
        """The first byte of a payload."""
        return (
            LAYOUTS.index(self.layout) << FLAG_BITS
            | self.tools << 3
            | self.filters << 1
            | self.separate_uv_delta_q
        )


def encode(
    pixels: Pixels,
    quality_index: int,
    *,
    subsampling: Subsampling = "4:2:0",
    speed: int = DEFAULT_SPEED,
    threads: int | None = None,
    vary_quality: bool = True,
    tile_rows: int = 1,
) -> bytes:
    """A picture as the payload of an AV1 still picture.

    Args:
        pixels: uint8 [H, W, 3], sides 1..32768.
        quality_index: 0..63, 63 is finest: 63 minus libaom's `cq-level`.
        subsampling: how densely chroma is sampled, where there is any.
        speed: libaom's, 0 (smallest) .. 10 (fastest).
        threads: the largest number; default: all cores, but at least two. One thread writes
            another payload than several threads do; any number of them from two on writes the same.
        vary_quality: let libaom spend more bits where its picture tuning expects to see them.
        tile_rows: 1 or 2; two threads code two rows of tiles at the same time.

    Returns:
        The payload.

    Raises:
        BadArgument: an argument is not as above.
        TooLarge: the picture has more or longer sides than libavif decodes.
        ToolUnavailable: Pillow was built without AVIF.
    """
    _check(pixels, quality_index, subsampling, speed)
    grey = bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()
    )
    advanced = {"cq-level": str(FINEST_INDEX - quality_index)}
    if not vary_quality:
        advanced["deltaq-mode"] = "0"
    file = saved(
        Image.fromarray(pixels[..., 0] if grey else pixels),
        "AVIF",
        codec="aom",
        advanced=advanced,
        subsampling="4:0:0" if grey else subsampling,
        speed=speed,
        max_threads=threads or max(LEAST_THREADS, os.cpu_count() or 1),
        autotiling=False,
        tile_rows=tile_rows - 1,  # Pillow and libavif count in powers of two
    )
    return _payload(file, *pixels.shape[:2])


def decode(payload: bytes, height: int, width: int) -> Pixels:
    """The picture [H, W, 3] of a payload that `encode` made.

    Raises:
        Corrupt: the payload is not of such a picture.
        ToolUnavailable: Pillow was built without AVIF.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise Corrupt(f"an AV1 part cannot be of a picture of {width}x{height}")
    sequence = sequence_of(payload)
    stream = obu(OBU_SEQUENCE, sequence_header(sequence, height, width)) + obu(
        OBU_FRAME, payload[1:]
    )
    planes = 1 if sequence.layout == "4:0:0" else 3
    file = avif_file(stream, _configuration(sequence), (height, width), planes)
    return opened(file, "AVIF", (height, width, 3))


def _check(pixels: Pixels, quality_index: int, subsampling: str, speed: int) -> None:
    check_pixels(pixels, (3,))
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise TooLarge(
            f"AV1 codes at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all, "
            f"not {width}x{height}"
        )
    if not 0 <= quality_index <= FINEST_INDEX:
        raise BadArgument(f"the AV1 quality index must be 0..{FINEST_INDEX}, not {quality_index}")
    if subsampling not in get_args(Subsampling):
        raise BadArgument(
            f"subsampling must be {' or '.join(get_args(Subsampling))}, not '{subsampling}'"
        )
    if not 0 <= speed <= FASTEST_SPEED:
        raise BadArgument(f"the AV1 speed must be 0..{FASTEST_SPEED}, not {speed}")


def _payload(file: bytes, height: int, width: int) -> bytes:
    """The payload of an AVIF file with one still picture.

    Raises:
        CodecError: the picture is of a kind that a payload cannot hold.
    """
    units: list[Obu] = [
        unit for unit in obus(media_data(file)) if unit.kind in (OBU_SEQUENCE, OBU_FRAME)
    ]
    if [unit.kind for unit in units] != [OBU_SEQUENCE, OBU_FRAME]:
        raise CodecError(
            "Pillow's AV1 encoder wrote more than one still picture; install another Pillow"
        )
    sequence = parse_sequence_header(units[0].body, height, width)
    return bytes([sequence.byte]) + units[1].body


def sequence_of(payload: bytes) -> Sequence:
    """Read the fields in the first byte of a payload. Raises Corrupt."""
    if len(payload) < 2 or payload[0] >> FLAG_BITS >= len(LAYOUTS):
        raise Corrupt("the AV1 part of the file is malformed; fetch or copy it again")
    return Sequence(
        LAYOUTS[payload[0] >> FLAG_BITS], payload[0] >> 3 & 7, payload[0] >> 1 & 3, payload[0] & 1
    )


def sequence_header(sequence: Sequence, height: int, width: int) -> bytes:
    """The body of a sequence header OBU (5.5.1) of a reduced still picture with 8 bits."""
    bits = BitWriter()
    bits.put(PROFILES[sequence.layout], 3)
    bits.put(0b11, 2)  # still_picture, reduced_still_picture_header
    bits.put(ANY_LEVEL, 5)
    sides = width - 1, height - 1
    lengths = [max(1, side.bit_length()) for side in sides]
    for length in lengths:
        bits.put(length - 1, SIDE_BITS)
    for side, length in zip(sides, lengths):
        bits.put(side, length)
    bits.put(sequence.tools, 3)
    bits.put(0, 1)  # enable_superres
    bits.put(sequence.filters, 2)
    bits.put(0, 1)  # high_bitdepth
    if sequence.layout != "4:4:4":
        bits.put(sequence.layout == "4:0:0", 1)  # mono_chrome
    bits.put(1, 1)  # color_description_present_flag
    for value in COLOURS:
        bits.put(value, 8)
    bits.put(1, 1)  # color_range
    if sequence.layout == "4:2:0":
        bits.put(0, 2)  # chroma_sample_position
    if sequence.layout != "4:0:0":
        bits.put(sequence.separate_uv_delta_q, 1)
    bits.put(0, 1)  # film_grain_params_present
    bits.put(1, 1)  # trailing_one_bit
    return bits.bytes()


def parse_sequence_header(body: bytes, height: int, width: int) -> Sequence:
    """Parse the fields of a sequence header that `sequence_header` takes as arguments.

    Raises:
        CodecError: `sequence_header` would not write the same header from these fields.
    """
    bits = BitReader(body)
    profile = bits.take(3)
    still = bits.take(2)
    bits.take(5)  # seq_level_idx
    lengths = bits.take(SIDE_BITS) + 1, bits.take(SIDE_BITS) + 1
    sides = bits.take(lengths[0]) + 1, bits.take(lengths[1]) + 1
    tools = bits.take(3)
    superres = bits.take(1)
    filters = bits.take(2)
    depth = bits.take(1)
    mono = bits.take(1) if profile == 0 else 0
    layout = "4:0:0" if mono else "4:2:0" if profile == 0 else "4:4:4"
    colours = tuple(bits.take(8) for _ in COLOURS) if bits.take(1) else None
    full_range = bits.take(1)
    if layout == "4:2:0":
        bits.take(2)  # chroma_sample_position
    separate = bits.take(1) if not mono else 0
    grain = bits.take(1)
    supported = (
        still == 0b11
        and profile <= 1
        and sides == (width, height)
        and colours in (None, COLOURS)
        and full_range == 1
    )
    if not supported or superres or depth or grain:
        raise CodecError(
            "Pillow's AV1 encoder wrote a picture with unknown features; install another Pillow"
        )
    return Sequence(layout, tools, filters, separate)


def _configuration(sequence: Sequence) -> bytes:
    """The four bytes of `av1C` (AV1 Codec ISO Media File Format Binding, 2.3.3)."""
    mono = sequence.layout == "4:0:0"
    halved = sequence.layout != "4:4:4"
    flags = mono << 4 | halved << 3 | halved << 2
    return bytes([0x81, PROFILES[sequence.layout] << 5 | ANY_LEVEL, flags, 0])
