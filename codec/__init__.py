"""CoTAM: the image codec for multimodal LLMs.

>>> import codec
>>> cotam = codec.load()                       # the shipped weights
>>> data = cotam.encode("photo.jpg", quality=50)
>>> image = cotam.decode(data)                 # PIL; codec.decode(data) finds the weights
>>> codec.inspect(data).width                  # reads the header only; needs no torch
"""

from codec.api import Codec, decode, load, load_for
from codec.errors import (
    AdapterUnavailable,
    BadArgument,
    BadPicture,
    CodecError,
    Corrupt,
    GuideUnavailable,
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
from codec.info import FileInfo, inspect, models, weights_of
from codec.io.image_like import ImageLike
from codec.options import EncodeOptions
from codec.results import Decoded, Encoded

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
    "GuideUnavailable",
    "ImageLike",
    "NoLatents",
    "NoRoom",
    "NotACotamFile",
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
    "weights_of",
]
