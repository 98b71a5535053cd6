"""A small plant of one gateway, and the messages that it sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.telemetry import encode_telemetry

PLANT = """\
root: {root}
time_zone: Europe/Berlin
undeclared: {undeclared}
lines:
  line1:
    title: Machining
    devices:
{devices}
"""
DEVICE = """\
      {name}:
        title: Mill
        profile: acme-mill
        connection: {{host: 127.0.0.1}}
"""
PROFILE = """\
title: Mill
asset_class: cnc
source: tests
verified: simulator
groups: {fast: {interval_s: 1.0}}
signals:
  run_status: {table: holding, address: 10, type: uint16}
  temperature: {table: input, address: 100, type: float32}
"""


def _write_plant(folder: Path, *, root: str = "plant", undeclared: str = "store", devices: int = 20) -> Path:
    """A configuration folder with devices D-0, D-1 ... of gateway edge-1."""
    (folder / "profiles").mkdir(parents=True, exist_ok=True)
    (folder / "profiles" / "acme-mill.yaml").write_text(PROFILE)
    names = "".join(DEVICE.format(name=f"D-{number}") for number in range(devices))
    (folder / "plant.yaml").write_text(PLANT.format(root=root, undeclared=undeclared, devices=names))
    return folder


def _message(
    device: str = "D-0", timestamp_ms: int = 1_760_000_000_000, *, seq: int | None = 1, prev: int | None = None,
    stream: str | None = "edge-1.aa", temperature: float = 20.5,
) -> bytes:  # fmt: skip
    """What a gateway sends for one read."""
    return encode_telemetry(
        device_id=device,
        timestamp_ms=timestamp_ms,
        readings={"run_status": 1, "temperature": temperature},
        quality={},
        tags={"station": "ST3"},
        stream=stream if seq is not None else None,
        seq=seq,
        prev=prev,
    )


@pytest.fixture
def write_plant() -> Callable[..., Path]:
    """Writes a configuration folder: folder, root, undeclared, devices."""
    return _write_plant


@pytest.fixture
def message() -> Callable[..., bytes]:
    """Encodes telemetry: device, timestamp_ms, seq, prev, stream, temperature."""
    return _message


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return _write_plant(tmp_path / "config")


@pytest.fixture
def plant(config_dir: Path) -> PlantModel:
    return load_plant(config_dir)
