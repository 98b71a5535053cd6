"""The running service: wires broker, database, disk and loops, and takes them apart again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec

from millrace_contract.language.messages import Status, Stored, encode
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.garbage import look_seldom
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import KEEPALIVE_S, Callbacks, Received
from millrace_contract.runtime.mqtt.trust import LEARNED
from millrace_contract.runtime.status import StatusReporter, last_will
from millrace_contract.store_forward.restored import read_restored

from . import figures
from .archive import Archive
from .backoff import Backoff
from .confirmations import Confirmation
from .consumer import Consumer
from .database_state import DatabaseState
from .decoder import STORED_KINDS
from .local_store import DiskLimits, open_local_store
from .marks import Marks
from .plant_watch import PlantWatch
from .settings import IngestSettings
from .storage import Storage
from .writer import Writer

SERVICE = "ingest"
LOOK_INTERVAL_S = 1.0
MB = 1_000_000
STOP_LIMIT_S = 8.0
SHARED_KEEPALIVE_S = 10
"""The broker gives a hung one its share until one and a half of these have passed."""

_log = get_logger(__name__)


class IngestService:
    """Construction starts nothing; it raises ConfigurationProblems, CannotStart (in use, of another version) and DiskRefused."""

    def __init__(self, settings: IngestSettings, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._settings = settings
        self._stopping = threading.Event()
        self._watch = PlantWatch(settings.config, settings.data, settings.ingest_signals_max)
        self._topics = Topics(self._watch.plant.root)
        self._local, self._set_aside = open_local_store(
            settings.data,
            DiskLimits(settings.ingest_dead_letters_max_mb * MB, settings.ingest_spool_max_mb * MB),
            self._clock.now_ms(),
        )
        if self._set_aside is not None:
            _log.error("store_set_aside", path=str(self._set_aside.path), reason=self._set_aside.reason)
        self._heartbeats = Heartbeats(self._clock)
        self._influx = Influx(settings)
        archive = settings.ingest_archive
        self._archive = Archive(Path(archive), settings.instance, settings.ingest_archive_days) if archive else None
        self._writer = self._make_writer()
        self._session = self._make_session()
        self._consumer = Consumer(
            self._writer,
            self._clock,
            self._heartbeats,
            decoder=lambda: self._watch.decoder,
            batch_lines=settings.ingest_batch_lines,
            batch_linger_s=settings.ingest_batch_linger_s,
            buffer_bytes=settings.ingest_buffer_mb * MB,
        )
        base = Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-ingest"), taking=False)
        self._status = StatusReporter(
            self._session,
            self._topics,
            base,
            self._collect,
            self._clock,
            heartbeats=self._heartbeats,
            disks=Disks(settings.data),
        )
        self._health = HealthServer(
            settings.http_host, settings.http_port, self._heartbeats, self._readiness, {STATUS_PATH: self._status.answer}
        )
        self._watchdog = Watchdog(self._heartbeats)

    def start(self) -> None:
        """Raises CannotStart when the port of health and metrics cannot be used."""
        self._health.start()
        self._watchdog.start()
        self._consumer.start()
        self._session.start()
        self._status.start()
        look_seldom()
        _log.info("started", devices=len(self._watch.plant.devices), dead_letters=self._local.dead_letters.count)

    def run(self, stop: threading.Event) -> None:
        """Looks after the rest until `stop` is set."""
        while not stop.wait(LOOK_INTERVAL_S):
            self._heartbeats.beat("main")
            figures.publish(self._figures())
            if self._watch.look():
                self._status.now()

    def stop(self) -> bool:
        """What is unfinished stays unacknowledged and comes again. Takes at most about STOP_LIMIT_S and a few seconds."""
        self._stopping.set()
        finished = self._consumer.stop(STOP_LIMIT_S)
        self._status.stop()
        self._session.stop()
        self._watchdog.stop()
        self._health.stop()
        if finished:  # else the writer still waits for the database, and the end of the process ends it
            self._influx.close()
            self._local.close()
            if self._archive is not None:
                self._archive.close()
        return True  # What was not finished comes again.

    def _make_writer(self) -> Writer:
        storage = Storage(
            self._influx,
            self._clock,
            patience_s=self._settings.ingest_patience_s,
            wait=self._pause,
            beat=lambda: self._heartbeats.beat("write"),
            archive=self._archive,
        )
        return Writer(
            storage,
            self._local,
            DatabaseState(Backoff(random.Random())),  # noqa: S311 - jitter, no secret
            self._clock,
            service=SERVICE,
            instance=self._settings.instance,
            confirm=self._confirm,
            acknowledge=self._acknowledge,
            status_changed=self._report,
            heartbeats=self._heartbeats,
            marks=Marks(storage, self._influx, self._local, self._settings.instance, read_restored(self._settings.data)),
            answer=self._answer,
            restart=RestartRequest(self._settings.influx_requests, f"{SERVICE}-{self._settings.instance}", self._clock),
            decoder=lambda: self._watch.decoder,
            is_alone=not self._settings.ingest_share_group,
        )

    def _make_session(self) -> LeanSession:
        # Alone: the broker keeps what comes while we are away. Shared: it gives that to the others, and what a dying one held
        # comes again from the outboxes; a session kept for it would only hold messages back (contracts.md 2.4.9).
        group = self._settings.ingest_share_group
        prefix = f"$share/{group}/" if group else ""
        return LeanSession(
            self._settings,
            f"{SERVICE}-{self._settings.instance}",
            Callbacks(messages=self._received, connected=self._report),
            filters=[prefix + topic for kind in STORED_KINDS for topic in self._topics.filters(kind)],
            will=last_will(self._topics, SERVICE, self._settings.instance),
            learned_ca=self._settings.data / LEARNED,
            persistent=not group,
            manual_ack=True,
            receive_maximum=self._settings.ingest_receive_maximum,
            keepalive_s=SHARED_KEEPALIVE_S if group else KEEPALIVE_S,
        )

    def _received(self, messages: list[Received]) -> None:
        self._consumer.received(messages)

    def _report(self) -> None:
        self._status.now()

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _confirm(self, confirmation: Confirmation) -> None:
        # Not connected: the sender sends again and is told then.
        message = Stored(stream=confirmation.stream, seqs=confirmation.seqs)
        self._session.publish(self._topics.stored(confirmation.sender), encode(message))

    def _answer(self, sender: str, stored: Stored) -> None:
        self._session.publish(self._topics.stored(sender), encode(stored))

    def _acknowledge(self, messages: Iterable[Received]) -> None:
        self._session.acknowledge_all(messages)

    def _figures(self) -> dict[str, float]:
        local, writer = self._local, self._writer
        return {
            **writer.figures.summary(self._clock.monotonic_s()),
            "queue": self._consumer.depth,
            "queue_bytes": self._consumer.bytes,
            "dead_letters": local.dead_letters.count,
            "dead_letter_bytes": local.dead_letters.bytes,
            "spool": local.spool.count,
            "spool_bytes": local.spool.bytes,
            "lost": local.lost,
            "store_set_aside": float(self._set_aside is not None),
            "open_gaps": writer.continuity.sequences.open_gaps,
            "fuse_blown": float(writer.fuse.blown),
            "broker_connected": float(self._session.is_connected),
            "taking": float(writer.database.taking),
            **({"archived": self._archive.kept, "archive_missed": self._archive.missed} if self._archive else {}),
        }

    def _collect(self, base: Status) -> Status:
        summary = self._figures()
        archive_problems = [self._archive.problem] if self._archive is not None and self._archive.problem else []
        store_problems = [self._set_aside.in_words] if self._set_aside is not None else []
        return msgspec.structs.replace(
            base,
            taking=bool(summary.pop("taking")),
            configuration=self._watch.configuration,
            plant=self._watch.in_use,
            problems=[*self._writer.problems, *self._watch.problems, *archive_problems, *store_problems],
            notes=self._writer.notes,
            figures=summary,
        )

    def _readiness(self) -> dict[str, bool]:
        return {"broker": self._session.is_connected, "database": self._writer.database.taking}
