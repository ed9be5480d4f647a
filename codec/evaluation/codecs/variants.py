"""The systems of the task benchmark: CoTAM with every kind of guidance, and other formats.

::

    "uniform", "default", "tuned", ...  CoTAM with the weights of `Setup.model`
    "effort-0" .. "effort-9"            the same with the settings of that effort
    "shallow:3", "local", "calm"        the same with guides that are compared with `default`
    "default@0.25", "shallow:6@1"       the same with another strength of the guide
    "base-default", ...                 the same with the weights of `Setup.base`
    "tokens-default", ...               the same files, seen as the tokens that an adapter repairs
    "AVIF", ...                         a title of the registry's formats
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import BadArgument
from codec.evaluation.codecs import pillow
from codec.evaluation.codecs.cotam import adapters_hash, features_hash, loaded, student_hash
from codec.evaluation.codecs.interface import CodecUnderTest, Encode
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import PerPicture
from codec.evaluation.judges.deit import centre_view, load_deit
from codec.guidance import Guide, choose, importance, local
from codec.guidance.clip import LAYERS, ClipGuide
from codec.quality import BEST_QUALITY, quality_to_qp
from codec.tools.effort import learned_effort
from codec.tools.interface import MOST_EFFORT
from codec.towers import Tower
from codec.tuning import STEPS, Tuner
from codec.weights import checkpoint

UNIFORM = "uniform"
# One QP for all pictures of a quality, also with weights that have a slope.
SAME_QP = "same-qp"
DEFAULT = "default"
# As `default`, and tuned to DeiT-Tiny.
TUNED = "tuned"
# As `Codec.encode` codes photographs at an effort.
EFFORT = "effort-"
EFFORTS = tuple(f"{EFFORT}{effort}" for effort in range(MOST_EFFORT + 1))
# A QP map that is optimised for each picture.
ORACLE = "oracle"
VARIANTS = (
    UNIFORM,
    SAME_QP,
    "paper",
    "paper-teacher",
    "attention",
    "attention-teacher",
    DEFAULT,
    TUNED,
    ORACLE,
)
# Prefix: DeiT-Tiny's [CLS] attention, averaged over the given number of its first blocks.
SHALLOW = "shallow:"
# Maps made of the picture alone (guidance.local).
LOCAL = {"local": local.cost, "calm": local.calm}
# Variants that do not use the student.
NO_MAPS = (UNIFORM, SAME_QP, ORACLE)
BASE = "base-"
TOKENS = "tokens-"
# The published preset over DeiT-Tiny's own shallow attention.
PUBLISHED = "paper-teacher"
TOKEN_VARIANTS = tuple(TOKENS + variant for variant in (UNIFORM, DEFAULT, PUBLISHED))
# About 0.08..0.8 bits per pixel: judges recognise little with fewer, nearly everything with more.
QUALITIES = (3.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
# The same range for formats of Pillow.
PILLOW_QUALITIES = {
    "JPEG": (2.0, 4.0, 7.0, 12.0, 18.0, 26.0, 36.0),
    "WEBP": (0.0, 3.0, 8.0, 16.0, 28.0, 45.0),
    "AVIF": (4.0, 10.0, 18.0, 26.0, 34.0, 42.0, 52.0),
}

# (pixels [H, W, 3], QP) -> QPs 0..63 [rows, columns].
QpMapOf = Callable[[Pixels, int], NDArray[np.int64]]
# Pictures [B, 3, H, W] in 0..1 -> the tower's input.
View = Callable[[Tensor], Tensor]
# (weights, DeiT-Tiny, the judge's view of pictures) -> QpMapOf.
OracleOf = Callable[[checkpoint.Checkpoint, Tower, View], QpMapOf]


@dataclass(frozen=True)
class Setup:
    """What coding depends on; small enough to be sent to a process.

    Attributes:
        model: the weights, by name or path.
        data: COTAM_DATA.
        strength: of guides, 0..1.
        base: the weights of `base-VARIANT`.
        slope: as for `Codec.encode`; None is the slope of the weights.
        oracle: makes the QP maps of the variant `oracle`; a function of a module, so that it can be
            sent to a process.
    """

    model: str
    data: Path
    strength: float
    base: str | None = None
    slope: float | None = None
    oracle: OracleOf | None = None

    def slope_of(self, weights: checkpoint.Checkpoint) -> float:
        """The slope that these weights code with."""
        return weights.slope if self.slope is None else self.slope

    def of(self, name: str) -> tuple[str, str]:
        """Split a system's name into (weights, variant)."""
        if self.base and name.startswith(BASE):
            return self.base, name.removeprefix(BASE)
        return self.model, name.removeprefix(TOKENS)


def with_strength(variant: str, setup: Setup) -> tuple[str, float]:
    """(variant, strength): "default@0.25" names its strength, others have that of the setup.

    Raises:
        BadArgument: the strength is not a number.
    """
    kind, at, strength = variant.partition("@")
    if not at:
        return kind, setup.strength
    try:
        return kind, float(strength)
    except ValueError:
        raise BadArgument(f"'{strength}' in '{variant}' is not a strength") from None


