"""Forward a request to the upstream, and its answer back as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Set
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import unquote

import httpx
from starlette.responses import Response, StreamingResponse

from codec.integrations.gateway.answers import INVALID, Refused, too_slow, unreachable
from codec.integrations.gateway.settings import Settings

Headers = list[tuple[bytes, bytes]]
VERSION = "/v1"
CONNECT_SECONDS = 10.0
# Headers that belong to one connection, not to the message (RFC 9110, 7.6.1).
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
# Headers that the HTTP client for the upstream sets itself.
OWN = {b"host", b"content-length", b"expect"}
EVENTS = "text/event-stream"


def client(settings: Settings) -> httpx.AsyncClient:
    """A client that waits as long as the settings say.

    Redirects go back to the caller. Cookies are passed on but not kept, because the next request
    may come from another user.
    """
    timeout = httpx.Timeout(settings.timeout, connect=min(CONNECT_SECONDS, settings.timeout))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    return httpx.AsyncClient(
        timeout=timeout,
        limits=limits,
        follow_redirects=False,
        # The default; a caller that asks for a compressed answer gets it unchanged.
        headers={"accept-encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def address(upstream: str, path: str, query: str) -> str:
    """The upstream's address for a request to the gateway.

    Args:
        upstream: its base, with or without `/v1` at its end.
        path: the path of the request, percent-encoded.
        query: the query of the request, without `?`.

    Returns:
        The URL.

    Raises:
        Refused: the path leaves the upstream's base.
    """
    if ".." in unquote(path).replace("\\", "/").split("/"):
        raise Refused(400, "the path must not contain '..'", INVALID, "bad_path")
    base = upstream.rstrip("/")
    if base.endswith(VERSION) and (path == VERSION or path.startswith(f"{VERSION}/")):
        base = base.removesuffix(VERSION)
    return f"{base}{path}" + (f"?{query}" if query else "")


def passed_on(headers: Iterable[tuple[bytes, bytes]], without: Set[bytes] = frozenset()) -> Headers:
    """Headers of a message without those of its connection."""
    headers = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower()
        for name, value in headers
        if name == b"connection"
        for word in value.split(b",")
    }
    return [one for one in headers if one[0] not in HOP_BY_HOP | named | without]


async def forward(
    upstream: httpx.AsyncClient, request: httpx.Request, timeout: float, extra: Headers
) -> Response:
    """Send a request, and return an answer whose body is passed on as it arrives.

    Args:
        upstream: the client.
        request: what it sends.
        timeout: seconds, for the error's sentence.
        extra: headers that the answer gets in addition.

    Returns:
        The answer: the upstream's status, headers and body, still compressed if it is.

    Raises:
        Refused: the upstream cannot be reached or is too slow.
    """
    try:
        answer = await upstream.send(request, stream=True)
    except httpx.HTTPError as error:
        raise _refused(error, timeout) from error
    response = StreamingResponse(_body(answer, timeout), answer.status_code)
    response.raw_headers = passed_on(answer.headers.raw) + extra
    return response


async def _body(answer: httpx.Response, timeout: float) -> AsyncIterator[bytes]:
    """The body; also closed when the client disconnects, so that the upstream stops."""
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.HTTPError as error:
        if not answer.headers.get("content-type", "").startswith(EVENTS):
            raise
        # The status is already sent, so the error is an event: clients of streams expect that.
        yield _refused(error, timeout).event()
    finally:
        await answer.aclose()


def _refused(error: httpx.HTTPError, timeout: float) -> Refused:
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return too_slow(timeout)
    return unreachable(type(error).__name__)
