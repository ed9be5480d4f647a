"""What a single-file executable runs: one command, over its own half of the codec."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import NoReturn

import typer


def run(command: str) -> NoReturn:
    """What an executable does: one command, with its own half as the default weights."""
    from codec.cli import main

    multiprocessing.freeze_support()
    os.environ["COTAM_GRAPHS"] = str(getattr(sys, "_MEIPASS", "."))
    alone = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    alone.command()(getattr(main, command))
    main.main(alone)
