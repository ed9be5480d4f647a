"""Whether encoding and decoding work here, how fast, and with which files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import api
from codec.errors import CodecError, sentence
from codec.io import formats
from codec.tools.names import LEARNED, PALETTE
from codec.weights import lookup
from codec.weights.shipped import SUFFIX, folders

WIDTH = 768
HEIGHT = 512
REPEATS = 3
# Formats that people ask for, by suffix.
USUAL = (".png", ".jpg", ".webp", ".avif", ".tif", ".gif", ".jp2")


def weights() -> list[dict[str, Any]]:
    """The installed weights: name, fingerprint and path."""
    found = []
    for name in lookup.names():
        path = lookup.find(name)
        fingerprint = lookup.stored_fingerprint(path)
        found.append({"name": name, "fingerprint": fingerprint, "path": str(path)})
    return found


def guides() -> list[str]:
    """Files of guides that come with the weights."""
    return _stems("guides")


def adapters() -> list[str]:
    """Files of token adapters that come with the weights."""
    return _stems("adapters")


def _stems(kind: str) -> list[str]:
    return sorted({p.stem for folder in folders() for p in (folder / kind).glob(f"*{SUFFIX}")})


def picture_formats() -> dict[str, list[str]]:
    """Which of the usual formats this Pillow reads and writes."""
    from PIL import Image

    Image.init()
    registered = Image.registered_extensions()
    reads = [s for s in USUAL if registered.get(s) in Image.OPEN and registered[s] in formats.READ]
    return {"read": reads, "written": [s for s in USUAL if formats.written_format(s)]}


def scene() -> NDArray[np.uint8]:
    """A picture of 768x512 that looks like a photograph: smooth noise of several scales."""
    from PIL import Image

    random = np.random.default_rng(0)
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for side in (8, 32, 128):
        noise = random.integers(0, 256, (side * HEIGHT // WIDTH, side, 3), dtype=np.uint8)
        large = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        total += np.asarray(large, np.float32) / 3
    return total.astype(np.uint8)


def check() -> dict[str, Any]:
    """Encode and decode a picture with each kind of tool.

    Returns:
        "works", "problem" (a sentence, if it does not), "backend" and "milliseconds" of the learned
        tool, the best of three.
    """
    try:
        return {"works": True, "problem": None} | _checked()
    except Exception as error:  # of any type: saying what is broken is the purpose
        return {"works": False, "problem": sentence(error), "backend": None, "milliseconds": {}}


def _checked() -> dict[str, Any]:
    pixels = scene()
    cotam = api.load()
    exact = cotam.encode(pixels, lossless=True, tool=PALETTE)
    if not np.array_equal(cotam.decode(exact, output="array"), pixels):
        raise CodecError("a lossless file does not decode to the same pixels")
    encoded = cotam.encode_full(pixels, tool=LEARNED)
    decoded = cotam.decode_full(encoded.data)
    if not np.array_equal(encoded.y_hat, decoded.y_hat):
        raise CodecError("a file does not decode to the latents that were encoded")
    return {
        "backend": _backend(cotam),
        "milliseconds": {
            "encode": _best(lambda: cotam.encode(pixels, tool=LEARNED)),
            "decode": _best(lambda: cotam.decode_full(encoded.data)),
            "preview": _best(lambda: cotam.decode_preview(encoded.data)),
        },
    }


def _backend(cotam: api.Codec) -> str:
    from codec.backends import runtime

    device = getattr(cotam.backend, "device", "cpu")
    return f"{runtime.chosen('auto', 'auto')} on {device}"


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 1)
