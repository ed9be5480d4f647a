"""Ways to send a sequence: streams and still files of this codec, other still files, video.

::

    frames [N, H, W, 3] -> System -> bytes, and the decoded frames that were requested
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from codec.evaluation.distortion import Pixels

FFMPEG = "ffmpeg"
# For still files, only one frame in this many is coded: neighbouring frames have similar sizes.
EVERY = 8
# Encoders have no delay: one packet per frame. Colours have full resolution and range, as in this
# codec's files.
SCALE_IN = "scale=out_color_matrix=bt601:out_range=full:flags=accurate_rnd+full_chroma_int"
SCALE_OUT = "scale=in_color_matrix=bt601:in_range=full:flags=accurate_rnd+full_chroma_int"
X264 = ("-c:v", "libx264", "-preset", "medium", "-tune", "zerolatency", "-g", "1000")


def libaom(usage: str, speed: int) -> tuple[str, ...]:
    """Arguments of ffmpeg for libaom with its tools for screens and without delay."""
    return (
        *("-c:v", "libaom-av1", "-usage", usage, "-cpu-used", str(speed), "-lag-in-frames", "0"),
        *("-row-mt", "1", "-aom-params", "tune-content=screen:error-resilient=0", "-b:v", "0"),
        *("-g", "1000"),
    )


@dataclass(frozen=True)
class Sent:
    """The result of sending a sequence.

    Attributes:
        bytes: bytes of the whole sequence.
        first: bytes of the first frame; None if frames were not counted individually.
        shown: the decoded frames that were requested.
    """

    bytes: int
    first: int | None
    shown: list[Pixels]


@dataclass(frozen=True)
class System:
    """A way to send a sequence, and the qualities that it is measured at."""

    qualities: tuple[float, ...]
    send: Callable[[Sequence[Pixels], float, Sequence[int]], Sent]


def stream(frames: Sequence[Pixels], quality: float, wanted: Sequence[int]) -> Sent:
    """Messages of this codec's stream."""
    encoder = codec.StreamEncoder(_cotam(), quality=quality)
    decoder = codec.StreamDecoder()
    sizes = []
    shown = []
    for number, pixels in enumerate(frames):
        data = encoder.encode(pixels)
        sizes.append(len(data))
        frame = decoder.decode(data)
        if number in wanted:
            shown.append(frame.pixels)
    return Sent(sum(sizes), sizes[0], shown)


def still(frames: Sequence[Pixels], quality: float, wanted: Sequence[int]) -> Sent:
    """A file of this codec for every frame."""
    cotam = _cotam()
    return _each(
        frames,
        lambda pixels: cotam.encode(pixels, quality=quality),
        lambda data: cotam.decode(data, output="array"),
        wanted,
    )


def pillow(name: str, **options: Any) -> Callable[[Sequence[Pixels], float, Sequence[int]], Sent]:
    """A file of another format for every frame, with `quality` if the format has one."""

    def send(frames: Sequence[Pixels], quality: float, wanted: Sequence[int]) -> Sent:
        def coded(pixels: Pixels) -> bytes:
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, name, quality=int(quality), **options)
            return stream.getvalue()

        def opened(data: bytes) -> Pixels:
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(image.convert("RGB"))

        return _each(frames, coded, opened, wanted)

    return send


def video(
    arguments: Sequence[str], container: str
) -> Callable[[Sequence[Pixels], float, Sequence[int]], Sent]:
    """An encoder of ffmpeg at a constant rate factor."""

    def send(frames: Sequence[Pixels], quality: float, wanted: Sequence[int]) -> Sent:
        height, width = frames[0].shape[:2]
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "10")
        with tempfile.TemporaryDirectory(prefix="cotam-video-") as folder:
            file = str(Path(folder) / f"video.{container}")
            coding = (*arguments, "-crf", str(int(quality)), "-pix_fmt", "yuv444p")
            colours = ("-color_range", "pc", "-colorspace", "smpte170m")
            _ffmpeg(
                *raw,
                "-i",
                "-",
                "-vf",
                SCALE_IN,
                *coding,
                *colours,
                file,
                given=b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames),
            )
            size = sum(_packets(file))
            chosen = "+".join(f"eq(n\\,{number})" for number in sorted(wanted))
            picked = f"select='{chosen}',{SCALE_OUT}"
            data = _ffmpeg(
                "-i",
                file,
                "-vf",
                picked,
                "-fps_mode",
                "passthrough",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "rgb24",
                "-",
            )
        shown = np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)
        return Sent(size, None, list(shown))

    return send


def _each(
    frames: Sequence[Pixels],
    encode: Callable[[Pixels], bytes],
    decode: Callable[[bytes], Pixels],
    wanted: Sequence[int],
) -> Sent:
    """A file per frame. The total is extrapolated from every eighth and the requested frames."""
    known: dict[int, bytes] = {}
    for number in sorted({*range(0, len(frames), EVERY), *wanted}):
        known[number] = encode(frames[number])
    mean = sum(map(len, known.values())) / len(known)
    shown = [decode(known[number]) for number in wanted]
    return Sent(round(mean * len(frames)), len(known[0]), shown)


def _ffmpeg(*arguments: str, given: bytes | None = None) -> bytes:
    done = subprocess.run(
        [FFMPEG, "-hide_banner", "-loglevel", "error", "-y", *arguments],
        # stdin must not be the terminal: reading it would stop a process in the background.
        input=given or b"",
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ffmpeg: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


def _packets(file: str) -> list[int]:
    """Bytes of each packet, without the container format."""
    found = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", file],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line.strip(",")) for line in found.stdout.split()]


@lru_cache(maxsize=1)
def _cotam() -> codec.Codec:
    return codec.load()


SYSTEMS: dict[str, System] = {
    "stream": System((30.0, 50.0, 75.0, 90.0, 100.0), stream),
    "still": System((30.0, 50.0, 75.0), still),
    "avif": System((10.0, 25.0, 45.0), pillow("AVIF", speed=6, subsampling="4:4:4")),
    "jpeg": System((75.0,), pillow("JPEG")),
    "png": System((100.0,), pillow("PNG")),
}
VIDEO: dict[str, System] = {
    "libaom": System((24.0, 38.0, 52.0, 63.0), video(libaom("good", 6), "ivf")),
    # The mode for calls and shared screens, at the slowest of its usual speeds (7 to 10).
    "libaom-realtime": System((24.0, 44.0, 54.0, 63.0), video(libaom("realtime", 7), "ivf")),
    "x264": System((14.0, 22.0, 30.0), video(X264, "mkv")),
}


def available() -> dict[str, System]:
    """All systems; without video if ffmpeg is not installed."""
    return SYSTEMS | (VIDEO if shutil.which(FFMPEG) else {})
