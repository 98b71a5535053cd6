"""Accounts of InfluxDB's 1.x interface that write to some buckets and do nothing else.

A token that may write to a bucket may also delete from it and shorten its retention: InfluxDB 2 knows no smaller right. An account
of its 1.x interface is let in at `/write` and `/query` only, and there, without the right to read, it can write and nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from .database_client import DatabaseClient
from .secret_files import SecretFiles, new_password

WRITER = "influx_writer"
"""The file: name:password."""

_PATH = "/private/legacy/authorizations"


def give_writer(client: DatabaseClient, files: SecretFiles, consumer: str, org_id: str, buckets: Mapping[str, str]) -> bool:
    """True when a new account was made. `buckets`: ids by name, of those that it writes. Raises Unavailable and Refusal."""
    name = f"millrace-{consumer}"
    present = [one for one in client.expect("GET", f"{_PATH}?orgID={org_id}")["authorizations"] if one["token"] == name]
    held = files.read(consumer, WRITER)
    is_known = held is not None and [_permitted(one) for one in present] == [set(buckets.values())]
    if is_known and all(may_write(client, held or "", bucket) for bucket in buckets):
        return False
    # A name is there once only; whoever writes with it meanwhile is refused, keeps what it has and tries again.
    for old in present:
        client.expect("DELETE", f"{_PATH}/{old['id']}")
    permissions = [
        {"action": "write", "resource": {"type": "buckets", "id": bucket, "orgID": org_id}} for bucket in buckets.values()
    ]
    request = {"orgID": org_id, "description": f"millrace {consumer} writes", "token": name, "permissions": permissions}
    made = client.expect("POST", _PATH, request)
    password = new_password()
    client.expect("POST", f"{_PATH}/{made['id']}/password", {"password": password})
    files.write(consumer, WRITER, f"{name}:{password}\n")
    return True


def may_write(client: DatabaseClient, writer: str, bucket: str) -> bool:
    """Nothing is written: an empty body is refused as one, or taken."""
    basic = base64.b64encode(writer.encode()).decode()
    status, _ = client.call("POST", f"/write?db={bucket}&precision=ns", authorization=f"Basic {basic}")
    return status not in (401, 403, 404)


def _permitted(account: dict[str, Any]) -> set[str]:
    return {one["resource"].get("id", "") for one in account["permissions"]}
