"""CoTAM: the image codec for multimodal LLMs.

>>> import codec
>>> cotam = codec.load()                       # the shipped weights
>>> data = cotam.encode("photo.jpg", quality=50)
>>> image = cotam.decode(data)                 # PIL; codec.decode(data) finds the weights
>>> codec.inspect(data).width                  # reads the header only; needs no torch
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from codec.errors import (
    AdapterUnavailable,
    BadArgument,
    BadPicture,
    CodecError,
    Corrupt,
    GuideUnavailable,
    MissingReference,
    NoLatents,
    NoRoom,
    NotACotamFile,
    TargetTooSmall,
    TooLarge,
    Truncated,
    UnknownModel,
    Unreadable,
    UnsupportedTower,
    UnsupportedVersion,
    WrongAdapter,
    WrongModel,
)

if TYPE_CHECKING:
    from codec.api import Codec, decode, load, load_for
    from codec.info import FileInfo, inspect, models, register_weights, weights_of
    from codec.io.image_like import ImageLike
    from codec.options import EncodeOptions
    from codec.results import Decoded, Encoded
    from codec.stream import Frame, StreamDecoder, StreamEncoder

__version__ = "0.1.0"

__all__ = [
    "AdapterUnavailable",
    "BadArgument",
    "BadPicture",
    "Codec",
    "CodecError",
    "Corrupt",
    "Decoded",
    "EncodeOptions",
    "Encoded",
    "FileInfo",
    "Frame",
    "GuideUnavailable",
    "ImageLike",
    "MissingReference",
    "NoLatents",
    "NoRoom",
    "NotACotamFile",
    "StreamDecoder",
    "StreamEncoder",
    "TargetTooSmall",
    "TooLarge",
    "Truncated",
    "UnknownModel",
    "Unreadable",
    "UnsupportedTower",
    "UnsupportedVersion",
    "WrongAdapter",
    "WrongModel",
    "decode",
    "inspect",
    "load",
    "load_for",
    "models",
    "register_weights",
    "weights_of",
]

# Imported when a name is used, so that a program loads only what it needs.
_LAZY = {
    "codec.api": ("Codec", "decode", "load", "load_for"),
    "codec.info": ("FileInfo", "inspect", "models", "register_weights", "weights_of"),
    "codec.io.image_like": ("ImageLike",),
    "codec.options": ("EncodeOptions",),
    "codec.results": ("Decoded", "Encoded"),
    "codec.stream": ("Frame", "StreamDecoder", "StreamEncoder"),
}
_HOMES = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562). Raises AttributeError."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
