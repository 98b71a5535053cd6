"""Broken set-ups of the real parts: mosquitto with the rendered files, influxd as bootstrap sets it up, and a gateway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from millrace_admin.__main__ import main
from millrace_admin.bootstrap import bootstrap
from millrace_admin.certificates import KeyPair, make_server, server_names
from millrace_admin.database_client import DatabaseClient
from millrace_admin.database_setup import Retention, set_up_database
from millrace_admin.doctor import hops
from millrace_admin.secret_files import SecretFiles
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.messages import Status, encode
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.testing import Influxd, Mosquitto, free_port, wait_until

from .running_broker import RunningBroker

pytestmark = [pytest.mark.process, pytest.mark.broker, pytest.mark.influx]

REPOSITORY = Path(__file__).resolve().parents[2]
PLANT = """
root: factory
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      METER-01: {{profile: demo-meter, gateway: {gateway}, connection: {{host: 127.0.0.1, port: {port}}}}}
      METER-02: {{profile: demo-meter, gateway: edge-1, connection: {{host: 127.0.0.1, port: {port}, unit: 2}}}}
"""
Row = dict[str, str]


class Platform:
    """Broker, database and secrets of a plant with two meters that nobody serves, and doctor."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, folder / "config"
        self.files = SecretFiles(folder / "secrets", give_away=False)
        self.broker = RunningBroker(self.files, folder / "broker")
        self.database = Influxd(folder / "influxd")
        self.gateway_port = free_port()
        self._device_port = free_port()
        (self.config / "profiles").mkdir(parents=True)
        shutil.copy(REPOSITORY / "config/profiles/demo-meter.yaml", self.config / "profiles")
        shutil.copy(REPOSITORY / "config/calendar.yaml", self.config)
        shutil.copy(REPOSITORY / "config/reasons.yaml", self.config)
        (self.config / "alerts.yaml").write_text("rules: {}\n")
        self.write_plant()

    def write_plant(self, gateway: str = "edge-1") -> None:
        (self.config / "plant.yaml").write_text(PLANT.format(gateway=gateway, port=self._device_port))

    def bootstrap(self) -> None:
        bootstrap(self.files, self.config, "localhost", datetime.now(UTC))
        self.files.write("admin", "influx_token", Influxd.TOKEN + "\n")

    def set_up_database(self) -> None:
        set_up_database(self.files, self.database.url, Influxd.ORG, Retention("30d", "180d", "forever"))

    @contextmanager
    def gateway(self, data: Path, password: Path | None = None) -> Iterator[None]:
        """A gateway edge-1 that answers at its health address."""
        environment = {
            "MILLRACE_CONFIG": str(self.config),
            "MILLRACE_DATA": str(data),
            "MILLRACE_INSTANCE": "edge-1",
            "MILLRACE_HTTP_PORT": str(self.gateway_port),
            "MILLRACE_MQTT_PORT": str(self.broker.port),
            "MILLRACE_MQTT_PASSWORD_FILE": str(password or self.files.path("gateway", "mqtt_password")),
        }
        with (self.folder / "gateway.log").open("wb") as log:
            command = [sys.executable, "-m", "millrace_gateway", "run"]
            process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def doctor(self, *arguments: str, parts: str = "") -> tuple[int, list[Row]]:
        """Exit status and findings."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
                patch.delenv(name)
            patch.setenv("MILLRACE_CONFIG", str(self.config))
            patch.setenv("MILLRACE_SECRETS", str(self.files.root))
            patch.setenv("MILLRACE_MQTT_PORT", str(self.broker.port))
            patch.setenv("MILLRACE_INFLUX_URL", self.database.url)
            patch.setenv("MILLRACE_PARTS", f"tls=localhost:{self.broker.tls_port},{parts}")
            out = self.folder / "said"
            with out.open("w") as said:
                patch.setattr(sys, "stdout", said)
                status = main(["doctor", "--json", "--wait", "0.3", *arguments])
            return status, [json.loads(line) for line in out.read_text().splitlines()]

    @property
    def with_gateway(self) -> str:
        return f"gateway=127.0.0.1:{self.gateway_port}"

    @contextmanager
    def session(self, account: str) -> Iterator[PahoSession]:
        """A session as one of the services has it."""
        password = self.files.path(account.partition("-")[0], "mqtt_password").read_text().strip()
        settings = BrokerSettings(mqtt_port=self.broker.port, mqtt_username=account, mqtt_password=SecretStr(password))
        session = PahoSession(settings, account, Callbacks())
        session.start()
        assert session.wait_connected(20)
        yield session
        session.stop()


def told(rows: list[Row], subject: str, cause: str) -> Row:
    """The finding; fails with all that was said."""
    found = [row for row in rows if row["subject"] == subject and cause in row["cause"]]
    assert len(found) == 1, rows
    return found[0]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    for name, binary in (("mosquitto", Mosquitto.binary()), ("influxd", Influxd.binary())):
        if binary is None:
            message = f"{name} is not on this machine"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    made = Platform(tmp_path_factory.mktemp("platform"))
    made.bootstrap()
    with ExitStack() as running:
        made.broker.start()
        running.callback(made.broker.stop)
        made.database.start()
        running.callback(made.database.stop)
        made.set_up_database()
        yield made


def test_broker_database_accounts_and_certificate_are_tried_and_are_well(platform: Platform) -> None:
    _, rows = platform.doctor()
    told(rows, "broker", "takes and returns messages")
    told(rows, "broker", "is trusted; its certificate is good for 1,82")
    told(rows, "database", "takes and returns points")
    told(rows, "accounts", "accounts may do at the broker what they need")
    told(rows, "plant.yaml", "no problems")


def test_a_gateway_that_nobody_ever_heard_of_is_named_with_its_devices(platform: Platform) -> None:
    platform.write_plant(gateway="edge-9")
    try:
        status, rows = platform.doctor()
    finally:
        platform.write_plant()
    assert status == 2
    assert "METER-01" in told(rows, "gateway edge-9", "has never said anything")["cause"]


def test_a_certificate_that_has_expired(platform: Platform) -> None:
    kept = {name: platform.files.path("mosquitto", name).read_text() for name in ("server.crt", "server.key")}
    authority = KeyPair(*(platform.files.path("admin", name).read_text() for name in ("ca.crt", "ca.key")))
    old = make_server(authority, server_names("localhost"), datetime.now(UTC) - timedelta(days=5 * 365 + 1))
    try:
        restarted(platform, {"server.crt": old.certificate, "server.key": old.key})
        status, rows = platform.doctor()
    finally:
        restarted(platform, kept)
    assert status == 2
    assert "makes a new one" in told(rows, "broker", "its certificate ended at ")["mend"]
    told(rows, "broker", "takes and returns messages")


def restarted(platform: Platform, files: dict[str, str]) -> None:
    platform.broker.stop()
    for name, text in files.items():
        platform.files.write("mosquitto", name, text)
    platform.broker.start()


def test_access_rules_without_telemetry(platform: Platform) -> None:
    rules = platform.files.path("mosquitto", "access.acl").read_text()
    lines = [line for line in rules.splitlines() if not (line.startswith("topic write") and line.endswith("/telemetry"))]
    platform.files.write("mosquitto", "access.acl", "\n".join(lines) + "\n")
    try:
        status, rows = platform.doctor()
    finally:
        platform.files.write("mosquitto", "access.acl", rules)
    assert status == 2
    told(rows, "accounts", "no account of gateway edge-1 may send the telemetry of METER-01, METER-02")


def test_a_deleted_bucket_and_the_tokens_that_went_with_it(platform: Platform) -> None:
    client = DatabaseClient(platform.database.url, Influxd.TOKEN)
    buckets: dict[str, Any] = client.expect("GET", "/api/v2/buckets?limit=100")
    name = next(each["id"] for each in buckets["buckets"] if each["name"] == TELEMETRY_BUCKET)
    client.expect("DELETE", f"/api/v2/buckets/{name}")
    try:
        status, rows = platform.doctor()
    finally:
        platform.set_up_database()
    assert status == 2
    told(rows, "database", "bucket telemetry is not there")
    assert [row["subject"] for row in rows].count("database") == 1, "what its tokens lack is the same cause"
    told(platform.doctor()[1], "database", "takes and returns points")


@pytest.mark.parametrize(
    ("consumer", "token", "cause"),
    [
        ("ingest", "wrong", "the token of ingest is refused (401)"),
        ("rollup", "grafana's", "the token of rollup may not write "),
        ("admin", "wrong", "refuses the administrator's token"),
    ],
)
def test_a_wrong_token(platform: Platform, consumer: str, token: str, cause: str) -> None:
    kept = platform.files.path(consumer, "influx_token").read_text()
    wrong = platform.files.path("grafana", "influx_token").read_text() if token == "grafana's" else token
    platform.files.write(consumer, "influx_token", wrong)
    try:
        status, rows = platform.doctor()
    finally:
        platform.files.write(consumer, "influx_token", kept)
    assert status == 2
    told(rows, "database", cause)


def test_a_stopped_broker_and_a_stopped_database(platform: Platform) -> None:
    port, url = platform.broker.port, platform.database.port
    platform.broker.port, platform.database.port = free_port(), free_port()
    try:
        status, rows = platform.doctor()
    finally:
        platform.broker.port, platform.database.port = port, url
    assert status == 2
    told(rows, "broker", "nothing listens at 127.0.0.1:")
    told(rows, "database", "nothing listens at 127.0.0.1:")


def test_a_database_that_hangs(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "LIMIT_S", 0.5)
    platform.database.pause()
    try:
        status, rows = platform.doctor()
    finally:
        platform.database.resume()
    assert status == 2
    told(rows, "database", "no answer from 127.0.0.1:")


def test_a_clock_that_is_ahead(platform: Platform) -> None:
    with platform.session("oee-1") as session:

        def say() -> None:
            ahead = format_timestamp(SystemClock().now_ms() + 90_000)
            status = Status(service="oee", instance="1", alive=True, timestamp=ahead, version="0.1.0")
            session.publish("factory/_platform/oee/1/status", encode(status))

        rows = said_meanwhile(platform, say)
    assert "time server" in told(rows, "oee 1", " s ahead of the one here")["mend"]


def said_meanwhile(platform: Platform, say: Callable[[], object]) -> list[Row]:
    """What doctor says while somebody says something again and again."""
    stop = threading.Event()

    def again() -> None:
        while not stop.wait(0.05):
            say()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        return platform.doctor()[1]
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def full_disk(small_file_system: Callable[[int], Path]) -> Path:
    """A file system of 12 MB, for a gateway, on which nothing is left."""
    disk = small_file_system(12)
    (disk / "other").write_bytes(b"x" * (shutil.disk_usage(disk).free))
    return disk


@pytest.mark.long
def test_a_gateway_with_a_wrong_password_then_with_silent_devices_and_a_full_disk(
    platform: Platform, full_disk: Path, tmp_path: Path
) -> None:
    rows: list[Row] = []
    password = tmp_path / "password"
    password.write_text("wrong")

    def says(cause: str) -> Callable[[], bool]:
        def asked() -> bool:
            rows[:] = platform.doctor(parts=platform.with_gateway)[1]
            return any(cause in row["cause"] for row in rows)

        return asked

    with platform.gateway(full_disk, password):
        wait_until(says("refuses its account gateway-edge-1"), "the gateway to say why nobody hears of it")
        finding = told(rows, "gateway edge-1", "wrong user name or password; it will not mend by itself")
        assert finding["prognosis"] == "needs_somebody"
        assert "makes account and password fit; it gets in by itself then" in finding["mend"]
        password.write_text(platform.files.path("gateway", "mqtt_password").read_text())
        wait_until(says("none of its 2 devices answers"), "the gateway to get in and say what it reads")
    assert "nothing listens" in told(rows, "gateway edge-1", "none of its 2 devices answers")["cause"]
    assert "make room" in told(rows, "gateway edge-1", "nearly full: 0 kB of 12")["mend"]
    assert "free room" in told(rows, "gateway edge-1", "its disk takes nothing")["mend"]
