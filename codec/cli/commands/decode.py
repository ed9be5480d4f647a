"""The command `cotam decode`."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

from codec import quality as qualities
from codec.bitstream import container
from codec.cli import click_parts, options, streams
from codec.cli.batch import Kind, run_batch
from codec.cli.click_parts import option
from codec.cli.jobs import ENCODED, Result
from codec.cli.outputs import Put
from codec.cli.pictures.written import WrittenAs
from codec.cli.printing.choices import choices_of
from codec.errors import BadArgument
from codec.io import formats

LEVELS = ("pixels", "preview")
OUTPUT = "Output"


def is_picture(suffix: str) -> bool:
    """Whether a suffix is that of a picture that can be written."""
    return suffix != ENCODED and formats.written_format(suffix) is not None


def is_no_ctm(name: str, start: bytes) -> bool:
    """Whether a file is a picture that `decode` would write, by its name and first bytes."""
    return is_picture(Path(name).suffix.lower()) and not start.startswith(container.MAGIC)


def decode_file(source: bytes | Path, target: str, settings: dict[str, Any]) -> tuple[Put, Result]:
    """Decode a .ctm file.

    Args:
        source: the file or its bytes.
        target: its suffix names the format; PNG on stdout.
        settings: from `decode`.

    Returns:
        A function that writes the picture, and the result.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    # A bad file is refused before the weights are loaded.
    content = container.read(data, settings["limit"])
    loaded = options.load_for(
        data, settings["model"], settings["device"], settings["limit"], settings["memory"]
    )
    preview = settings["level"] == "preview"
    decoded = loaded.decode_preview(data) if preview else loaded.decode_full(data)
    picture = decoded.picture
    bpp = len(data) * 8 / (content.width * content.height)
    notes = list(picture.notes)
    result = Result("", "", "", 0, 0, *decoded.size[::-1], bpp, decoded.seconds, notes)
    if settings["explain"]:
        result.choices = choices_of(data, settings["limit"])

    def put(stream: IO[bytes]) -> None:
        notes.extend(settings["format"].save(picture, stream, target))

    return put, result


@click_parts.command("decode", example="cotam decode coded/ -o pictures/ -j 2")
@options.files
@option(
    "--level",
    default="pixels",
    metavar="|".join(LEVELS),
    section=OUTPUT,
    help="preview is fast and has an eighth of the sides; default: pixels.",
)
@option(
    "-q",
    "--quality",
    type=click.IntRange(0, 100),
    metavar="0..100",
    section=OUTPUT,
    help="Quality of .jpg, .webp and .avif; default: visually lossless.",
)
@option(
    "--subsampling",
    metavar="|".join(formats.SUBSAMPLINGS),
    section=OUTPUT,
    help="Chroma subsampling of .jpg and .avif; default 4:4:4 (none).",
)
@option(
    "--format",
    "format_name",
    metavar="png|jpg|webp|avif|...",
    section=OUTPUT,
    help="Format of results that are not named; default png.",
)
@options.background
@options.after
@options.sequence
@options.own_model
@options.coding
def decode(**flags: Any) -> None:
    """Decode .ctm files to pictures (PNG, or the format of the output's suffix).

    IN is a .ctm file, a folder (searched recursively), a quoted pattern or - for stdin. If a
    second name has the suffix of a picture and does not exist, it is the output.
    """
    if flags["level"] not in LEVELS:
        options.fail(f"level must be {' or '.join(LEVELS)}, not '{flags['level']}'", 2)
    try:
        memory = qualities.parse_size(flags["limit_memory"])
        written = WrittenAs.of(flags)
    except BadArgument as error:
        options.fail(str(error), 2)
    settings = {
        "limit": flags["limit_pixels"],
        "memory": memory,
        "level": flags["level"],
        "model": options.own_weights(flags["model"], "decoder"),
        "format": written,
        "device": flags["device"],
    }
    work = streams.work(streams.decoding, decode_file, flags, settings)
    kind = Kind(written.suffix, {ENCODED}, is_picture, is_no_ctm, written.check, saves=False)
    run_batch(flags, settings, kind, work)
