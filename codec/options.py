"""The settings of an encode: one documented list for the API, the command, Pillow and Ray."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from codec import quality as qualities
from codec.errors import BadArgument, shown
from codec.guidance import STRENGTH, Guide, check_slope, check_strength
from codec.guidance.importance import Box
from codec.tools.interface import DEFAULT_EFFORT, MOST_EFFORT

if TYPE_CHECKING:
    from codec.towers import Tower
    from codec.tuning import Tuner

ToolName = Literal["auto", "learned", "screen", "mixed", "palette", "av1"]
Keep = Literal["all", "safe", "none"]
TOOL_NAMES: tuple[str, ...] = get_args(ToolName)
KEEPS: tuple[str, ...] = get_args(Keep)


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How a picture is encoded.

    Examples:
        >>> EncodeOptions(quality="40", roi=(0, 0, 64, 64)).quality
        40.0

    Attributes:
        quality: 0..100; 50 where neither a size nor a QP map is given. 100 is lossless with a
            screen tool, and the finest step of the learned tool.
        target_bytes: the largest size of the file, a number of bytes or text such as "20KB"; the
            best quality that fits is used.
        lossless: return exactly the same pixels, alpha included.
        tool: which coding tool; `auto` chooses by the picture, `screen` the best screen tool,
            `mixed` the same with the learned tool for photographs within the picture.
        effort: 0 (fastest) .. 9 (smallest); 5 is the default. From 6 on, photographs are tuned to
            the shipped feature network (docs/tuning.md).
        guide: where finer steps go at the same file size: `student`, `clip`, `paper`, `local`,
            `uniform`, the file of a map, or a Guide. None means the guide of the weights: for the
            shipped ones that is `uniform`, or `student` if a strength is given. Only the learned
            tool uses it.
        strength: 0 (uniform) .. 1, how strongly the guide acts.
        importance: a map [rows, columns] of values >= 0 over the whole picture, instead of a guide.
        roi: boxes (left, top, right, bottom) in pixels that matter most, instead of a guide.
        qp_map: QPs 0..63 on any grid up to one per 16x16 pixels, instead of quality and guide.
        slope: 0..14, QPs by which a quality is lowered for each nat of estimated cost above that of
            the usual picture; None means the slope of the weights. It has no effect with a target
            size or a QP map.
        tune: a vision tower, or its name, that the file is tuned to (seconds a picture);
            "features" is the shipped feature network.
        keep: metadata in the file: `all`, `safe` (no location, maker notes or serial numbers) or
            `none`.
        strip: the same as keep="none".
    """

    quality: float | None = None
    target_bytes: int | None = None
    lossless: bool = False
    tool: ToolName = "auto"
    effort: int = DEFAULT_EFFORT
    guide: str | Guide | None = None
    strength: float = STRENGTH
    importance: Any = None
    roi: Sequence[Box] | None = None
    qp_map: Any = None
    slope: float | None = None
    tune: str | Tower | Tuner | None = None
    keep: Keep = "safe"
    strip: bool = False

    def __post_init__(self) -> None:
        """Convert the values to their types. Raises BadArgument for invalid ones."""
        for name in ("quality", "strength", "slope"):
            self._set(name, _number(getattr(self, name), name))
        if self.strength is None:
            self._set("strength", STRENGTH)
        self._set("target_bytes", _size(self.target_bytes))
        self._set("roi", _boxes(self.roi))
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    def _set(self, name: str, value: Any) -> None:
        # The class is frozen; only __post_init__ may normalise values.
        object.__setattr__(self, name, value)

    def _check_choices(self) -> None:
        if self.tool not in TOOL_NAMES:
            raise BadArgument(
                f"tool must be one of {', '.join(TOOL_NAMES)}, not {shown(self.tool)}"
            )
        if self.keep not in KEEPS:
            raise BadArgument(f"keep must be one of {', '.join(KEEPS)}, not {shown(self.keep)}")
        for name in ("lossless", "strip"):
            if not isinstance(getattr(self, name), bool):
                raise BadArgument(f"{name} must be True or False")

    def _check_ranges(self) -> None:
        if self.quality is not None:
            qualities.quality_to_qp(self.quality)
        check_strength(self.strength)
        if self.slope is not None:
            check_slope(self.slope)
        # bool is a subclass of int, and effort=True is a mistake.
        whole = isinstance(self.effort, int) and not isinstance(self.effort, bool)
        if not whole or not 0 <= self.effort <= MOST_EFFORT:
            raise BadArgument(f"effort must be a whole number from 0 to {MOST_EFFORT}")

    def _check_combinations(self) -> None:
        rates = (self.quality, self.target_bytes, self.qp_map)
        if sum(value is not None for value in rates) > 1:
            raise BadArgument("give only one of quality, target_bytes and qp_map")
        guides = (self.guide, self.importance, self.roi)
        if sum(value is not None for value in guides) > 1:
            raise BadArgument("give only one of guide, importance and roi")
        if self.qp_map is not None and any(value is not None for value in guides):
            raise BadArgument("qp_map cannot be combined with guide, importance or roi")
        if self.lossless and (self.target_bytes is not None or self.qp_map is not None):
            raise BadArgument("lossless cannot be combined with target_bytes or qp_map")
        if self.lossless and self.quality not in (None, qualities.BEST_QUALITY):
            raise BadArgument("lossless cannot be combined with a quality below 100")
        if self.lossless and self.tool in ("learned", "av1", "mixed"):
            raise BadArgument(f"the tool '{self.tool}' is not lossless; leave tool at auto")

    @property
    def usual_quality(self) -> float:
        """The quality, or 50 where none is given."""
        return qualities.DEFAULT_QUALITY if self.quality is None else self.quality

    @property
    def kept(self) -> Keep:
        """Which metadata is kept, with `strip` taken into account."""
        return "none" if self.strip else self.keep

    @property
    def unused_by_screens(self) -> list[str]:
        """Names of the options given that only the learned tool uses."""
        hints = ("guide", "importance", "roi", "slope")
        return [name for name in hints if getattr(self, name) is not None]

    @classmethod
    def of(cls, options: EncodeOptions | None, changes: Mapping[str, Any]) -> EncodeOptions:
        """Combine options with changes by name.

        Args:
            options: None for the defaults.
            changes: values by the names of the fields.

        Returns:
            New options.

        Raises:
            BadArgument: a name is unknown, a value is out of range, or values exclude each other.
        """
        names = [field.name for field in fields(cls)]
        for name in changes:
            if name not in names:
                close = difflib.get_close_matches(name, names, 1)
                hint = f"; did you mean {close[0]}?" if close else f" ({', '.join(names)})"
                raise BadArgument(f"there is no option '{name}'{hint}")
        if options is None:
            return cls(**changes)
        if not isinstance(options, EncodeOptions):
            raise BadArgument("options must be a codec.EncodeOptions")
        return replace(options, **changes)


