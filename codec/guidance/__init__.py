"""Guides: where importance comes from, and how it becomes a QP map.

::

    guide(pixels) -> Importance --+
    pixels -> RateEstimate.bits --+-> qp_map.levels -> offsets -> qp_map.compact -> cells
    cells, bits -------> qp_map.rate_neutral -> QP map, stored in the file
    offsets - QP map --> "thrift": RDOQ weights, known only to the encoder
    pixels ------------> cost compared with the median picture -> base_qp, the QP of a quality
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream import qp_map
from codec.coding.latent_grid import latent_grid
from codec.errors import BadArgument, GuideUnavailable
from codec.guidance import importance, local
from codec.guidance.importance import ArrayGuide, Floats, Guide, Importance, Pixels, RegionGuide
from codec.guidance.rate_estimate import RateEstimate, energies, shipped
from codec.guidance.student import StudentGuide
from codec.networks.config import QP_MAX

GUIDES = ("student", "clip", "paper", "local", "uniform")
# Guides over a tower that can be named.
TOWER_GUIDES = ("clip", "paper")
PRESETS = ("default", "paper", "attention")
DEFAULT_GUIDE = "uniform"
# The guide where a strength or a preset is given without a guide.
USUAL_GUIDE = "student"
STRENGTH = qp_map.STRENGTH
# Nats of RDOQ weight per QP. A step finer by one QP implies that an error weighs exp(0.11) times
# more; twice that exponent was better in RDOQ (docs/guidance.md, "From importance to bytes").
THRIFT_PER_QP = 0.22
# How a picture's QP follows its cost (docs/guidance.md, "A slope for many pictures").
UNUSUAL_LIMIT = 1.2  # nats, a factor of 3.3; beyond, a picture's QP follows its cost no further
FULL_SLOPE_BELOW = 47  # QP; from here on the slope falls, to 0 at QP_MAX
LARGEST_SLOPE = 14  # QPs per nat; beyond, a larger quality could be coarser
LOOK_BACK = 8  # QPs below the given one that keep base_qp monotonic

__all__ = [
    "DEFAULT_GUIDE",
    "GUIDES",
    "PRESETS",
    "STRENGTH",
    "USUAL_GUIDE",
    "Guidance",
    "Guide",
    "Importance",
    "choose",
    "importance",
]


def choose(
    name: str = USUAL_GUIDE,
    preset: str = "default",
    model: str | None = None,
    weights: str | None = None,
    looker: Any = None,
) -> Guide:
    """Make a guide by name.

    Args:
        name: student, clip, paper, local, uniform, or the path of a map (.npy, or a picture's grey
            value). `clip:TOWER` and `paper:TOWER` also name the tower.
        preset: `default`; `paper`, attention on 8x8 cells in three levels; `attention`, attention
            at full resolution.
        model: the tower of the guides `clip` and `paper`, as towers.load_tower takes it.
        weights: that tower's weights, as towers.load_tower takes them.
        looker: if it has a method `look` (guidance.student.Look), the guide `student` uses that
            instead of PyTorch.

    Returns:
        The guide.

    Raises:
        BadArgument: the name or preset is unknown, the map is bad, model and weights are given for
            another guide, or a tower is named twice.
        GuideUnavailable: a package or published weights are missing.
        UnknownModel: there is no such tower.
    """
    if preset not in PRESETS:
        raise BadArgument(f"the preset must be one of {', '.join(PRESETS)}, not '{preset}'")
    name, model = _named(name, model)
    if (model or weights) and name not in TOWER_GUIDES:
        raise BadArgument("a guide's model and weights go with the guides 'clip' and 'paper'")
    if name in ("paper", "local") and preset not in ("default", name):
        raise BadArgument(f"the guide '{name}' has no preset '{preset}'; leave the preset out")
    if name == "uniform":
        return importance.uniform
    if name == "local":
        return local.cost
    if name == "student" and hasattr(looker, "look"):
        return StudentGuide(looker.look, preset)
    if name in GUIDES:
        return _with_torch(name, preset, model, weights)
    if Path(name).is_file():
        return ArrayGuide(importance.from_file(Path(name)))
    raise BadArgument(f"'{name}' is neither a guide ({', '.join(GUIDES)}) nor a map's file")


def _named(name: str, model: str | None) -> tuple[str, str | None]:
    """Split "paper:TOWER" into guide and tower. Raises BadArgument if `model` is also given."""
    kind, colon, tower = name.partition(":")
    if kind not in TOWER_GUIDES or not colon:
        return name, model
    if not tower:
        raise BadArgument(f"name a tower after '{kind}:', or leave the colon out")
    if model:
        raise BadArgument(f"the tower is named twice: '{tower}' and '{model}'")
    return kind, tower


def _with_torch(name: str, preset: str, model: str | None, weights: str | None) -> Guide:
    """Make a guide that needs a network. Raises GuideUnavailable without PyTorch."""
    try:
        if name == "student":
            from codec.guidance.student_torch import look

            return StudentGuide(look(), preset)
        from codec.guidance.clip import load_clip, load_paper

        if name == "paper":
            return load_paper(model, weights)
        return load_clip(model, weights, preset=preset)
    except ImportError as error:
        raise GuideUnavailable(
            f"the guide '{name}' needs PyTorch, which is missing ({error})"
        ) from None


def check_strength(strength: float) -> None:
    """Check a strength. Raises BadArgument outside 0..1."""
    if not 0 <= strength <= 1:
        raise BadArgument(f"strength must be between 0 and 1, not {strength:g}")


def default_guide(named: str | None, strength: float) -> str:
    """Choose the guide of a picture where none is asked for.

    Args:
        named: the guide that the weights name; None for weights that name none.
        strength: 0..1; one other than STRENGTH asks for guidance.

    Returns:
        The guide's name.
    """
    if named is None and strength not in (0, STRENGTH):
        return USUAL_GUIDE
    return named or DEFAULT_GUIDE


def check_slope(slope: float) -> None:
    """Check a slope. Raises BadArgument outside 0..14: beyond, a larger quality may be coarser."""
    if not 0 <= slope <= LARGEST_SLOPE:
        raise BadArgument(f"slope must be between 0 and {LARGEST_SLOPE}, not {slope:g}")


def resolve(
    guide: str | Guide | None,
    values: Any,
    regions: Any,
    looker: Any = None,
    default: str | None = None,
) -> Guide:
    """Make the guide that the arguments of `Codec.encode` describe.

    Args:
        guide: a guide or its name.
        values: an importance map.
        regions: boxes (left, top, right, bottom) in pixels.
        looker: as `choose` takes it.
        default: the guide to use if no other argument names one. Default: DEFAULT_GUIDE.

    Returns:
        The guide.

    Raises:
        BadArgument: more than one of the first three is given, or the map is bad.
        CodecError: as `choose` raises.
    """
    if sum(v is not None for v in (guide, values, regions)) > 1:
        raise BadArgument("give only one of guide, importance and roi")
    if values is not None:
        return ArrayGuide(importance.checked(values))
    if regions is not None:
        return RegionGuide(importance.boxes_of(regions))
    if guide is not None and not isinstance(guide, str) and not callable(guide):
        return ArrayGuide(importance.checked(guide))
    if guide is None or isinstance(guide, str):
        return choose(guide or default or DEFAULT_GUIDE, looker=looker)
    return guide


@dataclass(frozen=True)
class Plan:
    """How one picture is coded at one QP.

    Attributes:
        qp_map: QPs 0..63 on cells; None for one QP everywhere.
        thrift: RDOQ weights [h, w] for importance that the QP map could not express; None for
            equal weights.
    """

    qp_map: NDArray[np.int64] | None = None
    thrift: NDArray[np.float32] | None = None


class Guidance:
    """One picture's guidance, for any QP.

    The guide looks at the picture once, even if many qualities are tried.

    Args:
        guide: where importance comes from.
        strength: 0..1; 0 for uniform steps.
        pixels: uint8 [H, W, 3].
        slope: 0..14, QPs per nat of unusual cost; see `base_qp`.

    Raises:
        BadArgument: strength or slope is out of range, or the guide's map is bad.
    """

    def __init__(self, guide: Guide, strength: float, pixels: Pixels, slope: float = 0.0) -> None:
        check_strength(strength)
        check_slope(slope)
        importance_map = guide(pixels) if strength > 0 else None
        if importance_map is not None and importance_map.trust <= 0:
            importance_map = None
        self.importance = importance_map
        self.slope = slope
        self.pixels = pixels
        if importance_map is None:
            return
        self.strength = strength * importance_map.trust
        self.grid = latent_grid(*pixels.shape[:2])
        values = importance.checked(importance_map.values)
        cells = self._cells(importance_map.rule)
        self.values = values if values.shape == cells else importance.resized(values, *cells)

    def _cells(self, rule: str) -> tuple[int, int]:
        """Return the map's (rows, columns): at most 8x8 for `paper`, otherwise the latent grid."""
        rows, columns = self.grid
        if rule != "paper":
            return rows, columns
        return min(qp_map.PAPER_CELLS, rows), min(qp_map.PAPER_CELLS, columns)

    @cached_property
    def rate(self) -> RateEstimate:
        """The shipped estimate of bits."""
        return shipped()

    @cached_property
    def blocks(self) -> Floats:
        """The energies of the picture's blocks (rate_estimate.energies)."""
        return energies(self.pixels)

    def base_qp(self, qp: int) -> int:
        """Compute this picture's QP at a quality.

        The QP falls by `slope` for each nat that the picture costs more than the median training
        picture. A byte improves a picture most where few bytes were spent, so one QP for all
        pictures spends too much on those that are texture all over. Near QP_MAX the slope falls to
        0. The result never decreases with `qp`.

        Args:
            qp: the QP 0..63 of a picture of usual cost.

        Returns:
            The QP 0..63.
        """
        if not self.slope:
            return qp
        # A picture's unusual cost changes with the QP, near the steepest slope by more than a QP
        # per step; the maximum over the last steps keeps the result monotonic.
        most = 0
        for lower in range(qp, max(0, qp - LOOK_BACK) - 1, -1):
            # Saves an estimate where even the cheapest picture could not exceed the maximum so far.
            if self._sloped(lower, -UNUSUAL_LIMIT) > most:
                most = max(most, self._sloped(lower, self.rate.unusual(self.blocks, lower)))
        return most

    def _sloped(self, qp: int, unusual: float) -> int:
        share = min(1.0, (QP_MAX - qp) / (QP_MAX - FULL_SLOPE_BELOW))
        unusual = min(max(unusual, -UNUSUAL_LIMIT), UNUSUAL_LIMIT)
        return min(max(round(qp - share * self.slope * unusual), 0), QP_MAX)

    def plan(self, qp: int) -> Plan:
        """Plan steps and RDOQ around a QP.

        Args:
            qp: 0..63.

        Returns:
            A plan that is neutral in rate: map and picture together cost about what the picture
            costs at this QP everywhere.
        """
        if self.importance is None:
            return Plan()
        bits = self.rate.bits(self.blocks, qp)
        total = float(bits.sum())
        offsets = qp_map.levels(self.values, self.importance.rule, self.strength, bits)
        if not offsets.any():
            return Plan()
        if self.importance.rule == "paper":
            return Plan(self._map(offsets, 1, qp, total))
        cells, unit = qp_map.compact(offsets, total)
        field = self._map(cells, unit, qp, total)
        rest = offsets if field is None else offsets - qp_map.expand(field, *self.grid)
        thrift = np.exp(-THRIFT_PER_QP * (rest - rest.mean()))
        neutral = thrift * (total / float((thrift * bits).sum()))
        return Plan(field, neutral.astype(np.float32))

    def _map(self, cells: Floats, unit: int, qp: int, total: float) -> NDArray[np.int64] | None:
        """Round offsets to a rate-neutral QP map; None if all of them round to zero."""
        rounded = unit * np.rint(cells / unit).astype(np.int64)
        if not rounded.any():
            return None
        budget = total - 8 * len(qp_map.encode_offsets(rounded))
        return qp_map.rate_neutral(cells, unit, qp, self.grid, self._bits, budget)

    def _bits(self, field: NDArray[np.floating[Any]]) -> float:
        return float(self.rate.bits(self.blocks, field).sum())
