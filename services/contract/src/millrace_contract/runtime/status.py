"""The status topic: what a service says of itself, and what the others' statuses mean together (contracts.md 2.1)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from ..language.messages import Status, decode, encode
from ..language.times import format_timestamp
from ..language.topics import Kind, Topic, Topics
from .clock import Clock, SystemClock
from .disk_space import Disks, status_figures
from .health import Heartbeats
from .mqtt.session import Session

INTERVAL_S = 10.0
LOOK_S = 0.5


def last_will(topics: Topics, service: str, instance: str) -> tuple[str, bytes]:
    """Topic and payload that the broker publishes when the service is gone."""
    return topics.status(service, instance), encode(Status(service=service, instance=instance, alive=False))


class StatusReporter:
    """Publishes the retained status every ten seconds, at once after `now`, and after each reconnect.

    `collect` is called on the reporter's thread and returns the status with what only the service knows
    (taking, configuration, problems, figures); the rest is filled in here: which steps of `heartbeats` fail, and how much room
    `disks` have.
    """

    def __init__(
        self,
        session: Session,
        topics: Topics,
        status: Status,
        collect: Callable[[Status], Status],
        clock: Clock | None = None,
        *,
        heartbeats: Heartbeats | None = None,
        disks: Disks,
    ) -> None:
        self._session = session
        self._disks = disks
        self._heartbeats = heartbeats or Heartbeats(clock)
        self._topic = topics.status(status.service, status.instance)
        self._clock = clock or SystemClock()
        self._base = msgspec.structs.replace(
            status,
            alive=True,
            started=format_timestamp(self._clock.now_ms()),
            host=f"{socket.gethostname()} (process {os.getpid()})",
        )
        self._collect = collect
        self._latest: Status | None = None
        self._wanted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def now(self) -> None:
        """Publish as soon as possible; may be called from any thread, never blocks."""
        self._wanted.set()

    def answer(self, _method: str = "GET", _body: bytes = b"") -> tuple[int, Any]:
        """For /health/status: what was said last, or would have been had the broker taken it, and why it did not. Any thread."""
        latest = self._latest
        if latest is None:
            return 503, {}
        said = msgspec.structs.replace(latest, problems=[*latest.problems, *self._unconnected(latest)])
        return 200, msgspec.to_builtins(said)

    def stop(self) -> None:
        """Say good-bye: the broker sends no last will after an orderly disconnect."""
        self._stopped = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)
        gone = msgspec.structs.replace(self._base, alive=False, timestamp=format_timestamp(self._clock.now_ms()))
        self._session.publish(self._topic, encode(gone), retain=True)

    def _run(self) -> None:
        while not self._stopped:
            self._wanted.clear()
            status = self._collect(self._base)
            rooms = self._disks.look(self._clock.monotonic_s())
            low = [room.problem for room in rooms if room.problem is not None]
            status = msgspec.structs.replace(
                status,
                timestamp=format_timestamp(self._clock.now_ms()),
                problems=[*status.problems, *self._session.notices, *low, *self._unhealthy()],
                trusts=self._session.trusted,
                figures=status.figures | status_figures(rooms) | {"name_in_use": float(self._session.has_rival)},
            )
            self._latest = status
            generation = self._session.generation
            is_said = self._session.publish(self._topic, encode(status), retain=True) is not None
            self._rest(generation if is_said else None)

    def _rest(self, generation: int | None) -> None:
        """Until it is time again, somebody wants it, or the broker has us anew: it may have published our will meanwhile."""
        for _ in range(round(INTERVAL_S / LOOK_S)):
            is_anew = self._session.is_connected and self._session.generation != generation
            if is_anew or self._wanted.wait(LOOK_S):
                return

    def _unconnected(self, status: Status) -> list[str]:
        """Nobody hears it over the broker; who asks us beside it shall know why."""
        problem = self._session.problem
        return [problem] if problem and not self._session.is_connected and problem not in status.problems else []

    def _unhealthy(self) -> list[str]:
        return [f"unhealthy: {step} {problem}" for step, problem in self._heartbeats.failing().items()]


class Platform:
    """What the services said last. Not thread-safe: one loop applies and asks."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[str, str], Status] = {}

    def apply(self, topic: Topic, payload: bytes) -> Status | None:
        """Take note of a message on a status topic. Returns the status, None where it was cleared or the topic is another.

        Raises Malformed for what is no status: it changes nothing.
        """
        if topic.kind is not Kind.STATUS or topic.service is None or topic.instance is None:
            return None
        if not payload:
            self._statuses.pop((topic.service, topic.instance), None)
            return None
        status = decode(Status, payload)
        self._statuses[(topic.service, topic.instance)] = status
        return status

    def alive(self, service: str, instance: str) -> bool | None:
        """None: nothing was said, or it was cleared."""
        status = self._statuses.get((service, instance))
        return None if status is None else status.alive

    def is_taking(self) -> bool:
        """Whether any ingest says that the database takes data."""
        return any(status.alive and bool(status.taking) for (service, _), status in self._statuses.items() if service == "ingest")

    def statuses(self) -> list[Status]:
        return list(self._statuses.values())
