"""What happens around a running ingest: its bucket taken away, its disk full, another one of its name."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.testing import Influxd, wait_until

from .conftest import Ingest

pytestmark = [pytest.mark.broker, pytest.mark.influx]


def api(influxd: Influxd, method: str, path: str, body: object = None) -> Any:
    """A call of InfluxDB's management API; its answer."""
    request = urllib.request.Request(
        influxd.url + path,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Token {influxd.TOKEN}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.loads(response.read() or b"null")


def everything_is_stored(gateway: Any, ingest: Ingest) -> bool:
    found = ingest.stored()
    return all(sorted(found.get(device, [])) == [float(one) for one in sent] for device, sent in gateway.sent.items())


def noted_as_lost(influxd: Influxd, cause: str) -> float:
    """Messages that the ledger in the database calls lost."""
    with Influx(influxd.settings()) as influx:
        found = influx.query("production", 'SELECT sum("count") FROM "ledger" WHERE "cause" = $cause', cause=cause)
    return float(found[0].rows[0][1]) if found else 0.0


@pytest.fixture
def small_disk(small_file_system: Callable[[int], Path]) -> Path:
    return small_file_system(4)


def test_a_bucket_that_is_deleted_and_made_again_costs_nothing_that_came_meanwhile(
    ingest: Ingest, gateway: Any, stranger: PahoSession, message: Callable[..., bytes]
) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    [bucket] = api(ingest.influxd, "GET", "/api/v2/buckets?name=telemetry")["buckets"]
    api(ingest.influxd, "DELETE", f"/api/v2/buckets/{bucket['id']}")
    gateway.send(300)
    wait_until(lambda: gateway.taking and not gateway.taking[-1], "taking: false")
    now_ms = SystemClock().now_ms()
    for number in range(20):
        stranger.publish("plant/line1/S-1/telemetry", message("S-1", now_ms + number, seq=None, temperature=float(number)))
    wait_until(lambda: ingest.figure("spool") >= 20, "the stranger's messages in the spool", 20)
    assert 'bucket \\"telemetry\\" not found' in ingest.command("status", "--json")[1].replace("\\\\", "")
    again = {"orgID": bucket["orgID"], "name": "telemetry", "retentionRules": []}
    api(ingest.influxd, "POST", "/api/v2/buckets", again)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    wait_until(lambda: len(ingest.stored("undeclared").get("S-1", [])) == 20, "the spooled messages in the database")
    assert everything_is_stored(gateway, ingest)
    assert ingest.figure("dead_letters") == 0


def test_on_a_full_disk_good_messages_are_stored_and_the_ledger_counts_the_bad_ones(
    small_disk: Path, ingest: Ingest, gateway: Any, stranger: PahoSession
) -> None:
    ingest.environ["MILLRACE_DATA"] = str(small_disk)
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    ballast = small_disk / "somebody-elses"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(8_000_000))
    for number in range(30):
        stranger.publish("plant/line1/S-1/telemetry", f"bad {number} ".encode() * 5_000)
    gateway.send(500)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert everything_is_stored(gateway, ingest)
    wait_until(lambda: ingest.figure("lost") + ingest.figure("dead_letters") == 30, "30 bad ones, kept or counted", 20)
    assert ingest.logged("disk_refuses")
    ballast.unlink()
    stranger.publish("plant/line1/S-1/telemetry", b"bad at last")
    wait_until(lambda: ingest.logged("disk_works_again"), "the end of the complaint", 30)
    lost = ingest.figure("lost")
    assert lost
    wait_until(lambda: noted_as_lost(ingest.influxd, "disk_refused") == lost, "the ledger", 30)


def test_two_of_one_name_cost_nothing(ingest: Ingest, tmp_path: Path, gateway: Any) -> None:
    """The broker knows one session of that name: each takes it from the other, again and again."""
    twin = Ingest(tmp_path / "twin", ingest.config, ingest.broker, ingest.influxd)
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    twin.start()
    try:
        for _ in range(3):
            gateway.send(400)
            wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
        complaint = "another ingest with the name 1: give each a MILLRACE_INSTANCE of its own, or stop one"
        wait_until(lambda: complaint in ingest.command("status")[1], "the complaint", 30)
        assert ingest.logged("name_in_use")
    finally:
        twin.stop()
    assert everything_is_stored(gateway, ingest)
