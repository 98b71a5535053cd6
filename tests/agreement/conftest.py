"""A plant of one machine that each case shapes, for questions that several services must answer alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
STATES = {0: "stopped", 1: "execute", 2: "held"}

WritePlant = Callable[..., Path]


@pytest.fixture
def write_plant(tmp_path: Path) -> WritePlant:
    """Writes a configuration folder: line1 with the devices (name -> gateway), all of one profile."""

    def write(
        signals: dict[str, dict[str, Any]],
        groups: dict[str, dict[str, Any]] | None = None,
        oee: dict[str, Any] | None = None,
        devices: dict[str, str] | None = None,
        rules: dict[str, dict[str, Any]] | None = None,
    ) -> Path:
        folder = tmp_path / "config"
        (folder / "profiles").mkdir(parents=True)
        profile = {
            "title": "Machine",
            "source": "tests",
            "verified": "simulator",
            "groups": groups or {"fast": {"interval_s": 1.0}},
        }
        profile |= {"signals": signals, **({"oee": oee} if oee else {})}
        connection = {"host": "127.0.0.1", "port": 5020}
        entries = {
            name: {"profile": "machine", "gateway": gateway, "connection": connection}
            for name, gateway in (devices or {"M-01": "edge-1"}).items()
        }
        files = {
            "plant.yaml": {"root": "factory", "time_zone": "UTC", "lines": {"line1": {"devices": entries}}},
            "profiles/machine.yaml": profile,
            "calendar.yaml": {"shifts": {"all": {"start": "00:00", "end": "00:00", "days": EVERY_DAY}}},
            "alerts.yaml": {"rules": rules or {}},
        }
        for name, content in files.items():
            (folder / name).write_text(yaml.safe_dump(content))
        return folder

    return write
