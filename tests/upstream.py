"""A small server that speaks OpenAI's protocol on real sockets, for tests of the gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

DEADLINE = 30.0


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a free loopback port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(DEADLINE)
    listening.close()


def until(condition: Any) -> None:
    """Wait until a condition is true that another thread causes."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Upstream:
    """A small server that speaks OpenAI's protocol and stores the requests that it receives."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.go_on = threading.Event()
        self.left = threading.Event()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/responses", self.responses, methods=["POST"]),
                Route("/v1/messages", self.any, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/busy", self.busy, methods=["POST"]),
                Route("/v1/slow", self.slow),
            ]
        )

    @property
    def last(self) -> Any:
        return json.loads(self.bodies[-1])

    async def keep(self, request: Request) -> Any:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        return json.loads(self.bodies[-1])

    async def chat(self, request: Request) -> Response:
        asked = await self.keep(request)
        if asked.get("stream"):
            return StreamingResponse(self.words(asked["model"]), media_type="text/event-stream")
        message = {"role": "assistant", "content": "a cat"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(chunk("chat.completion", [choice]))

    async def words(self, model: str) -> AsyncIterator[bytes]:
        """Stream two words. The second one is sent when the test sets `go_on`."""
        try:
            yield event("a ")
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            if model == "breaks":
                raise RuntimeError("the server ends")
            yield event("cat")
            yield b"data: [DONE]\n\n"
        finally:
            self.left.set()

    async def responses(self, request: Request) -> Response:
        await self.keep(request)
        part = {"type": "output_text", "text": "a cat", "annotations": []}
        said = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
        body = {"id": "r", "object": "response", "created_at": 0, "model": "any", "tools": []}
        body |= {"output": [said | {"content": [part]}], "parallel_tool_calls": False}
        return JSONResponse(body | {"tool_choice": "auto", "status": "completed"})

    async def any(self, request: Request) -> Response:
        await self.keep(request)
        return JSONResponse({})

    async def models(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        body = {"object": "list", "data": [{"id": "m", "object": "model", "created": 0}]}
        headers = {"set-cookie": "who=somebody; Path=/", "x-query": request.url.query}
        if "gzip" in request.headers["accept-encoding"]:
            squeezed = gzip.compress(json.dumps(body).encode())
            return Response(squeezed, headers=headers | {"content-encoding": "gzip"})
        return JSONResponse(body, headers=headers)

    async def busy(self, request: Request) -> Response:
        error = {"message": "later", "type": "rate_limit", "param": None, "code": "busy"}
        return JSONResponse({"error": error}, 429, {"retry-after": "7"})

    async def slow(self, request: Request) -> Response:
        while not self.go_on.is_set():
            await asyncio.sleep(0.01)
        return JSONResponse({})


def chunk(kind: str, choices: list[Any]) -> dict[str, Any]:
    return {"id": "c", "object": kind, "created": 0, "model": "any", "choices": choices}


def event(word: str) -> bytes:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    return b"data: " + json.dumps(chunk("chat.completion.chunk", [choice])).encode() + b"\n\n"
