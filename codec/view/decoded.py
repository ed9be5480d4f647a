"""A file decoded by Python in the shape of the module's `Decoded`, for browsers that cannot."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from codec import api, info
from codec.bitstream import container
from codec.coding.latent_grid import latent_grid
from codec.io import images
from codec.tools import mixed


def decoded(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode a file.

    Args:
        data: the file.

    Returns:
        The fields of `Decoded` in codec/web/module/decode.js without the picture, and the picture
        as a PNG.

    Raises:
        CodecError: the file is bad.
    """
    facts = info.inspect(data)
    found = api.load_for(data).decode_full(data, want_bits=True)
    bits = found.bits
    assert bits is not None
    rows, cols = latent_grid(*found.size)
    learned = facts.base_qp is not None
    field = np.broadcast_to(np.asarray(found.qp, np.int64), (rows, cols))
    stream = io.BytesIO()
    images.save(found.picture, stream, ".png")
    entry = {
        "tool": facts.tool,
        "reason": facts.reason or "",
        "quality": round(facts.quality),
        "model": facts.model or "",
        "fingerprint": facts.fingerprint or "",
        "checksum": facts.checksum,
        "sections": facts.sections,
        "rows": rows,
        "cols": cols,
        "qp": field.ravel().tolist() if learned else None,
        "bits": np.round(bits, 3).ravel().tolist(),
        "bitsEstimated": not learned,
        "regions": _regions(data),
        "milliseconds": {"all": 1000 * sum(found.seconds.values())},
    }
    return entry, stream.getvalue()


def _regions(data: bytes) -> list[dict[str, int]]:
    """The photographs of a mixed picture."""
    content = container.read(data)
    if content.tool != mixed.NUMBER:
        return []
    boxes = [one.box for one in mixed.read(content.payload, content.height, content.width).regions]
    return [
        {
            "left": box.left,
            "top": box.top,
            "width": box.right - box.left,
            "height": box.bottom - box.top,
        }
        for box in boxes
    ]
