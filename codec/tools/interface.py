"""A coding tool: two methods, from pixels and settings to bytes, and back.

::

    pixels [H, W, C] --encode(settings)--> payload --container--> .ctm
    .ctm --container (size, checksum)--> payload --decode--> pixels [H, W, C]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.tools.quality import Content

Pixels = NDArray[np.uint8]
SettingsT = TypeVar("SettingsT", contravariant=True)
DEFAULT_EFFORT = 5
MOST_EFFORT = 9


@dataclass(frozen=True)
class Settings:
    """The settings of every tool except the learned one.

    Attributes:
        quality: 0..100; 100 is lossless where the tool can be.
        effort: 0 (fastest) .. 9 (smallest).
        content: what the picture looks like, which decides what a quality means (tools.quality).
    """

    quality: float
    effort: int
    content: Content = "graphics"


class Tool(Protocol[SettingsT]):
    """One way to code a picture.

    Attributes:
        name: the name in the option `tool` and in the output of `cotam info`.
        number: 1..31 in a file's header; 0 is the learned tool.
    """

    name: str
    number: int

    def encode(self, pixels: Pixels, settings: SettingsT) -> bytes:
        """Code a picture.

        Args:
            pixels: uint8 [H, W, C].
            settings: the tool's own settings.

        Returns:
            The payload. The size and number of samples are in the file's header.
        """

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        """Decode a payload.

        Args:
            payload: what `encode` returned.
            shape: H, W, C.

        Returns:
            uint8 [H, W, C].

        Raises:
            Corrupt: the payload is damaged or contradicts the shape.
        """


class ScreenTool(Tool[Settings], Protocol):
    """A tool without weights, whose results can be compared with those of others."""

    def trials(self, pixels: Pixels, settings: Settings) -> list[tuple[bytes, Pixels]]:
        """Payloads to choose from, each with what `decode` returns for it.

        Args:
            pixels: uint8 [H, W, C].
            settings: as for `encode`.

        Raises:
            TooLarge: the picture is too large for the tool.
        """
