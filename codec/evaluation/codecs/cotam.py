"""CoTAM as a codec under test: `cotam`, `cotam:WEIGHTS`, `tool:NAME` and `effort:N`."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import codec
from codec.coding.backend import coding_of
from codec.errors import BadArgument, UnknownModel
from codec.evaluation.codecs.interface import CodecUnderTest
from codec.evaluation.distortion import Pixels
from codec.guidance.files import SHIPPED
from codec.options import TOOL_NAMES
from codec.quality import BEST_QUALITY
from codec.tools.interface import DEFAULT_EFFORT, MOST_EFFORT
from codec.weights.shipped import FEATURES

DEFAULT_WEIGHTS = "default"
# Default grid of `cotam eval`, coarse to fine; denser where files are small and judges still err.
QUALITIES = (5.0, 12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 72.0, 85.0)
# Tools that can be asked for by name; `auto` is what `cotam` does anyway.
TOOLS = tuple(name for name in TOOL_NAMES if name != "auto")
EFFORTS = tuple(map(str, range(MOST_EFFORT + 1)))
# Hexadecimal digits that identify a file of weights in a kept row.
HASH_DIGITS = 16


@lru_cache(maxsize=2)
def loaded(model: str) -> codec.Codec:
    """The codec with these weights, on the processor; one per process and model.

    Args:
        model: a name, a path or the folder of an exported half.

    Returns:
        The codec; unknown weights raise UnknownModel when it is used.
    """
    return codec.load(model, "cpu")


def codec_of(weights: str, tool: str = "auto", effort: int = DEFAULT_EFFORT) -> CodecUnderTest:
    """CoTAM as `cotam encode` runs it, with the weights' own guide and slope.

    Args:
        weights: a name or a path.
        tool: the coding tool; `auto` chooses by the picture.
        effort: 0 (fastest) .. 9 (smallest).

    Returns:
        The codec.

    Raises:
        UnknownModel: the weights or the shipped student are missing.
    """
    cotam = loaded(weights)
    title = "CoTAM" if weights == DEFAULT_WEIGHTS else f"CoTAM {Path(weights).stem}"
    identity = f"cotam {codec.__version__} {coding_of(cotam.backend.checkpoint)} {student_hash()}"
    if tool != "auto":
        title += f", {tool}"
        identity += f" tool {tool}"
    if effort != DEFAULT_EFFORT:
        title += f", effort {effort}"
        identity += f" effort {effort} {features_hash()}"

    def encode(pixels: Pixels, quality: float) -> bytes:
        return cotam.encode(pixels, quality=quality, tool=tool, effort=effort)

    def decode(data: bytes) -> Pixels:
        return cotam.decode(data, output="array")

    return CodecUnderTest(
        title,
        identity,
        QUALITIES,
        encode,
        decode,
        int(BEST_QUALITY),
        continuous=True,
        parameters=parameter_count(cotam),
    )


def tool_codec(tool: str) -> CodecUnderTest:
    """CoTAM with the default weights and one coding tool.

    Raises:
        BadArgument: there is no such tool.
    """
    if tool not in TOOLS:
        raise BadArgument(f"coding tools are {', '.join(TOOLS)}, not '{tool}'")
    return codec_of(DEFAULT_WEIGHTS, tool)


def effort_codec(effort: str) -> CodecUnderTest:
    """CoTAM with the default weights at an effort.

    Raises:
        BadArgument: there is no such effort.
    """
    if effort not in EFFORTS:
        raise BadArgument(f"efforts are {', '.join(EFFORTS)}, not '{effort}'")
    return codec_of(DEFAULT_WEIGHTS, effort=int(effort))


def parameter_count(cotam: codec.Codec) -> int | None:
    """Weights of the networks without their integer tables; None for an exported half."""
    arrays = getattr(cotam.backend.checkpoint, "arrays", None)
    if arrays is None:
        return None
    return sum(array.size for name, array in arrays.items() if not name.startswith("tables."))


def student_hash() -> str:
    """The shipped student's hash, hexadecimal.

    Raises:
        UnknownModel: there is no shipped student.
    """
    if not SHIPPED.is_file():
        raise UnknownModel(f"{SHIPPED} does not exist; guided variants need it")
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:HASH_DIGITS]


def adapters_hash() -> str:
    """A hash of all shipped adapters, hexadecimal, with a plus sign before it."""
    # It imports PyTorch, which `make demo` does without.
    from codec.tokens.adapters import shipped_files

    digest = hashlib.sha256()
    for path in shipped_files():
        digest.update(path.read_bytes())
    return "+" + digest.hexdigest()[:HASH_DIGITS]


def features_hash() -> str:
    """A hash of the shipped feature network, hexadecimal."""
    return hashlib.sha256(FEATURES.read_bytes()).hexdigest()[:HASH_DIGITS]
