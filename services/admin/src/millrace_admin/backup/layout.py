"""What is in a backup, in which order, and under which names."""

from __future__ import annotations

from collections.abc import Iterable

from millrace_contract.store_forward.restored import RESTORED_FILE

DATABASE_VOLUME = "influxdb-data"
SECRETS = "-secrets"
DATA = "-data"

FIRST = ("ingest-data", DATABASE_VOLUME)
"""Taken before all others, in this order: what ingest knows of the database must not be ahead of it, and the outboxes must not be
behind it, so that what the copy of the database lacks is in the copy of an outbox.
"""

CONFIG = "config"
"""Folder of the plant model, in the archive."""
SETTINGS = "settings"
"""Folder of .env and the like."""
VOLUMES = "volumes"

RESTORING = ".restoring"
"""In each volume, what is being restored until it is swapped in."""
NOTE = ".restoring-note"
"""In the volume of the administrator's secrets while data are swapped: bootstrap lets nothing start then."""
LOST_AND_FOUND = "lost+found"
LEFT_OUT = (RESTORING, NOTE, RESTORED_FILE, LOST_AND_FOUND)
"""Names in a volume that are no data: of a restore that is going on or was, and of the file system."""

OLD_ORDER = (
    "influxdb-data", "gateway-data", "rollup-data", "oee-data", "alerts-data", "simulator-data", "mosquitto-data", "grafana-data",
    "ingest-data", "admin-secrets", "mosquitto-secrets", "grafana-secrets", "gateway-secrets", "ingest-secrets", "rollup-secrets",
    "oee-secrets", "alerts-secrets", "simulator-secrets",
)  # fmt: skip
"""The parts of an archive from before archives had a manifest, as scripts/backup wrote them."""


def in_order(volumes: Iterable[str]) -> list[str]:
    """Volumes as a backup takes them: FIRST, then data, then secrets."""
    return sorted(volumes, key=lambda name: (name.endswith(SECRETS), FIRST.index(name) if name in FIRST else len(FIRST), name))


def is_safe(path: str) -> bool:
    """A path below one of the folders of an archive, and not out of it again."""
    parts = path.rstrip("/").split("/")
    return parts[0] in (CONFIG, SETTINGS, VOLUMES) and all(part not in ("", ".", "..") for part in parts)
