"""What a command line names: IN and OUT, patterns that the shell left to us, files that exist."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from codec.errors import BadArgument, Unreadable, sentence

STREAM = "-"
WILDCARDS = "*?["
# Enough to recognise a format.
START_BYTES = 16


def named_output(
    inputs: Sequence[str], output: str | None, is_output: Callable[[str], bool]
) -> tuple[list[str], str | None]:
    """Take the second of two names as the output, as avifenc, cjxl and cwebp do.

    Args:
        inputs: as given.
        output: of the option; it wins.
        is_output: whether a suffix is one of an output.

    Returns:
        The inputs, and the output if there is one.
    """
    names = list(inputs)
    if output is None and len(names) == 2:
        second = names[1]
        if not os.path.lexists(second) and is_output(Path(second).suffix.lower()):
            return names[:1], second
    return names, output


def expanded(inputs: Sequence[str]) -> list[str]:
    """Expand patterns such as 'photos/**/*.jpg' that the shell did not expand.

    A file whose name has such characters is taken as it is.

    Raises:
        BadArgument: no file matches a pattern.
    """
    names: list[str] = []
    for item in inputs:
        if os.path.lexists(item) or not any(sign in item for sign in WILDCARDS):
            names.append(item)
            continue
        found = sorted(glob.glob(item, recursive=True))
        if not found:
            raise BadArgument(f"no file matches {item}")
        names += found
    return names


def check_inputs(
    names: Sequence[str], output: str | None, is_result: Callable[[str, bytes], bool]
) -> None:
    """Open every file that is named, before anything is written.

    A second name that exists and holds a result was meant as the output: `cotam encode a.png b.ctm`
    must not write a.ctm. In folders, bad files are left to the run, which skips and reports them.

    Args:
        names: files, folders or '-'.
        output: of the command, None if there is none.
        is_result: whether a file of this name, with these first bytes, is a result.

    Raises:
        Unreadable: a file cannot be opened.
        BadArgument: several files are named, and one of them is a result.
    """
    for name in names:
        # A pipe's bytes can be read only once.
        if name == STREAM or os.path.isdir(name) or _is_special(name):
            continue
        start = _start_of(name)
        if output is None and len(names) > 1 and is_result(name, start):
            raise BadArgument(
                f"{name} exists and is no input of this command; nothing was written: "
                "if it is the output, name it with -o"
            )


def _start_of(name: str) -> bytes:
    """The first bytes of a file. Raises Unreadable."""
    try:
        with open(name, "rb") as file:
            return file.read(START_BYTES)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{sentence(error)}; nothing was written") from error


def _is_special(name: str) -> bool:
    """Whether a name is that of a pipe, a device or a socket."""
    try:
        return os.path.exists(name) and not os.path.isfile(name)
    except ValueError:
        return False
