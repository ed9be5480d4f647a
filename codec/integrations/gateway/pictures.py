"""Replace the `.ctm` pictures in a request by what the upstream understands.

::

    {"image_url": {"url": data URL}}   Chat Completions --+
    {"image_url": data URL}            Responses ---------+-- first bytes --MAGIC--> data_url
    {"source": {"data": base64}}       Messages ----------+                \\-others-> unchanged

Everything else in the request stays as it is. This module imports no web framework.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import codec
from codec.errors import CodecError
from codec.integrations.data_url import data_url
from codec.integrations.gateway.answers import bad_picture
from codec.integrations.gateway.settings import Settings
from codec.integrations.sources import from_base64, from_data_url

# Size of the cache of converted pictures: an agent sends its whole history with every request.
KEPT_BYTES = 64 << 20
# Requests that are nested more deeply than in any API are not searched further.
DEEPEST = 64


@dataclass(frozen=True)
class Place:
    """Where a request names a picture.

    Attributes:
        holder: the object that holds it.
        key: its name there.
        path: from the top of the request, such as `messages.0.content.1.image_url`.
    """

    holder: dict[str, Any]
    key: str
    path: str


def places(request: Any, path: str = "", depth: int = 0) -> Iterator[Place]:
    """Find the texts of a request that name pictures."""
    if depth > DEEPEST:
        return
    if isinstance(request, list):
        for number, item in enumerate(request):
            yield from places(item, f"{path}{number}.", depth + 1)
    elif isinstance(request, dict):
        for key, value in request.items():
            here = f"{path}{key}"
            if key == "image_url" and isinstance(value, str):
                yield Place(request, key, here)
            elif key == "image_url" and isinstance(value, dict):
                if isinstance(value.get("url"), str):
                    yield Place(value, "url", f"{here}.url")
            elif key == "source" and isinstance(value, dict):
                if isinstance(value.get("data"), str):
                    yield Place(value, "data", f"{here}.data")
            else:
                yield from places(value, f"{here}.", depth + 1)


class Converter:
    """Converts pictures as the settings say, and keeps the last results.

    It may be used from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        """Make a converter."""
        self.settings = settings
        self._kept: OrderedDict[bytes, str] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def convert(self, request: Any) -> int:
        """Replace every `.ctm` picture of a request.

        Args:
            request: what JSON holds; changed in place.

        Returns:
            How many pictures were replaced.

        Raises:
            Refused: a picture is damaged, too large, or needs weights that are not shipped.
        """
        count = 0
        for place in list(places(request)):
            try:
                file = _file_at(place)
                if file is not None:
                    _put(place, self._converted(file))
                    count += 1
            except CodecError as error:
                raise bad_picture(str(error), place.path) from error
        return count

    def _converted(self, file: bytes) -> str:
        key = hashlib.sha256(file).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        settings = self.settings
        # The header is checked against the limit before anything is decoded.
        codec.inspect(file, limit_pixels=settings.limit_pixels)
        url = str(
            data_url(file, settings.format, max_bytes=settings.max_picture_bytes, fit=settings.fit)
        )
        self._keep(key, url)
        return url

    def _keep(self, key: bytes, url: str) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = url
            self._bytes += len(url)
            while self._bytes > KEPT_BYTES:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)


def _file_at(place: Place) -> bytes | None:
    text: str = place.holder[place.key]
    if place.key == "data":
        return from_base64(text)
    return from_data_url(text) if text.startswith("data:") else None


def _put(place: Place, url: str) -> None:
    """Write a data URL in the form of the place: whole, or as media type and base64 text."""
    if place.key != "data":
        place.holder[place.key] = url
        return
    head, _, body = url.partition(",")
    place.holder["media_type"] = head.removeprefix("data:").removesuffix(";base64")
    place.holder["data"] = body
