"""Every fixed measurement with its bucket, tags and fields: boards and queries are checked against it (contracts.md 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .field_names import SEQ_FIELD, STREAM_FIELD
from .words import BigLoss, Leaf, MachineState

TELEMETRY_BUCKET = "telemetry"
"""Raw readings, their lags and the OEE of the shift in progress: with a retention limit."""


PRODUCTION_BUCKET = "production"
"""Results, events, the ledger and platform health: for good."""


ROLLUP_1M_BUCKET = "rollup_1m"
"""Readings by the minute: the measurements and tags of the raw ones, without the tags that messages brought."""


ROLLUP_1H_BUCKET = "rollup_1h"
"""The same by the hour (UTC)."""


BUCKETS = (TELEMETRY_BUCKET, PRODUCTION_BUCKET, ROLLUP_1M_BUCKET, ROLLUP_1H_BUCKET)


NOTES_MS = 0
"""The time of points that are no events: notes about the database itself, of which there is one each."""


UNDECLARED = "undeclared"
"""Measurement of devices that the plant model does not know, where it says that they are stored."""


DOCTOR = "doctor"
"""Measurement of the point that `millrace doctor` writes and reads back: one an hour at most."""


@dataclass(frozen=True, slots=True)
class Measurement:
    bucket: str
    tags: tuple[str, ...]
    fields: tuple[str, ...]


_OEE_FIELDS = (
    "availability", "performance", "quality", "oee", "teep", "coverage", "wip_moved", "oee_end",
    "unexplained_ms", "reason_missing",
    "ideal_ms", "good_ms", "outside_ms", "revision", "final",
    "parts_total", "parts_good", "parts_scrap", "parts_rework", "parts_unknown", "parts_quarantined",
    "ms_all", *(f"ms_{leaf}" for leaf in Leaf),
    "assumed_ms", "unknown_policy_text",
    *(f"loss_ms_{loss}" for loss in BigLoss), "stops", "minor_stops", "failures", "failure_ms", "waiting_ms",
    "window_id_text", "window_kind_text", "window_start_ms", "window_end_ms", "reason_text", "cause_text", "flags_text",
    "document_text", STREAM_FIELD, SEQ_FIELD,
)  # fmt: skip


MEASUREMENTS: Mapping[str, Measurement] = {
    "oee_live": Measurement(TELEMETRY_BUCKET, ("line", "device"), _OEE_FIELDS),
    "oee_window": Measurement(PRODUCTION_BUCKET, ("line", "device", "kind"), _OEE_FIELDS),
    "oee_interval": Measurement(
        PRODUCTION_BUCKET,
        ("line", "device", "kind"),
        ("id_text", "state_text", "state_code", "leaf_text", "reason_text", "reason_by_text", "attributed_to_text", "incident_text",
            "pieces_text", "end_ms", "duration_ms",
            "planned_ms", "pending", "assumed", "code_text", "withdrawn",
            "counter_text", "event_text", "verdict_text", "from_value", "to_value", "parts", "counted",
         "revision", STREAM_FIELD, SEQ_FIELD),
    ),
    "alert_event": Measurement(
        PRODUCTION_BUCKET,
        ("line", "device", "rule"),
        ("event_seq", "from_state_text", "to_state_text", "cause_text", "priority_text", "active", "unacked", "occurrence_text",
         "actor_text", "comment_text", "value", "value_text", "document_text", STREAM_FIELD, SEQ_FIELD),
    ),
    "context_event": Measurement(
        PRODUCTION_BUCKET,
        ("line", "device", "kind"),
        ("id_text", "version", "start_ms", "end_ms", "actor_text", "document_text", STREAM_FIELD, SEQ_FIELD),
    ),
    "ledger": Measurement(
        PRODUCTION_BUCKET,
        ("service", "instance", "device", "cause"),
        ("count", "at_least", "lost_stream_text", "lost_seqs_text", "first_ms", "last_ms", STREAM_FIELD, SEQ_FIELD),
    ),
    # Hours of a device in which data came too late for the roll-ups; the time is the hour's last millisecond.
    "late_data": Measurement(PRODUCTION_BUCKET, ("device", "instance"), ("noted",)),
    # Arrival minus event time of what each device sent live, each half minute: a wrong clock shows itself. `sender` is the gateway;
    # "publisher" or "undeclared" where no outbox stands behind it.
    "device_lag": Measurement(
        TELEMETRY_BUCKET, ("line", "device", "sender"), ("lag_ms", "lag_min_ms", "lag_max_ms", "messages")
    ),
    DOCTOR: Measurement(PRODUCTION_BUCKET, (), ("asked_ms",)),
    # What the database holds of each sender, as an ingest noted it, and which database this is. One point each, written over again
    # and again, so that a copy of the database says what the copy holds.
    "outbox_mark": Measurement(PRODUCTION_BUCKET, ("sender", "instance"), ("stream_text", "last_seq", "waiting_text", "noted_ms")),
    "store_identity": Measurement(PRODUCTION_BUCKET, ("instance",), ("identity_text", "turn", "noted_ms")),
    "platform": Measurement(
        PRODUCTION_BUCKET,
        ("service", "instance"),
        ("alive", "taking", "problems_text", "version_text", "plant_version_text", "plant_devices"),
    ),
}  # fmt: skip
"""`platform` has besides a field for each of a status' figures."""


PACKML_CODES: Mapping[MachineState, int] = {
    MachineState.STOPPED: 0,
    MachineState.RESETTING: 1,
    MachineState.IDLE: 2,
    MachineState.STARTING: 3,
    MachineState.EXECUTE: 4,
    MachineState.COMPLETING: 5,
    MachineState.COMPLETE: 6,
    MachineState.ABORTING: 7,
    MachineState.ABORTED: 8,
    MachineState.STOPPING: 9,
    MachineState.CLEARING: 10,
    MachineState.SUSPENDING: 11,
    MachineState.SUSPENDED: 12,
    MachineState.UNSUSPENDING: 13,
    MachineState.HOLDING: 14,
    MachineState.HELD: 15,
    MachineState.UNHOLDING: 16,
    MachineState.SETUP: 20,
    MachineState.UNKNOWN: 30,
    MachineState.UNREACHABLE: 31,
}
"""Numbers of machine states in the database, for boards: OPC 30060's, with setup, unknown and unreachable of our own."""
