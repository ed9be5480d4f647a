"""`.ctm` for servers that speak OpenAI's protocol (vLLM, SGLang, the hosted ones): pictures travel there as data URLs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import codec
from codec.io import images
from codec.results import Level


def data_url(
    file: bytes | str | Path, suffix: str = ".png", level: Level = "pixels", device: str = "auto"
) -> str:
    """A file as `data:image/...;base64,...`, by the weights that it names.

    file: bytes or a path; suffix: what the server gets, `.png` loses nothing, `.webp` and `.jpg` are smaller; level: `pixels` or
    `preview` (an eighth of the sides). Raises CodecError; OSError where a file cannot be read.
    """
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    stream = io.BytesIO()
    images.save(codec.decode(data, level=level, device=device), stream, suffix)
    kind = {".jpg": "jpeg", ".tif": "tiff"}.get(suffix.lower(), suffix.lower().removeprefix("."))
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
