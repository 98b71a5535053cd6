"""What a session with the MQTT broker promises, whichever client speaks: connects for ever, enqueues what arrives, publishes only
while connected. Two keep the promise and pass the same tests; which one serves whom is decision 0012.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..lifecycle import EXIT_FAILED
from ..logs import get_logger
from ..settings import BrokerSettings
from .refused_topics import RefusedTopics
from .trust import Trust

SESSION_EXPIRY_S = 7 * 86_400
KEEPALIVE_S = 30
RECONNECT_S = (1, 2)
"""The shortest and the longest pause before the next try: a broker that is back is found within two seconds."""
CONNECT_LIMIT_S = 5.0
WRONG_ACCOUNT = frozenset({0x86, 0x87})
"""Reason codes: bad user name or password, not authorized."""

TAKEN_OVER = 0x8E
"""Reason code: somebody else has connected under our client id. Not every broker says it before it closes the connection."""
_SHORT_LIFE_S = 2.0
_SHORT_LIVES = 3
_PAUSE_LIMIT_S = 60.0
_RIVAL_SAID_S = 600.0

_log = get_logger(__name__)


class Received(NamedTuple):
    """A message from the broker. `generation` counts connections: it may only be acknowledged on its own."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    generation: int


def _ignore(*_arguments: object) -> None:
    pass


class Callbacks(NamedTuple):
    """All are called on the network thread: they only enqueue. An exception in one ends the process."""

    message: Callable[[Received], None] = _ignore
    connected: Callable[[], None] = _ignore
    disconnected: Callable[[], None] = _ignore
    published: Callable[[int, bool], None] = _ignore
    """(token of publish, whether the broker took it)"""
    messages: Callable[[list[Received]], None] | None = None
    """In place of `message`: all that came with one read, in order. For who has many."""


