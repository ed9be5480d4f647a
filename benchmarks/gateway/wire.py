"""Bytes on the wire: a message with one picture, sent through the gateway as .ctm, PNG and JPEG.

`python -m benchmarks.gateway.wire --out benchmarks/results/wire.json`.
Uses real sockets and counts all bytes of the HTTP request: from the client to the gateway, and from
the gateway to a small server in place of the upstream.

::

    httpx --request--> counting relay --> gateway --> counting relay --> upstream
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.gateway.counting_relay import CountingRelay
from benchmarks.lib.output import add_options, hand_over
from codec.bitstream.container import MEDIA_TYPE
from codec.evaluation.codecs import codec_under_test
from codec.evaluation.distortion import Pixels, psnr
from codec.evaluation.judges import data_root, read_pixels
from codec.evaluation.machine import describe
from codec.integrations.gateway.app import application
from codec.integrations.gateway.settings import Settings

SETS = ("kodak", "screens")
QUALITY = 50.0
QUESTION = "What is in this picture?"
# JPEG qualities, among which the one with equal PSNR is searched.
JPEG_LOWEST, JPEG_HIGHEST = 1, 95
DEADLINE = 30.0
Encode = Callable[[Pixels], bytes]


def as_png(pixels: Pixels) -> bytes:
    """A lossless file."""
    return codec_under_test("png").encode(pixels, 0)


def as_jpeg_75(pixels: Pixels) -> bytes:
    """A file written with Pillow's default settings."""
    return codec_under_test("jpeg-q75").encode(pixels, 75)


def as_jpeg_of_equal_psnr(pixels: Pixels) -> bytes:
    """The smallest JPEG with at least the PSNR of the .ctm."""
    jpeg = codec_under_test("jpeg")
    cotam = codec_under_test("cotam")
    wanted = psnr(pixels, cotam.decode(as_ctm(pixels)))
    low, high = JPEG_LOWEST, JPEG_HIGHEST
    while low < high:
        middle = (low + high) // 2
        if psnr(pixels, jpeg.decode(jpeg.encode(pixels, middle))) >= wanted:
            high = middle
        else:
            low = middle + 1
    return jpeg.encode(pixels, low)


def as_ctm(pixels: Pixels) -> bytes:
    """A .ctm at the default quality, with the tool that is chosen for the picture."""
    return codec_under_test("cotam").encode(pixels, QUALITY)


FORMATS: dict[str, tuple[str, Encode]] = {
    "png": ("image/png", as_png),
    "jpeg-75": ("image/jpeg", as_jpeg_75),
    "jpeg-equal-psnr": ("image/jpeg", as_jpeg_of_equal_psnr),
    "ctm": (MEDIA_TYPE, as_ctm),
}


def message(media_type: str, data: bytes) -> dict[str, Any]:
    """A request in OpenAI's protocol with one picture."""
    url = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    parts = [
        {"type": "text", "text": QUESTION},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    return {"model": "any", "messages": [{"role": "user", "content": parts}]}


async def answer(request: Request) -> JSONResponse:
    """The server in place of the upstream. It reads the whole request."""
    await request.body()
    said = {"role": "assistant", "content": "a cat"}
    return JSONResponse({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})


@contextmanager
def served(app: Starlette) -> Iterator[int]:
    """Serve an application on a free loopback port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    end = time.monotonic() + DEADLINE
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join(DEADLINE)


def measure(paths: list[Path]) -> dict[str, dict[str, float]]:
    """Send each picture in each format.

    Returns:
        Format -> means over the pictures of: bytes of the file, of the request to the gateway, and
        of the request to the upstream.
    """
    counts: dict[str, list[tuple[int, int, int]]] = {name: [] for name in FORMATS}
    upstream = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    with served(upstream) as up, CountingRelay(up) as behind:
        gateway = application(
            Settings(f"http://127.0.0.1:{behind.port}", max_request_bytes=1 << 28)
        )
        with served(gateway) as port, CountingRelay(port) as before:
            address = f"http://127.0.0.1:{before.port}/v1/chat/completions"
            for path in paths:
                pixels = read_pixels(path)
                for name, (media_type, encode) in FORMATS.items():
                    data = encode(pixels)
                    start = before.up, behind.up
                    sent = httpx.post(address, json=message(media_type, data), timeout=DEADLINE)
                    sent.raise_for_status()
                    counts[name].append((len(data), before.up - start[0], behind.up - start[1]))
    keys = ("file", "to_gateway", "to_upstream")
    return {name: dict(zip(keys, map(mean, zip(*measured)))) for name, measured in counts.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, help="use the first N pictures of each set")
    add_options(parser)
    options = parser.parse_args()
    result: dict[str, Any] = {"quality": QUALITY, "machine": describe(), "sets": {}}
    for name in SETS:
        paths = sorted((data_root() / "eval" / name).glob("*.png"))[: options.limit]
        result["sets"][name] = {"pictures": len(paths), "bytes": measure(paths)}
    if not hand_over(result, options):
        print(json.dumps(result["sets"], indent=1))


if __name__ == "__main__":
    main()
