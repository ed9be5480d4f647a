"""`.ctm` in WebDataset: `WebDataset(shards).decode(ctm("pil"))`.

It does not import webdataset.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import codec
from codec.errors import BadArgument
from codec.results import Output

OUTPUTS = ("pil", "array", "tensor")


def ctm(output: Output = "pil", device: str = "auto") -> Callable[[str, bytes], Any]:
    """Make a handler for `.decode`, which decodes entries whose key ends in `ctm`.

    Args:
        output: `pil`, `array` (uint8 [H, W, 3]) or `tensor` (float [3, H, W] in 0..1).
        device: where files are decoded.

    Returns:
        A handler that returns None for other keys and can be sent to workers. It raises CodecError
        for bad files.

    Raises:
        BadArgument: the output is unknown.
    """
    if output not in OUTPUTS:
        raise BadArgument(f"output must be {', '.join(OUTPUTS)}, not '{output}'")
    return partial(_decoded, output, device)


def _decoded(output: Output, device: str, key: str, data: bytes) -> Any:
    if key.split(".")[-1].lower() != "ctm":
        return None
    return codec.decode(data, output=output, device=device)
