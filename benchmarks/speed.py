"""Time and memory: in process beside other codecs, and as whole processes: `python -m benchmarks.speed --json`.

Protocol: everything warmed up, the systems take turns, medians; ratios are within one run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as pictures

import codec
from benchmarks.lib.backends import BACKENDS, compared
from benchmarks.lib.learned import LEARNED, Coder, kmac_per_pixel, learned
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import WARM_UP, command, medians
from codec.evaluation.machine import describe
from codec.evaluation.rivals import RIVALS, Rival

SIDES = (768, 512)
CODER = "CoTAM"
OTHER_WEIGHTS = ("tiny",)


def picture(width: int, height: int) -> np.ndarray:
    """A real photograph at a given size."""
    return np.asarray(
        Image.fromarray(pictures.coffee()).resize((width, height), Image.Resampling.LANCZOS)
    )


def nearest(rival: Rival, pixels: np.ndarray, size: int) -> int:
    """The quality, of those that rate-distortion curves are measured at, whose file is nearest in size."""
    return min(rival.qualities, key=lambda quality: abs(len(rival.encode(pixels, quality)) - size))


def own(model: str, pixels: np.ndarray, quality: float) -> tuple[Coder, int]:
    """CoTAM with these weights, and its file's bytes."""
    cotam = codec.load(model, "cpu")
    data = cotam.encode(pixels, tool="learned", quality=quality)
    weights = cotam.backend.checkpoint
    arrays = weights.arrays  # type: ignore[attr-defined]
    count = sum(array.size for name, array in arrays.items() if not name.startswith("tables."))
    return Coder(
        lambda: cotam.encode_full(pixels, tool="learned", quality=quality),
        lambda: cotam.decode_full(data),
        count,
    ), len(data)


def coders(pixels: np.ndarray, quality: float, threads: int) -> dict[str, Coder]:
    """Who takes part; the default weights come first, Pillow's codecs are at about their file size."""
    coder, size = own("default", pixels, quality)
    found = {CODER: coder} | {
        f"{CODER} {model}": own(model, pixels, quality)[0] for model in OTHER_WEIGHTS
    }
    for name, knobs in (("AVIF", {"max_threads": threads}), ("WebP", {}), ("JPEG", {})):
        rival = RIVALS[name]
        rival = replace(rival, options=rival.options + tuple(knobs.items()))
        near = nearest(rival, pixels, size)
        found[name] = Coder(
            partial(rival.encode, pixels, near),
            partial(rival.decode, rival.encode(pixels, near)),
            None,
        )
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float().contiguous() / 255
    return found | {name: learned(name, x) for name in LEARNED}


def in_process(threads: int, rounds: int, quality: float) -> dict[str, Any]:
    """Milliseconds (medians) of encode and decode of every coder, CoTAM's by stage, and what the networks cost."""
    torch.set_num_threads(threads)
    pixels = picture(*SIDES)
    systems = coders(pixels, quality, threads)
    stages: dict[str, list[dict[str, float]]] = {"encode": [], "decode": []}

    def staged(what: str, call: Callable[[], Any]) -> None:
        stages[what].append(call().seconds)

    calls: dict[str, Callable[[], Any]] = {}
    for name, coder in systems.items():
        for what, call in (("encode", coder.encode), ("decode", coder.decode)):
            calls[f"{name} {what}"] = partial(staged, what, call) if name == CODER else call
    spent = medians(calls, rounds)
    middle = {name: {what: spent[f"{name} {what}"] for what in stages} for name in systems}
    split = {
        n: {k: 1000 * median(r[k] for r in rows[WARM_UP:]) for k in rows[0]}
        for n, rows in stages.items()
    }
    ours = middle[CODER]
    return {
        "size": list(SIDES),
        "quality": quality,
        "milliseconds": middle,
        "stages": split,
        "times_faster": {
            name: {what: v[what] / ours[what] for what in v}
            for name, v in middle.items()
            if name != CODER
        },
        "entropy_share": {n: split[n]["entropy"] / ours[n] for n in ours},
        "parameters": {
            name: coder.parameters for name, coder in systems.items() if coder.parameters
        },
        "kmac_per_pixel": {
            name: {
                "encode": kmac_per_pixel(coder.encode, SIDES[0] * SIDES[1]),
                "decode": kmac_per_pixel(coder.decode, SIDES[0] * SIDES[1]),
            }
            for name, coder in systems.items()
            if coder.parameters
        },
    }


def whole_process(width: int, height: int, rounds: int) -> dict[str, float]:
    """`cotam encode` of a picture of that size."""
    with tempfile.TemporaryDirectory() as folder:
        source = saved(Path(folder), width, height)
        return command(["encode", str(source)], rounds)


def saved(folder: Path, width: int, height: int) -> Path:
    """`picture` as a file."""
    source = folder / "picture.png"
    Image.fromarray(picture(width, height)).save(source)
    return source


def chosen_backends(text: str) -> list[str]:
    """Names with commas. Raises ArgumentTypeError."""
    names = [name for name in text.split(",") if name]
    if wrong := [name for name in names if name not in BACKENDS]:
        raise argparse.ArgumentTypeError(f"backends are {', '.join(BACKENDS)}, not '{wrong[0]}'")
    return names


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
        help="a folder for onnx-int8 to find its ranges with",
    )
    add_options(parser)
    options = parser.parse_args()
    if "onnx-int8" in options.backends and not options.int8_pictures:
        parser.error("onnx-int8 needs --int8-pictures")
    result: dict[str, Any] = {
        "machine": describe(options.threads),
        "in_process": in_process(options.threads, options.rounds, options.quality),
        "command_768x512": whole_process(768, 512, 5),
        "command_3840x2160": whole_process(3840, 2160, 2),
    }
    if options.backends:
        with tempfile.TemporaryDirectory() as folder:
            how = options.threads, options.quality, options.rounds, options.int8_pictures
            result["backends"] = compared(options.backends, saved(Path(folder), *SIDES), *how)
    if not hand_over(result, options):
        inside = result["in_process"]
        for name, spent in inside["milliseconds"].items():
            times = inside["times_faster"].get(name, {"encode": 1.0, "decode": 1.0})
            print(
                f"{name:14}"
                + "  ".join(
                    f"{what} {spent[what]:7.1f} ms ({times[what]:.1f} times ours)" for what in spent
                )
            )
        print("whole command:", result["command_768x512"], result["command_3840x2160"])
        for name, facts in result.get("backends", {}).items():
            print(name, facts)


if __name__ == "__main__":
    main()
