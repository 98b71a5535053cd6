"""The store: one SQLite file with the alerts, their events, what was last heard, and the outbox.

The worker's thread writes through `Store`; the API reads through `Reader`, with connections of its own. An event, the
state that it led to and the message that tells of it are committed together, or not at all.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.alert_order import place_of
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import ANNUNCIATED, EVALUABLE, SUPPRESSED, ContextKind
from millrace_contract.store_forward.outbox_steps import OUTBOX_STEPS
from millrace_contract.store_forward.restored import read_restored
from millrace_contract.store_forward.sqlite import Connection, connect_to_read, transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.store_forward.store_form import StoreKind

from .alert import Alert, Description
from .entry_tables import ENTRY_STEP, EnteredVersion, forget_stops, listed, save_stop, stop_of, stops_within, versions
from .event_archive import ARCHIVE_STEP, archived_to
from .event_tables import events_between, raised_before
from .feed import FEED_STEP, Cursor, Feed, keep_feed, read_feed, where_to_go_on
from .records import DeviceRecord, Gateway, Saved
from .rule_changes import RULE_STEP
from .rule_desk import RULE_EDIT_STEP

WINDOWS_KEPT_MS = 40 * 86_400_000
"""Windows of OEE stay this long, for when the database is away; the database has them for good."""
ANSWERS_KEPT_MS = 2 * 86_400_000

_VERSION_1 = (
    *OUTBOX_STEPS[0],
    """CREATE TABLE IF NOT EXISTS alert (
        id TEXT PRIMARY KEY, rule TEXT NOT NULL, line TEXT NOT NULL, device TEXT NOT NULL, title TEXT NOT NULL,
        class TEXT NOT NULL, priority INTEGER NOT NULL, state TEXT NOT NULL, activated_ms INTEGER NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS alert_activated ON alert (activated_ms DESC, id)",
    """CREATE TABLE IF NOT EXISTS event (
        seq INTEGER PRIMARY KEY, alert TEXT NOT NULL, recorded_ms INTEGER NOT NULL, via TEXT, body BLOB NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS event_alert ON event (alert, seq)",
    """CREATE TRIGGER IF NOT EXISTS event_is_immutable BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TRIGGER IF NOT EXISTS event_is_kept BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    "CREATE TABLE IF NOT EXISTS device (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS gateway (instance TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS oee (line TEXT, device TEXT, body BLOB NOT NULL, PRIMARY KEY (line, device)) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS oee_window (
        line TEXT, device TEXT, kind TEXT, id TEXT, start_ms INTEGER NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (line, device, kind, id)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS oee_window_start ON oee_window (start_ms)",
    """CREATE TABLE IF NOT EXISTS answer (
        client TEXT, key TEXT, fingerprint TEXT NOT NULL, created_ms INTEGER NOT NULL,
        etag TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (client, key)
    ) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)
_VERSION_3 = OUTBOX_STEPS[1]
_ORDER_STEP = (
    "ALTER TABLE alert ADD COLUMN place INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE alert ADD COLUMN evaluation TEXT NOT NULL DEFAULT 'never_seen'",
    "CREATE INDEX alert_place ON alert (place, activated_ms DESC, id)",
)
"""Every row is written anew at the start that follows, with its place and its evaluation."""
ALERTS_STORE = StoreKind(
    "the store of alerts", (_VERSION_1, FEED_STEP, _VERSION_3, _ORDER_STEP, ENTRY_STEP, RULE_STEP, RULE_EDIT_STEP, ARCHIVE_STEP)
)

_alert = msgspec.json.Decoder(Alert)
_device = msgspec.json.Decoder(DeviceRecord)
_gateway = msgspec.json.Decoder(Gateway)
_event = msgspec.json.Decoder(AlertEvent)
_document = msgspec.json.Decoder(OeeDocument)
_encode = msgspec.json.Encoder().encode

IS_SHOWN, IS_HIDDEN = (
    f"state IN ({', '.join(repr(state.value) for state in sorted(states))})" for states in (ANNUNCIATED, SUPPRESSED)
)
"""SQL over the table of alerts."""
IS_BLIND = f"evaluation NOT IN ({', '.join(repr(each.value) for each in sorted(EVALUABLE))})"
"""The rule cannot be evaluated."""

FILE = "alerts.db"
"""In the data folder."""


class StoredEvent(msgspec.Struct, frozen=True):
    """An event, and the name of the API token through which a person's action came."""

    event: AlertEvent
    via: str | None = None


class StoredAnswer(msgspec.Struct, frozen=True):
    """What a command was answered, for the client that repeats it (Idempotency-Key)."""

    fingerprint: str
    etag: str
    body: bytes


class Store:
    """The writing side, for one thread; the file is this process's alone.

    Raises StoreRefused, InUse and DiskRefused. A damaged file is set aside, `set_aside` says where, and a new one begun:
    alarms go on. `was_restored`: it was put back from a backup since it was last open.
    """

    def __init__(self, path: Path, now_ms: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.database = open_store(ALERTS_STORE, path, now_ms)
        self.set_aside = self.database.set_aside
        self.connection = self.database.connection
        with self.transaction():
            self.was_restored = keep_feed(self.connection, read_restored(path.parent), now_ms)

    def close(self) -> None:
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is kept together, or none of it. Raises DiskRefused (try again later) and Damaged."""
        with transaction(self.connection):
            yield

    def load(self) -> Saved:
        rows = self.connection.execute
        return Saved(
            alerts={name: _alert.decode(body) for name, body in rows("SELECT id, body FROM alert")},
            devices={name: _device.decode(body) for name, body in rows("SELECT id, body FROM device")},
            gateways={name: _gateway.decode(body) for name, body in rows("SELECT instance, body FROM gateway")},
        )

    def save_alert(self, alert: Alert, description: Description) -> None:
        description = description.of(alert)
        self.connection.execute(
            "INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                alert.id,
                alert.rule,
                alert.line,
                alert.device_id,
                description.title,
                description.alert_class,
                description.priority.rank,
                alert.state,
                alert.activated_ms or 0,
                _encode(alert),
                place_of(alert.state, description.priority, description.alert_class),
                alert.evaluation,
            ),
        )

    def delete_alert(self, alert_id: str) -> None:
        """Forget an alert that no rule knows any more; its events stay."""
        self.connection.execute("DELETE FROM alert WHERE id = ?", (alert_id,))

    def last_event_seq(self) -> int:
        """The last number that was given; the next event's is the one after it."""
        last_seq = int(self.connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])
        return max(last_seq, archived_to(self.connection), read_feed(self.connection).base_seq)

    def append_event(self, event: AlertEvent, recorded_ms: int, via: str | None) -> None:
        row = (event.event_seq, event.alert_id, recorded_ms, via, _encode(event))
        self.connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?)", row)

    def save_device(self, device_id: str, record: DeviceRecord) -> None:
        self.connection.execute("INSERT OR REPLACE INTO device VALUES (?, ?)", (device_id, _encode(record)))

    def save_gateway(self, instance: str, gateway: Gateway | None) -> None:
        """None: nothing is known of it any more."""
        if gateway is None:
            self.connection.execute("DELETE FROM gateway WHERE instance = ?", (instance,))
            return
        self.connection.execute("INSERT OR REPLACE INTO gateway VALUES (?, ?)", (instance, _encode(gateway)))

    def save_oee(self, document: OeeDocument) -> None:
        row = (document.line, _device_of(document), _encode(document))
        self.connection.execute("INSERT OR REPLACE INTO oee VALUES (?, ?, ?)", row)

    def forget_oee(self, line: str, device: str | None) -> None:
        """Its shift in progress is shown no more; ended windows stay."""
        self.connection.execute("DELETE FROM oee WHERE line = ? AND device = ?", (line, device or ""))

    def oee_assets(self) -> list[tuple[str, str | None]]:
        """(line, device) of each shift in progress, device None for the line's own."""
        return [(line, device or None) for line, device in self.connection.execute("SELECT line, device FROM oee").fetchall()]

    def save_oee_window(self, document: OeeDocument) -> None:
        """Keep a window; a later revision replaces an earlier one, never the other way round."""
        window = document.window
        self.connection.execute(
            """INSERT INTO oee_window VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (line, device, kind, id) DO UPDATE
            SET start_ms = excluded.start_ms, revision = excluded.revision, body = excluded.body
            WHERE excluded.revision >= oee_window.revision""",
            (
                document.line,
                _device_of(document),
                window.kind,
                window.id,
                parse_timestamp(window.start),
                document.revision,
                _encode(document),
            ),
        )

    def save_stop(self, stop: OeeInterval) -> None:
        save_stop(self.connection, stop)

    def save_answer(self, client: str, key: str, answer: StoredAnswer, now_ms: int) -> None:
        row = (client, key, answer.fingerprint, now_ms, answer.etag, answer.body)
        self.connection.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)", row)

    def observed_ms(self) -> int | None:
        """Until when the plant was observed, before a stop or a lost connection; None at the very first start."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = 'observed_ms'").fetchone()
        return None if row is None else int(row[0])

    def save_observed(self, now_ms: int) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('observed_ms', ?)", (now_ms,))

    def forget_old(self, now_ms: int) -> None:
        """Drop windows and answers that are past their time."""
        self.connection.execute("DELETE FROM oee_window WHERE start_ms < ?", (now_ms - WINDOWS_KEPT_MS,))
        self.connection.execute("DELETE FROM answer WHERE created_ms < ?", (now_ms - ANSWERS_KEPT_MS,))
        forget_stops(self.connection, now_ms - WINDOWS_KEPT_MS)


class Reader:
    """The reading side: one read-only connection a thread. It sees what is committed, and never waits for the writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def alert(self, alert_id: str) -> Alert | None:
        row = self._one("SELECT body FROM alert WHERE id = ?", (alert_id,))
        return None if row is None else _alert.decode(row[0])

    def alerts(self, where: str, values: Iterable[Any], limit: int) -> list[Alert]:
        """Alerts in their order (`alert_order`). `where` is SQL over the table's columns, with a placeholder for each value."""
        sql = f"SELECT body FROM alert WHERE {where} ORDER BY place, activated_ms DESC, id LIMIT ?"  # noqa: S608 - built from our own words
        return [_alert.decode(body) for (body,) in self._all(sql, (*values, limit))]

    def count(self, where: str, values: Iterable[Any] = ()) -> int:
        """How many alerts `where` (as in `alerts`) is true of."""
        row = self._one(f"SELECT count(*) FROM alert WHERE {where}", tuple(values))  # noqa: S608 - built from our own words
        return 0 if row is None else int(row[0])

    def open_alert_count(self) -> int:
        row = self._one(f"SELECT count(*) FROM alert WHERE {IS_SHOWN}")  # noqa: S608 - our own words
        return 0 if row is None else int(row[0])

    def open_alert_devices(self) -> list[str]:
        """The device of each alert that is shown, one name an alert."""
        rows = self._all(f"SELECT device FROM alert WHERE {IS_SHOWN}")  # noqa: S608 - our own words
        return [device for (device,) in rows]

    def last_event_seq(self) -> int:
        row = self._one("SELECT coalesce(max(seq), 0) FROM event")
        return max(self.archived_to(), 0 if row is None else int(row[0]))

    def archived_to(self) -> int:
        """The last event that is in the archive, and in the feed no more."""
        return archived_to(self._connection())

    def feed(self) -> Feed:
        return read_feed(self._connection())

    def where_to_go_on(self, cursor: Cursor) -> Cursor | None:
        """None for a cursor that misses nothing; else where its reader must begin."""
        connection = self._connection()
        return where_to_go_on(connection, read_feed(connection), cursor)

    def events(self, after: int, limit: int, alert_id: str | None = None) -> list[StoredEvent]:
        """Events with a seq above `after`, in order."""
        if alert_id is None:
            rows = self._all("SELECT body, via FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        else:
            sql = "SELECT body, via FROM event WHERE alert = ? AND seq > ? ORDER BY seq LIMIT ?"
            rows = self._all(sql, (alert_id, after, limit))
        return [StoredEvent(_event.decode(body), via) for body, via in rows]

    def events_between(self, from_ms: int, to_ms: int, limit: int) -> list[AlertEvent]:
        """As `event_tables` says it."""
        return events_between(self._connection(), from_ms, to_ms, limit)

    def raised_before(self, alerts: list[str], from_ms: int) -> dict[str, AlertEvent]:
        return raised_before(self._connection(), alerts, from_ms)

    def devices(self) -> dict[str, DeviceRecord]:
        return {name: _device.decode(body) for name, body in self._all("SELECT id, body FROM device")}

    def device(self, device_id: str) -> DeviceRecord | None:
        row = self._one("SELECT body FROM device WHERE id = ?", (device_id,))
        return None if row is None else _device.decode(row[0])

    def gateways(self) -> dict[str, Gateway]:
        return {name: _gateway.decode(body) for name, body in self._all("SELECT instance, body FROM gateway")}

    def oee(self) -> list[OeeDocument]:
        """The window in progress of each line and device, lines first."""
        return [_document.decode(body) for (body,) in self._all("SELECT body FROM oee ORDER BY line, device")]

    def oee_windows(self, line: str | None, device: str | None, kind: str, starts_ms: range, limit: int) -> list[OeeDocument]:
        """Ended windows that begin in `starts_ms`, in order; of a device those of any line where `line` is None."""
        rows = self._all(
            """SELECT body FROM oee_window WHERE line = coalesce(?, line) AND device = ? AND kind = ?
            AND start_ms >= ? AND start_ms < ? ORDER BY start_ms LIMIT ?""",
            (line, device or "", kind, starts_ms.start, starts_ms.stop, limit),
        )
        return [_document.decode(body) for (body,) in rows]

    def entry_versions(self, entry_id: str) -> list[EnteredVersion]:
        return versions(self._connection(), entry_id)

    def entries(
        self, kinds: tuple[ContextKind, ...], asset: tuple[str | None, str | None], entered_ms: range, limit: int
    ) -> list[EnteredVersion]:
        return listed(self._connection(), kinds, asset, entered_ms, limit)

    def stop_of(self, stop_id: str) -> OeeInterval | None:
        return stop_of(self._connection(), stop_id)

    def stops(self, line: str | None, device: str | None, span: range, limit: int) -> list[OeeInterval]:
        return stops_within(self._connection(), line, device, span, limit)

    def answer(self, client: str, key: str) -> StoredAnswer | None:
        sql = "SELECT fingerprint, etag, body FROM answer WHERE client = ? AND key = ?"
        row = self._one(sql, (client, key))
        return None if row is None else StoredAnswer(*row)

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._connection().execute(sql, values).fetchall()

    def _one(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        return self._connection().execute(sql, values).fetchone()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect_to_read(self._path)
            self._local.connection = connection
        return connection


def _device_of(document: OeeDocument) -> str:
    return document.device_id if isinstance(document.device_id, str) else ""
