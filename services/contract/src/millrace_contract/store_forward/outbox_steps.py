"""The outbox's tables, version by version; a store that holds an outbox has each of these within a step (StoreKind.steps)."""

OUTBOX_STEPS = (
    (
        """CREATE TABLE IF NOT EXISTS outbox_state (
        one INTEGER PRIMARY KEY CHECK (one = 1), sender TEXT NOT NULL, version INTEGER NOT NULL,
        next_id INTEGER NOT NULL, depth INTEGER NOT NULL, bytes INTEGER NOT NULL)""",
        "CREATE TABLE IF NOT EXISTS outbox_stream (first_id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        """CREATE TABLE IF NOT EXISTS outbox_device (
        device TEXT PRIMARY KEY, seq INTEGER NOT NULL, last_ms INTEGER NOT NULL, peak_ms INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE IF NOT EXISTS outbox_message (
        id INTEGER PRIMARY KEY, topic TEXT NOT NULL, device TEXT, created_ms INTEGER NOT NULL, bytes INTEGER NOT NULL,
        is_ledger INTEGER NOT NULL, payload BLOB NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS outbox_ledger ON outbox_message (id) WHERE is_ledger",
    ),
    (
        """CREATE TABLE IF NOT EXISTS outbox_safe (
        confirmed_ms INTEGER NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
        PRIMARY KEY (confirmed_ms, first_id)) WITHOUT ROWID""",
        "ALTER TABLE outbox_state ADD COLUMN kept INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE outbox_state ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0",
        # What the store said last of this outbox, and what is being sent again because the store lacks it.
        """CREATE TABLE IF NOT EXISTS outbox_store (
        one INTEGER PRIMARY KEY CHECK (one = 1), store TEXT NOT NULL, held_stream TEXT NOT NULL, held_seq INTEGER NOT NULL,
        held_waiting BLOB NOT NULL, held_ms INTEGER NOT NULL, restored TEXT NOT NULL,
        refill_from INTEGER NOT NULL, refill_until INTEGER NOT NULL, refill_since_ms INTEGER NOT NULL)""",
        # What came before the oldest message that waits is safe; it went when it was confirmed.
        """INSERT INTO outbox_safe SELECT 0, 1, oldest - 1 FROM (SELECT coalesce(
        (SELECT min(id) FROM outbox_message), (SELECT next_id FROM outbox_state)) AS oldest) WHERE oldest > 1""",
    ),
)
