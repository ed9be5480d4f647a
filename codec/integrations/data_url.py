"""`.ctm` for servers that speak OpenAI's protocol (vLLM, SGLang, the hosted ones): pictures travel there as data URLs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

import codec
from codec.errors import Unreadable, only_codec_errors, sentence
from codec.io import compose, formats, images
from codec.io.metadata import kept
from codec.results import Level


@only_codec_errors
def data_url(
    file: bytes | str | Path,
    suffix: str = ".png",
    level: Level = "pixels",
    device: str = "auto",
    background: Any = compose.WHITE,
) -> str:
    """A file as `data:image/...;base64,...`, by the weights that it names.

    file: bytes or a path; suffix: what the server gets, `.png` loses nothing, `.webp` and `.jpg` are smaller; level: `pixels` or
    `preview` (an eighth of the sides). The server gets pixels in sRGB and no metadata: no location, no maker notes, no profile.
    background: what transparent pixels are composed on where the format has no alpha. Raises CodecError.
    """
    try:
        data = Path(file).read_bytes() if isinstance(file, (str, Path)) else bytes(file)
    except OSError as error:
        raise Unreadable(sentence(error)) from error
    image = codec.decode(data, level=level, device=device)
    picture = kept(images.from_pil(image, image.width * image.height), "none")
    stream = io.BytesIO()
    images.save(picture, stream, suffix, background=background)
    kind = Image.MIME[formats.written_format(suffix) or ""]
    return f"data:{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
