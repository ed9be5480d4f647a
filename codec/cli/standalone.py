"""The entry point of a single-file executable: one command with its exported weights inside."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import NoReturn

from codec.cli.main import app, main


def run(command: str) -> NoReturn:
    """Run one command; the weights in this executable are the default ones."""
    # A worker process starts this same executable, and must not run the command again.
    multiprocessing.freeze_support()
    os.environ["COTAM_GRAPHS"] = str(getattr(sys, "_MEIPASS", "."))
    alone = app.get_command(None, command)  # type: ignore[arg-type]
    assert alone is not None
    main(alone)
