"""`--after` and `--sequence`: files that hold what changed since another one.

::

    --after shot1.ctm       -> followed -> one picture or message more
    --sequence, a folder    -> files in the order of their names -> one encoder or decoder for all
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codec.cli.jobs import Work
from codec.cli.options import fail
from codec.cli.streams.checks import check
from codec.cli.terminal import explained
from codec.errors import BadArgument, CodecError

__all__ = ["decoding", "encoding", "work"]


def work(
    make: Callable[[list[str], dict[str, Any]], Work],
    usual: Work,
    flags: dict[str, Any],
    settings: dict[str, Any],
) -> Work:
    """What is done with each file: the usual, or what --after and --sequence ask for.

    Args:
        make: `encoding` or `decoding`.
        usual: the work without those flags.
        flags: the command's flags.
        settings: the settings of the work.
    """
    try:
        check(flags)
        if not flags["after"] and not flags["sequence"]:
            return usual
        return make(list(flags["after"]), settings)
    except BadArgument as error:
        fail(str(error), 2)
    except CodecError as error:
        fail(explained(error))


def encoding(after: list[str], settings: dict[str, Any]) -> Work:
    """Encodes pictures that build on others."""
    # Imported here, because only --after needs it.
    from codec.cli.streams.work import Encoding

    return Encoding(after, settings)


def decoding(after: list[str], settings: dict[str, Any]) -> Work:
    """Decodes messages that build on others."""
    from codec.cli.streams.work import Decoding

    return Decoding(after, settings)
