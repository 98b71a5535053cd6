"""Start everything in order, show it, stop it in order."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from pydantic import SecretStr

from millrace_contract.language.topics import Kind, Topics
from millrace_contract.plant import load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings

from ..access.follow import PlantFollower
from ..bootstrap import bootstrap
from ..broker_config import LocalBroker, localised
from ..command_account import command_account
from ..database_setup import set_up_database
from ..secret_files import SecretFiles
from ..servers.influxd import flaw_of
from ..servers.places import find_influxd, find_mosquitto
from ..settings import AdminSettings
from .arrival import ORGANISATION, DatabaseArrival
from .flow import Flow
from .layout import (
    CannotRun,
    Places,
    Ports,
    broker_program,
    choose_ports,
    database_program,
    service_programs,
)
from .processes import Processes
from .screen import LivePicture

BROKER_LIMIT_S = 10.0
WATCHED = (Kind.TELEMETRY, Kind.STATUS, Kind.COMMS, Kind.OEE, Kind.ALERT)


def run_demo(
    config: Path,
    state: Path,
    repository: Path,
    *,
    port: int,
    environ: Mapping[str, str],
    days: float = 0,
    seconds: float | None = None,
) -> int:
    """Run until Ctrl-C (or for `seconds`). Returns the exit status. Raises CannotRun when something is missing."""
    plant = load_plant(config, {"MILLRACE_SIM_HOST": "127.0.0.1"})
    places = Places(state.resolve(), config.resolve(), repository.resolve())
    mosquitto, influxd = find_mosquitto(environ), find_influxd(environ)
    if mosquitto is None:
        raise CannotRun("mosquitto is not on this machine; get it with scripts/mosquitto, or from your system's packages")
    if influxd is not None and flaw_of(influxd):
        influxd = None  # half copied, or for another machine: the picture says so, and looks at it again
    ports = choose_ports(port)
    processes = Processes(places.logs, environ)
    stop = _stop_event(processes)
    arrival = DatabaseArrival(places, ports, processes, environ, days=days)
    try:
        start_everything(places, ports, processes, mosquitto=mosquitto, influxd=influxd)
        arrival.begin(influxd)
        (places.state / "ports.json").write_text(json.dumps(dataclasses.asdict(ports)) + "\n")
        _show(Topics(plant.root), places, ports, processes, arrival=arrival, stop=stop, seconds=seconds)
    finally:
        _say("stopping ...")
        killed = processes.stop()
    for name in killed:
        _say(f"{name} did not stop in time and was killed")
    return EXIT_NOT_WELL if killed else EXIT_WELL


def _stop_event(processes: Processes) -> threading.Event:
    """Set by Ctrl-C, SIGTERM, and when the terminal is closed. A second Ctrl-C waits for nobody, and leaves nobody behind."""
    event = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if event.is_set() and number != signal.SIGHUP:
            processes.kill_all()
            os._exit(128 + number)
        event.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return event


def start_everything(places: Places, ports: Ports, processes: Processes, *, mosquitto: str, influxd: str | None) -> None:
    """Secrets, broker, database if there is one, and our services. Raises CannotRun when a server does not come up."""
    files = SecretFiles(places.secrets, give_away=False)
    _say("making passwords, certificates and access rules that are missing ...")
    bootstrap(files, places.config, "localhost", datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC))
    _start_broker(mosquitto, places, ports, processes)
    if influxd is not None:
        _say("starting the database ...")
        for folder in (places.data("influxdb"), places.requests):
            folder.mkdir(parents=True, exist_ok=True)
        processes.start(database_program(influxd, places, ports))
        processes.run_to_end_of_patience("influxd", 1.0)
        set_up_database(files, f"http://127.0.0.1:{ports.influxd}", ORGANISATION, AdminSettings().retention)
    for program in service_programs(places, ports, with_database=influxd is not None):
        Path(program.environment["MILLRACE_DATA"]).mkdir(parents=True, exist_ok=True)
        processes.start(program)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _start_broker(mosquitto: str, places: Places, ports: Ports, processes: Processes) -> None:
    data = places.data("mosquitto")
    data.mkdir(parents=True, exist_ok=True)
    broker = LocalBroker(
        secrets=places.secrets / "mosquitto", data=data, user=getpass.getuser(), port=ports.broker, tls_port=ports.broker_tls
    )
    text = (places.repository / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    (places.state / "mosquitto.conf").write_text(localised(text, broker), encoding="utf-8")
    processes.start(broker_program(mosquitto, places))
    deadline_s = time.monotonic() + BROKER_LIMIT_S
    while True:
        processes.run_to_end_of_patience("mosquitto", 0.1)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", ports.broker)) == 0:
                return
        if time.monotonic() > deadline_s:
            raise CannotRun(f"mosquitto does not answer:\n{processes.log_tail('mosquitto')}")


def _show(
    topics: Topics,
    places: Places,
    ports: Ports,
    processes: Processes,
    *,
    arrival: DatabaseArrival,
    stop: threading.Event,
    seconds: float | None,
) -> None:
    flow = Flow(topics)
    follower = PlantFollower(SecretFiles(places.secrets, give_away=False), places.config)
    filters = [each for kind in WATCHED for each in topics.filters(kind)]
    addresses = {
        "operator page": f"http://127.0.0.1:{ports.api}/",
        "API for the MES": f"http://127.0.0.1:{ports.api}/openapi.json (a token: millrace access add-token NAME --scope read,ack"
        f" --secrets {places.secrets})",
        "broker": f"127.0.0.1:{ports.broker}, with TLS {ports.broker_tls} (accounts: {places.secrets})",
        "a fault to look at": f"MILLRACE_HTTP_PORT={ports.simulator} .venv/bin/millrace-sim fault CNC-01 overheat --seconds 240",
        "logs": str(places.logs),
    }
    addresses["InfluxDB"] = f"http://127.0.0.1:{ports.influxd} (organisation {ORGANISATION})"
    with command_account(SecretFiles(places.secrets, give_away=False)) as (name, password):
        account = BrokerSettings(
            mqtt_host="127.0.0.1", mqtt_port=ports.broker, mqtt_username=name, mqtt_password=SecretStr(password)
        )
        session = LeanSession(account, name, Callbacks(message=flow.apply), filters=filters)
        session.start()
        try:
            _loop(flow, LivePicture(addresses), processes, follower, arrival=arrival, stop=stop, seconds=seconds)
        finally:
            session.stop()


def _loop(
    flow: Flow,
    picture: LivePicture,
    processes: Processes,
    follower: PlantFollower,
    *,
    arrival: DatabaseArrival,
    stop: threading.Event,
    seconds: float | None,
) -> None:
    clock = SystemClock()
    started_s = last_s = clock.monotonic_s()
    last_count, rate = 0, 0.0
    with picture.open():
        while not stop.wait(1.0):
            processes.watch()
            with contextlib.suppress(OSError):  # a full disk: tried again at the next turn
                follower.look()
            arrival.look()
            now_s = clock.monotonic_s()
            if now_s - last_s >= 2.0:
                rate, last_count, last_s = (flow.messages - last_count) / (now_s - last_s), flow.messages, now_s
            picture.show(flow, processes.states(), rate, stage=arrival.stage, database=arrival.line)
            if seconds is not None and now_s - started_s >= seconds:
                return
