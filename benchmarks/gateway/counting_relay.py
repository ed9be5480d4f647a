"""A TCP relay that counts the bytes in both directions."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any

PART = 1 << 16


class CountingRelay:
    """Listens on a loopback port and forwards everything to another port.

    Attributes:
        port: the port that it listens on.
        up: bytes received from clients so far.
        down: bytes sent to clients so far.
    """

    def __init__(self, target: int) -> None:
        """Start to listen; bytes are forwarded to the port `target`."""
        self.target = target
        self.up = 0
        self.down = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CountingRelay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for name, source, sink in (("up", client, server), ("down", server, client)):
                arguments: tuple[Any, ...] = (name, source, sink)
                threading.Thread(target=self._hand_on, args=arguments, daemon=True).start()

    def _hand_on(self, name: str, source: socket.socket, sink: socket.socket) -> None:
        # Each direction of a connection has a thread; there is one connection at a time.
        try:
            while part := source.recv(PART):
                setattr(self, name, getattr(self, name) + len(part))
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()
