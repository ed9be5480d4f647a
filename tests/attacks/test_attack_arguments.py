"""Public functions return a result or raise a one-line CodecError, whatever their arguments."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import codec
from codec import errors
from codec.errors import CodecError, only_codec_errors
from codec.integrations.data_url import data_url
from codec.integrations.ray import Decode, Encode
from codec.integrations.torchvision import decode_ctm
from tests.attacks import pictures
from tests.conftest import ROOT

TOY = ROOT / "tests" / "golden" / "toy.safetensors"
SMALL = np.zeros((16, 16, 3), np.uint8)
FILE = codec.load("tiny").encode(SMALL)


@pytest.fixture(scope="module")
def toy() -> codec.Codec:
    return codec.load(TOY, "cpu")


class Hostile:
    """An object whose methods raise unusual exceptions."""

    def __array__(self, *_: object, **__: object) -> Any:
        raise ZeroDivisionError("no array\nat all")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def closed_image() -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(SMALL).save(stream, "PNG")
    image = Image.open(stream)
    image.close()
    return image


def anything() -> st.SearchStrategy[Any]:
    """Values of wrong types, and senseless values of right types."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 200),
        st.floats(),
        st.text(max_size=6),
        st.binary(max_size=12),
        st.just(2**70),
        st.just(1j),
    )
    odd = st.sampled_from(
        [
            object(),
            Hostile(),
            Path("/nowhere"),
            np.zeros((0, 3), np.uint8),
            np.full((3, 3), np.nan),
            np.array(["a"]),
            np.array([object()]),
            Image.new("RGB", (0, 4)),
            Image.new("P", (4, 0)),
            io.BytesIO(b"nothing"),
            io.StringIO("text"),
            "a\0b",
            len,
            ...,
            {"bytes": None},
            {"path": 3},
        ]
    )
    return st.one_of(plain, odd, st.lists(plain, max_size=4), st.dictionaries(plain_keys(), plain))


def plain_keys() -> st.SearchStrategy[Any]:
    return st.text(max_size=3)


OPTIONS = ("quality", "target_bytes", "qp_map", "guide", "strength", "importance", "roi")
OPTIONS += ("slope", "tune", "keep", "strip", "lossless", "tool", "effort", "options")
TOOLS = ("learned", "screen", "palette", "av1")
QUIET = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def one_sentence(attempt: Callable[[], object]) -> None:
    """Assert that a call returns a result or raises a CodecError with a one-line message."""
    message = "none"
    try:
        attempt()
    except CodecError as error:
        message = str(error)
    assert message.strip()
    assert "\n" not in message


@QUIET
@example(value="\n")
@given(value=anything())
def test_a_picture_of_any_kind(toy: codec.Codec, value: Any) -> None:
    one_sentence(lambda: toy.encode(value, guide="uniform"))
    one_sentence(lambda: toy.encode(value, tool="learned"))
    one_sentence(lambda: toy.encode(value, lossless=True))


@QUIET
@given(name=st.sampled_from(OPTIONS), value=anything(), tool=st.sampled_from(TOOLS))
def test_an_option_of_any_kind(toy: codec.Codec, name: str, value: Any, tool: str) -> None:
    wishes: dict[str, Any] = {"tool": tool}
    one_sentence(lambda: toy.encode(SMALL, **wishes | {name: value}))


@QUIET
@given(value=anything())
def test_a_file_of_any_kind(toy: codec.Codec, value: Any) -> None:
    for attempt in (toy.decode, toy.decode_full, toy.decode_preview, codec.decode, data_url):
        one_sentence(lambda attempt=attempt: attempt(value))
    for attempt in (codec.inspect, codec.weights_of, codec.load_for, codec.load):
        one_sentence(lambda attempt=attempt: attempt(value))
    for attempt in (codec.inspect, codec.weights_of):
        one_sentence(lambda attempt=attempt: attempt(FILE, value))
    one_sentence(lambda: codec.load("tiny", value))
    one_sentence(lambda: codec.decode(FILE, device=value))
    one_sentence(lambda: decode_ctm(value))


