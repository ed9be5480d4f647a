"""Where importance comes from, and how it becomes a QP map.

::

    guide(pixels) -> Importance -> stepfield.levels -> offsets --+--> stepfield.compact, rate_neutral -> QP map (in the file)
    pixels -> RateEstimate.bits(QP field) -----------------------+                      \\-> what is left -> thrift (rounding)
           \\-> what the picture costs, against the usual one -> the QP of a quality (base_qp)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream import qp_map as stepfield
from codec.bitstream.qp_map import QP_MAX
from codec.errors import BadArgument, GuideUnavailable
from codec.guidance import importance
from codec.guidance.importance import ArrayGuide, Floats, Guide, Importance, Pixels, RegionGuide
from codec.guidance.rate_estimate import RateEstimate, energies, shipped
from codec.guidance.student import StudentGuide

GUIDES = ("student", "clip", "uniform")
PRESETS = ("default", "paper", "attention")
DEFAULT_GUIDE = "student"
STRENGTH = stepfield.STRENGTH
# A QP finer means an error weighs exp(0.11) times more; twice that in rounding was better (docs/guidance.md).
THRIFT_PER_QP = 0.22
# How far beyond the usual cost (a factor of 3.3) a picture's QP follows it, and from which QP on less and less.
UNUSUAL_LIMIT = 1.2
FULL_SLOPE_BELOW = 47
LARGEST_SLOPE = 14
LOOK_BACK = 8

__all__ = [
    "DEFAULT_GUIDE",
    "GUIDES",
    "PRESETS",
    "STRENGTH",
    "Guidance",
    "Guide",
    "Importance",
    "choose",
    "importance",
]


def choose(
    name: str = DEFAULT_GUIDE,
    preset: str = "default",
    model: str | None = None,
    weights: str | None = None,
    own: Any = None,
) -> Guide:
    """A guide by name: student, clip, uniform, or a map's file (.npy, or a picture's grey value).

    preset: `default`; `paper`: attention on 8x8 cells in three levels; `attention`: attention, finely. model, weights: the tower of
    `clip`, as in towers.load_tower. own: something that looks at pictures as the student (`student.Look` by the name look),
    instead of PyTorch. Raises BadArgument, GuideUnavailable, UnknownModel.
    """
    if preset not in PRESETS:
        raise BadArgument(f"the preset must be one of {', '.join(PRESETS)}, not '{preset}'")
    if (model or weights) and name != "clip":
        raise BadArgument("a guide's model and weights go with the guide 'clip'")
    if name == "uniform":
        return importance.uniform
    if name == "student" and hasattr(own, "look"):
        return StudentGuide(own.look, preset)
    try:
        if name == "student":
            from codec.guidance.student_torch import look

            return StudentGuide(look(), preset)
        if name == "clip":
            from codec.guidance.clip import load_clip

            return load_clip(model, weights, preset=preset)
    except ImportError as error:
        raise GuideUnavailable(
            f"the guide '{name}' needs PyTorch, which is not here ({error})"
        ) from None
    if Path(name).is_file():
        return ArrayGuide(importance.from_file(Path(name)))
    raise BadArgument(f"'{name}' is neither a guide ({', '.join(GUIDES)}) nor a map's file")


def check_strength(strength: float) -> None:
    """Raises BadArgument outside 0..1."""
    if not 0 <= strength <= 1:
        raise BadArgument(f"strength must be between 0 and 1, not {strength:g}")


def check_slope(slope: float) -> None:
    """Raises BadArgument outside 0..14: beyond, a larger quality could be coarser."""
    if not 0 <= slope <= LARGEST_SLOPE:
        raise BadArgument(f"slope must be between 0 and {LARGEST_SLOPE}, not {slope:g}")


def resolve(
    guide: str | Guide | None, given: Any, regions: Any, own: Any = None, usual: str | None = None
) -> Guide:
    """The one guide meant by `Codec.encode`'s arguments; own: as of `choose`; usual: the guide where none is given.

    Raises BadArgument for several, or a bad map.
    """
    if sum(v is not None for v in (guide, given, regions)) > 1:
        raise BadArgument("give only one of guide, importance and roi")
    if given is not None:
        return ArrayGuide(importance.checked(given))
    if regions is not None:
        return RegionGuide(importance.boxes_of(regions))
    if guide is not None and not isinstance(guide, str) and not callable(guide):
        return ArrayGuide(importance.checked(guide))
    if guide is None or isinstance(guide, str):
        return choose(guide or usual or DEFAULT_GUIDE, own=own)
    return guide


@dataclass(frozen=True)
class Plan:
    """qp_map: QPs on cells, None for one QP everywhere; thrift: weights of rounding [h, w] that say what the map leaves unsaid."""

    qp_map: NDArray[np.int64] | None = None
    thrift: NDArray[np.float32] | None = None


class Guidance:
    """One picture's guidance, ready for any QP: the look at the picture is taken once, also where many qualities are tried."""

    def __init__(self, guide: Guide, strength: float, pixels: Pixels, slope: float = 0.0) -> None:
        """slope: see `base_qp`. Raises BadArgument for a strength outside of 0..1 or a slope outside of 0..14."""
        check_strength(strength)
        check_slope(slope)
        found = guide(pixels) if strength > 0 else None
        if found is not None and found.trust <= 0:
            found = None
        self.found = found
        self.slope = slope
        self.pixels = pixels
        if found is None:
            return
        self.strength = strength * found.trust
        self.grid = (-(-pixels.shape[0] // 16), -(-pixels.shape[1] // 16))
        cells = (
            tuple(min(stepfield.PAPER_CELLS, side) for side in self.grid)
            if found.rule == "paper"
            else self.grid
        )
        values = importance.checked(found.values)
        self.values = values if values.shape == cells else importance.resized(values, *cells)

    @cached_property
    def rate(self) -> RateEstimate:
        return shipped()

    @cached_property
    def blocks(self) -> Floats:
        return energies(self.pixels)

    def base_qp(self, qp: int) -> int:
        """This picture's QP where a usual one has `qp`: `slope` QPs lower for each nat that it costs more.

        A byte does most where few were spent, so one QP for all spends too much on pictures that are all texture. The largest
        QPs are left to all pictures, and a larger `qp` never gives a smaller one.
        """
        if not self.slope:
            return qp
        # What a picture costs beside others changes with the QP, too: near the steepest slope by more than a QP a step.
        return max(self._sloped(lower) for lower in range(max(0, qp - LOOK_BACK), qp + 1))

    def _sloped(self, qp: int) -> int:
        share = min(1.0, (QP_MAX - qp) / (QP_MAX - FULL_SLOPE_BELOW))
        unusual = min(max(self.rate.unusual(self.blocks, qp), -UNUSUAL_LIMIT), UNUSUAL_LIMIT)
        return min(max(round(qp - share * self.slope * unusual), 0), QP_MAX)

    def plan(self, qp: int) -> Plan:
        """Steps and rounding around this QP, neutral in rate, the map's own bits counted."""
        if self.found is None:
            return Plan()
        bits = self.rate.bits(self.blocks, qp)
        spent = float(bits.sum())
        offsets = stepfield.levels(self.values, self.found.rule, self.strength, bits)
        if not offsets.any():
            return Plan()
        cells, unit = (
            (offsets, 1) if self.found.rule == "paper" else stepfield.compact(offsets, spent)
        )
        rounded = unit * np.rint(cells / unit).astype(np.int64)
        coded = None
        if rounded.any():
            budget = spent - 8 * len(stepfield.encode_offsets(rounded))
            coded = stepfield.rate_neutral(cells, unit, qp, self.grid, self._bits, budget)
        if self.found.rule == "paper":
            return Plan(coded)
        rest = offsets if coded is None else offsets - stepfield.expand(coded, *self.grid)
        thrift = np.exp(-THRIFT_PER_QP * (rest - rest.mean()))
        return Plan(coded, (thrift * (spent / float((thrift * bits).sum()))).astype(np.float32))

    def _bits(self, field: NDArray[np.floating[Any]]) -> float:
        return float(self.rate.bits(self.blocks, field).sum())
