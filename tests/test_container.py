"""The container: written files are read back, and all others are refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.bitstream import container
from codec.bitstream.container import Container, Reader, put_varint, read, write
from codec.errors import (
    BadArgument,
    CodecError,
    Corrupt,
    NotACotamFile,
    TooLarge,
    Truncated,
    UnsupportedVersion,
)

# No grey sections with content, because readers refuse them (tests/test_robustness.py).
contents = st.builds(
    Container,
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    qp=st.integers(0, 63),
    fingerprint=st.binary(min_size=4, max_size=4),
    latents=st.binary(max_size=300),
    qp_map=st.none() | st.binary(max_size=40),
    extras=st.dictionaries(st.integers(0, 255), st.binary(max_size=50), max_size=4).map(
        lambda extras: {
            kind: b"" if kind == container.EXTRA_GREY else payload
            for kind, payload in extras.items()
        }
    ),
)
PLAIN = Container(768, 512, 31, b"abcd", b"12345678" * 3000)


@given(contents)
def test_what_is_written_is_read(content: Container) -> None:
    assert read(write(content)) == content


def test_header_of_a_common_picture_is_at_most_20_bytes() -> None:
    assert len(write(PLAIN)) - len(PLAIN.latents) <= 20


@given(contents, st.data())
def test_every_truncation_is_a_typed_error(content: Container, data: st.DataObject) -> None:
    whole = write(content)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises((Truncated, NotACotamFile, Corrupt)):
        read(whole[:cut])


@settings(max_examples=300)
@given(contents, st.data())
def test_every_flipped_bit_is_a_typed_error(content: Container, data: st.DataObject) -> None:
    whole = bytearray(write(content))
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    whole[at] ^= 1 << bit
    with pytest.raises(CodecError):
        read(bytes(whole))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_typed_error_or_a_container(junk: bytes) -> None:
    for data in (junk, container.MAGIC + bytes([container.VERSION]) + junk):
        try:
            read(data)
        except CodecError:
            continue


def test_error_types() -> None:
    whole = write(PLAIN)
    with pytest.raises(NotACotamFile):
        read(b"\x89PNG" + whole)
    with pytest.raises(UnsupportedVersion):
        read(whole[:3] + b"\x03" + whole[4:])
    with pytest.raises(Truncated):
        read(whole[:-1])
    with pytest.raises(Truncated):
        read(whole[:2])
    with pytest.raises(Corrupt):
        read(whole + b"x")
    with pytest.raises(TooLarge):
        read(whole, limit_pixels=768 * 512 - 1)


def test_size_is_refused_before_length_and_checksum() -> None:
    head = (
        container.MAGIC
        + bytes([container.VERSION, 0])
        + put_varint(1 << 19)
        + put_varint(1 << 19)
        + b"abcd"
    )
    with pytest.raises(TooLarge):
        read(head)


def test_unknown_optional_sections_are_kept_apart_and_a_repeated_one_is_corrupt() -> None:
    assert read(write(Container(1, 1, 0, b"abcd", b"", None, {200: b"later"}))).extras == {
        200: b"later"
    }
    head = (
        container.MAGIC
        + bytes([container.VERSION, container.EXTRAS_FLAG])
        + b"\x01\x01abcd"
        + b"\x00\x04"
    )
    body = b"\x07\x00\x07\x00"
    with pytest.raises(Corrupt, match="twice"):
        read(head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body)


@given(st.integers(0, (1 << 35) - 1))
def test_varints(value: int) -> None:
    coded = put_varint(value)
    assert Reader(coded).varint() == value
    assert len(coded) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("bad", [b"\x80\x00", b"\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\xff"])
def test_a_varint_has_one_form(bad: bytes) -> None:
    with pytest.raises(Corrupt):
        Reader(bad).varint()


def test_writing_checks_its_fields() -> None:
    for bad in (
        Container(0, 1, 0, b"abcd", b""),
        Container(1, 1 << 20, 0, b"abcd", b""),
        Container(1, 1, 64, b"abcd", b""),
        Container(1, 1, 0, b"abc", b""),
    ):
        with pytest.raises(BadArgument):
            write(bad)


def test_every_header_bit_and_every_truncation_of_a_small_file() -> None:
    whole = write(Container(33, 17, 20, b"abcd", b"12345678", b"map", {container.EXTRA_GREY: b""}))
    for at in range(len(whole)):
        for bit in range(8):
            with pytest.raises(CodecError):
                read(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with pytest.raises(CodecError):
            read(whole[:at])


def test_amounts_of_memory_are_written_in_a_unit_that_shows_them() -> None:
    assert container.in_bytes(8 << 30) == "8.6 GB"
    assert container.in_bytes(41e6) == "41.0 MB"
    assert container.in_bytes(12_000) == "12 kB"
    with pytest.raises(TooLarge, match=r"about 4\.0 MB of memory; the limit is 1\.0 MB"):
        container.check_memory(1000, 100, 40, 10**6)
