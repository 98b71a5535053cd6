"""What the measurements share: a plant of many equal devices, a broker set up as ours, and what a process costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.testing import Mosquitto

ROOT = "bench"
GATEWAY = "bench-1"
TICKS_S = os.sysconf("SC_CLK_TCK")
BROKER = "allow_anonymous true\nmax_inflight_messages 1000\nmax_queued_bytes 1000000000"
"""As mosquitto/mosquitto.conf, without accounts, and with room for a whole run in the queue."""

DEVICE = """      D{number:03}:
        profile: bench
        gateway: {gateway}
        connection: {{host: {host}, port: {port}}}
"""


def write_plant(folder: Path, *, devices: int, signals: int, interval_s: float, port: int = 502) -> Path:
    """A folder for MILLRACE_CONFIG: `devices` devices with `signals` contiguous float32 each, each on an address of its own."""
    (folder / "profiles").mkdir(parents=True)
    lines = [f"  s{number:03}: {{address: {2 * number}, type: float32}}" for number in range(signals)]
    (folder / "profiles" / "bench.yaml").write_text(
        f"title: Bench\nsource: benchmarks\nverified: simulator\ngroups: {{all: {{interval_s: {interval_s}}}}}\nsignals:\n"
        + "\n".join(lines)
        + "\n"
    )
    (folder / "plant.yaml").write_text(
        f"root: {ROOT}\ntime_zone: Europe/Berlin\nlines:\n  line1:\n    devices:\n"
        + "".join(
            DEVICE.format(number=number, gateway=GATEWAY, host=f"127.0.{1 + number // 200}.{1 + number % 200}", port=port)
            for number in range(devices)
        )
    )
    return folder


def start_service(name: str, folder: Path, broker: Mosquitto, **settings: object) -> subprocess.Popen[bytes]:
    """`millrace-<name> run` on the plant in folder/config, its log in folder/<name>.log."""
    values: Mapping[str, object] = {
        "config": folder / "config",
        "data": folder / name,
        "mqtt_port": broker.port,
        "log_format": "json",
        **settings,
    }
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(f"millrace-{name}")), "run"],
            env={**os.environ, **{f"MILLRACE_{key.upper()}": str(value) for key, value in values.items()}},
            stdout=log,
            stderr=log,
        )


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a process since its start, user and system, and the most memory that it had."""

    cpu_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Cost:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = Path(f"/proc/{pid}/status").read_text()
        rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return cls((int(fields[11]) + int(fields[12])) / TICKS_S, rss_kb / 1024)

    def per_million(self, before: Cost, count: int) -> float:
        """CPU seconds since `before` for each million of `count`."""
        return round((self.cpu_s - before.cpu_s) / count * 1e6, 2)
