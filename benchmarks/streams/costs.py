"""Time of a stream's messages: `python -m benchmarks.streams.costs RECORDINGS --json`.

::

    two frames of a recording; the first was sent before -> seconds to encode and decode the second
    a first frame -> seconds to encode and decode it, here and by libaom in processes of ffmpeg
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.streams.measure import QUALITY, read
from benchmarks.streams.systems import System, available
from codec.evaluation.distortion import Pixels
from codec.evaluation.machine import describe

ROUNDS = 25
FIRST_ROUNDS = 3
THREADS = 2
# The messages to time: recording and number of the frame.
CASES = {
    "a menu opened": ("menus-1456x819", 1),
    "a letter typed": ("typing-1456x819", 5),
    "scrolled by a turn of the wheel": ("scrolling-1456x819", 2),
    "nothing changed": ("scrolling-1456x819", 18),
}
FIRST = "menus-1456x819"
# The quality of each system at which its first frame is timed.
FIRST_QUALITIES = {"stream": QUALITY, "libaom-realtime": 63.0, "libaom": 63.0}


def first_frame(system: System, quality: float, frame: Pixels) -> dict[str, float]:
    """Minimum seconds to encode and decode a first frame, and its bytes."""
    seconds = []
    for _ in range(FIRST_ROUNDS):
        start = time.perf_counter()
        sent = system.send([frame], quality, [0])
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "bytes": sent.bytes}


def timed(before: Pixels, after: Pixels) -> dict[str, float]:
    """Bytes of the second of two frames, and minimum milliseconds over some rounds."""
    encoder = codec.StreamEncoder(quality=QUALITY)
    key = encoder.encode(before)
    encoded = []
    decoded = []
    for _ in range(ROUNDS):
        sender = copy.deepcopy(encoder)
        receiver = codec.StreamDecoder()
        receiver.decode(key)
        start = time.perf_counter()
        data = sender.encode(after)
        middle = time.perf_counter()
        receiver.decode(data)
        encoded.append(middle - start)
        decoded.append(time.perf_counter() - middle)
    return {"encode_ms": 1e3 * min(encoded), "decode_ms": 1e3 * min(decoded), "bytes": len(data)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path, help="the folder that record.py wrote")
    add_options(parser)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": describe(), "rounds": ROUNDS, "threads": THREADS}
    result["cases"] = {}
    for name, (folder, number) in CASES.items():
        frames = read(options.recordings / folder)
        result["cases"][name] = timed(frames[number - 1], frames[number])
    frame = read(options.recordings / FIRST)[0]
    systems = available()
    result["first_frame"] = {
        name: first_frame(systems[name], quality, frame)
        for name, quality in FIRST_QUALITIES.items()
        if name in systems
    }
    if not hand_over(result, options):
        for name, costs in result["cases"].items():
            print(f"{name}: " + ", ".join(f"{what} {value:.1f}" for what, value in costs.items()))
        for system, costs in result["first_frame"].items():
            print(f"{system}: first frame {costs['seconds']:.1f} s, {costs['bytes']} bytes")


if __name__ == "__main__":
    main()
