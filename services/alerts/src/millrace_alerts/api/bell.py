"""Tells the streams of the API that something was committed; rung by the engine's thread, heard by the event loop."""

import asyncio


class Bell:
    """Whoever takes `next` before reading the store misses nothing: what is committed later rings it.

    Streams end once `is_closing`: the server then stops at once and in good order.
    """

    def __init__(self) -> None:
        self.is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def detach(self) -> None:
        self._loop = None

    def next(self) -> asyncio.Event:
        return self._event

    def ring(self) -> None:
        """From any thread; never blocks."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._ring)
        except RuntimeError:  # The loop was closed between the two lines: nobody listens any more.
            self._loop = None

    def close(self) -> None:
        """From any thread: let every stream come to its end."""
        self.is_closing = True
        self.ring()

    def _ring(self) -> None:
        rung, self._event = self._event, asyncio.Event()
        rung.set()
