"""The settings of an encode: accepted and refused values, and one list for all interfaces."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import codec
from codec.cli.commands.encode import encode
from codec.errors import BadArgument, CodecError
from codec.options import OPTION_NAMES, EncodeOptions

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(name=st.sampled_from(OPTION_NAMES), value=ODD)
def test_any_value_of_any_option_is_accepted_or_one_sentence(name: str, value: Any) -> None:
    sentence = "accepted"
    try:
        EncodeOptions(**{name: value})
    except BadArgument as error:
        sentence = str(error)
    assert sentence
    assert "\n" not in sentence


def test_values_that_make_sense_are_accepted() -> None:
    assert EncodeOptions(quality="40").quality == 40  # type: ignore[arg-type]
    assert EncodeOptions(target_bytes="20KB").target_bytes == 20_000  # type: ignore[arg-type]
    assert EncodeOptions(roi=(1, 2, 30, 40)).roi == ((1, 2, 30, 40),)  # type: ignore[arg-type]
    assert EncodeOptions(roi=np.array([[1, 2, 30, 40]])).roi == ((1, 2, 30, 40),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"quality": 101}, "quality"),
        ({"quality": float("nan")}, "quality"),
        ({"effort": 10}, "effort"),
        ({"effort": True}, "effort"),
        ({"tool": "jpeg"}, "tool"),
        ({"keep": "some"}, "keep"),
        ({"lossless": 1}, "lossless"),
        ({"target_bytes": 0}, "above zero"),
        ({"target_bytes": "many"}, "size"),
        ({"roi": [(1, 2, 3)]}, "roi"),
        ({"quality": 5, "target_bytes": 99}, "only one"),
        ({"roi": [(1, 2, 3, 4)], "guide": "uniform"}, "only one"),
        ({"lossless": True, "tool": "av1"}, "not lossless"),
        ({"lossless": True, "target_bytes": 99}, "lossless"),
        ({"lossless": True, "quality": 3}, "quality below 100"),
    ],
)
def test_what_is_refused_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        EncodeOptions(**wrong)


def test_an_unknown_option_gets_a_hint(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    with pytest.raises(BadArgument, match="did you mean quality"):
        cotam.encode(small, qualty=40)


def test_options_and_changes_combine(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    options = EncodeOptions(quality=30, tool="learned")
    assert cotam.encode(small, options=options) == cotam.encode(small, quality=30, tool="learned")
    changed = cotam.encode(small, options=options, quality=60)
    assert changed == cotam.encode(small, quality=60, tool="learned")
    with pytest.raises(CodecError):
        cotam.encode(small, options={"quality": 30})  # type: ignore[arg-type]


def test_every_option_is_documented() -> None:
    # Python 3.13 removes the indentation itself.
    text = inspect.cleandoc(EncodeOptions.__doc__ or "")
    for field in fields(EncodeOptions):
        assert f"    {field.name}: " in text, field.name


def test_the_command_has_a_flag_for_every_option() -> None:
    """Except for arrays: files of importance and QP maps are values of --guide."""
    flags = {parameter.name for parameter in encode.params}
    renamed = {"target_bytes": "target_size"}
    arrays = {"importance", "qp_map", "roi"}
    for name in OPTION_NAMES:
        assert name in arrays or renamed.get(name, name) in flags, name
