"""The protocol of every timing: warm-up, turns, medians; whole commands by a small process of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

WARM_UP = 2


def medians(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of each; the calls take turns, the first rounds are warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds + WARM_UP):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if index >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * median(values) for name, values in seconds.items()}


MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e6, os.waitstatus_to_exitcode(status))
"""


def command(
    arguments: list[str], rounds: int, environment: dict[str, str] | None = None, warm_up: int = 1
) -> dict[str, float]:
    """`cotam ...` from start to end: median seconds, largest peak memory in MB.

    A small process starts it: a child's peak memory begins with that of the process it was forked from.
    """
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
