"""Names on a command line: inputs and output, unexpanded patterns, checks that files exist."""

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
        inputs: the names as given.
        output: the value of the option, which takes precedence.
        is_output: tells whether a suffix is that of an output.

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

    A name with such characters is not expanded if a file of this name exists.

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
    """Check that every named file can be opened, before anything is written.

    If the second name is an existing result, the user meant it as the output:
    `cotam encode a.png b.ctm` must not write a.ctm. Files inside folders are not checked here: the
    run skips and reports bad ones.

    Args:
        names: files, folders or '-'.
        output: the command's output; None if there is none.
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
