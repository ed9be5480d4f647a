"""What a command line names: IN and OUT, and patterns that the shell left to us."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from codec.errors import BadArgument

WILDCARDS = "*?["


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
