"""What the commands share: their options, and weights by what was asked for."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer

import codec
from codec.backends.lazy import USUAL_DEVICES, LazyBackend
from codec.backends.manifest import MANIFEST
from codec.bitstream.container import DEFAULT_LIMIT_MEMORY
from codec.cli.terminal import one_line, say

AUTO = "auto"
Inputs = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Files, folders (recursively) or - for stdin.")
]
Out = Annotated[
    Optional[str],
    typer.Option("-o", "--output", metavar="OUT", help="File, folder or - for stdout."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|PATH", help="Weights by name (see `cotam models`) or path."
    ),
]
OwnModel = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|PATH", help="Weights; those that the file names if not given."
    ),
]
Workers = Annotated[
    int, typer.Option("-j", "--jobs", min=1, metavar="N", help="Pictures at a time.")
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the networks run.")
]
NoOverwrite = Annotated[bool, typer.Option("--no-overwrite", help="Leave existing files alone.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files where no output is named, too.")
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Leave out inputs that are done: a run that was ended goes on."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Results as JSON; of encode and decode one object a line.")
]
Limit = Annotated[
    int, typer.Option("--limit-pixels", min=1, metavar="N", help="Refuse larger pictures.")
]
Memory = Annotated[
    str, typer.Option("--limit-memory", metavar="8GiB", help="Refuse pictures that need more.")
]
DEFAULT_MEMORY = f"{DEFAULT_LIMIT_MEMORY >> 30}GiB"
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="all|safe|none",
        help="Of colour profile and EXIF; safe leaves out location and maker notes.",
    ),
]
Background = Annotated[
    str,
    typer.Option(
        metavar="COLOUR", help="What transparency is shown on in formats without it, such as .jpg."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def own_weights(model: str, half: str) -> str:
    """The weights that stand for 'default' and 'auto' here.

    A half of the exported graphs where COTAM_GRAPHS names their folder.
    """
    own = Path(os.environ.get("COTAM_GRAPHS", ""), half)
    return str(own) if model in ("default", AUTO) and (own / MANIFEST).is_file() else model


def load_for(data: bytes, model: str, device: str, limit: int, memory: int) -> codec.Codec:
    """The weights that decode a file: those it was encoded with, unless some were named."""
    name = codec.weights_of(data, limit) or "default" if model == AUTO else model
    return load(name, device, limit, memory)


@lru_cache(maxsize=4)
def load(model: str, device: str, limit: int, memory: int) -> codec.Codec:
    """limit: pixels; memory: bytes."""
    loaded = codec.load(model, device)
    loaded.limit_pixels = limit
    loaded.limit_memory = memory
    return loaded


def fail(message: str, status: int = 1) -> NoReturn:
    say(f"cotam: {one_line(message)}", err=True)
    raise typer.Exit(status)


def check_device(device: str) -> None:
    """Refuse a device that is unknown or absent. Raises BadArgument."""
    if device not in USUAL_DEVICES:
        LazyBackend("default", device)