class Session:
    """One client id at one broker. `start` returns at once; the broker may be absent for as long as it likes."""

    def __init__(self, settings: BrokerSettings, client_id: str, callbacks: Callbacks, *, learned_ca: Path | None = None) -> None:
        """`learned_ca`: where authorities that the broker announces are kept; None: they are not. Raises CannotStart."""
        self.problem: str | None = "not connected yet"
        self.generation = 0
        self.refused_filters: frozenset[str] = frozenset()
        self._subscribed_generation = 0
        """What the broker does not let us read, as far as it says so: mosquitto grants every subscription, and sends nothing."""
        self._settings = settings
        self._client_id = client_id
        # Each instance has an account of its own, called like its client id (contracts.md 2.1).
        self._account = settings.mqtt_username or (client_id if settings.mqtt_password.get_secret_value() else "")
        self._callbacks = callbacks
        self._trust = Trust(settings.mqtt_ca, learned_ca)
        self._refused_topics = RefusedTopics()
        self._connected = threading.Event()
        self._pause_s = float(RECONNECT_S[0])
        self._short_lives = 0
        self._rival_seen_s: float | None = None
        self._rival_sign = ""
        self._thread = threading.Thread(target=self._guard(self._run), name="mqtt", daemon=True)

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    @property
    def account(self) -> str:
        """Under which the broker knows us."""
        return self._account or self._client_id

    @property
    def is_running(self) -> bool:
        """Whether the network thread lives; a dead one never reconnects."""
        return self._thread.is_alive()

    @property
    def notices(self) -> list[str]:
        """What a person should know although we are connected."""
        reading = [self._refused_reading()] if self.refused_filters else []
        return [*self._rivals(), *reading, *self._refused_topics.sentences(self.account, time.monotonic())]

    @property
    def has_rival(self) -> bool:
        """Whether, it seems, another process runs under our name."""
        return self._rival_seen_s is not None and time.monotonic() - self._rival_seen_s <= _RIVAL_SAID_S

    @property
    def trusted(self) -> list[str]:
        """Fingerprints of the authorities that the broker's certificate may be of; none without TLS."""
        return self._trust.fingerprints

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has answered the filters on this connection: until then it may pass over what others publish."""
        return self._connected.is_set() and self._subscribed_generation == self.generation

    def start(self) -> None:
        raise NotImplementedError

    def stop(self, timeout_s: float = 3.0) -> None:
        """Disconnect in good order, without the will. Publish what must still go out before calling this."""
        raise NotImplementedError

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand a message to the broker, QoS 1. Returns a token that `callbacks.published` names again, or None: not now.

        A retained message on a topic that was refused lately is not taken either: with some brokers each try costs the connection.
        Nothing is queued while disconnected: who must not lose a message keeps it in an outbox, who owns a retained one
        publishes it anew in `callbacks.connected`.
        """
        raise NotImplementedError

    def acknowledge(self, received: Received) -> None:
        """Tell the broker that the message's effect is done. Ignored for a message of an earlier connection."""
        raise NotImplementedError

    def acknowledge_all(self, messages: Iterable[Received]) -> None:
        """The same for many."""
        for received in messages:
            self.acknowledge(received)

    def _run(self) -> None:
        raise NotImplementedError

    def _password(self) -> str:
        """Read anew for each connection: a password that was refused may have been changed since."""
        return self._settings.secret("mqtt_password")

    def _deliver(self, messages: list[Received]) -> None:
        if self._callbacks.messages is not None:
            self._callbacks.messages(messages)
            return
        for received in messages:
            self._callbacks.message(received)

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """An exception on the network thread ends the process: else it would look alive for ever without hearing anything."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, the restart policy is the way out
                _log.critical("mqtt_callback_failed", exc_info=True)
                os._exit(EXIT_FAILED)

        return guarded

    def _pause_after(self, lived_s: float, code: int | None) -> float:
        """How long to stay away after a connection that the other side ended, in seconds; `code` is its reason, None: none given.

        Longer each time while connections end soon after they begin, else two of one name take theirs from each other many
        times a second and neither gets anything done.
        """
        is_short = lived_s < max(_SHORT_LIFE_S, 2 * self._pause_s)
        self._short_lives = self._short_lives + 1 if is_short else 0
        self._pause_s = min(2 * self._pause_s, _PAUSE_LIMIT_S) if self._short_lives > 1 else float(RECONNECT_S[0])
        was_known = self.has_rival
        if code == TAKEN_OVER:
            self._rival_seen_s, self._rival_sign = time.monotonic(), "the broker gives our connection to"
        elif code is None and self._short_lives >= _SHORT_LIVES:
            self._rival_seen_s = time.monotonic()
            self._rival_sign = "the broker ends our connection again and again, soon after it began; is there"
        if self.has_rival and not was_known:
            _log.error("name_in_use", client_id=self._client_id, problem=self._rivals()[0])
        return self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads reconnects, guards nothing

    def _broker_is_away(self) -> None:
        """Nobody answers: what ended connections was no rival but a broker that comes and goes; it is looked for as at first."""
        self._short_lives = 0
        self._pause_s = float(RECONNECT_S[0])

    def _place(self) -> str:
        return f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"

    def _transition(self, problem: str | None, **fields: Any) -> None:
        """Log changes only: a broker that is away for a night is two lines, not ten thousand."""
        if problem == self.problem:
            return
        self.problem = problem
        if problem is None:
            _log.info("broker_connected", broker=self._place(), client_id=self._client_id, **fields)
        else:
            _log.warning("broker_problem", broker=self._place(), client_id=self._client_id, problem=problem)

    def _refusal(self, code: int, reason: object) -> str:
        """Why the broker does not let us in, in words."""
        if code in WRONG_ACCOUNT:
            source = self._settings.source_of("mqtt_password")
            return (
                f"the broker refuses the account {self._account or '(none)'}: wrong user name or password. {source} must hold what "
                "the broker knows: on the server, docker compose up -d brings the two into agreement, for the first instance of "
                "each service and those that MILLRACE_INSTANCES lists; a gateway elsewhere needs a new kit; with another broker, "
                "compare with its accounts"
            )
        return f"the broker refuses the connection: {reason}"

    def _subscribed(self, filters: Sequence[str], is_granted: Iterable[bool]) -> None:
        """The broker answered which of these it lets us read."""
        self._subscribed_generation = self.generation
        refused = frozenset(each for each, granted in zip(filters, is_granted, strict=False) if not granted)
        self.refused_filters = refused
        if refused:
            self._transition(self._refused_reading())

    def _refused_reading(self) -> str:
        return f"the broker does not let account {self.account} read {', '.join(sorted(self.refused_filters))}"

    def _rivals(self) -> list[str]:
        if not self.has_rival:
            return []
        service, _, instance = self._client_id.partition("-")
        return [
            f"{self._rival_sign} another {service} with the name {instance}: give each a MILLRACE_INSTANCE of its own, or stop one"
        ]

    def _rests(self, topic: str, *, retain: bool) -> bool:
        return retain and bool(self._refused_topics) and self._refused_topics.rests(topic, time.monotonic())

    def _answered(self, topic: str, refusal: str | None, *, is_rights: bool = False) -> None:
        """The broker took a publish on this topic, or why it did not."""
        if refusal is None:
            # Nearly always nothing is refused.
            if self._refused_topics and self._refused_topics.taken(topic):
                _log.info("publish_taken_again", topic=topic, client_id=self._client_id)
        elif self._refused_topics.note(topic, refusal.lower(), time.monotonic(), is_rights=is_rights):
            _log.warning("publish_refused", topic=topic, client_id=self._client_id, reason=refusal)
