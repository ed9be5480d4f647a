"""Timing for all benchmarks: medians of alternating calls after a warm-up, and whole commands.

Also counts the multiplications of networks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

# Rounds that are not timed, because the first calls allocate memory and select kernels.
WARM_UP = 2
MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6, os.waitstatus_to_exitcode(status))
"""


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Time alternating calls, so that other load on the machine affects all of them alike.

    Args:
        calls: name -> call.
        rounds: how often each is timed, after WARM_UP rounds that are not timed.

    Returns:
        name -> median milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + WARM_UP):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if index >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * median(values) for name, values in seconds.items()}


def command(
    arguments: list[str], rounds: int, environment: dict[str, str] | None = None, warm_up: int = 1
) -> dict[str, float]:
    """Time `cotam ...` from start to end.

    Args:
        arguments: arguments of the command.
        rounds: how often it is timed.
        environment: environment of the process; by default that of this process.
        warm_up: number of earlier runs that are not timed.

    Returns:
        seconds: the median; peak_mb: the largest peak memory, in megabytes.

    Raises:
        RuntimeError: the command fails.
    """
    # A small process starts the command, because a child's peak memory includes that of the
    # process it was forked from.
    run = [sys.executable, "-c", MEASURE, sys.executable, "-m", "codec.cli", *arguments]
    seconds = []
    peaks = []
    for _ in range(rounds + warm_up):
        done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
        spent, peak, status = done.stdout.split()[-3:]
        if int(status):
            raise RuntimeError(f"cotam {arguments[0]} failed: {done.stderr}")
        seconds.append(float(spent))
        peaks.append(float(peak))
    return {"seconds": median(seconds[warm_up:]), "peak_mb": max(peaks)}


def kmac_per_pixel(call: Callable[[], Any], pixels: int) -> float:
    """Count the multiplications of a call.

    Args:
        call: a function that runs PyTorch networks.
        pixels: number of pixels of the picture.

    Returns:
        Multiply-accumulates of convolutions and matrix products per pixel, in thousands.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2 / pixels / 1000