@pytest.mark.slow
@QUIET
@given(name=st.sampled_from(("output", "level", "background")), value=anything())
def test_a_wish_of_any_kind(toy: codec.Codec, name: str, value: Any) -> None:
    decoded = toy.decode_full(FILE)
    one_sentence(lambda: decoded.to(value))
    one_sentence(lambda: decoded.to("array", value))
    for tool in TOOLS:
        data = toy.encode(SMALL, tool=tool)
        one_sentence(lambda data=data: toy.decode(data, **{name: value}))


def test_every_error_is_exported_and_documented() -> None:
    found = {name for name, one in vars(errors).items() if isinstance(one, type)}
    found = {name for name in found if issubclass(getattr(errors, name), CodecError)}
    assert found <= set(codec.__all__)
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert not [name for name in found if f"`{name}`" not in page]


def test_a_message_is_one_line_whatever_it_quotes(tmp_path: Path) -> None:
    for attempt in (
        lambda: codec.load("no\nweights"),
        lambda: codec.load("tiny", "no\ndevice"),
        lambda: codec.load("tiny").encode(tmp_path / "no\nfile.png"),
    ):
        with pytest.raises(CodecError) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    again = pickle.loads(pickle.dumps(codec.TargetTooSmall("too\nsmall", 7)))
    assert (str(again), again.smallest) == ("too small", 7)


def test_an_empty_cell_does_not_end_a_batch() -> None:
    """Columns of real tables have missing values."""
    cells = np.empty(4, object)
    cells[:] = [None, float("nan"), "text", FILE]
    decoded = Decode()({"ctm": cells})
    assert [bool(error) for error in decoded["error"]] == [True, True, True, False]
    rows = np.empty(3, object)
    stream = io.BytesIO()
    Image.fromarray(SMALL).save(stream, "PNG")
    rows[:] = [None, {"bytes": stream.getvalue(), "path": None}, stream.getvalue()]
    coded = Encode("tiny")({"bytes": rows})
    assert [bool(error) for error in coded["error"]] == [True, False, False]
    assert coded["ctm"][1] == coded["ctm"][2]


@pytest.mark.slow
def test_values_that_make_sense_are_accepted(toy: codec.Codec, tmp_path: Path) -> None:
    picture = pictures.scene()
    Image.fromarray(picture).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    wanted = toy.encode(picture, quality=40)
    assert toy.encode(picture, quality="40") == wanted  # type: ignore[arg-type]
    assert toy.encode(picture, quality=np.float32(40)) == wanted  # type: ignore[arg-type]
    by_size = toy.encode(picture, target_bytes=2000)
    assert toy.encode(picture, target_bytes="2KB") == by_size  # type: ignore[arg-type]
    assert toy.encode(picture, roi=(1, 1, 9, 9)) == toy.encode(picture, roi=[(1, 1, 9, 9)])
    weights = np.arange(6.0).reshape(2, 3)
    guided = toy.encode(picture, guide=weights)  # type: ignore[arg-type]
    assert guided == toy.encode(picture, importance=weights)
    for source in (bytearray(data), memoryview(data), {"bytes": data}, tmp_path / "a.png"):
        assert toy.encode(source, quality=40) == wanted
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert toy.encode({"bytes": None, "path": path}, quality=40) == wanted


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nope.png", "no such file"),
        (b"", "empty"),
        (b"\xc0TM rest", "CoTAM file already"),
        (Image.new("RGB", (0, 5)), "no pixels"),
        (np.zeros((0, 5), np.uint8), "no pixels"),
        (closed_image(), "cannot be decoded"),
    ],
)
def test_what_is_wrong_is_said(toy: codec.Codec, source: Any, says: str) -> None:
    with pytest.raises(CodecError, match=re.escape(says)):
        toy.encode(source)


def test_the_net_keeps_the_cause() -> None:
    @only_codec_errors
    def careless() -> None:
        raise KeyError("what\nwas it")

    with pytest.raises(codec.BadArgument, match="careless") as caught:
        careless()
    assert isinstance(caught.value.__cause__, KeyError)
    assert "\n" not in str(caught.value)
