"""The service as a process between a real mosquitto and a real ingest.influxd."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from millrace_contract.language.messages import Ledger, PlantInUse, Status, encode
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.testing import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.influx]

Message = Callable[..., bytes]


def assert_stored_once(gateway: Any, ingest: Any) -> None:
    """Every message that was sent is in the database exactly once, with its own value."""
    found = ingest.stored()
    for device, numbers in gateway.sent.items():
        assert sorted(found.get(device, [])) == [float(number) for number in numbers], device


def await_confirmations(gateway: Any) -> None:
    before = gateway.outbox.stats().confirmed
    wait_until(lambda: gateway.outbox.stats().confirmed > before, "confirmations", 30)


def test_what_a_gateway_sends_is_stored_and_confirmed(ingest: Any, gateway: Any) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    gateway.send(2_000)
    wait_until(lambda: gateway.is_drained, "an empty outbox")
    assert_stored_once(gateway, ingest)
    assert ingest.stop() == 0


@pytest.mark.parametrize("victim", ["ingest", "influxd", "mosquitto"])
def test_kill_9_costs_nothing(victim: str, ingest: Any, gateway: Any) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    server = {"ingest": ingest, "influxd": ingest.influxd, "mosquitto": ingest.broker}[victim]
    for _ in range(2):
        gateway.send(1_500)
        await_confirmations(gateway)
        server.kill()
        gateway.send(500)
        server.start()
        wait_until(ingest.ready, "ingest to be ready again", 30)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, ingest)


def test_kill_9_of_two_at_once_costs_nothing(ingest: Any, gateway: Any) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    broker, influxd = ingest.broker, ingest.influxd
    for pair in [(broker, ingest), (influxd, broker), (ingest, influxd)]:
        gateway.send(1_500)
        for server in pair:
            server.kill()
        gateway.send(500)
        for server in pair:
            server.start()
        wait_until(ingest.ready, "ingest to be ready again", 30)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, ingest)


def test_a_database_that_is_away_is_said_at_once_and_costs_only_time(
    ingest: Any, gateway: Any, stranger: PahoSession, message: Message
) -> None:
    ingest.start()
    wait_until(lambda: gateway.taking and gateway.taking[-1], "taking: true")
    ingest.influxd.kill()
    gateway.send(3_000)
    wait_until(lambda: not gateway.taking[-1], "taking: false")
    now_ms = SystemClock().now_ms()
    for number in range(50):
        stranger.publish("plant/line1/S-1/telemetry", message("S-1", now_ms + number, seq=None, temperature=float(number)))
    gateway.send(1_000)
    wait_until(lambda: ingest.figure("spool") >= 50, "the stranger's messages in the spool", 20)
    ingest.kill()  # the spool survives this too
    ingest.start()
    ingest.influxd.start()
    wait_until(lambda: gateway.taking[-1], "taking: true again", 30)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, ingest)
    wait_until(lambda: len(ingest.stored("undeclared").get("S-1", [])) == 50, "the spooled messages in the database")


def test_a_hanging_database_is_one_that_is_away(ingest: Any, gateway: Any) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    ingest.influxd.pause()
    try:
        gateway.send(500)
        wait_until(lambda: not gateway.taking[-1], "taking: false", 30)
    finally:
        ingest.influxd.resume()
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, ingest)


def test_bad_input_ends_as_dead_letters_and_the_neighbours_are_stored(
    ingest: Any, gateway: Any, stranger: PahoSession, message: Message
) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    now_ms = SystemClock().now_ms()
    good = format_timestamp(now_ms)

    def body(**changes: Any) -> bytes:
        return json.dumps({"timestamp": good, "readings": {"temperature": 1}, **changes}).encode()

    bad = {
        "not_json": b"hello",
        "schema": b"[]",
        "too_large": body(padding="x" * 1_000_000),
        "future": body(timestamp=format_timestamp(now_ms + 120_000)),
        "past": body(timestamp="1970-01-01T00:00:00Z"),
        "timestamp": body(timestamp=good.rstrip("Z")),
        "device": body(device_id="D-1"),
        "tags": body(tags={"station": "a\\"}),
        "signal": body(readings={"time": 1}),
        "value": body(readings={"text": "x" * 2_000}),
        "quality": body(quality={"temperature": "splendid"}),
        "foreign": body(),
    }
    for payload in bad.values():
        stranger.publish("plant/line1/D-0/telemetry", payload)
    awkward = {"station": "a b,c=d é\\x", "order no": "1"}
    stranger.publish("plant/line1/S-9/telemetry", body(tags=awkward, readings={"a b,c=d": 1, "text": 'say "hi"\\\n'}))
    stranger.publish("plant/line1/D-0/telemetry", body(readings={"temperature": 42.5}, stream="edge-1.bb", seq=1))
    gateway.send(200)
    wait_until(lambda: gateway.is_drained, "an empty outbox")
    wait_until(lambda: ingest.figure("dead_letters") == len(bad), "the dead letters")
    status, out, _ = ingest.command("dead-letters", "list", "--json")
    assert status == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert sorted(one["code"] for one in found) == sorted(bad)
    assert all(one["reason"] and one["topic"] == "plant/line1/D-0/telemetry" for one in found)
    wait_until(lambda: 42.5 in ingest.stored()["D-0"], "the good neighbour")
    assert ingest.stored("undeclared", "a b,c=d") == {"S-9": [1.0]}
    with Influx(ingest.influxd.settings()) as influx:
        [series] = influx.query("telemetry", "SELECT text_text FROM undeclared WHERE station = $station", station="a b,c=d é\\x")
    assert series.rows[0][1] == 'say "hi"\\\n'


def test_a_sensor_needs_one_line_and_is_shown_as_what_it_is(ingest: Any) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    text = json.dumps({"timestamp": format_timestamp(SystemClock().now_ms()), "readings": {"weight": 12.5}})
    publish = ["mosquitto_pub", "-p", str(ingest.broker.port), "-q", "1", "-t", "plant/line1/SCALE-7/telemetry", "-m", text]
    subprocess.run(publish, check=True, timeout=20)
    wait_until(lambda: ingest.stored("undeclared", "weight") == {"SCALE-7": [12.5]}, "the reading")
    wait_until(lambda: "undeclared publisher line1/SCALE-7: 1 messages" in ingest.command("status")[1], "the note", 30)


def test_ten_thousand_signals_of_one_device_are_stopped_at_the_limit(ingest: Any, gateway: Any, stranger: PahoSession) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    now_ms = SystemClock().now_ms()
    for number in range(10_000):
        body = {"timestamp": format_timestamp(now_ms + number), "readings": {f"value_{number}": number}}
        stranger.publish("plant/line1/S-1/telemetry", json.dumps(body).encode())
    gateway.send(200)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    wait_until(lambda: ingest.figure("dead_letters") >= 8_000, "the dead letters", 60)
    [letter] = [json.loads(one) for one in ingest.command("dead-letters", "list", "--limit", "1", "--json")[1].splitlines()]
    assert letter["code"] == "too_many_signals"
    assert "limit is 2000 (MILLRACE_INGEST_SIGNALS_MAX)" in letter["reason"]
    with Influx(ingest.influxd.settings()) as influx:
        [fields] = influx.query("telemetry", 'SHOW FIELD KEYS FROM "undeclared"')
    assert 1_900 < len(fields.rows) <= 2_000
    assert_stored_once(gateway, ingest)


def test_points_that_the_database_refuses_become_dead_letters(
    ingest: Any, gateway: Any, stranger: PahoSession, message: Message
) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    now_ms = SystemClock().now_ms()
    with Influx(ingest.influxd.settings()) as influx:
        influx.write("telemetry", f'acme-mill,line=line1,device=X temperature="hot" {now_ms}000000'.encode())
    stranger.publish("plant/line1/D-0/telemetry", message("D-0", now_ms))
    stranger.publish("plant/line1/S-1/telemetry", message("S-1", now_ms, seq=None))
    wait_until(lambda: ingest.figure("dead_letters") == 1, "the dead letter")
    [letter] = [json.loads(line) for line in ingest.command("dead-letters", "list", "--json")[1].splitlines()]
    assert letter["code"] == "conflict"
    assert "already exists as type string" in letter["reason"]
    wait_until(lambda: "S-1" in ingest.stored("undeclared"), "the neighbour")


def test_a_wrong_token_is_said_in_words_and_nothing_is_lost(ingest: Any, gateway: Any) -> None:
    ingest.environ["MILLRACE_INFLUX_TOKEN"] = "wrong"
    ingest.start()
    gateway.send(300)
    wait_until(lambda: ingest.folder.joinpath("ingest.log").exists() and ingest.logged("database_takes_no_data"), "the complaint")
    wait_until(lambda: gateway.taking and not gateway.taking[-1], "taking: false")
    wait_until(lambda: ingest.figure("dead_letters") == 0, "figures without dead letters")
    status, out, _ = ingest.command("status")
    assert status == 1
    assert "does NOT store" in out
    assert "401" in out
    assert "wrong" not in out
    assert "ledger: not known, this token may not read bucket production" in out
    ingest.stop()
    ingest.environ["MILLRACE_INFLUX_TOKEN"] = ingest.influxd.TOKEN
    ingest.start()
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, ingest)
    assert ingest.command("status")[0] == 0


def test_the_status_shows_outboxes_roll_ups_and_what_was_lost_by_whom(ingest: Any, gateway: Any, stranger: PahoSession) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    topics, now = gateway.topics, format_timestamp(SystemClock().now_ms())
    online, holds = {"devices": 3.0, "devices_online": 2.0}, ["outbox: holds 61 h at the present rate"]
    stale = PlantInUse(version="0", devices=99, reads={"plant": "0"})
    behind, waits = {"rollup_behind_s": 95.0, "rollup_late_waiting": 4.0}, ["nothing is rolled up"]
    for status in (
        Status(service="gateway", instance="edge-1", alive=True, timestamp=now, figures=online, notes=holds),
        Status(service="rollup", instance="1", alive=True, timestamp=now, figures=behind, problems=waits),
        Status(service="oee", instance="1", alive=True, timestamp=now, plant=stale),
    ):
        stranger.publish(topics.status(status.service, status.instance), encode(status), retain=True)
    assert "ledger: nothing was ever lost" in ingest.command("status")[1]
    for count, cause in [(3, "outbox_full"), (4, "outbox_full"), (0, "store_set_aside"), (1, "outbox_age")]:
        loss = Ledger(
            timestamp=now, service="gateway", instance="edge-1", count=count, cause=cause, stream="edge-1.a", seq=count + 1,
            at_least=not count,
            first="2026-01-02T03:04:05.000Z", last="2026-01-02T04:00:00.000Z",
        )  # fmt: skip
        stranger.publish(topics.ledger("gateway", "edge-1"), encode(loss))
    wait_until(lambda: "outbox_age" in ingest.command("status")[1], "the ledger")
    code, out, _ = ingest.command("status")
    assert code == 0
    assert "gateway edge-1 runs, 2 of 3 devices online" in out
    assert "  - outbox: holds 61 h at the present rate" in out
    assert "rollup 1 is 95 s behind (up to 200 are usual), 4 hours to make again" in out
    assert "  ! nothing is rolled up" in out
    assert "  ! oee 1 runs the plant model (99 devices), the files say " in out
    assert out.count("the files say") == 1  # nobody else runs on what is no more
    span = "of 2026-01-02T03:04:05.000Z to 2026-01-02T04:00:00.000Z"
    assert out.splitlines()[-3:] == [
        f"  gateway edge-1: 7 messages, outbox_full, {span}",
        f"  gateway edge-1: 1 messages, outbox_age, {span}",
        f"  gateway edge-1: nobody knows how many messages, store_set_aside, {span}",
    ]
    *services, ledger = [json.loads(line) for line in ingest.command("status", "--json")[1].splitlines()]
    assert [one["service"] for one in services] == ["ingest", "rollup", "gateway", "oee"]
    assert services[0]["plant"]["reads"]["plant"] == services[0]["plant"]["version"] != "0"
    assert [(one["count"], one["cause"]) for one in ledger["ledger"]] == [
        (7, "outbox_full"),
        (1, "outbox_age"),
        (0, "store_set_aside"),
    ]


def test_dead_letters_are_replayed_after_the_plant_file_is_mended(
    ingest: Any, stranger: PahoSession, message: Message, write_plant: Callable[..., object]
) -> None:
    write_plant(ingest.config, undeclared="park")
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    now_ms = SystemClock().now_ms()
    for number in range(5):
        stranger.publish("plant/line1/D-20/telemetry", message("D-20", now_ms + number, seq=number, temperature=float(number)))
    wait_until(lambda: ingest.figure("dead_letters") == 5, "the dead letters")
    status, out, _ = ingest.command("dead-letters", "replay", "--device", "D-20", "--json", "--wait", "10")
    assert status == 1
    assert json.loads(out) == {"selected": 5, "stored": 0, "parked_again": 5, "waiting": 0}

    (ingest.config / "plant.yaml").write_text("root: [broken")  # a broken edit changes nothing but the status
    wait_until(lambda: ingest.logged("configuration_refused"), "the complaint about the file")
    write_plant(ingest.config, undeclared="park", devices=21)
    wait_until(lambda: ingest.logged("configuration_taken_over"), "the mended file")
    status, out, _ = ingest.command("dead-letters", "replay", "--reason", "undeclared", "--json", "--wait", "10")
    assert (status, json.loads(out)["stored"]) == (0, 5)
    assert ingest.stored()["D-20"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert ingest.command("dead-letters", "list")[1] == "no dead letters\n"


def test_dead_letters_survive_kill_9_and_are_there_once(ingest: Any, stranger: PahoSession) -> None:
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    stranger.publish("plant/line1/D-0/telemetry", b"rubbish")
    wait_until(lambda: ingest.figure("dead_letters") == 1, "the dead letter")
    ingest.kill()
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready again")
    wait_until(lambda: ingest.figure("dead_letters") == 1, "the one dead letter again")
    _, out, _ = ingest.command("dead-letters", "show", "1")
    assert "rubbish" in out
    assert ingest.command("dead-letters", "show", "2")[0] == 1
