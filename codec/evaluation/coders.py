"""The systems that are compared: CoTAM with each way of guidance, the same weights in all, and the codecs people use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import PIL

import codec
from codec.errors import UnknownModel
from codec.evaluation.judges import PerPicture
from codec.evaluation.judges.deit import centre_view, load_deit
from codec.evaluation.rivals import RIVALS, Pixels
from codec.guidance import Guide, choose, importance
from codec.guidance.clip import LAYERS, ClipGuide
from codec.guidance.files import SHIPPED
from codec.quality import quality_to_qp
from codec.tokens.adapters import FOLDER
from codec.tuning import STEPS, Tuner
from codec.weights import checkpoint

SAME_QP = "same-qp"  # one QP for all pictures of a quality, whatever slope the weights have
TUNED = "tuned"  # as default, and tuned to DeiT-Tiny
VARIANTS = (
    "uniform",
    SAME_QP,
    "paper",
    "paper-teacher",
    "attention",
    "attention-teacher",
    "default",
    TUNED,
    "oracle",
)
NO_MAPS = ("uniform", SAME_QP, "oracle")  # variants that the student has no part in
TOKENS = "tokens-"
TOKEN_VARIANTS = tuple(TOKENS + variant for variant in ("uniform", "default"))
# About 0.08..0.8 bits per pixel, where a machine still sees something and not yet everything.
QUALITIES = (3.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
RIVAL_QUALITIES = {
    "JPEG": (2, 4, 7, 12, 18, 26, 36),
    "WebP": (0, 3, 8, 16, 28, 45),
    "AVIF": (4, 10, 18, 26, 34, 42, 52),
}

BASE = "base-"

Code = Callable[[Pixels, float], tuple[bytes, Pixels]]


@dataclass(frozen=True)
class Setup:
    """What coding depends on; small enough to be sent to a process. base: the weights that `base-VARIANT` means; slope: of
    `Codec.encode`, the weights' own if None.
    """

    model: str
    data: Path
    strength: float
    base: str | None = None
    slope: float | None = None

    def slope_of(self, weights: checkpoint.Checkpoint) -> float:
        """The slope that these weights code with."""
        return weights.slope if self.slope is None else self.slope

    def of(self, name: str) -> tuple[str, str]:
        """(weights, variant) of a system's name."""
        if self.base and name.startswith(BASE):
            return self.base, name.removeprefix(BASE)
        return self.model, name.removeprefix(TOKENS)


def qualities(name: str, wanted: tuple[float, ...], finer: bool = False) -> tuple[float, ...]:
    """CoTAM's as wanted, a rival's own; finer: with those half-way between them."""
    found: tuple[float, ...] = RIVAL_QUALITIES.get(name, wanted)
    if not finer:
        return found
    between = [(low + high) / 2 for low, high in pairwise(found)]
    return tuple(sorted({*found, *(float(q // 1) if name in RIVALS else q for q in between)}))


def student_hash() -> str:
    """Of the shipped student's file. Raises UnknownModel where there is none."""
    if not SHIPPED.is_file():
        raise UnknownModel(f"{SHIPPED} does not exist, guided variants need it")
    return hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:16]


def adapters_hash() -> str:
    """Of the shipped adapters' files, with a sign before it."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return "+" + digest.hexdigest()[:16]


def identity(name: str, setup: Setup) -> tuple[str, str, float]:
    """(model's fingerprint and slope or Pillow's version, student's hash, strength): all that a system's results depend on.

    Every guide's map is made rate-neutral by the student's file. Raises UnknownModel.
    """
    if name in RIVALS:
        return f"Pillow {PIL.__version__}", "", 0.0
    model, variant = setup.of(name)
    weights = checkpoint.load(model)
    fingerprint = weights.fingerprint.hex()
    slope = setup.slope_of(weights)
    if slope and variant not in (SAME_QP, "oracle"):
        fingerprint += f"/{slope:g}"
    if variant == TUNED:
        fingerprint += f"/{STEPS} steps"
    adapters = adapters_hash() if name.startswith(TOKENS) else ""
    if variant in NO_MAPS:
        return fingerprint, adapters, 0.0
    return fingerprint, student_hash() + adapters, setup.strength


def guide_of(variant: str, data: Path) -> Guide:
    """Raises CodecError where a guide cannot be had."""
    kind, _, teacher = ("default" if variant == TUNED else variant).partition("-")
    if variant in ("uniform", SAME_QP):
        return importance.uniform
    if teacher:
        return ClipGuide(load_deit(data, LAYERS), LAYERS, kind)
    return choose("student", kind)


@lru_cache(maxsize=2)
def loaded(model: str) -> codec.Codec:
    """One codec per process and model."""
    return codec.load(model, "cpu")


def coder(name: str, setup: Setup) -> Code:
    """(picture [H, W, 3], quality) -> (the file's bytes, the picture decoded from them). Raises CodecError."""
    if name in RIVALS:
        return _rival(name)
    model, name = setup.of(name)
    cotam = loaded(model)
    if name == "oracle":
        from benchmarks.lib.oracle import Oracle

        tower = load_deit(setup.data)
        oracle = Oracle(checkpoint.load(model), tower, partial(centre_view, tower))

        def encode(pixels: Pixels, quality: float) -> bytes:
            return cotam.encode(
                pixels, tool="learned", qp_map=oracle.qp_map(pixels, quality_to_qp(quality))
            )
    else:
        guide = PerPicture(guide_of(name, setup.data))
        slope = 0.0 if name == SAME_QP else setup.slope
        tuner = Tuner(load_deit(setup.data)) if name == TUNED else None

        def encode(pixels: Pixels, quality: float) -> bytes:
            return cotam.encode(
                pixels,
                quality=quality,
                tool="learned",
                guide=guide,
                strength=setup.strength,
                slope=slope,
                tune=tuner,
            )

    def code(pixels: Pixels, quality: float) -> tuple[bytes, Pixels]:
        data = encode(pixels, quality)
        return data, cotam.decode(data, "array")

    return code


def _rival(name: str) -> Code:
    rival = RIVALS[name]

    def code(pixels: Pixels, quality: float) -> tuple[bytes, Pixels]:
        data = rival.encode(pixels, int(quality))
        return data, rival.decode(data)

    return code
