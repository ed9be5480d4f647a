"""Standard streams that may be closed, full, or in an encoding that lacks characters."""

from __future__ import annotations

import codecs
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from codec.errors import UNEXPECTED, sentence

_CLOSED: set[int] = set()
_FAILED: dict[bool, str] = {}
# The function that prints a line above the progress bar, while there is one.
_ABOVE: list[Callable[[str], None]] = []
NAMES = "cotam-names"


def sound_streams() -> None:
    """Point closed standard streams to the null device, so that no other file gets their number.

    File names that are not UTF-8 are printed byte for byte. Characters that the encoding lacks are
    printed as escapes.
    """
    codecs.register_error(NAMES, _as_bytes)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None or not _is_open(number):
            _CLOSED.add(number)
            if not _is_open(number):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors=NAMES)


def closed(number: int) -> bool:
    """Whether a standard stream was closed when the program began."""
    return number in _CLOSED


# Arguments in messages of the library -> the flags of the command line.
FLAGS = {
    "raise limit_pixels": "raise it with --limit-pixels",
    "raise limit_memory": "raise it with --limit-memory",
    "keep='all' keeps": "--keep all keeps",
    "(keep='none')": "(--strip, or --keep none)",
    "guide='student', no tune": "--guide student, no --tune",
    "device='cpu'": "--device cpu",
    "decode that one first, then this one (codec.StreamDecoder)": "name that one with --after",
    "decode the missing messages in order, or ask the sender for a whole file "
    "(StreamEncoder.key)": "name the missing files with --after, in order",
    "target_bytes": "--target-size",
    "vqa_model=FOLDER and questions=FILE": "--vqa-model FOLDER and --questions FILE",
}


def explained(error: BaseException) -> str:
    """The error in one line, with a hint at --debug if no check anticipated it."""
    text = sentence(error)
    return f"{text} (--debug shows where)" if text.startswith(f"{UNEXPECTED} ") else text


def with_flags(text: str) -> str:
    """Replace the arguments in a message of the library by the flags of the command line."""
    for argument, flag in FLAGS.items():
        text = text.replace(argument, flag)
    return text


def say(text: str, err: bool = False) -> None:
    """Print a line on stdout or stderr; a failure is recorded and does not stop the work."""
    text = with_flags(text) if err else text
    stream = sys.stderr if err else sys.stdout
    try:
        if _ABOVE and stream.isatty():
            _ABOVE[-1](text)
            return
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError) as error:
        _FAILED[err] = getattr(error, "strerror", None) or str(error)


@contextmanager
def lines_above(show: Callable[[str], None]) -> Iterator[None]:
    """Let `show` print the lines of `say` on a terminal, above a progress bar."""
    _ABOVE.append(show)
    try:
        yield
    finally:
        _ABOVE.remove(show)


def lost_output() -> str | None:
    """Why a line for stdout could not be written; None if all were."""
    return _FAILED.get(False)


def flush() -> None:
    """Flush both streams; what cannot be written is lost."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def one_line(name: str) -> str:
    """Escape line ends and other control characters, so that a name takes one line."""
    return "".join(
        c if c.isprintable() or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in name
    )


def plain_warnings() -> None:
    """Print warnings of libraries as one line, without the place in their source."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"cotam: note: {' '.join(str(message).split())}", err=True)

    warnings.showwarning = show


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
        return True
    except OSError:
        return False


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Print bytes that were not UTF-8 unchanged, and other characters as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    out = b""
    for character in error.object[error.start : error.end]:
        surrogate = "\udc80" <= character <= "\udcff"
        raw = bytes([ord(character) - 0xDC00]) if surrogate else None
        out += character.encode("ascii", "backslashreplace") if raw is None else raw
    return out, error.end
