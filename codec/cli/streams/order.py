"""The order of a sequence: by name, with numbers by their value."""

from __future__ import annotations

import re
from collections.abc import Iterable

from codec.cli.jobs import Job

_DIGITS = re.compile(r"(\d+)")


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Jobs by the names of their sources, so that frame9.png comes before frame10.png."""
    return sorted(jobs, key=lambda job: _key(job.source))


def _key(name: str) -> list[tuple[int, int, str]]:
    # Numbers and texts are never compared with each other.
    parts = _DIGITS.split(name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]
