"""mosquitto with the platform's own configuration, started by the script that the container uses, and a client of it."""

from __future__ import annotations

import contextlib
import os
import pwd
import queue
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from millrace_admin.broker_config import LocalBroker, localised
from millrace_admin.secret_files import SecretFiles
from millrace_contract.testing import Mosquitto, free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


class RunningBroker:
    """mosquitto under run.sh, with the plant's accounts."""

    def __init__(self, files: SecretFiles, folder: Path) -> None:
        self.files = files
        self.port, self.tls_port = free_port(), free_port()
        self._folder = folder
        self.log = folder / "broker.log"

    def start(self, configuration: str | None = None) -> None:
        """`configuration`: in place of mosquitto.conf as it is."""
        text = (REPOSITORY / "mosquitto/mosquitto.conf").read_text() if configuration is None else configuration
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        user = pwd.getpwuid(os.geteuid()).pw_name
        secrets = self.files.root / "mosquitto"
        config = self._folder / "mosquitto.conf"
        config.write_text(
            localised(text, LocalBroker(secrets, self._folder / "data", user, port=self.port, tls_port=self.tls_port))
        )
        binary = Mosquitto.binary()
        assert binary is not None
        environ = os.environ | {"PATH": f"{Path(binary).parent}:{os.environ['PATH']}"}
        command = ["sh", str(REPOSITORY / "mosquitto/run.sh"), str(config), str(secrets)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        wait_until(lambda: self.can_log_in("healthcheck", self.password("healthcheck")), "the broker accepting clients")

    def stop(self) -> None:
        """In good order: what it holds is saved."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def password(self, name: str) -> str:
        """Of an account of the platform's own."""
        if name == "healthcheck":
            return self.files.path("mosquitto", "mosquitto_sub").read_text().strip().rpartition("-P ")[2]
        return self.files.path(name.partition("-")[0], "mqtt_password").read_text().strip()

    def can_log_in(self, name: str, password: str | None = None) -> bool:
        with contextlib.suppress(ConnectionError, OSError):
            client = Client(self, name, password or self.password(name))
            client.close()
            return True
        return False

    def presents(self, authority: Path) -> bool:
        """Whether its certificate is of this authority."""
        context = ssl.create_default_context(cafile=str(authority))
        with contextlib.suppress(OSError), socket.create_connection(("localhost", self.tls_port), 5) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
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
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id or name, protocol=mqtt.MQTTv5)
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
