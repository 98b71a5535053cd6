"""Bodies of requests: whole before the application sees them, bounded in size and in time."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ApiProblem, problem_response

_CLOSE = {"Connection": "close"}
"""What is still to come of the body is not read."""


class Bodies:
    """An ASGI middleware. body_s: within which the whole body must come."""

    def __init__(self, app: ASGIApp, max_bytes: int, body_s: float = 10.0) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        try:
            body = await self._whole_in_time(scope, receive)
        except ApiProblem as refusal:
            await problem_response(Request(scope), refusal)(scope, receive, send)
            return
        if body is None:
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def first_the_body() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, first_the_body, send)

    async def _whole_in_time(self, scope: Scope, receive: Receive) -> bytes | None:
        try:
            async with asyncio.timeout(self._body_s):
                return await self._whole(scope, receive)
        except TimeoutError as error:
            raise ApiProblem("too-slow", f"the body did not come within {self._body_s:g} s", headers=_CLOSE) from error

    async def _whole(self, scope: Scope, receive: Receive) -> bytes | None:
        """None: the client is gone. A length that is announced is refused at once; what comes without one is counted."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> ApiProblem:
        return ApiProblem("too-large", f"a body may have at most {self._max_bytes} bytes", headers=_CLOSE)
