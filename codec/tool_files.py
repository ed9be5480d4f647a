"""Files of tools that need no weights: a picture to a file, and back. No network is loaded.

::

    picture -> samples [H, W, C] -> tool -> payload --+--> container -> .ctm
           \\-> alpha (where the tool has none), profile, EXIF --+
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codec import quality as qualities
from codec.bitstream import container
from codec.coding.latent_grid import Floats
from codec.coding.pipeline import PREVIEW, Stopwatch
from codec.errors import TargetTooSmall, TooLarge
from codec.io import images
from codec.io.image_like import samples_of, size_of
from codec.io.metadata import explained, extras_of, for_lossy, picture_of
from codec.options import EncodeOptions
from codec.results import NOTHING, Decoded, Encoded
from codec.tools.choice import Choice
from codec.tools.expected import Candidate, better
from codec.tools.interface import Pixels, Settings
from codec.tools.registry import LOSSLESS, NAMES, is_lossless, tool_named, tool_numbered

# Bytes of memory that a pixel takes beyond the program itself, measured at 4096x4096.
ENCODE_BYTES = 40
DECODE_BYTES = 24


def encode(
    picture: images.Picture,
    choice: Choice,
    options: EncodeOptions,
    limit_memory: int,
    watch: Stopwatch,
) -> Encoded:
    """Encode a picture with the best tool of a choice.

    Raises:
        TargetTooSmall: no quality fits `options.target_bytes`.
        TooLarge: the picture needs more memory than `limit_memory` bytes, or is too large for
            every tool.
    """
    height, width = size_of(picture)
    container.check_memory(width, height, ENCODE_BYTES, limit_memory)
    if not options.lossless:
        picture = for_lossy(picture)

    def file_of(quality: float) -> tuple[bytes, str]:
        with watch.stage("tool"):
            return _best_tool(picture, choice, Settings(quality, options.effort, choice.content))

    try:
        data, tool = _file(file_of, options)
    except TargetTooSmall as error:
        raise explained(picture, error, options.target_bytes or 0) from None
    notes = picture.notes + _ignored(options, tool)
    size = (height, width)
    return Encoded(data, None, None, 0, size, notes, watch.seconds, tool, choice.reason)


def _best_tool(picture: images.Picture, choice: Choice, settings: Settings) -> tuple[bytes, str]:
    """The file of the tool that loses least for its bytes, and the tool's name."""
    exact = settings.quality >= container.BEST_QUALITY
    names = [name for name in choice.tools if is_lossless(name, settings.quality) or not exact]
    names = names or list(choice.tools)
    candidates: list[Candidate] = []
    failure: TooLarge | None = None
    for name in names:
        samples = _samples(picture, name)
        try:
            payload = tool_named(name).encode(samples, settings)
        except TooLarge as error:
            failure = error
            continue
        decoded = picture.pixels
        if len(names) > 1:
            decoded = np.ascontiguousarray(tool_named(name).decode(payload, samples.shape)[..., :3])  # type: ignore[arg-type]
        candidates.append(Candidate(name, payload, decoded))
    if not candidates:
        assert failure is not None
        raise failure
    best = candidates[0] if len(candidates) == 1 else better(picture.pixels, candidates)
    return _written(picture, best, settings, choice.code), best.tool


def _written(
    picture: images.Picture, candidate: Candidate, settings: Settings, reason: int
) -> bytes:
    height, width = size_of(picture)
    channels = _samples(picture, candidate.tool).shape[2]
    extras = extras_of(picture)
    if channels == 4:
        extras.pop(container.EXTRA_ALPHA, None)
    return container.write(
        container.Container(
            width,
            height,
            0,
            b"",
            candidate.payload,
            extras=extras,
            tool=tool_named(candidate.tool).number,
            channels=channels,
            quality=int(settings.quality + 0.5),
            reason=reason,
        )
    )


def _file(
    file_of: Callable[[float], tuple[bytes, str]], options: EncodeOptions
) -> tuple[bytes, str]:
    if options.lossless:
        return file_of(container.BEST_QUALITY)
    if options.target_bytes is None:
        return file_of(options.usual_quality)
    return _best_within(file_of, options.target_bytes)


def _best_within(
    file_of: Callable[[float], tuple[bytes, str]], target_bytes: int
) -> tuple[bytes, str]:
    """The file of the best whole quality that is not larger. Raises TargetTooSmall."""
    low = 0
    high = container.BEST_QUALITY
    best = None
    smallest = 0
    while low <= high:
        middle = (low + high) // 2
        data, tool = file_of(middle)
        if len(data) <= target_bytes:
            best = data, tool
            low = middle + 1
        else:
            smallest = len(data)
            high = middle - 1
    if best is None:
        raise TargetTooSmall(qualities.too_small(smallest), smallest)
    return best


def _samples(picture: images.Picture, tool: str) -> Pixels:
    """What the tool codes: with alpha where the tool has alpha."""
    return samples_of(picture) if tool in LOSSLESS else picture.pixels


def _ignored(options: EncodeOptions, tool: str) -> list[str]:
    names = options.unused_by_screens
    if not names:
        return []
    return [f"the tool '{tool}' codes every part alike: {', '.join(names)} had no effect"]


def decode(content: container.Container, limit_memory: int, want_bits: bool = False) -> Decoded:
    """Decode a file of a tool without weights.

    Raises:
        Corrupt: the payload is damaged.
        TooLarge: the picture needs more memory than `limit_memory` bytes.
        UnsupportedVersion: the tool is unknown.
    """
    watch = Stopwatch()
    tool = tool_numbered(content.tool)
    container.check_memory(content.width, content.height, DECODE_BYTES, limit_memory)
    with watch.stage("tool"):
        shape = content.height, content.width, content.channels
        samples = tool.decode(content.payload, shape)
    with watch.stage("write"):
        picture = _picture(content, samples)
    bits = _bits(picture.pixels, len(content.payload)) if want_bits else None
    return Decoded(picture, NOTHING, bits, 0, watch.seconds, NAMES[content.tool])


def _picture(content: container.Container, samples: Pixels) -> images.Picture:
    pixels = np.repeat(samples, 3, 2) if samples.shape[2] == 1 else samples[..., :3]
    picture = picture_of(content, np.ascontiguousarray(pixels))
    if samples.shape[2] == 4:
        picture.alpha = np.ascontiguousarray(samples[..., 3])
    return picture


def preview(content: container.Container, limit_memory: int) -> Decoded:
    """As `decode`, with sides of ceil(H / 8) and ceil(W / 8) pixels."""
    full = decode(content, limit_memory)
    picture = images.reduced(full.picture, PREVIEW)
    return Decoded(picture, NOTHING, None, 0, full.seconds, full.tool)


def _bits(pixels: Pixels, payload_bytes: int) -> Floats:
    """The payload's bits, spread over the latent grid by a rate estimate of the picture."""
    from codec.guidance.rate_estimate import energies, shipped

    estimate = shipped().bits(energies(pixels), qualities.quality_to_qp(qualities.DEFAULT_QUALITY))
    share = np.maximum(estimate, 0) / max(float(estimate.sum(dtype=float)), 1e-9)
    return (share * 8 * payload_bytes).astype(np.float32)
