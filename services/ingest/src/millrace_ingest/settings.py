"""What can be set from outside, each as an environment variable MILLRACE_<NAME>."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from millrace_contract.language.assets import SEGMENT_PATTERN
from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, DatabaseWriterSettings, ServiceSettings


class WritesToDatabase(DatabaseSettings):
    influx_requests: Path | None = Field(
        default=None, description="folder in which the database's start script looks for a word of its writers; empty: none does"
    )


class IngestSettings(ServiceSettings, BrokerSettings, DatabaseWriterSettings, WritesToDatabase):
    """Settings of the ingest service."""

    ingest_batch_lines: int = Field(default=5_000, ge=1, le=50_000, description="most messages in one write")
    ingest_batch_linger_s: float = Field(default=0.25, ge=0, le=5, description="seconds that a message waits for others at most")
    ingest_receive_maximum: int = Field(
        default=10_000, ge=20, le=65_535, description="messages that the broker may send before the first is acknowledged"
    )
    ingest_buffer_mb: int = Field(default=64, ge=4, le=4_096, description="memory for messages on their way, in MB")
    ingest_patience_s: float = Field(
        default=3.0, ge=0, le=30, description="seconds of failing writes before ingest says that the database takes no data"
    )
    ingest_spool_max_mb: int = Field(
        default=256, ge=1, le=65_536, description="disk for messages without an outbox while the database is away, in MB"
    )
    ingest_dead_letters_max_mb: int = Field(default=256, ge=1, le=65_536, description="disk for dead letters, in MB")
    ingest_archive: str = Field(default="", description="folder for line-protocol files of all that is stored; empty: none")
    ingest_archive_days: int = Field(default=400, ge=0, description="days after which files of the archive are removed; 0: never")
    ingest_share_group: str = Field(
        default="",
        pattern=f"^({SEGMENT_PATTERN})?$",
        description="name under which several ingests share the messages; empty: one ingest, for which the broker keeps a session",
    )
    ingest_signals_max: int = Field(default=2_000, ge=10, le=1_000_000, description="most distinct signals that a device may send")


class RollupSettings(ServiceSettings, BrokerSettings, DatabaseWriterSettings, WritesToDatabase):
    """Settings of `millrace-ingest rollup`."""

    rollup_interval_s: float = Field(default=5.0, ge=0.1, le=60, description="seconds between two looks at what is to be rolled up")
    watched_disks: str = Field(
        default="",
        pattern=r"^([a-z][a-z0-9_]*=[^=,]+(,[a-z][a-z0-9_]*=[^=,]+)*)?$",
        description="disks of others that the status tells of: name=folder,name=folder",
    )
    shed_beyond_days: float = Field(
        default=7.0,
        ge=0,
        le=36_500,
        description="days after which raw readings are given up when the disk named influxdb is nearly full; 0: never",
    )

    @property
    def watched(self) -> dict[str, Path]:
        """Folders on the watched disks, by name."""
        return {name: Path(folder) for name, _, folder in (each.partition("=") for each in self.watched_disks.split(",") if each)}
