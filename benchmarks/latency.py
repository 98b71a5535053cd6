"""How long a reading takes from a register's change to InfluxDB and to an alert on the event stream.

Starts the whole system with one device whose server is in this process, changes its registers at random instants, and waits
for each change at both ends. The poll interval is part of the figure: half of it on average. Prints one JSON object.

usage: python benchmarks/latency.py [--changes N] [--interval S]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pydantic import SecretStr

from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_contract.testing import free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
PROFILE = """title: Steps
source: benchmarks/latency.py
verified: simulator
groups: {{fast: {{interval_s: {interval_s}}}}}
signals:
  high: {{address: 0, type: uint16}}
  step: {{address: 1, type: uint16}}
"""
PLANT = """root: bench
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      STEP-01:
        profile: bench-step
        connection: {{host: 127.0.0.1, port: {port}}}
"""
ALERTS = """rules:
  high:
    title: High
    class: system
    condition: {kind: threshold, signal: high, above: 0.5}
"""
registers = [0, 0]


class _Device(socketserver.StreamRequestHandler):
    """Modbus TCP, function code 3, two registers."""

    def handle(self) -> None:
        self.request.setsockopt(6, 1, 1)  # TCP_NODELAY
        while header := self.rfile.read(12):
            transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", header)
            data = struct.pack(f">{count}H", *registers[address : address + count])
            self.wfile.write(struct.pack(">HHHBBB", transaction, 0, 3 + len(data), unit, function, len(data)) + data)
            self.wfile.flush()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _configuration(folder: Path, interval_s: float, port: int) -> None:
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "bench-step.yaml").write_text(PROFILE.format(interval_s=interval_s))
    (folder / "plant.yaml").write_text(PLANT.format(port=port))
    (folder / "alerts.yaml").write_text(ALERTS)
    for name in ("calendar.yaml", "reasons.yaml"):
        text = (REPOSITORY / "config" / name).read_text()
        (folder / name).write_text(text.replace("line2", "line1"))


def _follow(port: int, token: str, arrived: dict[str, float]) -> None:
    """Note when each state of the alert comes over the event stream."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/v1/alerts/stream", headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"/v1/alerts/stream answers {response.status}")
    while line := response.readline():
        if line.startswith(b"data:"):
            arrived[json.loads(line[5:])["to_state"]] = time.monotonic()


def measure(state: Path, changes: int) -> dict[str, list[float]]:
    """Seconds to the database and to the event stream, for each rising change."""
    ports = json.loads((state / "ports.json").read_text())
    made = subprocess.run(
        [_script("millrace"), "access", "add-token", "bench", "--scope", "read", "--json", "--secrets", str(state / "secrets")],
        capture_output=True,
        text=True,
        check=True,
    )
    token = json.loads(made.stdout.splitlines()[-1])["token"]
    influx_token = (state / "secrets" / "alerts" / "influx_token").read_text().strip()
    influx = Influx(DatabaseSettings(influx_url=f"http://127.0.0.1:{ports['influxd']}", influx_token=SecretStr(influx_token)))
    wait_until(lambda: _listens(ports["api"]), "the API", 60)
    wait_until(lambda: influx.query("telemetry", 'SELECT last(step) FROM "bench-step"'), "the first reading", 60)
    arrived: dict[str, float] = {}
    threading.Thread(target=_follow, args=(ports["api"], token, arrived), daemon=True).start()
    time.sleep(3)
    figures: dict[str, list[float]] = {"database_s": [], "alert_s": []}
    for number in range(1, changes + 1):
        time.sleep(random.uniform(1.0, 2.0))
        arrived.clear()
        registers[:] = [1, number]
        changed_s = time.monotonic()

        def stored(number: int = number) -> bool:
            (series,) = influx.query("telemetry", 'SELECT last(step) FROM "bench-step"')
            return bool(series.rows[0][1] == number)

        wait_until(stored, f"change {number} in the database", 20)
        figures["database_s"].append(time.monotonic() - changed_s)
        wait_until(lambda: "UNACK" in arrived, f"change {number} on the event stream", 20)
        figures["alert_s"].append(arrived["UNACK"] - changed_s)
        registers[0] = 0
        wait_until(lambda: "RTNUN" in arrived, "the alert to return to normal", 20)
    influx.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--interval", type=float, default=1.0, help="poll interval in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state, port = Path(folder) / "state", free_port()
        state.mkdir()
        _configuration(Path(folder) / "config", options.interval, port)
        server = _Server(("127.0.0.1", port), _Device)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        demo = subprocess.Popen(
            [
                _script("millrace"),
                "demo",
                "--config",
                f"{folder}/config",
                "--state",
                str(state),
                "--days",
                "0",
                "--repository",
                str(REPOSITORY),
            ],
            env={**os.environ, "MILLRACE_SIM_ONLY_HOST": "nowhere"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until((state / "ports.json").exists, "the system to start", 90)
            figures = measure(state, options.changes)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
            server.shutdown()
    result: dict[str, object] = {"changes": options.changes, "interval_s": options.interval}
    for name, values in figures.items():
        values.sort()
        result[name] = {"p50": round(values[len(values) // 2], 3), "p99": round(values[int(len(values) * 0.99)], 3)}
    print(json.dumps(result))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


if __name__ == "__main__":
    main()