def qualities(name: str, cotam: tuple[float, ...], finer: bool = False) -> tuple[float, ...]:
    """The qualities that a system is measured at.

    Args:
        name: a system.
        cotam: the qualities of CoTAM; formats of Pillow have their own.
        finer: also measure half-way between them.

    Returns:
        Coarse to fine.
    """
    settings = pillow.settings_of(name)
    grid = cotam if settings is None else grid_of(settings)
    if not finer:
        return grid
    between = [(low + high) / 2 for low, high in pairwise(grid)]
    # Pillow's qualities are whole numbers.
    return tuple(sorted({*grid, *(q if settings is None else float(q // 1) for q in between)}))


def grid_of(settings: pillow.PillowSettings) -> tuple[float, ...]:
    """The task benchmark's qualities of a format; the settings' own where they fix the quality."""
    if not settings.adjustable:
        return settings.qualities
    return PILLOW_QUALITIES.get(settings.format, settings.qualities)


def identity(name: str, setup: Setup) -> tuple[str, str, float]:
    """Everything that a system's results depend on.

    Args:
        name: a system.
        setup: weights and settings.

    Returns:
        The identity of a format, or the fingerprint of the weights and the slope; the hash of the
        student, whose map makes every guide rate-neutral, and of the adapters; the strength.

    Raises:
        UnknownModel: the weights or the student are missing.
    """
    settings = pillow.settings_of(name)
    if settings is not None:
        return settings.identity, "", 0.0
    model, variant = setup.of(name)
    variant, strength = with_strength(variant, setup)
    weights = checkpoint.load(model)
    fingerprint = weights.fingerprint.hex()
    slope = setup.slope_of(weights)
    if slope and variant not in (SAME_QP, ORACLE):
        fingerprint += f"/{slope:g}"
    if variant == TUNED:
        fingerprint += f"/{STEPS} steps"
    if variant in EFFORTS:
        level = learned_effort(int(variant.removeprefix(EFFORT)))
        fingerprint += f"/{level.steps} steps {features_hash() if level.steps else ''}"
        fingerprint += f" {level.views} views" if level.steps else ""
    adapters = adapters_hash() if name.startswith(TOKENS) else ""
    if variant in NO_MAPS:
        return fingerprint, adapters, 0.0
    return fingerprint, student_hash() + adapters, strength


def guide_of(variant: str, data: Path) -> Guide:
    """The guide of a variant.

    Args:
        variant: of VARIANTS, not `oracle`; of LOCAL; or SHALLOW and a number of blocks.
        data: COTAM_DATA, where DeiT-Tiny is the teacher.

    Returns:
        The guide.

    Raises:
        CodecError: the guide's weights are missing.
    """
    if variant in LOCAL:
        return LOCAL[variant]
    if variant.startswith(SHALLOW):
        return ClipGuide(load_deit(data), int(variant.removeprefix(SHALLOW)), "attention")
    kind, _, teacher = (DEFAULT if variant == TUNED else variant).partition("-")
    if variant in (UNIFORM, SAME_QP):
        return importance.uniform
    if teacher:
        return ClipGuide(load_deit(data, LAYERS), LAYERS, kind)
    return choose("student", kind)


def system_codec(name: str, setup: Setup) -> CodecUnderTest:
    """The codec of a system.

    Args:
        name: a variant, with its prefix, or a title of a format.
        setup: weights and settings.

    Returns:
        The codec.

    Raises:
        CodecError: weights or a library are missing.
    """
    settings = pillow.settings_of(name)
    if settings is not None:
        return settings.codec()
    model, variant = setup.of(name)
    cotam = loaded(model)
    encode = _oracle(model, setup) if variant == ORACLE else _guided(model, variant, setup)

    def decode(data: bytes) -> Pixels:
        return cotam.decode(data, output="array")

    whole = " ".join(map(str, identity(name, setup)))
    return CodecUnderTest(name, whole, QUALITIES, encode, decode, int(BEST_QUALITY), True)


def _guided(model: str, variant: str, setup: Setup) -> Encode:
    cotam = loaded(model)
    if variant in EFFORTS:
        effort = int(variant.removeprefix(EFFORT))
        return lambda pixels, quality: cotam.encode(
            pixels, quality=quality, tool="learned", slope=setup.slope, effort=effort
        )
    variant, strength = with_strength(variant, setup)
    guide = PerPicture(guide_of(variant, setup.data))
    slope = 0.0 if variant == SAME_QP else setup.slope
    tuner = Tuner(load_deit(setup.data)) if variant == TUNED else None

    def encode(pixels: Pixels, quality: float) -> bytes:
        return cotam.encode(
            pixels,
            quality=quality,
            tool="learned",
            guide=guide,
            strength=strength,
            slope=slope,
            tune=tuner,
        )

    return encode


def _oracle(model: str, setup: Setup) -> Encode:
    if setup.oracle is None:
        raise BadArgument("the variant 'oracle' needs a function that makes its QP maps")
    cotam = loaded(model)
    tower = load_deit(setup.data)
    qp_map_of = setup.oracle(checkpoint.load(model), tower, partial(centre_view, tower))

    def encode(pixels: Pixels, quality: float) -> bytes:
        qp_map = qp_map_of(pixels, quality_to_qp(quality))
        return cotam.encode(pixels, tool="learned", qp_map=qp_map)

    return encode
