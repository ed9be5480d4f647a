"""The command `cotam serve`."""

from __future__ import annotations

from typing import Any

import click

from codec.cli import click_parts
from codec.cli.click_parts import option
from codec.cli.options import fail
from codec.errors import BadArgument
from codec.integrations.gateway.settings import (
    LIMIT_PIXELS,
    LIMIT_REQUEST,
    MIB,
    TIMEOUT,
    Settings,
)

WHERE = "Where"
PICTURES = "Pictures"
LIMITS = "Limits"


@click_parts.command("serve", example="cotam serve --upstream http://localhost:8000")
@option(
    "--upstream",
    required=True,
    metavar="URL",
    section=WHERE,
    help="The server, which must speak OpenAI's protocol.",
)
@option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    section=WHERE,
    help="Listen on this address; default 127.0.0.1.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    metavar="N",
    section=WHERE,
    help="Listen on this port; 0 for any free one; default 8080.",
)
@option(
    "--format",
    "file_format",
    default="webp",
    metavar="webp|jpeg|png",
    section=PICTURES,
    help="Format sent to the server; default webp.",
)
@option(
    "--fit",
    metavar="claude|openai|gemini|WxH",
    section=PICTURES,
    help="Reduce pictures to this receiver's size, or to a box.",
)
@option(
    "--max-picture",
    type=click.IntRange(min=1),
    metavar="BYTES",
    section=PICTURES,
    help="Largest data URL sent to the server.",
)
@option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    default=2,
    metavar="N",
    section=PICTURES,
    help="Number of pictures converted in parallel; default 2.",
)
@option(
    "--max-request",
    type=click.IntRange(min=1),
    default=LIMIT_REQUEST // MIB,
    metavar="MIB",
    section=LIMITS,
    help=f"Refuse larger requests; default {LIMIT_REQUEST // MIB}.",
)
@option(
    "--limit-pixels",
    type=click.IntRange(min=1),
    default=LIMIT_PIXELS,
    metavar="N",
    section=LIMITS,
    help=f"Refuse larger pictures; default {LIMIT_PIXELS}.",
)
@option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=TIMEOUT,
    metavar="S",
    section=LIMITS,
    help=f"Wait this many seconds for the server's next bytes; default {TIMEOUT:g}.",
)
def serve(
    upstream: str,
    host: str,
    port: int,
    file_format: Any,
    fit: str | None,
    max_picture: int | None,
    jobs: int,
    max_request: int,
    limit_pixels: int,
    timeout: float,
) -> None:
    """Forward OpenAI-style requests, with .ctm pictures converted for the server."""
    try:
        import uvicorn

        from codec.integrations.gateway.app import application
    except ImportError as error:
        fail(f"the gateway needs {error.name}: install it with pip install 'cotam[serve]'", 2)
    try:
        settings = Settings(
            upstream,
            file_format,
            _fit(fit),
            max_picture,
            max_request * MIB,
            limit_pixels,
            timeout,
            jobs,
        )
    except BadArgument as error:
        fail(str(error), 2)
    # Both headers come from the upstream.
    uvicorn.run(application(settings), host=host, port=port, server_header=False, date_header=False)


def _fit(text: str | None) -> Any:
    """A receiver's name, or a box from WIDTHxHEIGHT."""
    width, cross, height = (text or "").partition("x")
    if cross and width.isdecimal() and height.isdecimal():
        return int(width), int(height)
    return text
