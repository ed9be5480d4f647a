"""The registry of codecs under test, for `cotam eval` and every benchmark: real files, by name.

::

    "cotam:small-mse"  -> cotam           CoTAM as `cotam encode` runs it
    "tool:av1"         -> cotam           one coding tool of CoTAM
    "avif-444"         -> pillow          formats through Pillow, with named settings
    "compressai:NAME"  -> compressai_zoo  learned codecs with their weights
    "untrained:NAME"   -> compressai_zoo  the same with random weights, for timing
    "compressai:NAME,FILE", "elic:FILE", "dcae:FILE"  -> by_checkpoint  for people who have weights
    "elic-gain:FILE"   -> elic_base       ELIC with our QPs, maps and guides

A new codec is a module here and a line in `FAMILIES`, or an entry in `pillow.SETTINGS`.
`variants` has the ways in which the task benchmark drives CoTAM.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import codec
from codec.errors import BadArgument, CodecError
from codec.evaluation.codecs import by_checkpoint, compressai_zoo, cotam, pillow
from codec.evaluation.codecs.interface import CodecUnderTest

__all__ = [
    "CodecUnderTest",
    "available",
    "codec_under_test",
    "cotam_codec",
    "names",
    "title_of",
]


def compressai_model(name: str) -> CodecUnderTest:
    """NAME with published weights, or NAME,PLACE with a checkpoint."""
    model, comma, place = name.partition(",")
    if comma:
        return by_checkpoint.compressai_codec(model, place)
    return compressai_zoo.codec_of(model)


def elic_gain(name: str) -> CodecUnderTest:
    """ELIC with our QPs, maps and guides; imported on demand, because it needs PyTorch."""
    from codec.evaluation.codecs.elic_base import codec_of

    return codec_of(name)


# Names of the form FAMILY:NAME.
FAMILIES: dict[str, Callable[[str], CodecUnderTest]] = {
    "cotam": cotam.codec_of,
    "tool": cotam.tool_codec,
    "effort": cotam.effort_codec,
    "compressai": compressai_model,
    "untrained": compressai_zoo.untrained_codec,
    "elic": by_checkpoint.elic_codec,
    "dcae": by_checkpoint.dcae_codec,
    "elic-gain": elic_gain,
}
DEFAULT = "cotam"
NAMES = (
    f"cotam, cotam:WEIGHTS, tool:NAME, effort:N, {', '.join(pillow.SETTINGS)}, "
    "compressai:NAME[,FILE], elic:FILE, dcae:FILE, elic-gain:FILE"
)
# Learned models take up to a few hundred megabytes each.
CODECS_KEPT = 16


def names(text: str) -> tuple[str, ...]:
    """Read a list of codecs.

    Args:
        text: names with commas; formats of Pillow also by title ("WebP"). A compressai model may be
            followed by a comma and the place of its checkpoint.

    Returns:
        Each name once, formats of Pillow as keys of `pillow.SETTINGS`.

    Raises:
        BadArgument: the list is empty, or a name is not one of a codec.
    """
    parts: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if parts and _takes_a_place(parts[-1]) and part and by_checkpoint.is_place(part):
            parts[-1] += f",{part}"
        elif part:
            parts.append(part)
    if not parts:
        raise BadArgument(f"name at least one codec: {NAMES}")
    return tuple(dict.fromkeys(canonical(part) for part in parts))


def _takes_a_place(name: str) -> bool:
    return name.startswith("compressai:") and "," not in name


def canonical(name: str) -> str:
    """The registry's spelling of a codec's name.

    Raises:
        BadArgument: there is no codec of that name.
    """
    settings = pillow.settings_of(name)
    if settings is not None:
        return next(key for key, value in pillow.SETTINGS.items() if value is settings)
    family, colon, rest = name.partition(":")
    if name == "compressai":
        raise BadArgument("name a model of compressai, for example compressai:mbt2018-mean")
    if name == DEFAULT or (family in FAMILIES and colon and rest):
        return name
    raise BadArgument(f"codecs are {NAMES}, not '{name}'")


@lru_cache(maxsize=CODECS_KEPT)
def codec_under_test(name: str) -> CodecUnderTest:
    """Open a codec.

    Args:
        name: as `names` returns it.

    Returns:
        The codec, ready to code.

    Raises:
        CodecError: the name is unknown, or weights, a library or a plug-in are missing.
    """
    name = canonical(name)
    if name in pillow.SETTINGS:
        return pillow.SETTINGS[name].codec()
    family, _, rest = name.partition(":")
    return FAMILIES[family](rest or cotam.DEFAULT_WEIGHTS)


def title_of(name: str) -> str:
    """A codec's title, the key of its curves in results; formats of Pillow are not opened."""
    settings = pillow.settings_of(name)
    return codec_under_test(name).name if settings is None else settings.title


def cotam_codec(name: str) -> codec.Codec | None:
    """The codec.Codec behind `cotam[:WEIGHTS]`; None for any other name."""
    family, _, weights = name.partition(":")
    return cotam.loaded(weights or cotam.DEFAULT_WEIGHTS) if family == "cotam" else None


def available(requested: tuple[str, ...]) -> tuple[dict[str, CodecUnderTest], dict[str, str]]:
    """Open those codecs that can be opened.

    Args:
        requested: names, as `names` returns them.

    Returns:
        name -> codec, and name -> why it is missing.

    Raises:
        BadArgument: none can be opened.
    """
    opened = {}
    missing = {}
    for name in requested:
        try:
            opened[name] = codec_under_test(name)
        except CodecError as error:
            missing[name] = str(error)
    if not opened:
        raise BadArgument("; ".join(missing.values()))
    return opened, missing
