"""What a gateway does with requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from codec.errors import BadArgument
from codec.integrations.data_url import FORMATS, OTHER_NAMES
from codec.integrations.receivers import ReceiverName, Size, receiver

MIB = 1 << 20
# 8192x8192. A gateway gets files from strangers, and a small file can claim many pixels.
LIMIT_PIXELS = 1 << 26
LIMIT_REQUEST = 32 * MIB
# Seconds. A model may need minutes before its first token.
TIMEOUT = 600.0


@dataclass(frozen=True)
class Settings:
    """Where requests go, how pictures are converted, and what is refused.

    Attributes:
        upstream: the server's address; a `/v1` at its end may be left out.
        format: what the upstream gets: `webp`, `jpeg` or `png`.
        fit: as for `data_url`: `claude`, `openai`, `gemini`, or a box (width, height).
        max_picture_bytes: the largest data URL that the upstream gets, in bytes.
        max_request_bytes: larger requests are refused.
        limit_pixels: larger pictures are refused.
        timeout: seconds to wait for the upstream's next bytes.
        workers: pictures that are converted at the same time.
    """

    upstream: str
    format: Literal["webp", "jpeg", "png"] = "webp"
    fit: ReceiverName | Size | None = None
    max_picture_bytes: int | None = None
    max_request_bytes: int = LIMIT_REQUEST
    limit_pixels: int = LIMIT_PIXELS
    timeout: float = TIMEOUT
    workers: int = 2

    def __post_init__(self) -> None:
        """Check the values. Raises BadArgument."""
        parts = urlsplit(self.upstream)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadArgument(
                f"upstream must be an address such as http://localhost:8000, not {self.upstream!r}"
            )
        if parts.query or parts.fragment or parts.username or parts.password:
            raise BadArgument(
                "upstream must be an address without user name, ? and #; clients send the keys"
            )
        kind = OTHER_NAMES.get(self.format, self.format)
        if kind not in FORMATS or kind == "ctm":
            raise BadArgument(f"format must be webp, jpeg or png, not {self.format!r}")
        if self.fit is not None:
            receiver(self.fit)
        for name in ("max_request_bytes", "limit_pixels", "timeout", "workers"):
            if getattr(self, name) <= 0:
                raise BadArgument(f"{name} must be above 0, not {getattr(self, name)}")
