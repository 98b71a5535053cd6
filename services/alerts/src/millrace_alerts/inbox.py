"""Everything that the engine waits for, in one bounded place: messages, commands, news of the connection.

Messages of QoS 1 are bounded by the broker, which sends no more than RECEIVE_MAXIMUM before it is told that they are
done. Messages of QoS 0 have no such brake: beyond CAPACITY they are dropped and counted.
"""

import threading
from collections import deque
from dataclasses import dataclass, field

from millrace_contract.runtime.session import Received

from .commands import Command

RECEIVE_MAXIMUM = 1000
CAPACITY = 4 * RECEIVE_MAXIMUM
COMMAND_CAPACITY = 100
BATCH = 500


@dataclass
class Batch:
    """What came since the last take, at most BATCH messages. `connected` is the newest news, None without news."""

    messages: list[Received] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    published: list[tuple[int, bool]] = field(default_factory=list)
    connected: bool | None = None
    reconnected: bool = False


class Inbox:
    """Safe to use from any thread; `take` from one."""

    def __init__(self) -> None:
        self.dropped = 0
        self._messages: deque[Received] = deque()
        self._commands: deque[Command] = deque()
        self._published: list[tuple[int, bool]] = []
        self._connected: bool | None = None
        self._reconnected = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, received: Received) -> None:
        with self._changed:
            if len(self._messages) >= CAPACITY and not received.qos:
                self.dropped += 1
                return
            self._messages.append(received)
            self._changed.notify()

    def submit(self, command: Command) -> bool:
        """Hand over a command; False when too many are waiting already."""
        with self._changed:
            if len(self._commands) >= COMMAND_CAPACITY:
                return False
            self._commands.append(command)
            self._changed.notify()
        return True

    def published(self, token: int, taken: bool) -> None:
        with self._changed:
            self._published.append((token, taken))
            self._changed.notify()

    def connection(self, connected: bool) -> None:
        with self._changed:
            self._connected = connected
            self._reconnected = self._reconnected or connected
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def take_commands(self) -> list[Command]:
        """Only the commands, at once: for when messages have to wait and people must not."""
        with self._changed:
            commands = list(self._commands)
            self._commands.clear()
        return commands

    def take(self, timeout_s: float) -> Batch:
        """Wait until there is something, at most `timeout_s`. Commands come with the next batch, ahead of a queue."""
        with self._changed:
            if not self._has_something():
                self._changed.wait(timeout_s)
            batch = Batch(
                messages=[self._messages.popleft() for _ in range(min(BATCH, len(self._messages)))],
                commands=list(self._commands),
                published=self._published,
                connected=self._connected,
                reconnected=self._reconnected,
            )
            self._commands.clear()
            self._published = []
            self._connected = None
            self._reconnected = False
        return batch

    def _has_something(self) -> bool:
        return bool(self._messages or self._commands or self._published or self._connected is not None)
