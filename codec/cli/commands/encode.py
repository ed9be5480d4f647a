"""The command `cotam encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from codec import quality as qualities
from codec.bitstream.container import MAGIC
from codec.cli import click_parts, options, streams
from codec.cli.batch import Kind, run_batch
from codec.cli.click_parts import option
from codec.cli.commands.tuning import FEATURES, tuning
from codec.cli.commands.tuning import tuner as tuner_of
from codec.cli.jobs import ENCODED, Result
from codec.cli.outputs import Put
from codec.cli.pictures.prepared import Preparation
from codec.cli.printing.choices import choices_of
from codec.cli.terminal import explained
from codec.errors import BadArgument, CodecError
from codec.guidance import PRESETS, STRENGTH, USUAL_GUIDE, choose
from codec.integrations.receivers import RECEIVERS
from codec.io import folders, images
from codec.io.metadata import DEFAULT_KEEP
from codec.options import TOOL_NAMES, EncodeOptions
from codec.tools.effort import effort_help
from codec.tools.interface import DEFAULT_EFFORT

SIZE = "Size and quality"
GUIDE = "Where bits go (photographs)"
PICTURE = "Picture and metadata"


def is_encoded(suffix: str) -> bool:
    """Whether a suffix is that of a .ctm file."""
    return suffix == ENCODED


def is_ctm(name: str, start: bytes) -> bool:
    """Whether a file is a .ctm file by its name or its first bytes."""
    return start.startswith(MAGIC) or is_encoded(Path(name).suffix.lower())


KIND = Kind(ENCODED, folders.PICTURES, is_encoded, is_ctm, lambda _: None, saves=True)


class _Looks:
    """A placeholder for the student: it checks a guide's name before any network is loaded."""

    look = staticmethod(lambda pixels: pixels)


def encode_file(source: bytes | Path, target: str, settings: dict[str, Any]) -> tuple[Put, Result]:
    """Encode a picture.

    Args:
        source: a picture file or its bytes.
        target: where the result goes; not used.
        settings: from `encode`.

    Returns:
        A function that writes the .ctm file, and the result.
    """
    # The picture is read before PyTorch is loaded, because Pillow takes 4 bytes a pixel
    # (docs/decisions.md, 11).
    picture = settings["prepare"](images.load(source, settings["limit"]))
    loaded = options.load(
        settings["model"], settings["device"], settings["limit"], settings["memory"]
    )
    guide = None
    if settings["guide"]:
        name, preset, tower, weights = settings["guide"]
        guide = choose(name, preset, tower, weights, loaded.backend)
    tuner = tuner_of(settings["tune"], loaded.backend) if settings["tune"] else None
    encoded = loaded.encode_full(picture, options=settings["encode"], guide=guide, tune=tuner)
    height, width = picture.pixels.shape[:2]
    data = encoded.data
    bpp = len(encoded.data) * 8 / (width * height)
    result = Result("", "", "", 0, 0, width, height, bpp, encoded.seconds, encoded.notes)
    if settings["explain"]:
        result.choices = choices_of(data, settings["limit"], encoded.reason)
    return lambda stream: stream.write(data), result


