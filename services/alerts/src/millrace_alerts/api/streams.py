"""A stream: it takes a place, goes on as long as its token is good, and waits for what happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from .access import Credentials
from .context import Context, Ctx

LOOK_EVERY_S = 5.0
"""How often a stream on which nothing happens looks whether its token is still good, seconds."""


class StreamTurn:
    """One stream: may it go on, and has something happened since it last looked?"""

    def __init__(self, context: Context, token: str | None) -> None:
        self._context = context
        self._token = token

    def may_go_on(self) -> bool:
        """False when the service stops, and when the token by which the stream was opened has been revoked."""
        if self._context.bell.is_closing:
            return False
        if self._token is None:
            return True
        client = self._context.tokens.client(self._token)
        return client is not None and "read" in client.scopes

    async def rung(self, bell: asyncio.Event, limit_s: float = LOOK_EVERY_S) -> bool:
        """Wait for the bell; False when it did not ring within the limit."""
        try:
            await asyncio.wait_for(bell.wait(), limit_s)
        except TimeoutError:
            return False
        return True


async def _stream_turn(request: Request, context: Ctx, credentials: Credentials) -> AsyncIterator[StreamTurn]:
    address = "" if request.client is None else request.client.host
    context.places.take(address)
    try:
        yield StreamTurn(context, None if credentials is None else credentials.credentials)
    finally:
        context.places.give_back(address)


Turn = Annotated[StreamTurn, Depends(_stream_turn)]
