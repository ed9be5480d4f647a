"""Errors of the gateway, in the shape of OpenAI's: clients raise their usual exceptions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

# What clients read: the type says who has to act, the code says what happened.
INVALID = "invalid_request_error"
UPSTREAM = "upstream_error"


@dataclass
class Refused(Exception):
    """A request that is not forwarded, or that the upstream does not answer.

    Attributes:
        status: of HTTP.
        message: one sentence.
        type: INVALID or UPSTREAM.
        code: a word for programs.
        param: the place in the request, such as `messages.0.content.1.image_url`.
    """

    status: int
    message: str
    type: str
    code: str
    param: str | None = None

    def body(self) -> dict[str, Any]:
        """The answer as an object for JSON."""
        details = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": details}

    def event(self) -> bytes:
        """The answer as an event in a stream that has begun already."""
        return b"data: " + json.dumps(self.body()).encode() + b"\n\n"


def too_large(limit: int) -> Refused:
    """The request has more bytes than the gateway takes."""
    message = f"the request has more than {limit} bytes; send fewer or smaller pictures"
    return Refused(413, message, INVALID, "request_too_large")


def bad_picture(message: str, param: str) -> Refused:
    """A picture cannot be converted."""
    return Refused(400, message, INVALID, "bad_picture", param)


def unreachable(reason: str) -> Refused:
    """The upstream cannot be reached, or it closed the connection."""
    message = f"the upstream server cannot be reached or ended the connection ({reason})"
    return Refused(502, message, UPSTREAM, "upstream_unreachable")


def too_slow(seconds: float) -> Refused:
    """The upstream sent nothing in time."""
    message = f"the upstream server sent nothing for {seconds:g} seconds"
    return Refused(504, message, UPSTREAM, "upstream_timeout")
