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

PAGE = "Browser viewer"


@click_parts.command("export", example="cotam export --web site/ --model tiny --runtime npm")
@option(
    "-o",
    "--out",
    "output",
    metavar="DIR",
    section=options.FILES,
    help="Folder in which encoder/ and decoder/ are written.",
)
@option(
    "--web",
    metavar="DIR",
    section=PAGE,
    help="Write a page that decodes .ctm files, for any static server (docs/browser.md).",
)
@option(
    "--runtime",
    metavar="npm|PATH",
    section=PAGE,
    help="onnxruntime-web: its folder, or npm to fetch it; default: the one fetched before.",
)
@option(
    "--int8",
    metavar="PICTURES",
    section=options.NETWORKS,
    help="Transforms in int8, with ranges found on these pictures: faster, less exact.",
)
@options.model
@options.debug
def export_graphs(
    output: str | None,
    web: str | None,
    runtime: str | None,
    int8: str | None,
    model: str,
    debug: bool,
) -> None:
    """Write a codec as ONNX graphs, for `codec.load("DIR/encoder")`, or as a page for browsers."""
    if output is None and web is None:
        options.fail("name a folder: -o DIR for graphs, --web DIR for the browser viewer", 2)
    try:
        if output is not None:
            _graphs(Path(output), int8, model)
        if web is not None:
            _page(Path(web), runtime, model)
    except ImportError as error:
        if debug or int8 is None:
            raise
        options.fail(f"--int8 needs {error.name}: pip install 'cotam[export]'")
    except (CodecError, OSError) as error:
        if debug:
            raise
        options.fail(explained(error))


def _graphs(folder: Path, int8: str | None, model: str) -> None:
    if int8 is not None:
        # Imported first, so that a missing package is reported before anything is written.
        import onnx  # noqa: F401
    from codec.export.onnx import export

    pictures = None if int8 is None else folders.pictures_at(Path(int8))
    if pictures == []:
        raise BadArgument("8-bit transforms need pictures to find their ranges with")
    for half, size in export(checkpoint.load(hub.on_disk(model)), folder, pictures).items():
        click.echo(f"{folder / half}: {size / 1e6:.1f} MB")


def _page(folder: Path, runtime: str | None, model: str) -> None:
    from codec.export.web import export, find_runtime

    for part, size in export(
        checkpoint.load(hub.on_disk(model)), folder, find_runtime(runtime)
    ).items():
        click.echo(f"{folder}: {part} {size / 1e6:.3f} MB")
