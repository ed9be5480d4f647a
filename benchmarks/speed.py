"""Time and memory: compared with other codecs in one process, and of whole commands.

`python -m benchmarks.speed --json`. Times are medians of alternating calls after a warm-up. Ratios
are computed within one run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as pictures

from benchmarks.lib.backends import BACKENDS, compared
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import WARM_UP, command, kmac_per_pixel, medians
from benchmarks.rd import RIVAL_QUALITIES
from codec.evaluation.codecs import codec_under_test, cotam_codec
from codec.evaluation.codecs.compressai_zoo import UNTRAINED
from codec.evaluation.codecs.pillow import SETTINGS
from codec.evaluation.distortion import Pixels
from codec.evaluation.machine import describe

# Width and height of the picture for timings in process, as in Kodak.
SIDES = (768, 512)
COTAM = "CoTAM"
# Weights that are timed in addition to the default ones.
OTHER_WEIGHTS = ("tiny",)
# Name in the registry -> option of Pillow's Image.save that limits the number of threads.
RIVALS: dict[str, str | None] = {"avif": "max_threads", "webp": None, "jpeg": None}
# Number of rounds of whole commands, for 768x512 and for 3840x2160.
COMMAND_ROUNDS = 5
LARGE_COMMAND_ROUNDS = 2
WAYS = ("encode", "decode")

Call = Callable[[], Any]


@dataclass(frozen=True)
class Timed:
    """A codec that is timed on one picture.

    Attributes:
        calls: encode and decode.
        identity: identity string of the codec.
        parameters: number of parameters of its networks; None if it has none.
    """

    calls: dict[str, Call]
    identity: str
    parameters: int | None = None


def picture(width: int, height: int) -> Pixels:
    """A real photograph, resized."""
    photo = Image.fromarray(pictures.coffee())
    return np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))


def timed_cotam(name: str, pixels: Pixels, quality: float) -> tuple[Timed, int]:
    """CoTAM on a picture. Its calls also return seconds by stage.

    Args:
        name: `cotam` or `cotam:WEIGHTS`.
        pixels: uint8 [H, W, 3].
        quality: 0..100.

    Returns:
        The codec to time, and the number of bytes of its file.
    """
    under_test = codec_under_test(name)
    cotam = cotam_codec(name)
    assert cotam is not None
    encode = partial(cotam.encode_full, pixels, tool="learned", quality=quality)
    data = encode().data
    calls: dict[str, Call] = {"encode": encode, "decode": partial(cotam.decode_full, data)}
    return Timed(calls, under_test.identity, under_test.parameters), len(data)


def timed_rival(name: str, pixels: Pixels, size: int, threads: int) -> Timed:
    """A format of Pillow, at the quality whose file size is nearest to `size`.

    Args:
        name: name in the registry.
        pixels: uint8 [H, W, 3].
        size: target size in bytes.
        threads: number of threads, if the format supports several.

    Returns:
        The codec to time.
    """
    option = RIVALS[name]
    rival = SETTINGS[name].codec(**({option: threads} if option else {}))
    quality = rival.nearest_quality(pixels, size, RIVAL_QUALITIES[name])
    data = rival.encode(pixels, quality)
    calls: dict[str, Call] = {
        "encode": partial(rival.encode, pixels, quality),
        "decode": partial(rival.decode, data),
    }
    return Timed(calls, rival.identity)


def timed_untrained(name: str, pixels: Pixels) -> Timed:
    """A learned codec with random weights, which do not change its layers or number of symbols."""
    model = codec_under_test(f"untrained:{name}")
    quality = model.qualities[0]
    data = model.encode(pixels, quality)
    calls: dict[str, Call] = {
        "encode": partial(model.encode, pixels, quality),
        "decode": partial(model.decode, data),
    }
    return Timed(calls, model.identity, model.parameters)


def systems_for(pixels: Pixels, quality: float, threads: int) -> dict[str, Timed]:
    """All codecs to time, by title; the default weights come first.

    Args:
        pixels: uint8 [H, W, 3].
        quality: quality of CoTAM, 0..100; Pillow's formats get about the same file size.
        threads: number of threads of each codec.

    Returns:
        Title -> codec to time.
    """
    cotam, size = timed_cotam("cotam", pixels, quality)
    systems = {COTAM: cotam}
    for model in OTHER_WEIGHTS:
        systems[f"{COTAM} {model}"] = timed_cotam(f"cotam:{model}", pixels, quality)[0]
    for name in RIVALS:
        systems[SETTINGS[name].title] = timed_rival(name, pixels, size, threads)
    for name in UNTRAINED:
        systems[name] = timed_untrained(name, pixels)
    return systems


def in_process(threads: int, rounds: int, quality: float) -> dict[str, Any]:
    """Time all codecs in this process.

    Args:
        threads: number of threads of each codec.
        rounds: how often each call is timed.
        quality: quality of CoTAM, 0..100.

    Returns:
        Median milliseconds to encode and decode, by stage for CoTAM, and multiplications and
        parameters of the networks.
    """
    torch.set_num_threads(threads)
    systems = systems_for(picture(*SIDES), quality, threads)
    stages: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}

    def staged(way: str, call: Call) -> None:
        stages[way].append(call().seconds)

    calls: dict[str, Call] = {}
    for name, system in systems.items():
        for way, call in system.calls.items():
            calls[f"{name} {way}"] = partial(staged, way, call) if name == COTAM else call
    spent = medians(calls, rounds)
    milliseconds = {name: {way: spent[f"{name} {way}"] for way in WAYS} for name in systems}
    split = {
        way: {stage: 1000 * median(row[stage] for row in rows[WARM_UP:]) for stage in rows[0]}
        for way, rows in stages.items()
    }
    cotam = milliseconds[COTAM]
    networks = {name: system for name, system in systems.items() if system.parameters}
    return {
        "size": list(SIDES),
        "quality": quality,
        "systems": {name: system.identity for name, system in systems.items()},
        "milliseconds": milliseconds,
        "stages": split,
        "times_faster": {
            name: {way: value / cotam[way] for way, value in values.items()}
            for name, values in milliseconds.items()
            if name != COTAM
        },
        "entropy_share": {way: split[way]["entropy"] / cotam[way] for way in WAYS},
        "parameters": {name: system.parameters for name, system in networks.items()},
        "kmac_per_pixel": {
            name: {
                way: kmac_per_pixel(call, SIDES[0] * SIDES[1]) for way, call in system.calls.items()
            }
            for name, system in networks.items()
        },
    }


def whole_process(width: int, height: int, rounds: int) -> dict[str, float]:
    """Seconds and peak memory of `cotam encode` for a picture of this size."""
    with tempfile.TemporaryDirectory() as folder:
        source = saved(Path(folder), width, height)
        return command(["encode", str(source)], rounds)


def saved(folder: Path, width: int, height: int) -> Path:
    """Write `picture` as a PNG file."""
    source = folder / "picture.png"
    Image.fromarray(picture(width, height)).save(source)
    return source


def chosen_backends(text: str) -> list[str]:
    """Read a list of backends.

    Args:
        text: names separated by commas.

    Returns:
        The names.

    Raises:
        ArgumentTypeError: a name is unknown.
    """
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in BACKENDS]:
        raise argparse.ArgumentTypeError(f"backends are {', '.join(BACKENDS)}, not '{unknown[0]}'")
    return names


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    inside = result["in_process"]
    for name, spent in inside["milliseconds"].items():
        times = inside["times_faster"].get(name, dict.fromkeys(WAYS, 1.0))
        cells = [f"{way} {spent[way]:7.1f} ms ({times[way]:.1f} times CoTAM's)" for way in spent]
        print(f"{name:14}" + "  ".join(cells))
    print("whole command:", result["command_768x512"], result["command_3840x2160"])
    for name, facts in result.get("backends", {}).items():
        print(name, facts)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument(
        "--backends",
        type=chosen_backends,
        default=[],
        help=f"also compare these: {','.join(BACKENDS)}",
    )
    parser.add_argument(
        "--int8-pictures",
        type=Path,
        default=None,
        help="a folder of pictures that onnx-int8 finds its ranges with",
    )
    add_options(parser)
    options = parser.parse_args()
    if "onnx-int8" in options.backends and not options.int8_pictures:
        parser.error("onnx-int8 needs --int8-pictures")
    result: dict[str, Any] = {
        "machine": describe(options.threads),
        "in_process": in_process(options.threads, options.rounds, options.quality),
        "command_768x512": whole_process(768, 512, COMMAND_ROUNDS),
        "command_3840x2160": whole_process(3840, 2160, LARGE_COMMAND_ROUNDS),
    }
    if options.backends:
        with tempfile.TemporaryDirectory() as folder:
            result["backends"] = compared(
                options.backends,
                saved(Path(folder), *SIDES),
                options.threads,
                options.quality,
                options.rounds,
                options.int8_pictures,
            )
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
