"""Encodes and decodes one picture for each line on stdin; benchmarks.install.speed runs it.

::

    probe.py BACKEND PICTURE, with the `codec` of a checkout on PYTHONPATH
    a line on stdin -> a JSON line on stdout: milliseconds of encode and decode, also for AVIF
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Stages = dict[str, float]


def timed(call: Callable[[], Any]) -> Stages:
    """Milliseconds of a call, and of its stages if it returns them."""
    start = time.perf_counter()
    result = call()
    total = 1000 * (time.perf_counter() - start)
    stages = getattr(result, "seconds", {})
    return {"total": total} | {name: 1000 * spent for name, spent in stages.items()}


def main() -> None:
    """Measure once per line until stdin ends."""
    backend, path = sys.argv[1:]
    if backend == "torch":
        import torch  # noqa: F401 -- older checkouts and `auto` use PyTorch if it is imported
    import codec

    # Older checkouts have one backend only.
    options = {"backend": backend} if "backend" in codec.load.__annotations__ else {}
    cotam = codec.load(**options)  # type: ignore[arg-type]
    image = Image.open(path).convert("RGB")
    pixels = np.asarray(image)
    file = cotam.encode(pixels, tool="learned")

    def avif() -> bytes:
        stream = io.BytesIO()
        image.save(stream, "AVIF", speed=6)
        return stream.getvalue()

    coded = avif()
    calls: dict[str, Callable[[], Any]] = {
        "encode": lambda: cotam.encode_full(pixels, tool="learned"),
        "decode": lambda: cotam.decode_full(file),
        "avif encode": avif,
        "avif decode": lambda: Image.open(io.BytesIO(coded)).convert("RGB"),
    }
    for _ in sys.stdin:
        print(json.dumps({name: timed(call) for name, call in calls.items()}), flush=True)


if __name__ == "__main__":
    main()