OPTION_NAMES = tuple(field.name for field in fields(EncodeOptions))


def _number(value: Any, name: str) -> float | None:
    """Read a number from a number or text. Raises BadArgument."""
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadArgument(f"{name} must be a number, not {shown(value)}") from None


def _size(value: Any) -> int | None:
    """Read bytes from a number or text such as '20KB'. Raises BadArgument."""
    if value is None:
        return None
    if isinstance(value, str):
        return qualities.parse_size(value)
    try:
        size = int(value)
    except (TypeError, ValueError, OverflowError):
        raise BadArgument(f"target_bytes must be a number of bytes, not {shown(value)}") from None
    if size <= 0:
        raise BadArgument("target_bytes must be above zero")
    return size


def _boxes(value: Any) -> tuple[Box, ...] | None:
    """Read one box or several. Raises BadArgument."""
    if value is None:
        return None
    try:
        boxes = list(value)
        if len(boxes) == 4 and not any(hasattr(side, "__len__") for side in boxes):
            boxes = [boxes]
        return tuple(_box(box) for box in boxes)
    except (TypeError, ValueError, OverflowError):
        raise BadArgument("roi must be boxes (left, top, right, bottom) in pixels") from None


def _box(value: Any) -> Box:
    left, top, right, bottom = (float(side) for side in value)
    return left, top, right, bottom
