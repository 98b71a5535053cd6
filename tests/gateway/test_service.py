"""The gateway as a process between a real Modbus server and a real broker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.testing.servers import Mosquitto, wait_until

from .running import GatewayProcess, Listener

pytestmark = pytest.mark.broker
Make = Callable[..., Any]


def _has_more(listener: Listener, count: int) -> bool:
    return len(listener.of("/telemetry")) > count


def test_readings_travel_from_registers_to_the_broker(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make
) -> None:
    server = device_server()
    listener = listen()
    run_gateway(plant_folder(("M-1", server.port, 1)))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > 12, "telemetry of M-1")
    first, *others = listener.documents("line1/M-1/telemetry")
    assert first["readings"].keys() == {"counter", "temperature", "door_open"}
    assert first["readings"]["counter"] == 10
    assert first["tags"] == {"station": "ST1"}
    assert {tuple(sorted(other["readings"])) for other in others} >= {("counter", "door_open")}
    assert [other["seq"] for other in others] == list(range(2, len(others) + 2))
    assert [other["prev"] for other in others] == list(range(1, len(others) + 1))
    assert {other["stream"] for other in others} == {first["stream"]}
    assert first["stream"].startswith("edge-1.")
    times = [decode_telemetry(r.payload, time.time_ns() // 1_000_000).timestamp_ms for r in listener.of("M-1/telemetry")]
    assert times == sorted(set(times))
    wait_until(lambda: listener.last("M-1/comms").get("state") == "online", "comms of M-1")
    assert listener.last("M-1/comms")["gateway"] == "edge-1"
    assert listener.last("M-1/comms")["round_trip_ms"] > 0


SCATTERED = """
title: Test device
source: test
verified: no
groups: {fast: {interval_s: 0.05}}
signals:
  near: {address: 10, type: uint16}
  far: {address: 20, type: uint16, on_change: {heartbeat_s: 600}}
