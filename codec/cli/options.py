"""Options that several commands share, and weights by name."""

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
        "--model",
        metavar="NAME|PATH",
        help="Weights by name or path; default: those that the file names.",
    ),
]
Workers = Annotated[
    int,
    typer.Option("-j", "--jobs", min=1, metavar="N", help="Number of pictures coded in parallel."),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where the networks run.")
]
NoOverwrite = Annotated[bool, typer.Option("--no-overwrite", help="Leave existing files alone.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing files, even if no output is named.")
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Skip inputs whose result exists: resumes an interrupted run."
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print results as JSON; encode and decode print one object a line."
    ),
]
Limit = Annotated[
    int, typer.Option("--limit-pixels", min=1, metavar="N", help="Refuse larger pictures.")
]
Memory = Annotated[
    str,
    typer.Option("--limit-memory", metavar="8GiB", help="Refuse pictures that need more memory."),
]
DEFAULT_MEMORY = f"{DEFAULT_LIMIT_MEMORY >> 30}GiB"
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="all|safe|none",
        help="Metadata to keep; safe keeps the profile and EXIF without location and maker notes.",
    ),
]
Background = Annotated[
    str,
    typer.Option(
        metavar="COLOUR",
        help="Colour behind transparent pixels in formats without alpha, such as .jpg.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def own_weights(model: str, half: str) -> str:
    """Replace the default weights by an exported half, if COTAM_GRAPHS names its folder.

    Args:
        model: as given by the user.
        half: "encoder" or "decoder".

    Returns:
        The half's folder for 'default' and 'auto'; otherwise the model.
    """
    folder = Path(os.environ.get("COTAM_GRAPHS", ""), half)
    return str(folder) if model in ("default", AUTO) and (folder / MANIFEST).is_file() else model


def load_for(data: bytes, model: str, device: str, limit: int, memory: int) -> codec.Codec:
    """Load the codec that decodes a file.

    Args:
        data: the file.
        model: weights; `auto` for those that the file names.
        device: as for codec.load.
        limit: pixels.
        memory: bytes.

    Returns:
        The codec.

    Raises:
        CodecError: the file is bad, or there are no such weights.
    """
    name = codec.weights_of(data, limit_pixels=limit) or "default" if model == AUTO else model
    return load(name, device, limit, memory)


@lru_cache(maxsize=4)
def load(model: str, device: str, limit: int, memory: int) -> codec.Codec:
    """Load a codec with limits in pixels and bytes; kept for the next picture."""
    loaded = codec.load(model, device)
    loaded.limit_pixels = limit
    loaded.limit_memory = memory
    return loaded


def fail(message: str, status: int = 1) -> NoReturn:
    """Print a message on stderr and end the command with an exit status."""
    say(f"cotam: {one_line(message)}", err=True)
    raise typer.Exit(status)


def check_device(device: str) -> None:
    """Refuse a device that is unknown or absent. Raises BadArgument."""
    if device not in USUAL_DEVICES:
        LazyBackend("default", device)
