"""What rides in a file beside its latents: alpha, grey, colour profile, EXIF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bitstream import container
from codec.io import images


def picture_of(content: container.Container, pixels: NDArray[np.uint8]) -> images.Picture:
    extras = content.extras
    alpha = extras.get(container.EXTRA_ALPHA)
    return images.Picture(
        pixels,
        None if alpha is None else images.unpack_alpha(alpha, content.width, content.height),
        container.EXTRA_GREY in extras,
        extras.get(container.EXTRA_ICC),
        extras.get(container.EXTRA_EXIF),
    )


def extras_of(picture: images.Picture, strip: bool) -> dict[int, bytes]:
    extras: dict[int, bytes] = {}
    if picture.alpha is not None:
        extras[container.EXTRA_ALPHA] = images.pack_alpha(picture.alpha)
    if picture.grey:
        extras[container.EXTRA_GREY] = b""
    if picture.icc and not strip:
        extras[container.EXTRA_ICC] = picture.icc
    if picture.exif and not strip:
        extras[container.EXTRA_EXIF] = picture.exif
    return extras
