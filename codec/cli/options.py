"""Options that several commands share, and weights by name."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from codec.bitstream.container import DEFAULT_LIMIT_MEMORY, DEFAULT_LIMIT_PIXELS
from codec.cli.click_parts import Decorator, option
from codec.cli.terminal import one_line, say
from codec.weights.shipped import MANIFEST

if TYPE_CHECKING:
    import codec

AUTO = "auto"
FILES = "Files"
NETWORKS = "Networks and limits"
SEQUENCES = "Sequences of screenshots"
# One worker process for this many files, if the number of processes is not given.
FILES_PER_WORKER = 16
MOST_WORKERS = 8


class Workers(click.ParamType):
    """A number of processes, or `all` for one on each core."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number; click.BadParameter for anything else."""
        if value == "all":
            return os.cpu_count() or 1
        try:
            count = int(value)
        except ValueError:
            count = 0
        if count < 1:
            self.fail(f"'{value}' is neither a number above zero nor 'all'", param, ctx)
        return count


def workers_for(count: int) -> int:
    """Processes for a number of files where the user names none.

    Two processes with one thread each code 1.6 times as many pictures a second as one process with
    two threads. Each process takes a third of a second to start and 200 MB.
    """
    return max(1, min(os.cpu_count() or 1, count // FILES_PER_WORKER, MOST_WORKERS))


inputs = click.argument("inputs", metavar="IN...", nargs=-1, required=True)
output = option(
    "-o", "--output", metavar="OUT", section=FILES, help="File, folder, or - for stdout."
)
overwrite = option(
    "--overwrite",
    is_flag=True,
    section=FILES,
    help="Replace existing files, even if no output is named.",
)
no_overwrite = option(
    "--no-overwrite", is_flag=True, section=FILES, help="Never replace existing files."
)
skip_existing = option(
    "--skip-existing",
    is_flag=True,
    section=FILES,
    help="Skip inputs whose result exists: resumes an interrupted run.",
)
workers = option(
    "-j",
    "--jobs",
    type=Workers(),
    metavar="N|all",
    section=FILES,
    help="Pictures coded in parallel; default: 1 for a few files.",
)
after = option(
    "--after",
    multiple=True,
    metavar="FILE.ctm",
    section=SEQUENCES,
    help="An earlier file of the sequence; repeat it for a chain.",
)
sequence = option(
    "--sequence",
    is_flag=True,
    section=SEQUENCES,
    help="Inputs are a sequence, by name; each builds on earlier ones.",
)
model = option(
    "--model",
    default="default",
    metavar="NAME|PATH|hf://...",
    section=NETWORKS,
    help="Weights by name (`cotam models`), path or address; default: small.",
)
own_model = option(
    "--model",
    default=AUTO,
    metavar="NAME|PATH|hf://...",
    section=NETWORKS,
    help="Weights by name, path or address; default: those that the file names.",
)
device = option(
    "--device",
    default=AUTO,
    metavar="auto|cpu|cuda",
    section=NETWORKS,
    help="Where the networks run; default: auto, a GPU if there is one.",
)
background = option(
    "--background",
    default="white",
    metavar="COLOUR",
    section="Output",
    help="Colour behind transparent pixels where a format has no alpha; default white.",
)
limit_pixels = option(
    "--limit-pixels",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT_PIXELS,
    metavar="N",
    section=NETWORKS,
    advanced=True,
    help=f"Refuse pictures of more pixels; default {DEFAULT_LIMIT_PIXELS}.",
)
limit_memory = option(
    "--limit-memory",
    default=f"{DEFAULT_LIMIT_MEMORY >> 30}GiB",
    metavar="8GiB",
    section=NETWORKS,
    advanced=True,
    help=f"Refuse pictures that need more memory; default {DEFAULT_LIMIT_MEMORY >> 30}GiB.",
)
json_output = option(
    "--json",
    "json_output",
    is_flag=True,
    help="Print results as JSON; encode and decode: one object a line.",
)
quiet = option("--quiet", is_flag=True, help="Print errors only.")
verbose = option(
    "-v", "--verbose", is_flag=True, help="Print what was chosen for each file, why, and times."
)
debug = option("--debug", is_flag=True, advanced=True, help="Show tracebacks.")


def files(command: Any) -> Any:
    """A decorator that adds the options for inputs, outputs and existing files."""
    return _all_of(inputs, output, overwrite, no_overwrite, skip_existing, workers)(command)


def coding(command: Any) -> Any:
    """A decorator that adds the options for the device, limits, and printing of results."""
    printed = (quiet, verbose, json_output, debug)
    return _all_of(device, limit_pixels, limit_memory, *printed)(command)


def _all_of(*decorators: Decorator) -> Decorator:
    """Combine decorators into one, in the order in which they would be written above a function."""

    def decorated(command: Any) -> Any:
        for one in reversed(decorators):
            command = one(command)
        return command

    return decorated


def own_weights(model: str, half: str) -> str:
    """Replace the default weights by an exported encoder or decoder, if COTAM_GRAPHS names one.

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
    from codec.info import weights_of

    name = weights_of(data, limit_pixels=limit) or "default" if model == AUTO else model
    return load(name, device, limit, memory)


@lru_cache(maxsize=4)
def load(model: str, device: str, limit: int, memory: int) -> codec.Codec:
    """Load a codec with limits in pixels and bytes; kept for the next picture."""
    from codec import api

    loaded = api.load(model, device)
    loaded.limit_pixels = limit
    loaded.limit_memory = memory
    return loaded


def fail(message: str, status: int = 1) -> NoReturn:
    """Print a message on stderr and end the command with an exit status."""
    say(f"cotam: {one_line(message)}", err=True)
    raise click.exceptions.Exit(status)


def check_device(device: str) -> None:
    """Refuse a device that is unknown or absent. Raises BadArgument."""
    from codec.backends.runtime import USUAL_DEVICES

    if device in USUAL_DEVICES:
        return
    from codec.backends.lazy import LazyBackend

    LazyBackend("default", device)