@click_parts.command("encode", example="cotam encode screenshots/ -o coded/ -q 60 -j 2")
@options.files
@option(
    "-q",
    "--quality",
    type=float,
    metavar="0..100",
    section=SIZE,
    help="Quality; 100 is best; default 50.",
)
@option(
    "--target-size",
    metavar="20KB",
    section=SIZE,
    help="The best quality whose file is not larger; also B, KiB, MB.",
)
@option("--lossless", is_flag=True, section=SIZE, help="Keep every pixel exactly.")
@option(
    "--effort",
    type=int,
    default=DEFAULT_EFFORT,
    metavar="0..9",
    section=SIZE,
    help=effort_help(),
)
@option(
    "--tool",
    default="auto",
    metavar="NAME",
    section=SIZE,
    help=f"{', '.join(TOOL_NAMES[1:])}; default: auto, by the picture.",
)
@option(
    "--guide",
    metavar="NAME|FILE",
    section=GUIDE,
    help="student, clip, paper, local, uniform, or a map (.png, .npy); default: uniform.",
)
@option(
    "--strength",
    type=float,
    default=STRENGTH,
    metavar="0..1",
    section=GUIDE,
    advanced=True,
    help=f"Strength of the guide; 0 means uniform steps; default {STRENGTH:g}.",
)
@option(
    "--guide-preset",
    "preset",
    default="default",
    metavar="|".join(PRESETS),
    section=GUIDE,
    advanced=True,
    help="How the guide's map becomes steps; default: default.",
)
@option(
    "--guide-model",
    metavar="NAME",
    section=GUIDE,
    advanced=True,
    help="Tower of the guides clip and paper; default: ViT-L-14-336.",
)
@option(
    "--guide-weights",
    metavar="TAG|FILE",
    section=GUIDE,
    advanced=True,
    help="Weights of that tower; default: openai.",
)
@option(
    "--slope",
    type=float,
    metavar="0..14",
    section=GUIDE,
    advanced=True,
    help="Lower the QP by this much per nat of estimated cost above the median; default: "
    "that of the weights.",
)
@option(
    "--tune",
    is_flag=False,
    flag_value=FEATURES,
    metavar="[clip|TOWER]",
    section=GUIDE,
    help="Tune to a tower, or to the shipped network; takes seconds.",
)
@option(
    "--tune-weights",
    metavar="TAG|FILE",
    section=GUIDE,
    advanced=True,
    help="The tower's weights; default: those that it is known for.",
)
@option(
    "--tune-steps",
    type=click.IntRange(min=1),  # refused before PyTorch is imported
    metavar="N",
    section=GUIDE,
    advanced=True,
    help="Tuning steps; default 20, and 6 without a name.",
)
@option(
    "--resize",
    metavar="WxH|LONGSIDE",
    section=PICTURE,
    help="Resize to WxH pixels, or reduce the long side; by Lanczos.",
)
@option(
    "--fit",
    metavar="|".join(RECEIVERS),
    section=PICTURE,
    help="Reduce to the size that this hosted model uses.",
)
@option(
    "--background",
    metavar="COLOUR",
    section=PICTURE,
    help="Colour behind transparent pixels; default: they stay transparent.",
)
@option(
    "--keep",
    default=DEFAULT_KEEP,
    metavar="all|safe|none",
    section=PICTURE,
    help="safe (default) leaves out location, maker notes, serial numbers.",
)
@option("--strip", is_flag=True, section=PICTURE, advanced=True, help="The same as --keep none.")
@options.after
@options.sequence
@options.model
@options.coding
def encode(**flags: Any) -> None:
    """Encode pictures to .ctm files.

    IN is a picture, a folder (searched recursively), a quoted pattern or - for stdin. If a
    second name ends in .ctm and does not exist, it is the output.
    """
    try:
        settings = _settings(flags)
    except BadArgument as error:
        options.fail(str(error), 2)
    except CodecError as error:
        options.fail(explained(error))
    settings["model"] = options.own_weights(flags["model"], "encoder")
    settings["device"] = flags["device"]
    work = streams.work(streams.encoding, encode_file, flags, settings)
    run_batch(flags, settings, KIND, work)


def _settings(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings for `encode_file`. Raises BadArgument, CodecError."""
    quality = flags["quality"]
    target_size = flags["target_size"]
    if quality is not None and target_size is not None:
        raise BadArgument("give a quality or a target size, not both")
    chosen = EncodeOptions(
        quality=quality,
        target_bytes=None if target_size is None else qualities.parse_size(target_size),
        lossless=flags["lossless"],
        tool=flags["tool"],
        effort=flags["effort"],
        strength=flags["strength"],
        slope=flags["slope"],
        keep=flags["keep"],
        strip=flags["strip"],
    )
    guide = (flags["preset"], flags["guide_model"], flags["guide_weights"])
    # None: the guide of the weights.
    named = None
    if flags["guide"] or guide != ("default", None, None):
        named = (flags["guide"] or USUAL_GUIDE, *guide)
        if flags["strength"] > 0:
            choose(*named, _Looks())
    return {
        "encode": chosen,
        "prepare": Preparation.of(flags),
        "limit": flags["limit_pixels"],
        "guide": named,
        "tune": tuning(flags["tune"], flags["tune_weights"], flags["tune_steps"]),
        "memory": qualities.parse_size(flags["limit_memory"]),
    }
