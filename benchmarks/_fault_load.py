"""The load of faults.py: messages through a real outbox, each reading computed from its device's count, and what is stored of them.

The n-th message of a device has n as its first reading, and all others follow from it: so the database alone tells what is lost,
there twice, or wrong.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from _measuring import GATEWAY, ROOT

from millrace_contract.language.messages import Stored, decode
from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_contract.runtime.status import Platform
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing import Broker

DEVICES = 100
TOPICS = Topics(ROOT)
TURN_S = 0.05


def reading(count: int, place: int) -> float:
    """What stands at a place of a device's n-th message."""
    return float(count if place == 0 else (count * 7 + place * 13) % 1000)


class Sender:
    """A gateway's outbox and session, and a thread that leaves `rate` messages a second of `size` readings in the outbox."""

    def __init__(self, folder: Path, broker: Broker, rate: float, size: int, confirm: Literal["stored", "broker"]) -> None:
        self.sent = [0] * DEVICES
        self._names = [f"s{place:03}" for place in range(size)]
        self._rate = rate
        self._platform = Platform()
        self._session = LeanSession(
            broker.settings(),
            f"gateway-{GATEWAY}",
            Callbacks(
                message=self._take,
                connected=lambda: self._outbox.connected(),  # noqa: PLW0108 - the outbox comes later
                disconnected=lambda: self._outbox.disconnected(),  # noqa: PLW0108
                published=lambda token, is_taken: self._outbox.published(token, is_taken),  # noqa: PLW0108
            ),
            filters=[TOPICS.stored(GATEWAY), *TOPICS.filters(Kind.STATUS)] if confirm == "stored" else [],
        )
        self._outbox = OutboxThread(
            folder / "outbox.sqlite",
            GATEWAY,
            self._session.publish,
            ledger_topic=TOPICS.ledger("gateway", GATEWAY),
            encode_loss=ledger_encoder("gateway", GATEWAY),
            clock=SystemClock(),
            confirm=confirm,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="produce", daemon=True)

    @property
    def total(self) -> int:
        return sum(self.sent)

    def stats(self) -> OutboxFigures:
        return self._outbox.stats()

    def is_drained(self) -> bool:
        """The outbox has taken everything, and has been told that all of it is safe."""
        stats = self.stats()
        return stats.depth == 0 and stats.held == 0 and stats.confirmed >= self.total

    def start(self) -> None:
        self._outbox.start()
        self._session.start()
        self._thread.start()

    def end(self) -> None:
        """No new messages; what waits goes on."""
        self._ended.set()
        self._thread.join(10)

    def stop(self) -> None:
        self.end()
        self._session.stop()
        self._outbox.stop()

    def _produce(self) -> None:
        began_s = time.monotonic()
        number = 0
        while not self._ended.wait(TURN_S):
            due = int((time.monotonic() - began_s) * self._rate)
            now_ms = time.time_ns() // 1_000_000
            drafts = []
            for place in range(number, due):
                device = place % DEVICES
                self.sent[device] += 1
                name = f"D{device:03}"
                drafts.append(Draft(TOPICS.telemetry("line1", name), name, now_ms, partial(self._encode, name, self.sent[device])))
            self._outbox.append(drafts)
            number = due

    def _encode(self, device: str, count: int, stamp: Stamp) -> bytes:
        return encode_telemetry(
            device_id=device,
            timestamp_ms=stamp.timestamp_ms,
            readings={name: reading(count, place) for place, name in enumerate(self._names)},
            quality={},
            tags={},
            stream=stamp.stream,
            seq=stamp.seq,
            prev=stamp.prev,
        )

    def _take(self, received: Received) -> None:
        topic = TOPICS.parse(received.topic)
        if topic is None:
            return
        if topic.kind is Kind.STORED:
            stored = decode(Stored, received.payload)
            self._outbox.confirmed(stored.stream, stored.seqs)
        elif self._platform.apply(topic, received.payload) is not None:
            self._outbox.taking(self._platform.is_taking())


@dataclass
class Tally:
    """What the database holds of what was sent."""

    stored: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0

    def add_device(self, rows: list[list[float | None]], sent: int) -> None:
        """Rows of readings in order of place, of the points of one device."""
        seen: set[int] = set()
        for readings in rows:
            count = int(readings[0] or 0)
            self.duplicated += count in seen
            self.wrong += not 1 <= count <= sent or readings != [reading(count, place) for place in range(len(readings))]
            seen.add(count)
        self.stored += len(rows)
        self.lost += sent - len(seen & set(range(1, sent + 1)))


def count_stored(settings: DatabaseSettings, sent: list[int], size: int, fields: str) -> Tally:
    """Every reading of every point. `fields`: how a signal's field is called, with {} for its name."""
    tally = Tally()
    columns = ", ".join(f'"{fields.format(f"s{place:03}")}"' for place in range(size))
    with Influx(settings, timeout_s=120) as influx:
        for device, count in enumerate(sent):
            series = influx.query("telemetry", f"SELECT {columns} FROM bench WHERE device = $device", device=f"D{device:03}")
            tally.add_device([row[1:] for one in series for row in one.rows], count)
    return tally
