"""The commands `cotam desktop install|remove|thumbnail`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from codec.cli import click_parts, options
from codec.cli.click_parts import CONTEXT, option
from codec.cli.desktop.files import Changes, install, remove
from codec.cli.outputs import write
from codec.cli.terminal import explained, say
from codec.errors import CodecError

SIZE = 256


@click.group("desktop", context_settings=CONTEXT)
def desktop() -> None:
    """Make the desktop know .ctm files: media type, magic for `file`, thumbnails.

    For the current user, in XDG_DATA_HOME and ~/.magic; root is not needed.
    """


@desktop.command(
    "install", cls=click_parts.Command, context_settings=CONTEXT, example="cotam desktop install"
)
@options.debug
def install_files(debug: bool) -> None:
    """Install the media type, the magic and the thumbnailer; repeat it when the program moves."""
    _change(install, "wrote", debug)


@desktop.command(
    "remove", cls=click_parts.Command, context_settings=CONTEXT, example="cotam desktop remove"
)
@options.debug
def remove_files(debug: bool) -> None:
    """Remove what `cotam desktop install` wrote, and nothing else."""
    _change(remove, "removed", debug)


def _change(work: Callable[[Mapping[str, str]], Changes], verb: str, debug: bool) -> None:
    try:
        changes = work(os.environ)
    except OSError as error:
        if debug:
            raise
        options.fail(explained(error))
    for path in changes.files:
        say(f"{verb} {path}")
    for note in changes.notes:
        say(f"cotam: note: {note}", err=True)


@desktop.command(
    "thumbnail",
    cls=click_parts.Command,
    context_settings=CONTEXT,
    example="cotam desktop thumbnail photo.ctm small.png --size 128",
)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@option(
    "-s",
    "--size",
    type=click.IntRange(1, 2048),
    default=SIZE,
    metavar="N",
    help=f"Longest side in pixels; default {SIZE}.",
)
@options.debug
def thumbnail(source: str, target: str, size: int, debug: bool) -> None:
    """Write a thumbnail as PNG, as desktops ask for it; from the preview of large pictures."""
    try:
        # Imported here, because installing needs no pictures.
        from codec.cli.desktop.thumbnail import thumbnail as picture_of
        from codec.io import images

        picture = picture_of(Path(source), size)
        write(target, lambda stream: images.save(picture, stream, ".png"), True)
    except (CodecError, OSError, MemoryError) as error:
        if debug:
            raise
        options.fail(f"{source}: {explained(error)}")
