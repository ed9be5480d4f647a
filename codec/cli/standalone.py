"""The entry point of a single-file executable: one command, with its half of the codec inside."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import NoReturn

from codec.cli.main import app, main


def run(command: str) -> NoReturn:
    """Run one command with the half in this executable as the default weights."""
    # A worker starts this same executable again, and must not take that for a command.
    multiprocessing.freeze_support()
    os.environ["COTAM_GRAPHS"] = str(getattr(sys, "_MEIPASS", "."))
    alone = app.get_command(None, command)  # type: ignore[arg-type]
    assert alone is not None
    main(alone)
