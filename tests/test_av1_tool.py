"""AV1 still pictures without AVIF's boxes: the same pixels as AVIF files, in fewer bytes."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from codec.errors import BadArgument, Corrupt, TooLarge
from codec.tools import av1
from codec.tools.payloads.avif import media_data, obus

Pixels = NDArray[np.uint8]
SIDES = st.integers(1, 70)
LAYOUTS: st.SearchStrategy[av1.Subsampling] = st.sampled_from(["4:2:0", "4:4:4"])


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def avif(pixels: Pixels, index: int, subsampling: str) -> bytes:
    """The file that Pillow writes with the tool's settings."""
    stream = io.BytesIO()
    advanced = {"cq-level": str(63 - index)}
    options = {"speed": 6, "max_threads": 1, "autotiling": False, "advanced": advanced}
    Image.fromarray(pixels).save(stream, "AVIF", subsampling=subsampling, **options)
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("index", [0, 31, 63])
def test_a_payload_shows_what_the_avif_file_shows_and_saves_280_bytes(
    subsampling: av1.Subsampling, index: int
) -> None:
    pixels = data.astronaut()[:200, :301]
    payload = av1.encode(pixels, index, subsampling=subsampling, threads=1)
    file = avif(pixels, index, subsampling)
    assert len(payload) <= len(file) - 280
    shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    assert np.array_equal(av1.decode(payload, 200, 301), shown)


def test_the_number_of_cores_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = set()
    for cores in (None, 1, 2, 7):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        payloads.add(av1.encode(data.astronaut()[:200, :301], 40))
    assert len(payloads) == 1


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, LAYOUTS, st.integers(0, 63), st.integers(0, 2**16))
def test_every_size_comes_back(
    height: int, width: int, subsampling: av1.Subsampling, index: int, seed: int
) -> None:
    pixels = noise(height, width, seed)
    decoded = av1.decode(
        av1.encode(pixels, index, subsampling=subsampling, threads=1), height, width
    )
    assert decoded.shape == pixels.shape
    assert decoded.dtype == np.uint8


def test_the_finest_index_is_near_exact_and_the_coarsest_is_small() -> None:
    pixels = data.astronaut()
    fine = av1.encode(pixels, 63, subsampling="4:4:4")
    coarse = av1.encode(pixels, 0)
    error = np.abs(av1.decode(fine, 512, 512).astype(int) - pixels)
    assert error.mean() < 1
    assert len(coarse) < len(fine) / 50


def test_a_larger_index_is_a_finer_picture_and_none_is_skipped() -> None:
    pixels = data.chelsea()[:64, :64]
    payloads = [av1.encode(pixels, index, threads=1) for index in range(64)]
    assert len(set(payloads)) == 64
    assert len(payloads[0]) < len(payloads[30]) < len(payloads[63])
    errors = [
        float(np.square(av1.decode(p, 64, 64).astype(float) - pixels).mean()) for p in payloads[::9]
    ]
    assert errors == sorted(errors, reverse=True)


def test_a_grey_picture_is_coded_without_chroma_and_stays_grey() -> None:
    grey = np.repeat(data.page()[..., None], 3, 2)
    payload = av1.encode(grey, 40, subsampling="4:4:4")
    assert payload[0] >> 6 == av1.LAYOUTS.index("4:0:0")
    decoded = av1.decode(payload, *grey.shape[:2])
    assert np.array_equal(decoded[..., 0], decoded[..., 1])
    assert np.array_equal(decoded[..., 0], decoded[..., 2])


def test_a_wide_picture_comes_back_though_av1_cuts_it_into_tiles() -> None:
    pixels = np.tile(np.arange(9000, dtype=np.uint16)[None, :, None] // 40, (16, 1, 3)).astype(
        np.uint8
    )
    decoded = av1.decode(av1.encode(pixels, 50), 16, 9000)
    assert np.abs(decoded.astype(int) - pixels).max() < 16


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 2), st.integers(0, 63))
def test_a_written_sequence_header_says_what_was_asked(
    height: int, width: int, layout: int, flags: int
) -> None:
    first = layout << 6 | flags & (0b111110 if layout == 0 else 0b111111)
    sequence = av1.sequence_of(bytes([first, 0]))
    assert (
        av1.parse_sequence_header(av1.sequence_header(sequence, height, width), height, width).byte
        == first
    )


@pytest.mark.parametrize(
    ("height", "width"), [(63, 64), (64, 65), (1, 1), (4096, 4096), (32768, 8192)]
)
def test_a_payload_of_another_size_is_never_shown_at_its_own(height: int, width: int) -> None:
    payload = av1.encode(data.astronaut()[:64, :64], 40)
    try:
        decoded = av1.decode(payload, height, width)
    except Corrupt:
        return
    assert decoded.shape == (height, width, 3)


@pytest.mark.parametrize(
    "payload", [b"", b"\x40", b"\xc0" + bytes(20), bytes(20), b"\x40" + bytes(20), b"\x80\xff\xff"]
)
def test_bytes_that_are_no_payload_are_corrupt(payload: bytes) -> None:
    with pytest.raises(Corrupt):
        av1.decode(payload, 40, 40)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, -1), (32769, 1), (32768, 32768)])
def test_a_size_that_av1_cannot_have_is_corrupt(height: int, width: int) -> None:
    with pytest.raises(Corrupt, match=f"{width}x{height}"):
        av1.decode(b"\x40" + bytes(20), height, width)


def test_a_payload_that_is_cut_short_is_corrupt() -> None:
    payload = av1.encode(data.astronaut()[:64, :64], 40)
    with pytest.raises(Corrupt):
        av1.decode(payload[: len(payload) // 2], 64, 64)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_payloads_end_in_a_picture_of_the_known_size_or_corrupt(
    draw: st.DataObject,
) -> None:
    layout = draw.draw(LAYOUTS)
    payload = bytearray(av1.encode(noise(24, 40), 30, subsampling=layout, threads=1))
    for _ in range(draw.draw(st.integers(1, 4))):
        payload[draw.draw(st.integers(0, min(60, len(payload) - 1)))] = draw.draw(
            st.integers(0, 255)
        )
    payload = payload[: draw.draw(st.integers(len(payload) // 2, len(payload)))]
    with contextlib.suppress(Corrupt):
        assert av1.decode(bytes(payload), 24, 40).shape == (24, 40, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality_index": 64}, "64"),
        ({"quality_index": -1}, "-1"),
        ({"quality_index": 3, "speed": 11}, "11"),
        ({"quality_index": 3, "subsampling": "4:2:2"}, "4:2:2"),
    ],
)
def test_arguments_out_of_range_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        av1.encode(noise(8, 8), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4)])
def test_other_arrays_than_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="uint8"):
        av1.encode(np.zeros(shape, np.uint8), 30)


def test_a_picture_too_long_for_av1_is_refused_before_it_is_coded() -> None:
    with pytest.raises(TooLarge, match="32769"):
        av1.encode(np.zeros((1, 32769, 3), np.uint8), 30)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_units_and_boxes_of_any_bytes_end_in_corrupt_or_not_at_all(content: bytes) -> None:
    for read in (lambda: list(obus(content)), lambda: media_data(content)):
        try:
            read()
        except Corrupt:
            continue
