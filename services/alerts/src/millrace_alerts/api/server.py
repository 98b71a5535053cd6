"""The server under the API: uvicorn on a socket of ours, with bounds on what connections may hold.

No connection is refused: where there are too many, the oldest that waits between two requests is closed, of the address
that has most of them. Requests end in bounded time, and streams are counted apart (api/streams.py), so a newcomer
always finds room; health is answered however many hold connections open.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

GRACEFUL_STOP_S = 3


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """connections: open at a time. head_s: from a connection's beginning, or the answer before, to the end of a request's head.

    stalled_s: how long a client may take nothing of an answer that is ready for it.
    """

    connections: int = 500
    head_s: float = 10.0
    stalled_s: float = 60.0


class HttpServer:
    """Serves on a thread of its own, on a socket that listens already."""

    def __init__(self, app: ASGIApp, listening: socket.socket, limits: ConnectionLimits | None = None) -> None:
        bounds = limits or ConnectionLimits()

        class Bounded(BoundedProtocol):
            limits = bounds
            open_ones: ClassVar[dict[BoundedProtocol, None]] = {}

        config = uvicorn.Config(
            app,
            http=Bounded,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACEFUL_STOP_S,
            server_header=False,
            lifespan="on",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, name="api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Bounded: requests and streams get a few seconds to end."""
        self._server.should_exit = True
        self._thread.join(GRACEFUL_STOP_S + 5)


class BoundedProtocol(H11Protocol):
    """One connection. It gives way to a newer one while it waits, and is closed when a head does not come to its end."""

    limits = ConnectionLimits()
    open_ones: ClassVar[dict[BoundedProtocol, None]] = {}
    """Those of one server, the oldest first."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        if len(self.open_ones) >= self.limits.connections:
            _make_room(self.open_ones)
        super().connection_made(transport)
        self.open_ones[self] = None
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._forget_stall()
        self.open_ones.pop(self, None)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.limits.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._forget_stall()
        super().resume_writing()

    @property
    def is_waiting(self) -> bool:
        """No request is being answered."""
        is_idle: bool = self.cycle is None or self.cycle.response_complete
        return is_idle

    @property
    def address(self) -> str:
        return "" if self.client is None else self.client[0]

    def give_way(self) -> None:
        self.open_ones.pop(self, None)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's own is plain text; what is no HTTP gets a problem document, too."""
        body = json.dumps({"type": "about:blank", "title": HTTPStatus.BAD_REQUEST.phrase, "status": 400, "detail": msg}).encode()
        head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def _await_head(self) -> None:
        if not self.is_waiting:
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.head_s, self.give_way)

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _make_room(open_ones: Collection[BoundedProtocol]) -> None:
    """Close the oldest waiting connection of the address that has most of them; none where all are being answered."""
    counts = Counter(each.address for each in open_ones)
    waiting = [each for each in open_ones if each.is_waiting]
    if waiting:
        max(waiting, key=lambda each: counts[each.address]).give_way()  # Of equals the first: the oldest.
