"""Everything this package raises on purpose; each message is one sentence a user can act on."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
# Control characters of ASCII and Latin-1, and Unicode's two line separators.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class CodecError(Exception):
    """Base of all errors of this package.

    Its text is one line, even if it quotes an argument or a file's name that has several.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class NotACotamFile(CodecError):
    """The bytes do not begin like a CoTAM file."""


class UnsupportedVersion(CodecError):
    """The file was written by a newer major version of the format."""


class Truncated(CodecError):
    """The file ends before its content does."""


class Corrupt(CodecError):
    """The bytes contradict themselves: a checksum, a length or an entropy-coded value is wrong."""


class TooLarge(CodecError):
    """The picture exceeds the limits in force, of pixels or of memory."""


class WrongModel(CodecError):
    """The file was encoded with other weights than the ones loaded."""


class UnknownModel(CodecError):
    """No weights of that name or at that path, or a file that is not a checkpoint."""


class BadPicture(CodecError):
    """The input is not a picture this codec can read."""


class Unreadable(CodecError, OSError):
    """A file cannot be opened, read or written."""


class NoRoom(CodecError, OSError):
    """The disk for temporary files has no room (TMPDIR says which)."""


class BadArgument(CodecError, ValueError):
    """An argument is out of its range or of the wrong shape."""


class TargetTooSmall(CodecError):
    """The wanted size cannot be met even at the lowest quality; smallest: what could be had, in
    bytes.
    """

    def __init__(self, message: str = "", smallest: int = 0) -> None:
        super().__init__(message)
        self.smallest = smallest


class MissingReference(CodecError):
    """A message of a stream follows a file, or builds on a picture, that is not there.

    Attributes:
        needed: hexadecimal checksum of the file that is needed.
        held: of the picture that was shown last; None if there is none.
        number: of the message in its stream, counted from the key frame.
    """

    def __init__(
        self, message: str = "", needed: str = "", held: str | None = None, number: int = 0
    ) -> None:
        super().__init__(message)
        self.needed = needed
        self.held = held
        self.number = number


class NoLatents(CodecError):
    """The file was coded by a tool that has no latents."""


class GuideUnavailable(CodecError):
    """The vision tower or its weights are not available: a package, a file or the network is
    missing.
    """


class UnsupportedTower(CodecError):
    """The vision tower is of a kind, or was cut in a way, that cannot do what is asked."""


class AdapterUnavailable(CodecError):
    """There is no token adapter for this tower and these codec weights."""


class WrongAdapter(CodecError):
    """A token adapter was given that belongs to another tower or to other codec weights."""


def shown(value: object, most: int = 60) -> str:
    """An argument as a message quotes it: its repr, in one short line; its type without one."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # any object may be given, and its repr may do anything
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def one_line(name: str) -> str:
    """A file name with its control characters escaped, so that a message stays one line."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], name)


def reason(error: BaseException) -> str:
    """What an error of any kind says, in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


# How the sentence about an error that no check foresaw begins.
UNEXPECTED = "unexpected"


def sentence(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror.lower()
        return f"{said}: {one_line(str(error.filename))}" if error.filename else said
    if isinstance(error, MemoryError):
        return "not enough memory for this picture"
    if isinstance(error, (CodecError, OSError)):
        return reason(error)
    return f"{UNEXPECTED} {type(error).__name__}: {reason(error)}"


def only_codec_errors(function: Callable[P, R]) -> Callable[P, R]:
    """A public function whose every error is a CodecError with one sentence; the cause is kept.

    The net below the checks: what no check foresaw, such as an argument of a type that makes no
    sense, is a BadArgument; a full memory is TooLarge, a file that cannot be read is Unreadable.
    """

    @wraps(function)
    def guarded(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except CodecError:
            raise
        except OSError as error:
            raise Unreadable(sentence(error)) from error
        except Exception as error:
            if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
                raise TooLarge("not enough memory for this picture") from error
            raise BadArgument(
                f"{function.__name__}: an argument cannot be used "
                f"({type(error).__name__}: {reason(error)})"
            ) from error

    return guarded
