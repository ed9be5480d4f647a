"""Which arguments do not go with --after and --sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codec.cli.outputs import STREAM
from codec.errors import BadArgument

# Flags that leave out files of a chain.
NOT_IN_SEQUENCES = {"no_overwrite": "--no-overwrite", "skip_existing": "--skip-existing"}


def check(flags: dict[str, Any]) -> None:
    """Raises BadArgument where --after or --sequence do not go with the other arguments."""
    after = flags["after"]
    inputs = flags["inputs"]
    if after and flags["sequence"]:
        raise BadArgument("give --after or --sequence, not both")
    if after and inputs[0] != STREAM and Path(inputs[0]).is_dir():
        raise BadArgument("--after takes one file; a folder of them is a --sequence")
    if not flags["sequence"]:
        return
    if (flags["jobs"] or 1) > 1:
        raise BadArgument("a --sequence is coded in order: omit -j")
    for name, flag in NOT_IN_SEQUENCES.items():
        if flags[name]:
            raise BadArgument(f"each file of a --sequence builds on others: omit {flag}")
