"""Install and remove the files that describe `.ctm` to the current user's desktop."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from codec.bitstream.container import MEDIA_TYPE
from codec.cli.outputs import write

HERE = Path(__file__).parent
# Every file that `install` writes contains this text; files without it are left alone.
MARK = "ritten by `cotam desktop install`"
DATABASE = "update-mime-database"
MAGIC = "cotam.magic"
TYPES = "cotam.xml"
# The folder that thumbnailers can read in libgnome-desktop's sandbox.
SANDBOX = "/usr/"
IN_SANDBOX = (
    "GNOME runs thumbnailers in a sandbox that sees only /usr: install cotam there for thumbnails"
)


@dataclass
class Changes:
    """What was done.

    Attributes:
        files: paths that were written or removed.
        notes: what was left alone, or is missing, one sentence each.
    """

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def data_home(environment: Mapping[str, str]) -> Path:
    """XDG_DATA_HOME (XDG Base Directory Specification); a relative one counts as not set."""
    named = environment.get("XDG_DATA_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".local" / "share"


def install(environment: Mapping[str, str]) -> Changes:
    """Write the files; a second call only updates the program's path.

    Args:
        environment: variables of the process.

    Returns:
        What was written.

    Raises:
        OSError: a file cannot be written.
    """
    changes = Changes()
    for path, text in _contents(environment).items():
        if _is_foreign(path):
            changes.notes.append(f"{path} is not of this program and was left alone")
            continue
        write(str(path), partial(_put, text.encode()), True)
        changes.files.append(path)
    _update(environment, changes)
    if "GNOME" in environment.get("XDG_CURRENT_DESKTOP", "") and not _in_sandbox(program()[0]):
        changes.notes.append(IN_SANDBOX)
    return changes


def remove(environment: Mapping[str, str]) -> Changes:
    """Remove what `install` wrote, and nothing else.

    Args:
        environment: variables of the process.

    Returns:
        What was removed.

    Raises:
        OSError: a file cannot be removed.
    """
    changes = Changes()
    for path in _contents(environment):
        if path.is_file() and not _is_foreign(path):
            path.unlink()
            changes.files.append(path)
    if changes.files:
        _update(environment, changes)
    return changes


def _contents(environment: Mapping[str, str]) -> dict[Path, str]:
    """Path of each file -> its content."""
    home = data_home(environment)
    return {
        home / "mime" / "packages" / TYPES: (HERE / TYPES).read_text(),
        home / "thumbnailers" / "cotam.thumbnailer": thumbnailer(program()),
        Path.home() / ".magic": (HERE / MAGIC).read_text(),
    }


def program() -> list[str]:
    """The command that starts this program from any folder, as a list of words."""
    called = shutil.which(sys.argv[0])
    if called is not None and Path(called).name == "cotam":
        return [os.path.abspath(called)]
    return [sys.executable, "-m", "codec.cli"]


def thumbnailer(words: list[str]) -> str:
    """The entry of a thumbnailer, as GNOME, Xfce and others read it.

    Args:
        words: how this program is started.

    Returns:
        The file's text. The desktop replaces %i, %o and %s by input, output and side in pixels.
    """
    start = shlex.join(words).replace("%", "%%")
    return (
        f"# Written by `cotam desktop install`\n"
        f"[Thumbnailer Entry]\n"
        f"TryExec={words[0]}\n"
        f"Exec={start} desktop thumbnail %i %o --size %s\n"
        f"MimeType={MEDIA_TYPE};\n"
    )


def _in_sandbox(path: str) -> bool:
    return os.path.realpath(path).startswith(SANDBOX) and path.startswith(SANDBOX)


def _put(data: bytes, stream: IO[bytes]) -> None:
    stream.write(data)


def _is_foreign(path: Path) -> bool:
    """Whether the path holds something that `install` did not write."""
    if not os.path.lexists(path):
        return False
    return not path.is_file() or MARK not in path.read_text(errors="replace")


def _update(environment: Mapping[str, str], changes: Changes) -> None:
    """Update the desktop's database of media types from the installed files."""
    folder = data_home(environment) / "mime"
    command = shutil.which(DATABASE)
    if command is None:
        changes.notes.append(f"{DATABASE} is missing: install the package shared-mime-info")
        return
    done = subprocess.run([command, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        changes.notes.append(f"{DATABASE} failed: {said}")
