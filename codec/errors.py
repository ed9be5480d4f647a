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
    """The file ends too early."""


class Corrupt(CodecError):
    """The content is inconsistent: a checksum, a length or an entropy-coded value is wrong."""


class TooLarge(CodecError):
    """The picture exceeds the limit of pixels or of memory."""


class WrongModel(CodecError):
    """The file was encoded with other weights than the ones loaded."""


class UnknownModel(CodecError):
    """No weights of that name or at that path, or a file that is not a checkpoint."""


class BadPicture(CodecError):
    """The input is not a picture in a supported format."""


class Unreadable(CodecError, OSError):
    """A file cannot be opened, read or written."""


class NoRoom(CodecError, OSError):
    """The disk for temporary files is full (TMPDIR chooses the folder)."""


class BadArgument(CodecError, ValueError):
    """An argument is out of its range or of the wrong shape."""


class TargetTooSmall(CodecError):
    """The target size cannot be met even at the lowest quality.

    Attributes:
        smallest: the smallest possible size in bytes.
    """

    def __init__(self, message: str = "", smallest: int = 0) -> None:
        super().__init__(message)
        self.smallest = smallest


class MissingReference(CodecError):
    """A message of a stream follows a file, or builds on a picture, that was not decoded.

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
    """The vision tower does not support the operation, or lacks the blocks that it needs."""


class AdapterUnavailable(CodecError):
    """There is no token adapter for this tower and these codec weights."""


class WrongAdapter(CodecError):
    """A token adapter was given that belongs to another tower or to other codec weights."""


def shown(value: object, most: int = 60) -> str:
    """Quote an argument for a message: its repr in one short line, or its type if repr fails."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # any object may be given, and its repr may do anything
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def one_line(name: str) -> str:
    """A file name with its control characters escaped, so that a message stays one line."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], name)


def reason(error: BaseException) -> str:
    """The message of any error in one line; its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


# The start of the message for an error that no check anticipated.
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
    """Make a public function raise only CodecError, with a one-line message; the cause is kept.

    This covers errors that no check anticipated: an argument of a wrong type becomes BadArgument,
    exhausted memory TooLarge, and a file that cannot be read Unreadable.
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