"""


def test_a_refused_gap_is_remembered_over_a_restart(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make
) -> None:
    server = device_server()
    server.undefined = {("holding", 15)}
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", server.port, 1), profile=SCATTERED))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > 30, "telemetry of M-1")
    assert gateway.end() == 0
    (learned,) = gateway.lines("gap_learned")
    assert learned["must_not_cross"] == "{table: holding, first: 11, last: 19}"
    before = len(server.requests)
    gateway.start()
    wait_until(lambda: len(server.requests) > before + 10, "reads after the restart")
    assert {(request.address, request.count) for request in server.requests[before:]} == {(10, 1), (20, 1)}


def test_a_new_session_with_the_broker_is_told_every_signal(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, mosquitto: Mosquitto
) -> None:
    server = device_server()
    listener = listen(confirms=True)
    listener.announce_ingest()
    run_gateway(plant_folder(("M-1", server.port, 1), profile=SCATTERED))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > 10, "telemetry of M-1")

    def whole() -> set[int]:
        """Numbers of the messages that carry the signal which never changes."""
        return {each["seq"] for each in listener.documents("M-1/telemetry") if "far" in each["readings"]}

    told = whole()
    assert 1 in told
    assert len(told) <= 2  # The broker may have been there before the first read, or after it.
    mosquitto.kill()
    mosquitto.start()
    wait_until(lambda: listener.session.is_subscribed, "the listener to listen again")
    listener.announce_ingest()  # What the broker took before this listener was back is sent again.
    wait_until(lambda: bool(whole() - told), "every signal again, after the reconnect")


def test_every_committed_message_arrives_after_kill_9(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, mosquitto: Mosquitto
) -> None:
    server = device_server()
    config = plant_folder(*((f"M-{i}", server.port, i) for i in range(1, 6)))
    listener = listen(confirms=True)
    listener.announce_ingest()
    gateway = run_gateway(config)
    for _ in range(3):
        seen = len(listener.of("/telemetry"))
        wait_until(partial(_has_more, listener, seen + 60), "more telemetry")
        gateway.end(signal.SIGKILL)
        gateway.start()
    mosquitto.kill()
    time_away = len(server.requests)
    wait_until(lambda: len(server.requests) > time_away + 200, "reads while the broker is away")
    mosquitto.start()
    wait_until(lambda: listener.session.is_subscribed, "the listener to listen again")
    listener.announce_ingest()
    seen = len(listener.of("/telemetry"))
    wait_until(lambda: len(listener.of("/telemetry")) > seen + 200, "telemetry after the broker came back")
    assert gateway.end() == 0
    highest = {document["seq"] for document in listener.documents("/telemetry")}
    # What the last run committed but had no time to send goes out with the next one.
    gateway.start()
    wait_until(lambda: any(d["seq"] > max(highest) for d in listener.documents("/telemetry")), "the next run")
    wait_until(lambda: set(range(1, max(highest))) <= {d["seq"] for d in listener.documents("/telemetry")}, "every number")
    assert len({document["stream"] for document in listener.documents("/telemetry")}) == 1
    by_seq: dict[int, set[str]] = {}
    for document in listener.documents("/telemetry"):
        document.pop("backfill", None)
        by_seq.setdefault(document["seq"], set()).add(json.dumps(document, sort_keys=True))
    assert all(len(versions) == 1 for versions in by_seq.values())
    wait_until(lambda: len(listener.of("gateway/edge-1/status")) > 0, "a status")


def test_device_and_broker_may_be_absent_at_the_start(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, mosquitto: Mosquitto
) -> None:
    mosquitto.stop()
    server = device_server()
    server.stop()
    gateway = run_gateway(plant_folder(("M-1", server.port, 1)))
    wait_until(lambda: gateway.lines("device_comms") and gateway.lines("broker_problem"), "both found missing")
    assert gateway.lines("device_comms")[0]["reason"].startswith("nothing listens at")
    server.start()
    mosquitto.start()
    listener = listen(confirms=True)
    listener.announce_ingest()
    wait_until(lambda: listener.last("M-1/comms").get("state") == "online", "the device", 30)
    # What went out before anybody listened was confirmed by nobody, so it goes out again.
    wait_until(lambda: any(document["seq"] == 1 for document in listener.documents("M-1/telemetry")), "the first message", 40)
    first = next(document for document in listener.documents("M-1/telemetry") if document["seq"] == 1)
    assert first["readings"] == {}
    assert first["quality"] == {"counter": "bad", "temperature": "bad", "door_open": "bad"}


def test_an_unreachable_device_is_told_once_on_the_broker(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make
) -> None:
    dead, alive = device_server(), device_server()
    listener = listen()
    run_gateway(plant_folder(("DEAD", dead.port, 1), ("ALIVE", alive.port, 1)))
    wait_until(lambda: listener.last("DEAD/comms").get("state") == "online", "both")
    dead.stop()
    wait_until(lambda: listener.last("DEAD/comms").get("state") == "offline", "DEAD to be offline")
    seen = len(listener.of("ALIVE/telemetry"))
    wait_until(lambda: len(listener.of("ALIVE/telemetry")) > seen + 40, "two seconds of ALIVE")
    spoiled = [document for document in listener.documents("DEAD/telemetry") if not document["readings"]]
    assert [document["quality"] for document in spoiled] == [{"counter": "bad", "temperature": "bad", "door_open": "bad"}]
    assert "refused" in listener.last("DEAD/comms")["reason"]


def test_comms_of_removed_devices_are_cleared_and_the_others_are_said_again(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make
) -> None:
    server = device_server()
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", server.port, 1), ("M-2", server.port, 2)))
    wait_until(lambda: listener.last("M-2/comms"), "comms of M-2")
    assert gateway.end() == 0
    plant_folder(("M-1", server.port, 1))
    gateway.start()
    wait_until(lambda: listener.of("M-2/comms")[-1].payload == b"", "comms of M-2 to be cleared")
    wait_until(lambda: len(listener.of("M-1/comms")) >= 2, "comms of M-1 again")


def test_status_metrics_and_health(device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make) -> None:
    server = device_server()
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", server.port, 1)))
    # Of its first seconds a status has no rate yet, and does not know how long the outbox holds.
    wait_until(lambda: "outbox_holds_h" in listener.last("gateway/edge-1/status").get("figures", {}), "a status with figures")
    status = listener.last("gateway/edge-1/status")
    assert status["alive"] is True
    assert status["figures"]["devices"] == 1
    assert {"outbox_messages", "outbox_queued_h", "outbox_holds_h", "outbox_dropped", "late_cycles"} <= status["figures"].keys()
    assert re.match(r"outbox: holds \d+ days at the present rate, (nothing queued|\d+ s queued)", status["notes"][0])
    assert "millrace_gateway_outbox_holds_hours" in gateway.get("/metrics")
    assert json.loads(gateway.get("/health/ready"))["ready"] is True
    assert set(json.loads(gateway.get("/health/live"))["last_turn_s"]) >= {"poller", "outbox"}
    metrics = gateway.get("/metrics")
    assert "millrace_gateway_requests_total" in metrics
    assert 'millrace_gateway_devices{state="online"} 1.0' in metrics
    assert gateway.end() == 0
    wait_until(lambda: listener.last("gateway/edge-1/status")["alive"] is False, "the good-bye")


def test_a_killed_gateway_is_not_alive(device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make) -> None:
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", device_server().port, 1)))
    wait_until(lambda: listener.last("gateway/edge-1/status").get("alive"), "a status")
    gateway.end(signal.SIGKILL)
    wait_until(lambda: listener.last("gateway/edge-1/status")["alive"] is False, "the last will")


def test_sigterm_commits_what_was_read_and_ends_in_time(device_server: Make, plant_folder: Make, run_gateway: Make) -> None:
    server = device_server()
    server.faults[2] = "late:0.4"
    gateway = run_gateway(plant_folder(("M-1", server.port, 1), ("M-2", server.port, 2)))
    wait_until(lambda: len(server.of_unit(2)) >= 2, "reads of both")
    began_s = time.monotonic()
    assert gateway.end() == 0
    assert time.monotonic() - began_s < 10
    assert gateway.lines("stopped")[-1]["complete"] is True


def test_a_broken_edit_runs_on_the_last_accepted_copy_and_says_so(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make
) -> None:
    server = device_server()
    listener = listen()
    config = plant_folder(("M-1", server.port, 1))
    gateway = run_gateway(config)
    wait_until(lambda: listener.of("M-1/telemetry"), "telemetry")
    (config / "plant.yaml").write_text("root: factory\nlines: [\n")
    seen = len(listener.of("M-1/telemetry"))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > seen + 5, "telemetry despite the edit")
    assert gateway.end() == 0
    gateway.start()
    seen = len(listener.of("M-1/telemetry"))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > seen + 5, "telemetry after the restart")
    wait_until(lambda: listener.last("gateway/edge-1/status").get("configuration") == "last_accepted", "a status that says so")
    assert "plant.yaml" in listener.last("gateway/edge-1/status")["problems"][0]


def test_a_wrong_password_is_said_in_words(device_server: Make, plant_folder: Make, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", "right"], check=True)
    broker = Mosquitto(tmp_path / "strict", f"allow_anonymous false\npassword_file {passwords}")
    broker.start()
    config = plant_folder(("M-1", device_server().port, 1))
    gateway = GatewayProcess(tmp_path, config, broker, MILLRACE_MQTT_USERNAME="gateway", MILLRACE_MQTT_PASSWORD="wrong").start()
    try:
        wait_until(lambda: gateway.lines("broker_problem"), "the refusal")
        assert "wrong user name or password" in gateway.lines("broker_problem")[0]["problem"]
        assert "wrong" not in str(gateway.lines("broker_problem")[0]).replace("wrong user name", "")
        wait_until(lambda: "millrace_gateway_outbox_messages" in gateway.get("/metrics"), "metrics")
    finally:
        gateway.end()
        broker.stop()


def test_a_port_in_use_is_said_in_words(device_server: Make, plant_folder: Make, run_gateway: Make) -> None:
    server = device_server()
    gateway = run_gateway(plant_folder(("M-1", server.port, 1)), MILLRACE_HTTP_PORT=str(server.port))
    assert gateway.process.wait(15) == 2
    text = gateway.log.read_text()
    assert "MILLRACE_HTTP_PORT" in text
    assert "cannot be used for health and metrics" in text
    assert "Traceback" not in text


def test_a_second_gateway_on_the_same_data_is_refused_in_words(device_server: Make, plant_folder: Make, run_gateway: Make) -> None:
    config = plant_folder(("M-1", device_server().port, 1))
    first = run_gateway(config)
    wait_until(lambda: first.lines("gateway_started"), "the first")
    second = run_gateway(config)
    assert second.process.wait(15) == 2
    assert "MILLRACE_DATA" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_a_gateway_that_no_device_names_stays_up_and_says_why(plant_folder: Make, run_gateway: Make, listen: Make) -> None:
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", 1, 1)), MILLRACE_INSTANCE="edge-7")
    wait_until(lambda: listener.last("gateway/edge-7/status"), "a status")
    assert "names gateway 'edge-7', only edge-1" in listener.last("gateway/edge-7/status")["problems"][0]
    assert gateway.end() == 0


def test_sigterm_ends_in_time_while_device_and_broker_hang(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, mosquitto: Mosquitto
) -> None:
    alive, hung = device_server(), device_server()
    listener = listen()
    gateway = run_gateway(plant_folder(("M-1", alive.port, 1), ("HUNG", hung.port, 1)))
    wait_until(lambda: len(listener.of("M-1/telemetry")) > 5, "telemetry")
    hung.faults[None] = "silent"
    mosquitto.pause()
    try:
        seen = len(alive.requests)
        wait_until(lambda: len(alive.requests) > seen + 50, "reads while the broker hangs")
        began_s = time.monotonic()
        assert gateway.end() == 0
        assert time.monotonic() - began_s < 10
    finally:
        mosquitto.resume()
    # Everything that was read meanwhile goes out with the next run.
    last = max(document["seq"] for document in listener.documents("M-1/telemetry"))
    gateway.start()
    wait_until(lambda: listener.last("M-1/telemetry").get("seq", 0) > last + 60, "the next run", 30)
    numbers = {document["seq"] for document in listener.documents("/telemetry")}
    wait_until(lambda: {d["seq"] for d in listener.documents("/telemetry")} >= set(range(1, max(numbers))), "every number", 30)


def test_a_foreign_outbox_is_set_aside_named_and_counted_and_what_will_be_late_is_a_warning(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "outbox.sqlite").write_bytes(b"holiday pictures" * 1000)
    listener = listen()
    config = plant_folder(("M-1", device_server().port, 1))
    profile = config / "profiles" / "test-device.yaml"
    profile.write_text(profile.read_text().replace("interval_s: 0.05", "interval_s: 0.02"))
    gateway = run_gateway(config)
    wait_until(lambda: listener.documents("M-1/telemetry"), "telemetry in spite of it")
    wait_until(lambda: listener.last("gateway/edge-1/status").get("figures"), "a status")
    status = listener.last("gateway/edge-1/status")
    assert status["figures"]["outbox_set_aside"] == 1
    assert "the outbox was damaged or empty: 1 file(s) set aside beside it" in status["problems"]
    [line] = gateway.lines("outbox_set_aside")
    assert Path(line["path"]).read_bytes().startswith(b"holiday pictures")
    [warning] = gateway.lines("will_be_late")
    assert warning["problem"] == "M-1: unit 1 at 20 ms needs 30 ms: will be late"
    wait_until(lambda: listener.last("M-1/comms"), "comms")
    assert {"cycles", "late_cycles", "missed_cycles", "lateness_ms"} <= listener.last("M-1/comms").keys()


def test_two_gateways_of_one_name_say_so(
    device_server: Make, plant_folder: Make, run_gateway: Make, listen: Make, tmp_path: Path
) -> None:
    listener = listen()
    config = plant_folder(("M-1", device_server().port, 1))
    for folder in ("one", "other"):
        run_gateway(config, MILLRACE_DATA=str(tmp_path / folder))

    def said() -> bool:
        problems = [problem for status in listener.documents("gateway/edge-1/status") for problem in status.get("problems", [])]
        return any(
            "another gateway with the name edge-1: give each a MILLRACE_INSTANCE of its own" in problem for problem in problems
        )

    wait_until(said, "a status that names the rival", 60)
