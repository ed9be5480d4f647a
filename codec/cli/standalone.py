"""The entry point of a single-file executable: one command, with its half of the codec inside."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import NoReturn

import typer


def run(command: str) -> NoReturn:
    """Run one command with the half in this executable as the default weights."""
    from codec.cli import main

    # A worker starts this same executable again, and must not take that for a command.
    multiprocessing.freeze_support()
    os.environ["COTAM_GRAPHS"] = str(getattr(sys, "_MEIPASS", "."))
    alone = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    alone.command()(getattr(main, command))
    main.main(alone)
