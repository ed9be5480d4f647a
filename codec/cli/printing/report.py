"""The output of a command: a line for each file as it is done, failures at the end."""

from __future__ import annotations

import json
from typing import Any

from codec.cli.jobs import Result
from codec.cli.terminal import lost_output, one_line, say

USAGE = 2
FAILED = 1
INDENT = "    "


class Report:
    """Prints results as they come.

    Attributes:
        as_json: print one object a line.
        quiet: print neither files nor notes; failures are printed.
        verbose: also print what was chosen for each file, and why.
        to_stderr: print to stderr, because stdout carries a file.
    """

    def __init__(self, as_json: bool, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.to_stderr = False
        self.count = 0
        self.failed: list[Result] = []
        self.refused = 0

    def note(self, text: str) -> None:
        """Print a note on stderr."""
        if not self.quiet:
            say(f"cotam: note: {one_line(text)}", err=True)

    def add(self, result: Result, refused: bool = False) -> None:
        """Print a result. refused: the job was never started, because of the arguments."""
        self.count += 1
        self.refused += refused
        for note in result.notes:
            self.note(f"{result.source}: {note}")
        if result.error:
            self.failed.append(result)
        if self.as_json:
            say(json.dumps(result.to_json()), err=self.to_stderr)
        elif not (result.error or self.quiet):
            self._line(result)

    def _line(self, result: Result) -> None:
        size = f"{result.width}x{result.height}  {result.bytes_out} bytes  {result.bpp:.3f} bpp"
        line = f"{one_line(result.source)} -> {one_line(result.target)}  {size}"
        say(line, err=self.to_stderr)
        if self.verbose:
            for text in (_chosen(result.choices), _seconds(result.seconds)):
                say(f"{INDENT}{one_line(text)}", err=self.to_stderr)

    def finish(self) -> int:
        """Print the failures; return the exit status, 2 if the arguments caused all of them."""
        if self.count > 1 and self.failed:
            say(f"cotam: {len(self.failed)} of {self.count} failed:", err=True)
        for result in self.failed:
            say(f"cotam: {one_line(f'{result.source}: {result.error}')}", err=True)
        why = lost_output()
        if self.as_json and why is not None:
            say(f"cotam: the results could not be printed: {why}", err=True)
            return FAILED
        if not self.failed:
            return 0
        return USAGE if self.refused == len(self.failed) else FAILED


def _chosen(choices: dict[str, Any]) -> str:
    """Choices in one line, such as "tool: av1 (it looks like a screen); quality: 50"."""
    values = {name: value for name, value in choices.items() if value is not None}
    reason = values.pop("reason", None)
    parts = [f"{name.replace('_', ' ')}: {value}" for name, value in values.items()]
    if parts and reason:
        parts[0] += f" ({reason})"
    return "; ".join(parts)


def _seconds(seconds: dict[str, float]) -> str:
    """Times of the stages, in milliseconds."""
    return "ms: " + ", ".join(f"{stage} {1000 * time:.0f}" for stage, time in seconds.items())
