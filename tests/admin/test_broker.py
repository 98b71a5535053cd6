"""The rendered files in a real mosquitto, started by the script that the container uses."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.access.follow import PlantFollower
from millrace_admin.access.grants import add_gateway, add_publisher, add_reader, revoke
from millrace_admin.bootstrap import bootstrap
from millrace_admin.secret_files import SecretFiles
from millrace_contract.plant import PlantModel
from millrace_contract.testing import wait_until

from .running_broker import Client, RunningBroker

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_AUTHORISED = 135

pytestmark = pytest.mark.broker


def test_every_service_logs_in_and_nobody_without_its_password(broker: RunningBroker) -> None:
    for name in (
        "gateway-edge-1",
        "ingest-1",
        "rollup-1",
        "oee-1",
        "alerts-1",
        "simulator-1",
        "admin",
        "admin-2",
        "ingest-1-status",
    ):
        assert broker.can_log_in(name), name
        assert not broker.can_log_in(name, "wrong"), name


@pytest.mark.parametrize(
    ("user", "topic", "allowed"),
    [
        ("gateway-edge-1", "factory/line1/CNC-01/telemetry", True),
        ("gateway-edge-1", "factory/_platform/gateway/edge-1/status", True),
        ("gateway-edge-1", "factory/line1/CNC-01/oee", False),
        ("gateway-edge-1", "factory/_platform/stored/edge-1", False),
        ("ingest-1", "factory/_platform/stored/edge-1", True),
        ("ingest-1", "factory/line1/CNC-01/telemetry", False),
        ("rollup-1", "factory/_platform/rollup/1/status", True),
        ("rollup-1", "factory/line1/CNC-01/telemetry", False),
        ("oee-1", "factory/line1/oee/window", True),
        ("oee-1", "factory/line1/CNC-01/alert/hot", False),
        ("alerts-1", "factory/line1/CNC-01/alert/hot/event", True),
        ("alerts-1", "factory/_platform/alert/no-space", True),
        ("alerts-1", "factory/line1/CNC-01/telemetry", False),
        ("alerts-1", "factory/_platform/ask/oee/period", True),
        ("oee-1", "factory/_platform/answer/oee/alerts-1", True),
        ("oee-1", "factory/_platform/ask/oee/period", False),
        ("ingest-1", "factory/_platform/answer/oee/alerts-1", False),
        ("admin", "factory/line1/CNC-01/telemetry", False),
    ],
)
def test_each_service_publishes_what_the_topic_table_says(broker: RunningBroker, user: str, topic: str, allowed: bool) -> None:
    client = Client(broker, user, broker.password(user))
    assert (client.publish(topic) < 128) is allowed
    client.close()


def test_a_reader_hears_the_plant_and_is_refused_each_word(broker: RunningBroker, ready_files: SecretFiles, now: datetime) -> None:
    password = add_reader(ready_files, "mes", now)
    wait_until(lambda: broker.can_log_in("mes", password), "the broker reading its accounts again")
    reader = Client(broker, "mes", password, tls=True)
    reader.subscribe("factory/#")
    for topic in ("factory/line1/CNC-01/telemetry", "factory/line1/oee", "factory/_platform/ingest/1/status", "elsewhere"):
        assert reader.publish(topic) == NOT_AUTHORISED
    sender = Client(broker, "alerts-1", broker.password("alerts-1"))
    sender.publish("factory/_platform/alerts/1/status")
    sender.publish("factory/line1/CNC-01/alert/hot")
    assert reader.messages.get(timeout=10)[0] == "factory/line1/CNC-01/alert/hot"
    for client in (reader, sender):
        client.close()


def test_what_one_may_not_read_does_not_arrive(broker: RunningBroker) -> None:
    reader = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    reader.subscribe("#")
    sender = Client(broker, "alerts-1", broker.password("alerts-1"))
    sender.publish("factory/line1/CNC-01/alert/hot")
    ingest = Client(broker, "ingest-1", broker.password("ingest-1"))
    ingest.publish("factory/_platform/stored/edge-1")
    assert reader.messages.get(timeout=10)[0] == "factory/_platform/stored/edge-1"
    for client in (reader, sender, ingest):
        client.close()


def test_publisher_added_while_the_broker_runs_gets_in_over_tls_and_is_put_out_when_revoked(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    client = Client(broker, "scale", password, tls=True)
    assert client.publish("factory/line1/SCALE-01/telemetry") < 128
    assert client.publish("factory/line2/SCALE-01/telemetry") < 128
    assert client.publish("factory/line1/CNC-01/telemetry") == NOT_AUTHORISED
    assert client.publish("factory/line1/SCALE-01/comms") == NOT_AUTHORISED
    assert client.publish("factory/yard/SCALE-01/telemetry") == NOT_AUTHORISED
    assert client.publish("factory/_platform/SCALE-01/telemetry") == NOT_AUTHORISED
    revoke(ready_files, "scale")
    client.closed.get(timeout=15)
    client.close()
    assert not broker.can_log_in("scale", password)


def test_services_stay_connected_while_accounts_change(broker: RunningBroker, ready_files: SecretFiles, now: datetime) -> None:
    client = Client(broker, "ingest-1", broker.password("ingest-1"))
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    assert client.publish("factory/_platform/ingest/1/status") < 128
    assert client.closed.empty()
    client.close()


def test_a_message_beyond_the_contract_reaches_ingest_and_is_not_dropped_in_silence(broker: RunningBroker) -> None:
    reader = Client(broker, "ingest-1", broker.password("ingest-1"))
    reader.subscribe("factory/+/+/telemetry")
    sender = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    assert sender.publish("factory/line1/CNC-01/telemetry", b"x" * 270_000) < 128
    assert len(reader.messages.get(timeout=10)[1]) == 270_000
    for client in (reader, sender):
        client.close()


def test_a_message_far_beyond_the_contract_ends_the_connection(broker: RunningBroker) -> None:
    client = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    with pytest.raises(queue.Empty):
        client.publish("factory/line1/CNC-01/telemetry", b"x" * 300_000, timeout_s=1)
    client.closed.get(timeout=10)
    client.close()


def test_gateway_from_outside_speaks_for_its_own_devices_and_for_a_new_one_once_the_plant_model_has_it(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime, write_plant: Callable[..., PlantModel], tmp_path: Path
) -> None:
    write_plant({"line1": {"OWN-01": "edge-2"}})
    follower = PlantFollower(ready_files, tmp_path / "config")
    name, password = add_gateway(ready_files, "edge-2", now)
    follower.look()
    wait_until(lambda: broker.can_log_in(name, password), "the broker reading its accounts again")
    client = Client(broker, name, password, tls=True)
    assert client.publish("factory/line1/OWN-01/telemetry") < 128
    assert client.publish("factory/_platform/gateway/edge-2/status") < 128
    for place in ("line1/CNC-01", "line2/OWN-01", "line1/NEW-01", "_platform/OWN-01", "_platform/CNC-01"):
        assert client.publish(f"factory/{place}/telemetry") == NOT_AUTHORISED, place
        assert client.publish(f"factory/{place}/comms") == NOT_AUTHORISED, place
    write_plant({"line1": {"OWN-01": "edge-2", "NEW-01": "edge-2"}})
    follower.look()
    wait_until(lambda: client.publish("factory/line1/NEW-01/telemetry") < 128, "the broker reading its rules again")
    assert client.publish("factory/line1/OWN-01/telemetry") < 128
    client.close()


def test_flood_of_one_sensor_leaves_the_broker_small_and_serving(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    away = Client(broker, "ingest-1", broker.password("ingest-1"), keeps_session=True)
    away.subscribe("factory/+/+/telemetry")
    away.close()
    flood = Client(broker, "scale", password, tls=True)
    refused = 0
    for number in range(560):
        line = ("line1", "line2", f"x{number}", "_platform")[number % 4]
        refused += flood.publish(f"factory/{line}/SCALE-01/telemetry", b"x" * 262_144, retain=True) >= 128
    assert refused == 280
    flood.close()
    reader = Client(broker, "admin", broker.password("admin"))
    reader.subscribe("factory/+/+/telemetry")
    gateway = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    assert gateway.publish("factory/line1/CNC-01/telemetry", b"still here") < 128
    came = [reader.messages.get(timeout=10) for _ in range(3)]
    assert sorted(topic for topic, _ in came) == [
        "factory/line1/CNC-01/telemetry",
        "factory/line1/SCALE-01/telemetry",
        "factory/line2/SCALE-01/telemetry",
    ]
    assert reader.messages.empty()
    assert _resident_mib(broker) < 256, "the queue of who is away ends at 128 MiB"
    for client in (reader, gateway):
        client.close()


def _resident_mib(broker: RunningBroker) -> float:
    [pid] = [child for child in _children(broker.process.pid) if Path(f"/proc/{child}/comm").read_text() == "mosquitto\n"]
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def test_client_that_does_not_trust_the_authority_refuses_the_broker(broker: RunningBroker) -> None:
    with socket.create_connection(("127.0.0.1", broker.tls_port), 5) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


def _children(pid: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(process.name))
    return found


def test_container_start_ends_with_the_broker(broker: RunningBroker) -> None:
    [pid] = [child for child in _children(broker.process.pid) if Path(f"/proc/{child}/comm").read_text() == "mosquitto\n"]
    os.kill(pid, signal.SIGKILL)
    assert broker.process.wait(10) == 128 + signal.SIGKILL


def test_health_check_command_of_the_compose_file_succeeds(broker: RunningBroker) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.fail("mosquitto_sub is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no mosquitto_sub")
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    line = next(text for text in compose.splitlines() if "mosquitto_sub -h" in text).strip().removeprefix("- ")
    command = line.replace("/run/secrets/millrace", str(broker.files.root / "mosquitto")).replace("-p 1883", f"-p {broker.port}")
    assert subprocess.run(["sh", "-c", command], check=False, timeout=10).returncode == 0


def test_a_sensors_account_writes_its_topic_and_only_its_gateway_reads_it(
    broker: RunningBroker, ready_files: SecretFiles, sample_config: Path, tmp_path: Path, now: datetime
) -> None:
    config = tmp_path / "with-sensor"
    shutil.copytree(sample_config, config)
    text = (config / "plant.yaml").read_text()
    entry = "      PLUG-7: {profile: tasmota-plug, connection: {transport: mqtt, topic: tele/plug-7/SENSOR}}\n"
    (config / "plant.yaml").write_text(text.replace("    devices:\n", f"    devices:\n{entry}", 1))
    bootstrap(ready_files, config, "", now)
    password = add_publisher(ready_files, "plug-7", "PLUG-7", now)
    wait_until(lambda: broker.can_log_in("plug-7", password), "the broker reading its accounts again")
    gateway, oee = (Client(broker, name, broker.password(name)) for name in ("gateway-edge-1", "oee-1"))
    for reader in (gateway, oee):
        reader.subscribe("tele/#")
        reader.subscribe("tele/plug-7/SENSOR")
    sensor = Client(broker, "plug-7", password, tls=True)
    assert sensor.publish("tele/plug-8/SENSOR") == NOT_AUTHORISED
    assert sensor.publish("factory/line1/PLUG-7/telemetry") == NOT_AUTHORISED
    assert sensor.publish("tele/plug-7/SENSOR") < 128
    assert gateway.messages.get(timeout=10)[0] == "tele/plug-7/SENSOR"
    assert oee.messages.empty()
    for client in (gateway, oee, sensor):
        client.close()
