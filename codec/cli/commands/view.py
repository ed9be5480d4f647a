"""The command `cotam view`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from codec.cli import click_parts, options
from codec.cli.click_parts import option
from codec.cli.terminal import explained, say
from codec.errors import BadArgument, CodecError

PAGE = "Page"


@click_parts.command("view", example="cotam view coded/ --original photos/")
@click.argument("place", metavar="FILE|DIR")
@option(
    "--original",
    metavar="PATH",
    section=PAGE,
    help="The original picture, or a folder with originals of the same names.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    section=PAGE,
    help="Port on 127.0.0.1; default 0: any free one.",
)
@option(
    "--runtime",
    metavar="npm|PATH",
    section=PAGE,
    help="onnxruntime-web for the browser; without it, Python decodes photographs.",
)
@option(
    "--no-browser", is_flag=True, section=PAGE, help="Print the address, open no browser window."
)
@options.debug
def view(
    place: str, original: str | None, port: int, runtime: str | None, no_browser: bool, debug: bool
) -> None:
    """Show .ctm files on a page of this machine, beside their originals, until Ctrl-C."""
    try:
        from codec.view.files import shown_files
        from codec.view.server import Server, Site

        files = shown_files(Path(place), None if original is None else Path(original))
        site = Site(files, _runtime(runtime))
        try:
            server = Server(site, port)
        except OSError as error:
            raise BadArgument(f"port {port} cannot be used ({error.strerror})") from None
    except (CodecError, OSError) as error:
        if debug:
            raise
        options.fail(explained(error))
    click.echo(f"{len(files)} file{'s' * (len(files) > 1)} at {server.address} (Ctrl-C ends it)")
    sys.stdout.flush()
    if not no_browser and _has_window():
        import webbrowser

        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("")
    finally:
        server.server_close()
        site.close()


def _runtime(given: str | None) -> Path | None:
    """The folder of onnxruntime-web; None if it was not asked for and is not installed."""
    from codec.export.web import find_runtime

    try:
        return find_runtime(given)
    except CodecError:
        if given is not None:
            raise
        return None


def _has_window() -> bool:
    """Whether a browser would open a window, rather than run inside the terminal."""
    if sys.platform in ("darwin", "win32"):
        return sys.stdout.isatty()
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) and sys.stdout.isatty()
