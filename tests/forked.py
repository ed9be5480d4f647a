"""Training commands in processes that fork from one that has imported Lightning.

::

    pytest -> server: imports training.trainer once -> fork -> main() of a module, output to a file

Importing takes nine of the ten CPU seconds of a toy run. Tests of signals, of several processes and
of missing packages start a program of their own instead.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from tests.conftest import ROOT

SECONDS = 600


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.trainer", "training.export.__main__"])
    return context


def run(
    module: str, arguments: Sequence[object], environment: Mapping[str, str] = {}
) -> tuple[int, str]:
    """Run `python -m MODULE ARGUMENTS` in the root of the project.

    Args:
        module: has a function `main`.
        arguments: of the command.
        environment: variables beside those of this process.

    Returns:
        The exit status, and what was written to stdout and stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "output")
        everything = dict(os.environ) | dict(environment)
        given = (module, list(map(str, arguments)), everything, str(output))
        process = _server().Process(target=_main, args=given)
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
        return process.exitcode or 0, output.read_text(errors="replace")


def _main(module: str, arguments: list[str], environment: dict[str, str], output: str) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    if threads := os.environ.get("OMP_NUM_THREADS"):
        import torch

        torch.set_num_threads(int(threads))
    importlib.import_module(module).main()
