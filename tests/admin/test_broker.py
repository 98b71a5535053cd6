"""The rendered files in a real mosquitto, started by the script that the container uses."""

from __future__ import annotations

import contextlib
import os
import pwd
import queue
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from millrace_admin.access.follow import PlantFollower
from millrace_admin.access.grants import add_gateway, add_publisher, revoke
from millrace_admin.broker_config import LocalBroker, localised
from millrace_admin.secret_files import SecretFiles
from millrace_contract.plant import PlantModel
from millrace_contract.testing import Mosquitto, free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_AUTHORISED = 135

pytestmark = pytest.mark.broker


class RunningBroker:
    """mosquitto under run.sh, with the plant's accounts."""

    def __init__(self, files: SecretFiles, folder: Path) -> None:
        self.files = files
        self.port, self.tls_port = free_port(), free_port()
        (folder / "data").mkdir(parents=True)
        user = pwd.getpwuid(os.geteuid()).pw_name
        broker = LocalBroker(files.root / "mosquitto", folder / "data", user, port=self.port, tls_port=self.tls_port)
        config = folder / "mosquitto.conf"
        config.write_text(localised((REPOSITORY / "mosquitto/mosquitto.conf").read_text(), broker))
        self.log = folder / "broker.log"
        binary = Mosquitto.binary()
        assert binary is not None
        environ = os.environ | {"PATH": f"{Path(binary).parent}:{os.environ['PATH']}"}
        command = ["sh", str(REPOSITORY / "mosquitto/run.sh"), str(config), str(files.root / "mosquitto")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        wait_until(lambda: self.can_log_in("ingest"), "the broker accepting ingest")

    def password(self, name: str) -> str:
        return self.files.path(name, "mqtt_password").read_text().strip()

    def can_log_in(self, name: str, password: str | None = None) -> bool:
        with contextlib.suppress(ConnectionError, OSError):
            client = Client(self, name, password or self.password(name))
            client.close()
            return True
        return False


class Client:
    """An MQTT 5 client that is connected when it is made. Raises ConnectionError when the broker refuses."""

    def __init__(
        self,
        broker: RunningBroker,
        name: str,
        password: str,
        *,
        tls: bool = False,
        client_id: str = "",
        keeps_session: bool = False,
    ) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[int] = queue.Queue()
        self.closed: queue.Queue[int] = queue.Queue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or f"test-{name}-{free_port()}", protocol=mqtt.MQTTv5
        )
        self._client.username_pw_set(name, password)
        self.session_present = False
        self._client.on_connect = self._connected
        self._client.on_publish = lambda *arguments: self._answers.put(arguments[3].value)
        self._client.on_subscribe = lambda *_: self._answers.put(0)
        self._client.on_disconnect = lambda *arguments: self.closed.put(arguments[3].value)
        self._client.on_message = lambda _client, _data, message: self.messages.put((message.topic, bytes(message.payload)))
        if tls:
            self._client.tls_set(ca_certs=str(broker.files.path("admin", "ca.crt")), cert_reqs=ssl.CERT_REQUIRED)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 86_400 if keeps_session else 0
        host, port = ("localhost", broker.tls_port) if tls else ("127.0.0.1", broker.port)
        self._client.connect(host, port, clean_start=not keeps_session, properties=properties)
        self._client.loop_start()
        answer = self._answers.get(timeout=10)
        if answer:
            self.close()
            raise ConnectionError(f"refused with {answer}")

    def _connected(self, _client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, reason: ReasonCode, *_: object) -> None:
        self.session_present = flags.session_present
        self._answers.put(reason.value)

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False, timeout_s: float = 10) -> int:
        """The broker's reason code; below 128 is success. Raises queue.Empty when there is no answer."""
        self._client.publish(topic, payload, qos=1, retain=retain)
        return self._answers.get(timeout=timeout_s)

    def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)
        self._answers.get(timeout=10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(ready_files: SecretFiles, tmp_path: Path) -> Iterator[RunningBroker]:
    if Mosquitto.binary() is None:
        pytest.fail("mosquitto is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no mosquitto")
    running = RunningBroker(ready_files, tmp_path / "broker")
    yield running
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(10)


def test_every_service_logs_in_and_nobody_without_its_password(broker: RunningBroker) -> None:
    for name in ("gateway", "ingest", "rollup", "oee", "alerts", "simulator", "admin"):
        assert broker.can_log_in(name), name
        assert not broker.can_log_in(name, "wrong"), name


@pytest.mark.parametrize(
    ("user", "topic", "allowed"),
    [
        ("gateway", "factory/line1/CNC-01/telemetry", True),
        ("gateway", "factory/_platform/gateway/edge-1/status", True),
        ("gateway", "factory/line1/CNC-01/oee", False),
        ("gateway", "factory/_platform/stored/edge-1", False),
        ("ingest", "factory/_platform/stored/edge-1", True),
        ("ingest", "factory/line1/CNC-01/telemetry", False),
        ("rollup", "factory/_platform/rollup/1/status", True),
        ("rollup", "factory/line1/CNC-01/telemetry", False),
        ("oee", "factory/line1/oee/window", True),
        ("oee", "factory/line1/CNC-01/alert/hot", False),
        ("alerts", "factory/line1/CNC-01/alert/hot/event", True),
        ("alerts", "factory/_platform/alert/no-space", True),
        ("alerts", "factory/line1/CNC-01/telemetry", False),
        ("admin", "factory/line1/CNC-01/telemetry", False),
    ],
)
def test_each_service_publishes_what_the_topic_table_says(broker: RunningBroker, user: str, topic: str, allowed: bool) -> None:
    client = Client(broker, user, broker.password(user))
    assert (client.publish(topic) < 128) is allowed
    client.close()


def test_what_one_may_not_read_does_not_arrive(broker: RunningBroker) -> None:
    reader = Client(broker, "gateway", broker.password("gateway"))
    reader.subscribe("#")
    sender = Client(broker, "alerts", broker.password("alerts"))
    sender.publish("factory/line1/CNC-01/alert/hot")
    ingest = Client(broker, "ingest", broker.password("ingest"))
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
    client = Client(broker, "ingest", broker.password("ingest"))
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    assert client.publish("factory/_platform/ingest/1/status") < 128
    assert client.closed.empty()
    client.close()


def test_a_message_beyond_the_contract_reaches_ingest_and_is_not_dropped_in_silence(broker: RunningBroker) -> None:
    reader = Client(broker, "ingest", broker.password("ingest"))
    reader.subscribe("factory/+/+/telemetry")
    sender = Client(broker, "gateway", broker.password("gateway"))
    assert sender.publish("factory/line1/CNC-01/telemetry", b"x" * 270_000) < 128
    assert len(reader.messages.get(timeout=10)[1]) == 270_000
    for client in (reader, sender):
        client.close()


def test_a_message_far_beyond_the_contract_ends_the_connection(broker: RunningBroker) -> None:
    client = Client(broker, "gateway", broker.password("gateway"))
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


def test_nobody_from_outside_takes_the_session_of_a_service_or_of_another_sensor(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    scale, gauge = (add_publisher(ready_files, name, f"{name.upper()}-01", now) for name in ("scale", "gauge"))
    wait_until(lambda: broker.can_log_in("gauge", gauge), "the broker reading its accounts again")
    ingest = Client(broker, "ingest", broker.password("ingest"), client_id="ingest-1", keeps_session=True)
    ingest.subscribe("factory/+/+/telemetry")
    ingest.close()
    other = Client(broker, "gauge", gauge, tls=True, client_id="gauge")
    for thief in ("ingest-1", "gauge"):
        Client(broker, "scale", scale, tls=True, client_id=thief).close()
    assert other.publish("factory/line1/GAUGE-01/telemetry", b"kept") < 128
    assert other.closed.empty()
    again = Client(broker, "ingest", broker.password("ingest"), client_id="ingest-1", keeps_session=True)
    assert again.session_present
    assert again.messages.get(timeout=10) == ("factory/line1/GAUGE-01/telemetry", b"kept")
    for client in (again, other):
        client.close()


def test_flood_of_one_sensor_leaves_the_broker_small_and_serving(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    away = Client(broker, "ingest", broker.password("ingest"), client_id="ingest-1", keeps_session=True)
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
    gateway = Client(broker, "gateway", broker.password("gateway"))
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
