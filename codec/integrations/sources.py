"""Recognise `.ctm` files among sources of pictures, by their first bytes and not by a suffix.

::

    path, file:// --+
    http(s):// -----+--> first bytes --MAGIC--> the whole file
    data URL -------+              \\--others-> what the host's own loader understands
    base64, bytes --+
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from codec.bitstream.container import MAGIC
from codec.errors import BadPicture

# Three bytes become exactly four base64 characters, whatever follows.
MAGIC_BASE64 = base64.b64encode(MAGIC).decode()
WEB = ("http://", "https://")


def ctm_file(source: Any, fetch: Callable[[str], bytes]) -> tuple[bytes | None, Any]:
    """Read a source if it is a `.ctm` file.

    Args:
        source: a path, URL, data URL, base64 text, bytes, or anything else.
        fetch: gets what a web server has at an http URL.

    Returns:
        The file's bytes, or None; and what to hand to the host's own loader if it is None: the same
        source, or, to fetch nothing twice, the fetched bytes as base64 text.

    Raises:
        BadPicture: the text begins like a `.ctm` file in base64 but is damaged.
        OSError: the file cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _if_ctm(bytes(source)), source
    if isinstance(source, os.PathLike):
        path = os.fsdecode(source)
        return _from_disk(path), path
    if not isinstance(source, str):
        return None, source
    if source.startswith(WEB):
        data = fetch(source)
        return _if_ctm(data), base64.b64encode(data).decode()
    if source.startswith("file://"):
        path = url2pathname(unquote(urlsplit(source).path))
        return _from_disk(path), path
    if source.startswith("data:"):
        return from_data_url(source), source
    if os.path.isfile(source):
        return _from_disk(source), source
    return from_base64(source), source


def _if_ctm(data: bytes) -> bytes | None:
    return data if data.startswith(MAGIC) else None


def _from_disk(path: str) -> bytes | None:
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
        return start + file.read() if start == MAGIC else None


def from_data_url(url: str) -> bytes | None:
    """The `.ctm` file in a data URL, None if it holds something else. Raises BadPicture."""
    head, _, body = url.partition(",")
    if head.endswith(";base64"):
        return from_base64(unquote(body) if "%" in body[:8] else body)
    return _if_ctm(unquote_to_bytes(body))


def from_base64(text: str) -> bytes | None:
    """The `.ctm` file in a base64 text, None if it holds something else. Raises BadPicture."""
    text = text.lstrip()
    if not text.startswith(MAGIC_BASE64):
        return None
    characters = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(characters + "=" * (-len(characters) % 4), validate=True)
    except binascii.Error:
        raise BadPicture("the base64 text of a .ctm file is damaged; send it again") from None
