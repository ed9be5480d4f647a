"""The public API as users see it: types, examples, and all kinds of picture arguments."""

from __future__ import annotations

import doctest
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec import api, info, options
from codec.errors import BadArgument
from tests.conftest import ROOT


def python_of(page: Path) -> str:
    """All Python code of a Markdown page."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))


@pytest.mark.parametrize("module", [api, info, options], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(module: ModuleType) -> None:
    failed, run = doctest.testmod(module)
    assert run
    assert not failed


# Types of decoded files that mypy must infer.
TYPES_OF_DECODE = """
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import assert_type

assert_type(codec.decode(data), Image.Image)
assert_type(codec.decode(data, output="array", device="cpu"), NDArray[np.uint8])
assert_type(codec.decode(data, output="tensor", level="preview"), Tensor)
assert_type(codec.decode(data, level="latents"), NDArray[np.float32])
assert_type(cotam.decode(data), Image.Image)
assert_type(cotam.decode(data, output="array", level="preview"), NDArray[np.uint8])
assert_type(cotam.decode(data, output="tensor"), Tensor)
assert_type(cotam.decode(data, level="latents"), NDArray[np.float32])
"""


# What the project's settings of mypy leave out of --strict.
STRICT = (
    "# mypy: disallow-subclassing-any, disallow-untyped-calls, disallow-any-generics, "
    "warn-return-any\n"
)


@pytest.mark.slow
def test_the_code_of_the_readme_is_typed_for_its_users(tmp_path: Path) -> None:
    """It shares mypy's cache with `make types`, which saves 40 of 45 seconds."""
    (tmp_path / "user.py").write_text(
        STRICT
        + "from typing import Any\nprocessor: Any\nscreenshots: list[Any]\n"
        + python_of(ROOT / "README.md")
        + TYPES_OF_DECODE
    )
    command = [sys.executable, "-m", "mypy", tmp_path / "user.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_package_is_typed() -> None:
    assert (ROOT / "codec" / "py.typed").is_file()


@pytest.mark.slow
def test_everything_that_holds_a_picture_is_a_picture(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "PNG")
    data = stream.getvalue()
    path = tmp_path / "a.png"
    path.write_bytes(data)
    pictures = {
        "path": path,
        "text": str(path),
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "stream": io.BytesIO(data),
        "pil": Image.fromarray(small),
        "array": small,
        "tensor": torch.from_numpy(small.transpose(2, 0, 1) / 255),
        "bytes in a mapping": {"bytes": data, "path": None},
        "path in a mapping": {"bytes": None, "path": str(path)},
    }
    coded = {name: cotam.encode(image, tool="learned") for name, image in pictures.items()}
    assert len(set(coded.values())) == 1, coded.keys()
    with pytest.raises(BadArgument, match="bytes"):
        cotam.encode({"bytes": None, "path": None})


@pytest.mark.parametrize(
    "function",
    [
        codec.Codec.encode,
        codec.Codec.encode_full,
        codec.Codec.decode,
        codec.Codec.decode_full,
        codec.decode,
        codec.inspect,
        codec.load_for,
        codec.weights_of,
    ],
    ids=lambda function: function.__qualname__,
)
def test_everything_after_a_picture_or_a_file_is_keyword_only(
    function: Callable[..., object],
) -> None:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    keywords = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    assert all(parameter.kind in keywords for parameter in parameters[1:])


def test_devices_have_the_names_that_torch_gives_them(small: NDArray[np.uint8]) -> None:
    data = codec.load(device="cpu").encode(small, tool="learned")
    for device in (torch.device("cpu"), "cpu:0"):
        other = codec.load(device=device)
        assert other.encode(small, tool="learned") == data
    for wrong in ("tpu", "cuda:99"):
        with pytest.raises(BadArgument, match="device"):
            codec.load(device=wrong)


def test_weights_are_named_before_they_are_read() -> None:
    assert "small" in repr(codec.load("small", "cpu"))
    with pytest.raises(codec.UnknownModel, match="no weights named"):
        codec.load("nobody")
