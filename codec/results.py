"""What encoding and decoding return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from codec.coding.backend import QpField
from codec.coding.latent_grid import Floats
from codec.coding.pipeline import Latents
from codec.errors import BadArgument
from codec.io import images
from codec.io.compose import WHITE

Output = Literal["pil", "array", "tensor"]
Level = Literal["pixels", "preview", "latents"]
LEVELS = ("pixels", "preview", "latents")
NOTHING: Floats = np.zeros((0, 0, 0), np.float32)


@dataclass
class Encoded:
    """data: the file; latents: what the coder saw; bits: float32 [h, w] spent at each latent position; qp: the QP, or int64 [h, w];
    size: height and width in pixels.
    """

    data: bytes
    latents: Latents
    bits: Floats | None
    qp: QpField
    size: tuple[int, int]
    notes: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def y_hat(self) -> Floats:
        """float32 [h, w, M], as any decoder will have it."""
        return self.latents.y_hat


@dataclass
class Decoded:
    """picture: pixels, alpha, profile; y_hat, bits and qp as in `Encoded`."""

    picture: images.Picture
    y_hat: Floats
    bits: Floats | None
    qp: QpField
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.pixels.shape[0], self.picture.pixels.shape[1]

    def to(self, output: Output, background: Any = WHITE) -> Any:
        """A PIL image, a uint8 array [H, W, 3] or a float tensor [3, H, W] in 0..1.

        Arrays and tensors are what a person or a tower sees: in sRGB, transparent pixels composed on
        the background, a colour's name or (red, green, blue).
        """
        if output == "pil":
            return images.to_pil(self.picture)
        if output == "array":
            return images.shown(self.picture, background)
        if output == "tensor":
            import torch

            pixels = images.shown(self.picture, background)
            return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255)
        raise BadArgument(f"output must be 'pil', 'array' or 'tensor', not '{output}'")
