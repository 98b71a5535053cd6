"""A plant of one sensor that speaks MQTT itself."""

from __future__ import annotations

from pathlib import Path

TOPIC = "tele/plug-7/SENSOR"
_FILES = {
    "plant.yaml": f"""root: factory
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      PLUG-7: {{profile: plug, tags: {{station: ST1}}, connection: {{transport: mqtt, topic: {TOPIC}}}}}
""",
    "profiles/plug.yaml": """title: Plug
source: test
verified: test
groups: {telemetry: {interval_s: 300}}
message: {time: Time}
signals:
  power: {path: ENERGY.Power, unit: W}
  voltage: {path: ENERGY.Voltage, unit: V}
""",
}


def sensor_config(folder: Path) -> Path:
    """Its configuration folder below this one."""
    for name, text in _FILES.items():
        path = folder / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "config"
