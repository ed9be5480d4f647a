"""The gateway as an ASGI application; any server of that interface runs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import codec
from codec.integrations.gateway.answers import INVALID, Refused, too_large
from codec.integrations.gateway.forwarding import OWN, address, client, forward, passed_on
from codec.integrations.gateway.pictures import Converter
from codec.integrations.gateway.settings import Settings

HEALTH = "/health"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
# Response header: how many pictures of the request were converted.
COUNT = b"x-cotam-pictures"


class Gateway:
    """Limits, conversion and forwarding of requests; see `application`."""

    def __init__(self, settings: Settings) -> None:
        """Make a gateway."""
        self.settings = settings
        self.converter = Converter(settings)
        self.client = client(settings)
        # Decoding keeps a core busy for a while; in threads it does not block other requests.
        self.workers = ThreadPoolExecutor(settings.workers, "cotam-gateway")

    async def close(self) -> None:
        """End the connections to the upstream."""
        await self.client.aclose()
        self.workers.shutdown(wait=False)

    async def health(self, request: Request) -> Response:
        """Answer while the gateway runs; the upstream is not asked."""
        body = {"status": "ok", "version": codec.__version__, "upstream": self.settings.upstream}
        return JSONResponse(body)

    async def any_request(self, request: Request) -> Response:
        """Convert the pictures of a request and forward it."""
        try:
            return await self._answered(request)
        except Refused as refused:
            return JSONResponse(refused.body(), refused.status)
        except ClientDisconnect:
            return Response(status_code=499)

    async def _answered(self, request: Request) -> Response:
        path = request.scope.get("raw_path") or request.url.path.encode()
        url = address(self.settings.upstream, path.decode("latin-1"), request.url.query)
        body, count = await self._converted(request, await self._read(request))
        sent = self.client.build_request(
            request.method,
            url,
            headers=passed_on(request.headers.raw, OWN),
            content=body if body or request.method not in ("GET", "HEAD") else None,
        )
        extra = [(COUNT, str(count).encode())] if count else []
        return await forward(self.client, sent, self.settings.timeout, extra)

    async def _read(self, request: Request) -> bytes:
        """The body. Raises Refused as soon as it is known to be too large."""
        limit = self.settings.max_request_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large(limit)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > limit:
                raise too_large(limit)
        return bytes(body)

    async def _converted(self, request: Request, body: bytes) -> tuple[bytes, int]:
        """The body with converted pictures, and their number.

        A body that has none is forwarded byte for byte.
        """
        if not request.headers.get("content-type", "").startswith("application/json"):
            return body, 0
        if request.headers.get("content-encoding", "identity") != "identity":
            message = "send the request without Content-Encoding: the gateway reads its pictures"
            raise Refused(415, message, INVALID, "compressed_request")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.workers, self._rewritten, body)

    def _rewritten(self, body: bytes) -> tuple[bytes, int]:
        try:
            request: Any = json.loads(body)
        except (ValueError, RecursionError):
            # Malformed JSON is passed on, because the upstream has the better error message.
            return body, 0
        count = self.converter.convert(request)
        return (json.dumps(request, ensure_ascii=False).encode() if count else body), count


def application(settings: Settings) -> Starlette:
    """Make the gateway.

    Args:
        settings: where requests go, and how.

    Returns:
        An ASGI application: `GET /health`, and every other path of the upstream.

    Examples:
        >>> gateway = application(Settings("http://localhost:8000"))
        >>> uvicorn.run(gateway, port=8080)  # doctest: +SKIP
    """
    gateway = Gateway(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    routes = [
        Route(HEALTH, gateway.health, methods=["GET"]),
        Route("/{path:path}", gateway.any_request, methods=METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
