"""The command `cotam export`."""

from __future__ import annotations

from pathlib import Path

import click

from codec.cli import click_parts, options
from codec.cli.click_parts import option
from codec.cli.terminal import explained
from codec.errors import BadArgument, CodecError
from codec.io import folders
from codec.weights import checkpoint, hub


@click_parts.command("export", example="cotam export --model tiny -o graphs/")
@option(
    "-o",
    "--out",
    "output",
    metavar="DIR",
    required=True,
    section=options.FILES,
    help="Folder in which encoder/ and decoder/ are written.",
)
@option(
    "--int8",
    metavar="PICTURES",
    section=options.NETWORKS,
    help="Transforms in int8, with ranges found on these pictures: faster, less exact.",
)
@options.model
@options.debug
def export_graphs(output: str, int8: str | None, model: str, debug: bool) -> None:
    """Write a codec as ONNX graphs, for machines without PyTorch: `codec.load("DIR/encoder")`."""
    try:
        from codec.export.onnx import export

        pictures = None if int8 is None else folders.pictures_at(Path(int8))
        if pictures == []:
            raise BadArgument("8-bit transforms need pictures to find their ranges with")
        sizes = export(checkpoint.load(hub.on_disk(model)), Path(output), pictures)
    except (CodecError, OSError) as error:
        if debug:
            raise
        options.fail(explained(error))
    for half, size in sizes.items():
        click.echo(f"{Path(output) / half}: {size / 1e6:.1f} MB")
