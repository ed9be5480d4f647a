"""`.ctm` in WebDataset: `WebDataset(shards).decode(ctm("pil"))`; it needs nothing of webdataset itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import codec
from codec.errors import BadArgument
from codec.results import Output

OUTPUTS = ("pil", "array", "tensor")


def ctm(output: Output = "pil", device: str = "auto") -> Callable[[str, bytes], Any]:
    """A handler for `.decode`: keys that end in `ctm` become pictures, others are left to the next handler.

    output: `pil`, `array` (uint8 [H, W, 3]) or `tensor` (float [3, H, W] in 0..1). Raises BadArgument; CodecError when used.
    """
    if output not in OUTPUTS:
        raise BadArgument(f"output must be {', '.join(OUTPUTS)}, not '{output}'")

    def handler(key: str, data: bytes) -> Any:
        return (
            codec.decode(data, output, device=device)
            if key.split(".")[-1].lower() == "ctm"
            else None
        )

    return handler
