"""The results of encoding and decoding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from codec.coding.backend import QpField
from codec.coding.latent_grid import Floats
from codec.coding.pipeline import Latents
from codec.errors import BadArgument, NoLatents, only_codec_errors
from codec.io import images
from codec.io.compose import WHITE

Output = Literal["pil", "array", "tensor"]
Level = Literal["pixels", "preview", "latents"]
LEVELS: tuple[str, ...] = get_args(Level)
NOTHING: Floats = np.zeros((0, 0, 0), np.float32)


@dataclass
class Encoded:
    """A file, and what is known about it.

    Attributes:
        data: the file.
        latents: what the learned tool coded; None for other tools.
        bits: float32 [h, w], bits spent at each latent position, where they were asked for.
        qp: the QP, or int64 [h, w]; 0 for tools without QPs.
        size: height and width in pixels.
        notes: what was changed or ignored on the way, one sentence each.
        seconds: seconds by stage.
        tool: the coding tool.
        reason: why it was chosen.
    """

    data: bytes
    latents: Latents | None
    bits: Floats | None
    qp: QpField
    size: tuple[int, int]
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)
    tool: str = "learned"
    reason: str = ""

    @property
    def y_hat(self) -> Floats:
        """float32 [h, w, M], exactly what every decoder computes. Raises NoLatents."""
        if self.latents is None:
            raise NoLatents(f"files of the tool '{self.tool}' have no latents")
        return self.latents.y_hat


@dataclass
class Decoded:
    """A decoded file.

    Attributes:
        picture: pixels, alpha, profile and EXIF.
        y_hat: float32 [h, w, M]; empty where there are no latents or only a preview was decoded.
        bits: float32 [h, w], bits at each latent position, where they were asked for. Tools without
            latents spread the bytes of the file by a rate estimate from the decoded picture.
        qp: the QP, or int64 [h, w]; 0 for tools without QPs.
        seconds: seconds by stage.
        tool: the coding tool.
    """

    picture: images.Picture
    y_hat: Floats
    bits: Floats | None
    qp: QpField
    seconds: dict[str, float] = field(default_factory=dict)
    tool: str = "learned"

    @property
    def has_latents(self) -> bool:
        """Whether tokens can be repaired from latents."""
        return self.y_hat.size > 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.pixels.shape[0], self.picture.pixels.shape[1]

    @only_codec_errors
    def to(self, output: Output, background: Any = WHITE) -> Any:
        """Convert the picture.

        Arrays and tensors show what a person or a tower sees: sRGB, with transparent pixels
        composed on the background.

        Args:
            output: `pil`, `array` or `tensor`.
            background: the name of a colour or (red, green, blue); PIL images keep their alpha.

        Returns:
            A PIL image, uint8 [H, W, 3], or float32 [3, H, W] in 0..1.

        Raises:
            BadArgument: output or background is unknown.
        """
        return converted(self.picture, output, background)


def converted(picture: images.Picture, output: Output, background: Any = WHITE) -> Any:
    """A picture in the form of `Decoded.to`. Raises BadArgument."""
    if output == "pil":
        return images.to_pil(picture)
    if output == "array":
        return images.shown(picture, background)
    if output == "tensor":
        import torch

        pixels = images.shown(picture, background)
        return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
    raise BadArgument(f"output must be 'pil', 'array' or 'tensor', not {output!r}")
