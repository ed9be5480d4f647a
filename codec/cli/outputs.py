"""Writing results: a file appears complete or not at all, and replaces others only if allowed.

::

    '-'                                   -> standard output
    pipe, device, socket, /dev/fd/N       -> written to, never replaced
    symlink                               -> the file that it points to
    regular file, or none                 -> a nameless file in its folder -> linked, or renamed
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from codec.cli.terminal import closed
from codec.errors import BadArgument, Unreadable

STREAM = "-"
STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
STDIN = ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
DESCRIPTORS = ("/dev/fd/", "/proc/self/fd/")
PREFIX = ".cotam-"
# Writes a whole file to a stream that can seek.
Put = Callable[[IO[bytes]], object]


def read(source: str) -> bytes:
    """A file's bytes, or stdin's. Raises OSError; Unreadable where standard input is closed."""
    if source != STREAM:
        return Path(source).read_bytes()
    if closed(0) or sys.stdin is None:
        raise Unreadable("standard input is closed")
    return sys.stdin.buffer.read()


def write(target: str, put: Put, overwrite: bool) -> int:
    """Write a file so that a reader never sees half of it.

    Regular files are written to disk while they are produced, so that a large file is not held in
    memory.

    Args:
        target: a file, or '-' for stdout.
        put: writes the content to a stream.
        overwrite: whether an existing regular file may be replaced; pipes and devices are written
            to in any case.

    Returns:
        The file's size in bytes.

    Raises:
        BadArgument: the file exists and must not be replaced.
        OSError: the file cannot be written.
    """
    if target == STREAM:
        return _to_stdout(put)
    try:
        if _is_special(target):
            return _into(target, put)
        path = os.path.realpath(target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with _Unnamed(path) as file:
            put(file.stream)
            size = file.stream.seek(0, os.SEEK_END)
            file.publish(overwrite)
        return size
    except FileExistsError:
        raise BadArgument(_exists(target)) from None
    except OSError as error:
        if isinstance(error, Unreadable) or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), target) from error


def refuse_existing(target: str) -> None:
    """Refuse a target that exists, unless it is a pipe or a device. Raises BadArgument."""
    if target != STREAM and os.path.lexists(target) and not _is_special(target):
        raise BadArgument(_exists(target))


def _exists(target: str) -> str:
    return f"{target} exists already; omit --no-overwrite to replace it"


def same_file(source: str, target: str) -> bool:
    """Whether source and target are one file, under this or another name; '-' is a stream."""
    try:
        one = os.fstat(0) if source == STREAM else os.stat(source)
        other = os.fstat(1) if target == STREAM else os.stat(target)
    except OSError:
        return False
    return stat.S_ISREG(one.st_mode) and os.path.samestat(one, other)


def _is_special(target: str) -> bool:
    """Whether a target is a pipe, a device, a socket or an open file of this process.

    Raises IsADirectoryError for a folder.
    """
    if target.startswith(DESCRIPTORS):
        return True
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    return not stat.S_ISREG(mode)


def _to_stdout(put: Put) -> int:
    if closed(1) or sys.stdout is None:
        raise Unreadable("standard output is closed")
    whole = io.BytesIO()
    put(whole)
    try:
        sys.stdout.flush()
        _write_all(sys.stdout.fileno(), whole)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error
    return len(whole.getbuffer())


def _into(target: str, put: Put) -> int:
    """Write into a pipe or device that exists; return the number of bytes."""
    whole = io.BytesIO()
    put(whole)
    number = os.path.basename(target)
    inherited = target.startswith(DESCRIPTORS) and number.isdigit()
    handle = os.dup(int(number)) if inherited else os.open(target, os.O_WRONLY)
    try:
        _write_all(handle, whole)
    finally:
        os.close(handle)
    return len(whole.getbuffer())


def _write_all(handle: int, whole: io.BytesIO) -> None:
    left = whole.getbuffer()
    while left:
        left = left[os.write(handle, left) :]


class _Unnamed:
    """An unnamed file in the folder of `path`, which disappears if the process is killed.

    Where the system has no unnamed files, it is a hidden one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = os.path.dirname(path)
        self.name: str | None = None

    def __enter__(self) -> _Unnamed:
        handle = None
        if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
            with suppress(OSError):
                handle = os.open(self.folder, os.O_TMPFILE | os.O_RDWR, 0o666)
        if handle is None:
            handle, self.name = tempfile.mkstemp(".part", PREFIX, self.folder)
            # mkstemp makes files that only their owner can read.
            os.chmod(self.name, 0o666 & ~_umask())
        self.stream: IO[Any] = os.fdopen(handle, "w+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stream.close()
        except OSError:  # a full disk: the error was raised before
            if kind is None:
                raise
        finally:
            if self.name is not None:
                with suppress(FileNotFoundError):
                    os.unlink(self.name)

    def publish(self, overwrite: bool) -> None:
        """Give the file its name in one step. Raises FileExistsError if it must not replace one."""
        self.stream.flush()
        try:
            self._link(self.path)
            return
        except FileExistsError:
            if not overwrite:
                raise
        except OSError:  # a file system without links
            if not overwrite and os.path.lexists(self.path):
                raise FileExistsError(self.path) from None
        if self.name is None:
            # A link cannot replace a file, and a rename needs a name. mktemp is safe here: linking
            # fails if somebody took the name in between.
            hidden = tempfile.mktemp(".part", PREFIX, self.folder)
            self._link(hidden)
            self.name = hidden
        os.replace(self.name, self.path)
        self.name = None

    def _link(self, path: str) -> None:
        if self.name is not None:
            os.link(self.name, path)
            return
        handle = self.stream.fileno()
        # A folder's handle makes Python follow the link to the open file (linkat's
        # AT_SYMLINK_FOLLOW).
        os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle, follow_symlinks=True)


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
