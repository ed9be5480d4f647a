"""`.ctm` as torchvision reads pictures: a tensor of bytes in, a tensor of pixels out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import codec
from codec.errors import BadArgument, only_codec_errors
from codec.io import images

MODES = {"RGB": "RGB", "GRAY": "L", "GRAY_ALPHA": "LA", "RGB_ALPHA": "RGBA", "UNCHANGED": None}


@only_codec_errors
def decode_ctm(
    file: Tensor | bytes | str | Path, mode: str = "RGB", device: str = "auto"
) -> Tensor:
    """Decode a file as torchvision.io.decode_image does.

    Args:
        file: uint8 [bytes] as of torchvision.io.read_file, bytes, or a path.
        mode: RGB, GRAY, GRAY_ALPHA, RGB_ALPHA or UNCHANGED, or torchvision's ImageReadMode. Modes
            without alpha show transparent pixels on white.
        device: where the file is decoded.

    Returns:
        uint8 [C, H, W].

    Raises:
        CodecError: the file is bad or cannot be read, or an argument is unknown.
    """
    name = str(getattr(mode, "name", mode)).upper()
    if name not in MODES:
        raise BadArgument(f"mode must be {', '.join(MODES)}, not '{mode}'")
    if isinstance(file, Tensor):
        if file.dtype != torch.uint8 or file.ndim != 1:
            raise BadArgument(f"a file is uint8 [bytes], not {file.dtype} {list(file.shape)}")
        file = file.cpu().numpy().tobytes()
    image = codec.decode(
        file if isinstance(file, bytes) else Path(file).read_bytes(), device=device
    )
    if MODES[name] in ("RGB", "L"):
        image = images.on_background(image)
    if MODES[name] is not None:
        image = image.convert(MODES[name])
    pixels = np.asarray(image)
    return torch.from_numpy(
        np.array(pixels if pixels.ndim == 3 else pixels[..., None]).transpose(2, 0, 1).copy()
    )
