"""Files of screen tools: a picture to a file, and back. Only photographs in it need a network.

::

    picture -> samples [H, W, C] -> tool -> payload --+--> container -> .ctm
           |-> photographs in it -> tools.mixed ------+
           \\-> alpha (where the tool has none), profile, EXIF --+
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from codec import quality as qualities
from codec.bitstream import container
from codec.coding.latent_grid import Floats
from codec.coding.pipeline import PREVIEW, Stopwatch
from codec.errors import MissingReference, TargetTooSmall, TooLarge
from codec.io import images
from codec.io.image_like import samples_of, size_of
from codec.io.metadata import explained, extras_of, for_lossy, picture_of
from codec.options import EncodeOptions
from codec.results import NOTHING, Decoded, Encoded
from codec.tools import changes, mixed, regions
from codec.tools.choosing import reasons
from codec.tools.choosing.expected import Candidate, better
from codec.tools.choosing.reasons import Choice, reason_of
from codec.tools.choosing.select import SCREEN_TOOLS
from codec.tools.interface import Pixels, Settings
from codec.tools.mixed import PhotographTool
from codec.tools.names import LOSSLESS, NAMES, NUMBERS
from codec.tools.registry import tool_named, tool_numbered

# Bytes of memory that a pixel takes beyond the program itself, measured at 4096x4096.
ENCODE_BYTES = 40
DECODE_BYTES = 24
# Share of a page that its photographs fill. Above it, learned regions saved 12 % (5 to 17 %) on
# four pages; nine pages with photographs of 8 to 20 % gained nothing (docs/screens.md).
LEAST_SHARE = 0.25
# A photograph in a page is coded at this share of the page's quality, where its slope of rate and
# error is nearer to the page's: at the whole quality, nine pages needed 2 % more bytes.
PHOTOGRAPH_QUALITY = 0.7


def encode(
    picture: images.Picture,
    choice: Choice,
    options: EncodeOptions,
    limit_memory: int,
    watch: Stopwatch,
    photographs: PhotographTool,
) -> Encoded:
    """Encode a picture with the best tool of a choice.

    Args:
        picture: the picture.
        choice: the tools, and whether photographs within the picture are coded separately.
        options: quality or size, and effort.
        limit_memory: bytes.
        watch: where seconds by stage are added.
        photographs: the tool for photographs within the picture.

    Returns:
        The file and what is known about it.

    Raises:
        TargetTooSmall: no quality fits `options.target_bytes`.
        TooLarge: the picture needs more memory than `limit_memory` bytes, or is too large for
            every tool.
    """
    height, width = size_of(picture)
    container.check_memory(width, height, ENCODE_BYTES, limit_memory)
    if not options.lossless:
        picture = for_lossy(picture)
    boxes = _photographs(picture, choice)

    def file_of(quality: float) -> tuple[bytes, Written]:
        settings = Settings(quality, options.effort, choice.content)
        with watch.stage("tool"):
            if boxes and quality < container.BEST_QUALITY:
                written = _mixed(picture, boxes, choice, settings, photographs)
            else:
                written = _best_tool(picture, choice, settings)
            return _file_of(picture, written, settings), written

    try:
        data, written = _file(file_of, options)
    except TargetTooSmall as error:
        raise explained(picture, error, options.target_bytes or 0) from None
    notes = picture.notes + _ignored(options, written.tool)
    size = (height, width)
    reason = reason_of(written.reason)
    return Encoded(data, None, None, 0, size, notes, watch.seconds, written.tool, reason)


def _photographs(picture: images.Picture, choice: Choice) -> list[regions.Box]:
    """The photographs to code separately: if that was asked for, or if they fill a large share."""
    if not choice.mixes:
        return []
    boxes = regions.find(picture.pixels)
    share = sum(box.area for box in boxes) / (picture.pixels.size // 3)
    return boxes if share >= LEAST_SHARE or choice.code == reasons.ASKED_FOR else []


@dataclass(frozen=True)
class Written:
    """A tool's result: the tool's name, payload, samples of a pixel, and the reason."""

    tool: str
    payload: bytes
    channels: int
    reason: int


def _mixed(
    picture: images.Picture,
    boxes: Sequence[regions.Box],
    choice: Choice,
    settings: Settings,
    photographs: PhotographTool,
) -> Written:
    """Code the boxes with the tool for photographs, and the rest with the best screen tool."""
    height, width = size_of(picture)
    rest = replace(picture, pixels=regions.fill(picture.pixels, boxes))
    # Without its photographs, a picture of many colours may be one of few.
    base = _best_tool(rest, replace(choice, tools=SCREEN_TOOLS), settings)
    quality = PHOTOGRAPH_QUALITY * settings.quality
    parts = [
        regions.Region(box, photographs.encode(box.of(picture.pixels), quality)) for box in boxes
    ]
    written = mixed.Parts(NUMBERS[base.tool], photographs.fingerprint, base.payload, parts)
    payload = mixed.write(written, height, width)
    return Written(mixed.NAME, payload, base.channels, reasons.MIXED)


def _best_tool(picture: images.Picture, choice: Choice, settings: Settings) -> Written:
    """The result of the tool that loses least for its bytes."""
    names = _names(choice, settings.quality)
    if len(names) == 1:
        payload = tool_named(names[0]).encode(_samples(picture, names[0]), settings)
        best = Candidate(names[0], payload, picture.pixels)
    else:
        best = better(picture.pixels, _candidates(picture, names, settings))
    channels = 4 if _codes_alpha(picture, best.tool) else 3
    return Written(best.tool, best.payload, channels, choice.code)


def _candidates(
    picture: images.Picture, names: Sequence[str], settings: Settings
) -> list[Candidate]:
    """Code a picture with each tool. Raises TooLarge if it is too large for all of them."""

    def trials(name: str) -> list[Candidate] | TooLarge:
        try:
            pairs = tool_named(name).trials(_samples(picture, name), settings)
        except TooLarge as error:
            return error
        return [Candidate(name, payload, _colours(decoded)) for payload, decoded in pairs]

    # The libraries release the interpreter, and libaom rarely keeps two cores busy.
    with ThreadPoolExecutor(len(names)) as pool:
        results = list(pool.map(trials, names))
    candidates = [one for result in results if isinstance(result, list) for one in result]
    for result in results:
        if isinstance(result, TooLarge) and not candidates:
            raise result
    return candidates


def _colours(samples: Pixels) -> Pixels:
    """Samples without alpha."""
    return np.ascontiguousarray(samples[..., :3])


def _names(choice: Choice, quality: float) -> tuple[str, ...]:
    """The tools to try; at quality 100 those that are exact, unless another one was asked for."""
    if quality < container.BEST_QUALITY or (
        choice.code == reasons.ASKED_FOR and not set(choice.tools) & set(LOSSLESS)
    ):
        return choice.tools
    return LOSSLESS


def _file_of(picture: images.Picture, written: Written, settings: Settings) -> bytes:
    height, width = size_of(picture)
    extras = extras_of(picture)
    if written.channels == 4:
        extras.pop(container.EXTRA_ALPHA, None)
    return container.write(
        container.Container(
            width,
            height,
            0,
            b"",
            written.payload,
            extras=extras,
            tool=NUMBERS[written.tool],
            channels=written.channels,
            quality=int(settings.quality + 0.5),
            reason=written.reason,
        )
    )


def _file(
    file_of: Callable[[float], tuple[bytes, Written]], options: EncodeOptions
) -> tuple[bytes, Written]:
    if options.lossless:
        return file_of(container.BEST_QUALITY)
    if options.target_bytes is None:
        return file_of(options.usual_quality)
    return _best_within(file_of, options.target_bytes)


def _best_within(
    file_of: Callable[[float], tuple[bytes, Written]], target_bytes: int
) -> tuple[bytes, Written]:
    """Encode at the best integer quality whose file fits the target. Raises TargetTooSmall."""
    low = 0
    high = container.BEST_QUALITY
    best = None
    smallest = 0
    while low <= high:
        middle = (low + high) // 2
        data, written = file_of(middle)
        if len(data) <= target_bytes:
            best = data, written
            low = middle + 1
        else:
            smallest = len(data)
            high = middle - 1
    if best is None:
        raise TargetTooSmall(qualities.too_small(smallest), smallest)
    return best


def _samples(picture: images.Picture, tool: str) -> Pixels:
    """The samples that the tool codes, with alpha if the tool supports it."""
    return samples_of(picture) if _codes_alpha(picture, tool) else picture.pixels


def _codes_alpha(picture: images.Picture, tool: str) -> bool:
    return picture.alpha is not None and tool in LOSSLESS


def _ignored(options: EncodeOptions, tool: str) -> list[str]:
    names = options.unused_by_screens
    if not names:
        return []
    return [f"the tool '{tool}' codes every part alike: {', '.join(names)} had no effect"]


def decode(
    content: container.Container,
    limit_memory: int,
    photographs: PhotographTool,
    want_bits: bool = False,
) -> Decoded:
    """Decode a file of a screen tool.

    Args:
        content: the file.
        limit_memory: bytes.
        photographs: the tool of photographs in a mixed picture.
        want_bits: also spread the file's bits over the latent grid.

    Returns:
        The picture and what is known about it.

    Raises:
        Corrupt: the payload is damaged.
        TooLarge: the picture needs more memory than `limit_memory` bytes.
        UnsupportedVersion: the tool is unknown.
        MissingReference: the file holds only what changed since another picture.
    """
    watch = Stopwatch()
    container.check_memory(content.width, content.height, DECODE_BYTES, limit_memory)
    with watch.stage("tool"):
        samples = _decoded(content, photographs)
    with watch.stage("write"):
        picture = _picture(content, samples)
    bits = _bits(picture.pixels, len(content.payload)) if want_bits else None
    return Decoded(picture, NOTHING, bits, 0, watch.seconds, NAMES[content.tool])


def _decoded(content: container.Container, photographs: PhotographTool) -> Pixels:
    shape = content.height, content.width, content.channels
    if content.tool == changes.NUMBER:
        found = changes.read(content.payload, content.height, content.width)
        needed = found.follows.hex()
        raise MissingReference(
            f"the file holds what changed since file {needed}: decode that one "
            "first, then this one (codec.StreamDecoder)",
            needed,
            None,
            found.number,
        )
    if content.tool != mixed.NUMBER:
        return tool_numbered(content.tool).decode(content.payload, shape)
    parts = mixed.read(content.payload, content.height, content.width)
    return mixed.decode(parts, shape, tool_numbered(parts.base), photographs)


def _picture(content: container.Container, samples: Pixels) -> images.Picture:
    pixels = np.repeat(samples, 3, 2) if samples.shape[2] == 1 else samples[..., :3]
    picture = picture_of(content, np.ascontiguousarray(pixels))
    if samples.shape[2] == 4:
        picture.alpha = np.ascontiguousarray(samples[..., 3])
    return picture


def preview(
    content: container.Container, limit_memory: int, photographs: PhotographTool
) -> Decoded:
    """As `decode`, with sides of ceil(H / 8) and ceil(W / 8) pixels."""
    full = decode(content, limit_memory, photographs)
    picture = images.reduced(full.picture, PREVIEW)
    return Decoded(picture, NOTHING, None, 0, full.seconds, full.tool)


def _bits(pixels: Pixels, payload_bytes: int) -> Floats:
    """The payload's bits, spread over the latent grid by a rate estimate of the picture."""
    from codec.guidance.rate_estimate import energies, shipped

    estimate = shipped().bits(energies(pixels), qualities.quality_to_qp(qualities.DEFAULT_QUALITY))
    share = np.maximum(estimate, 0) / max(float(estimate.sum(dtype=float)), 1e-9)
    return (share * 8 * payload_bytes).astype(np.float32)
