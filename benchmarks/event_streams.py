"""What streams of alert events cost, and how soon an event is everywhere: 200 of them, one of which takes nothing.

Starts the alerts service alone. Comments on an alert are the events, at a given pace; each stream notes when it has each of them.
Prints one JSON object: CPU seconds of the service (user and system), and the time from before the request to the arrival at the
last of all streams.

usage: python benchmarks/event_streams.py [--streams N] [--rate R] [--seconds S]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

from millrace_contract.testing import free_port, wait_until

PROFILE = """title: Bench
source: benchmarks/event_streams.py
verified: simulator
groups: {fast: {interval_s: 1}}
signals: {high: {address: 0, type: uint16}}
"""
PLANT = """root: bench
time_zone: UTC
lines: {line1: {devices: {STEP-01: {profile: bench, connection: {host: 127.0.0.1, port: 5020}}}}}
"""
ALERTS = "rules: {high: {title: High, class: system, condition: {kind: threshold, signal: high, above: 0.5}}}\n"
TOKEN = "bench-token"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=float, default=35, help="events a second")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service, port = _started(Path(folder))
        try:
            print(json.dumps(_measured(service, port, options.streams, options.rate, options.seconds)))
        finally:
            service.terminate()
            service.wait(30)


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    (folder / "config" / "profiles").mkdir(parents=True)
    for name, text in (("plant.yaml", PLANT), ("alerts.yaml", ALERTS), ("profiles/bench.yaml", PROFILE)):
        (folder / "config" / name).write_text(text)
    token = {"name": "bench", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "scopes": ["read", "ack"]}
    (folder / "tokens.json").write_text(json.dumps({"tokens": [token]}))
    port = free_port()
    environment = {
        **os.environ,
        "MILLRACE_CONFIG": str(folder / "config"),
        "MILLRACE_DATA": str(folder / "data"),
        "MILLRACE_HTTP_PORT": str(port),
        "MILLRACE_MQTT_PORT": str(free_port()),
        "MILLRACE_API_TOKENS_FILE": str(folder / "tokens.json"),
    }
    command = [sys.executable, "-m", "millrace_alerts", "run"]
    service = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: _listens(port), "the API", 60)
    return service, port


def _measured(service: subprocess.Popen[bytes], port: int, streams: int, rate: float, seconds: float) -> dict[str, object]:
    sockets = [_stream(port) for _ in range(streams)]
    stalled, followed = sockets[0], sockets[1:]
    events = round(rate * seconds)
    arrived: list[list[float]] = [[] for _ in followed]
    done = threading.Event()
    reader = threading.Thread(target=_follow, args=(followed, arrived, events, done), daemon=True)
    reader.start()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/v1/alerts/high.STEP-01", headers=AUTHORIZED)
    answer = connection.getresponse()
    etag, _ = answer.headers["ETag"], answer.read()
    cpu_s, begun_s = _cpu_s(service.pid), time.monotonic()
    sent: list[float] = []
    for number in range(events):
        time.sleep(max(0.0, begun_s + number / rate - time.monotonic()))
        sent.append(time.monotonic())
        body = json.dumps({"actor": "bench", "comment": f"remark {number}"})
        headers = {**AUTHORIZED, "If-Match": etag, "Content-Type": "application/json"}
        connection.request("POST", "/v1/alerts/high.STEP-01/comment", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"a comment is answered {answer.status}")
    complete = done.wait(30)
    spent_s = _cpu_s(service.pid) - cpu_s
    last = sorted(max(times) - sent[number] for number, times in enumerate(zip(*arrived, strict=False)))
    for each in (stalled, *followed):
        each.close()
    return {
        "streams": streams,
        "events": events,
        "complete": complete,
        "cpu_s": round(spent_s, 2),
        "cpu_us_per_delivery": round(spent_s / (events * streams) * 1e6, 1),
        "to_the_last_stream_ms": {"p50": round(last[len(last) // 2] * 1e3, 1), "p99": round(last[int(len(last) * 0.99)] * 1e3, 1)},
    }


def _stream(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=30)
    made.sendall(f"GET /v1/alerts/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += made.recv(1)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise RuntimeError(head.decode())
    return made


def _follow(sockets: list[socket.socket], arrived: list[list[float]], events: int, done: threading.Event) -> None:
    with selectors.DefaultSelector() as selector:
        for index, each in enumerate(sockets):
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ, index)
        while any(len(times) < events for times in arrived):
            for key, _ in selector.select(1):
                chunk = sockets[key.data].recv(1 << 16)
                arrived[key.data] += [time.monotonic()] * chunk.count(b"data:")
    done.set()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
