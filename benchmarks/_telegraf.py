"""Telegraf beside the gateway: the same devices, read with care and published with QoS 1 as JSON."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from _modbus_load import Device

AGENT = """[agent]
  interval = "{interval_ms}ms"
  round_interval = true
  metric_batch_size = 1000
  metric_buffer_limit = 100000
  flush_interval = "1s"
  omit_hostname = true
  logfile = "{folder}/telegraf.log"
[[outputs.mqtt]]
  servers = ["mqtt://127.0.0.1:{broker_port}"]
  client_id = "telegraf"
  topic = 'telegraf/{{{{ .Tag "name" }}}}'
  qos = 1
  keep_alive = 30
  data_format = "json"
"""
INPUT = """[[inputs.modbus]]
  name = "{name}"
  controller = "tcp://{host}:{port}"
  timeout = "1s"
  configuration_type = "request"
  [[inputs.modbus.request]]
    slave_id = 1
    byte_order = "ABCD"
    register = "holding"
    measurement = "modbus"
    {optimization}
    fields = [{fields}]
"""
BEST = 'optimization = "max_insert"\n    optimization_max_register_fill = 50'
"""Merges across gaps of up to 50 registers, as in its sample."""
DEFAULT = ""
"""A request for each run of neighbouring registers: what who does not ask for more gets."""


def find_telegraf() -> Path | None:
    """On PATH or in our cache, as scripts/influxd looks for influxd."""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace" / "bin" / "telegraf"
    found = shutil.which("telegraf") or (str(cached) if os.access(cached, os.X_OK) else None)
    return Path(found) if found else None


def start_telegraf(
    binary: Path, folder: Path, devices: Sequence[Device], *, interval_s: float, broker_port: int, optimization: str = BEST
) -> subprocess.Popen[bytes]:
    """Its configuration and log stand in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "telegraf.conf"
    configuration.write_text(
        AGENT.format(interval_ms=round(interval_s * 1000), folder=folder, broker_port=broker_port)
        + "".join(
            INPUT.format(
                name=device.name,
                host=device.host,
                port=device.port,
                optimization=optimization,
                fields=", ".join(
                    f'{{address = {each.address}, name = "{each.name}", type = "{each.type.upper()}"}}' for each in device.signals
                ),
            )
            for device in devices
        )
    )
    with (folder / "telegraf.out").open("ab") as log:
        return subprocess.Popen([str(binary), "--config", str(configuration)], stdout=log, stderr=log)
