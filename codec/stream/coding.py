"""A rectangle of new pixels by the tool that loses least for its bytes.

::

    pixels of a box -+- few colours, small -> patch ---------+
                     +- few colours -> palette (three radii) +-> better -> payload, what it shows
                     +- AV1 ---------------------------------+
                     +- a large photograph -> learned tool
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import BEST_QUALITY, FINGERPRINT_BYTES
from codec.errors import TooLarge
from codec.options import EncodeOptions
from codec.stream.blocks import packed
from codec.tool_files import LEAST_SHARE, PHOTOGRAPH_QUALITY
from codec.tools import changes, palette, patch
from codec.tools.changes import MOST_PATCHED, Rectangle
from codec.tools.choosing.content import choose
from codec.tools.choosing.expected import Candidate, better, token_error
from codec.tools.interface import Settings
from codec.tools.mixed import PhotographTool
from codec.tools.payloads import vp8l
from codec.tools.regions import LEAST_AREA, Box
from codec.tools.registry import tool_named

Pixels = NDArray[np.uint8]
# Pixels. For fewer, AV1 is not tried, because its payload is longer than that of a patch.
LEAST_AV1 = 128
# Pixels per colour. With more, AV1 is not tried, because palettes are better there.
DRAWN = 64
# Colours. A small part with at most this many is coded as a patch, and nothing else is tried.
FEW_COLOURS = 8
# Pixels of all rectangles. With more, only the tools that suit the pixels are tried.
MOST_TRIED = 1 << 19
# Pixels. FASTER lowers the effort for larger rectangles, because a person waits. On the first 14
# frames of four recorded scenes (benchmarks.streams) the default needs 1 % fewer bytes than with
# full effort where menus open, and 22 % more for a video in a corner, in two thirds of the time.
LARGE = 1 << 14
FASTER = {"av1": 5, "palette": 3}
# (quality, radius in levels within which colours of a patch merge), as palette.RADII.
PATCH_RADII = ((0, 27.0), (50, 14.0), (75, 10.0), (90, 6.0), (99, 3.0), (100, 0.0))
# (quality, the largest expected token error of a rectangle): the error of the AV1 tool on graphics
# at this quality (tools.quality). If no candidate is that good, finer palettes are tried.
MOST_ERRORS = ((0, 0.25), (25, 0.15), (50, 0.098), (75, 0.06), (90, 0.037), (100, 0.0))
# Share of that error that a rectangle may have; kept blocks add errors of their own.
ROOM = 0.8
# From this quality on, the coarsest palette is never good enough.
FINE = 40
# Bytes relative to the smallest candidate: a palette of drawn content is a little larger than a bad
# AV1 picture, one of a photograph many times.
MOST_GROWTH = 4
THREADS = 2
BOTH = ("av1", "palette")
NUMBERS = {name: number for number, name in enumerate(changes.TOOL_NAMES)}


@dataclass(frozen=True)
class Coded:
    """A rectangle, and the pixels [h, w, 3] that it shows."""

    rectangle: Rectangle
    shown: Pixels


class Coder:
    """Codes the rectangles of a message.

    Args:
        options: quality, effort and tool.
        photographs: the tool for photographs, which needs weights.
    """

    def __init__(self, options: EncodeOptions, photographs: PhotographTool) -> None:
        self.options = options
        self.photographs = photographs
        self.exact = options.lossless or options.usual_quality >= BEST_QUALITY
        qualities, errors = zip(*MOST_ERRORS)
        self.most_error = ROOM * float(np.interp(self.quality, qualities, errors))

    def code(self, pixels: Pixels, boxes: Sequence[Box]) -> list[Coded]:
        """Code boxes of a picture.

        Args:
            pixels: uint8 [H, W, 3].
            boxes: without overlap.

        Returns:
            One result for each box.
        """
        area = sum(box.area for box in boxes)
        left = MOST_PATCHED
        work: list[tuple[Box, bool]] = []
        for box in boxes:
            small = box.area <= min(left, patch.MOST_PIXELS)
            left -= box.area if small else 0
            work.append((box, small))
        picture = pixels.shape[0] * pixels.shape[1]

        def one(item: tuple[Box, bool]) -> Coded:
            box, small = item
            part = np.ascontiguousarray(box.of(pixels))
            return self._coded(box, part, small, box.area / picture, area <= MOST_TRIED)

        if len(work) < 2:
            return [one(item) for item in work]
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, work))

    def _coded(self, box: Box, part: Pixels, small: bool, share: float, all_tools: bool) -> Coded:
        best = None
        if self._learned(part, share):
            payload = self.photographs.fingerprint
            payload += self.photographs.encode(part, PHOTOGRAPH_QUALITY * self.quality)
            height, width = part.shape[:2]
            shown = self.photographs.decode(payload[FINGERPRINT_BYTES:], (height, width, 3))
            best = Candidate("learned", payload, shown)
        best = best or self._searched(self._best(part, small, all_tools))
        return Coded(Rectangle(box, NUMBERS[best.tool], best.payload), best.decoded)

    @property
    def quality(self) -> float:
        return BEST_QUALITY if self.exact else self.options.usual_quality

    def _learned(self, part: Pixels, share: float) -> bool:
        """Whether the learned tool is to code this part: a photograph, and large or asked for."""
        tool = self.options.tool
        if self.exact or part.shape[0] * part.shape[1] < LEAST_AREA:
            return False
        if tool not in ("learned", "mixed") and not (tool == "auto" and share >= LEAST_SHARE):
            return False
        return choose(part).kind == "photograph"

    def _best(self, part: Pixels, small: bool, all_tools: bool) -> Candidate:
        """The candidate of the lowest cost among those that are good enough."""
        found = self._candidates(part, small, all_tools)
        if len(found) == 1:
            return found[0]
        errors = [token_error(part, one.decoded) for one in found]
        if min(errors) > self.most_error:
            found += self._finer(part, small)
            errors = [token_error(part, one.decoded) for one in found]
        most_bytes = MOST_GROWTH * min(len(one.payload) for one in found)
        some = [pair for pair in zip(found, errors) if len(pair[0].payload) <= most_bytes]
        most = max(self.most_error, min(error for _, error in some))
        return better(part, [one for one, error in some if error <= most])

    def _finer(self, part: Pixels, small: bool) -> list[Candidate]:
        """Candidates that lose less than the usual ones."""
        if self.options.tool == "av1":
            return []
        patches = [self._patch(part, radius) for radius in palette.SMALL_RADII] if small else []
        settings = Settings(self.quality, self.options.effort, "small picture")
        pairs = tool_named("palette").trials(part, settings)
        return [one for some in patches for one in some] + [
            Candidate("palette", payload, shown) for payload, shown in pairs
        ]

    def _searched(self, best: Candidate) -> Candidate:
        """Code a chosen palette again at full effort; the comparison used less."""
        if best.tool != "palette" or self.exact or best.decoded.size <= 3 * LARGE:
            return best
        payload = vp8l.encode(best.decoded, effort=self.options.effort)
        return replace(best, payload=min(payload, best.payload, key=len))

    def _candidates(self, part: Pixels, small: bool, all_tools: bool) -> list[Candidate]:
        """The results of the tools for a part; the others are compared with the first one."""
        if self.exact:
            return self._exact(part, small)
        tools = self._tools(part, small, all_tools)
        if len(tools) == 1:
            found = tools[0](part)
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                found = [one for some in pool.map(lambda tool: tool(part), tools) for one in some]
        return found or self._of_tool("palette", part)

    def _tools(
        self, part: Pixels, small: bool, all_tools: bool
    ) -> list[Callable[[Pixels], list[Candidate]]]:
        names: tuple[str, ...] = BOTH
        if self.options.tool in names:
            names = (self.options.tool,)
        elif not all_tools:
            names = tuple(name for name in choose(part).tools if name in names) or ("av1",)
        area = part.shape[0] * part.shape[1]
        colours = _colours(part)
        if names == BOTH and colours * DRAWN <= area:
            names = ("palette",)
        if small and names != ("av1",) and colours <= FEW_COLOURS:
            return [lambda pixels: self._patch(pixels, 0)]
        few = area < LEAST_AV1
        tools: list[Callable[[Pixels], list[Candidate]]] = []
        if "av1" in names and not (small and few):
            tools.append(lambda pixels: self._of_tool("av1", pixels))
        if small:
            qualities, radii = zip(*PATCH_RADII)
            radius = float(np.interp(self.quality, qualities, radii))
            tools.append(lambda pixels: self._patch(pixels, radius))
        if "palette" in names and not (small and few):
            tools.append(lambda pixels: self._of_tool("palette", pixels))
        return tools

    def _of_tool(self, name: str, part: Pixels) -> list[Candidate]:
        effort = max(0, self.options.effort - FASTER[name] * (part.size > 3 * LARGE))
        try:
            if name == "palette":
                radii = palette.TRIED_RADII if self.quality < FINE else palette.TRIED_RADII[:2]
                pairs = palette.trials(part, effort=effort, radii=radii)
            else:
                pairs = tool_named(name).trials(part, Settings(self.quality, effort))
        except TooLarge:
            return []
        return [Candidate(name, payload, shown) for payload, shown in pairs]

    def _patch(self, part: Pixels, radius: float) -> list[Candidate]:
        shown = palette.merged(part, radius)
        payload = patch.encode(shown)
        return [] if payload is None else [Candidate("patch", payload, shown)]

    def _exact(self, part: Pixels, small: bool) -> list[Candidate]:
        """The smallest lossless payload of these pixels, as the only candidate."""
        payload = tool_named("palette").encode(part, Settings(BEST_QUALITY, self.options.effort))
        found = [Candidate("palette", payload, part), *(self._patch(part, 0) if small else [])]
        return [min(found, key=lambda one: len(one.payload))]


def _colours(pixels: Pixels) -> int:
    """Number of colours of pixels [h, w, 3]."""
    values = packed(pixels).ravel()
    begins = np.flatnonzero(values[1:] != values[:-1]) + 1
    return len(np.unique(np.append(values[begins], values[0])))
