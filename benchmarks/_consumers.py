"""What brings messages from the broker into the database: ours and Telegraf's, each as a process between the same two servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _measuring import ROOT, start_service

from millrace_contract.testing import Influxd, Mosquitto
from millrace_contract.testing.servers import cached

# As careful as ours: QoS 1, a persistent session, acknowledged once InfluxDB has it. Its defaults stop at 1,000 messages a second.
TELEGRAF = """[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  omit_hostname = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{broker_port}"]
  topics = ["{root}/+/+/telemetry"]
  qos = 1
  client_id = "telegraf"
  persistent_session = true
  max_undelivered_messages = 20000
  topic_tag = ""
  {parser}
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "{root}/+/+/telemetry"
    tags = "_/line/device/_"
[[outputs.influxdb_v2]]
  urls = ["{url}"]
  token = "$INFLUX_TOKEN"
  organization = "{org}"
  bucket = "telemetry"
  content_encoding = "identity"
"""
JSON = """data_format = "json"
  name_override = "bench"
  json_time_key = "timestamp"
  json_time_format = "2006-01-02T15:04:05Z07:00"
"""
JSON_V2 = """data_format = "json_v2"
  [[inputs.mqtt_consumer.json_v2]]
    measurement_name = "bench"
    timestamp_path = "timestamp"
    timestamp_format = "2006-01-02T15:04:05Z07:00"
    [[inputs.mqtt_consumer.json_v2.object]]
      path = "readings"
"""


@dataclass(frozen=True)
class Consumer:
    """`field` is what the first signal is called in the database."""

    name: str
    field: str
    start: Callable[[Path, Mosquitto, Influxd], subprocess.Popen[bytes]]


def _ours(folder: Path, broker: Mosquitto, database: Influxd) -> subprocess.Popen[bytes]:
    settings = database.settings()
    token = settings.influx_token.get_secret_value()
    return start_service("ingest", folder, broker, influx_url=settings.influx_url, influx_token=token)


def _telegraf(binary: Path, parser: str) -> Callable[[Path, Mosquitto, Influxd], subprocess.Popen[bytes]]:
    def start(folder: Path, broker: Mosquitto, database: Influxd) -> subprocess.Popen[bytes]:
        settings = database.settings()
        configuration = folder / "telegraf.conf"
        configuration.write_text(
            TELEGRAF.format(broker_port=broker.port, root=ROOT, parser=parser, url=settings.influx_url, org=settings.influx_org)
        )
        with (folder / "telegraf.log").open("ab") as log:
            return subprocess.Popen(
                [str(binary), "--config", str(configuration)],
                env={**os.environ, "INFLUX_TOKEN": settings.influx_token.get_secret_value()},
                stdout=log,
                stderr=log,
            )

    return start


OURS = Consumer("millrace-ingest", "s000", _ours)


def consumers() -> list[Consumer]:
    """Ours, and Telegraf's where it is installed."""
    found = shutil.which("telegraf") or cached("telegraf")
    if found is None:
        return [OURS]
    binary = Path(found)
    return [
        OURS,
        Consumer("Telegraf, json", "readings_s000", _telegraf(binary, JSON)),
        Consumer("Telegraf, json_v2", "s000", _telegraf(binary, JSON_V2)),
    ]
