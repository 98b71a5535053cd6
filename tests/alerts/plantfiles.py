"""A small plant for the tests of the alerts service: two machines, rules of every kind."""

import json
from collections.abc import Mapping
from pathlib import Path

from millrace_contract.language.times import format_timestamp

START_MS = 1_760_000_000_000

PLANT = """
root: factory
time_zone: Europe/Berlin
lines:
  line1:
    title: Machining
    devices:
      CNC-01: {title: Mill, profile: test-cnc, connection: {host: 127.0.0.1, port: 5020}}
      CNC-02: {title: Lathe, profile: test-cnc, gateway: edge-2, connection: {host: 127.0.0.1, port: 5021}}
  line2:
    title: Packing
    devices:
      PACK-01: {profile: test-cnc, connection: {host: 127.0.0.1, port: 5022}}
"""

PROFILE = """
title: Test CNC
asset_class: cnc
source: made up
verified: simulator
groups: {fast: {interval_s: 1.0}}
signals:
  run_status: {address: 10, type: uint16, values: {0: stopped, 1: execute, 2: held}}
  temperature: {address: 20, type: float32, unit: Cel}
  pressure: {address: 22, type: float32, unit: bar}
  level: {address: 24, type: float32, unit: mm}
  target: {address: 26, type: float32, unit: Cel}
  energy: {address: 50, type: float64, unit: kW.h, counter: {max_rate_per_s: 100}}
  cycles: {address: 54, type: uint32, counter: {max_rate_per_s: 100}}
  program: {address: 40, type: string, registers: 8}
oee: {state: run_status}
"""

RULES = """
rules:
  hot:
    title: Too hot
    class: alarm
    priority: high
    where: {lines: [line1]}
    condition: {kind: threshold, signal: temperature, above: 85, deadband: 3}
    consequence: it breaks
    cause: no coolant
    action: stop it
    response_s: 300
  hot-for-long:
    title: Too hot for long
    class: maintenance
    priority: low
    where: {devices: [CNC-01]}
    condition: {kind: threshold, signal: temperature, above: 80}
    on_delay_s: 600
  latched-low:
    title: Pressure was low
    class: maintenance
    priority: critical
    where: {devices: [CNC-02]}
    condition: {kind: threshold, signal: pressure, below: 2}
    latching: true
  silent:
    title: No readings
    class: system
    priority: medium
    where: {devices: [CNC-01]}
    condition: {kind: no_data, after_s: 60}
  offline:
    title: Cannot be reached
    class: system
    priority: medium
    where: {lines: [line1]}
    condition: {kind: device_offline}
    on_delay_s: 10
"""


def write_plant(folder: Path, rules: str = RULES) -> Path:
    (folder / "profiles").mkdir(parents=True, exist_ok=True)
    (folder / "plant.yaml").write_text(PLANT)
    (folder / "profiles" / "test-cnc.yaml").write_text(PROFILE)
    (folder / "alerts.yaml").write_text(rules)
    return folder


def telemetry(
    at_ms: int,
    device: str = "CNC-01",
    *,
    bad: tuple[str, ...] = (),
    backfill: bool = False,
    readings: Mapping[str, float | str] | None = None,
    **more: float | str,
) -> bytes:
    message: dict[str, object] = {
        "device_id": device,
        "timestamp": format_timestamp(at_ms),
        "readings": {**(readings or {}), **more},
        "stream": f"{'edge-2' if device == 'CNC-02' else 'edge-1'}.a1",
        "seq": at_ms,
    }
    if bad:
        message["quality"] = dict.fromkeys(bad, "bad")
    if backfill:
        message["backfill"] = True
    return json.dumps(message).encode()


def comms(state: str, since_ms: int, device: str = "CNC-01") -> bytes:
    since, gateway = format_timestamp(since_ms), "edge-2" if device == "CNC-02" else "edge-1"
    return json.dumps(
        {"device_id": device, "state": state, "since": since, "timestamp": since, "gateway": gateway, "reason": "no answer"}
    ).encode()


def status(alive: bool, at_ms: int, instance: str = "edge-1") -> bytes:
    message = {"service": "gateway", "instance": instance, "alive": alive, "timestamp": format_timestamp(at_ms)}
    return json.dumps(message).encode()
