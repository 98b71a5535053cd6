"""A device that leaves the plant model leaves a backlog in its gateway's outbox: it is stored as it was read, and confirmed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.known_devices import with_plant
from millrace_contract.runtime.remembered_devices import KNOWN_DEVICES, remember_devices
from millrace_ingest.confirmations import Identity
from millrace_ingest.decoder import Accepted, Decoder, Ignored, Rejected
from millrace_ingest.plant_watch import PlantWatch

NOW_MS = 1_760_000_000_000
TOPIC = "plant/line1/D-0/telemetry"
Message = Callable[..., bytes]


@pytest.mark.parametrize("undeclared", ["store", "park", "refuse"])
def test_the_backlog_of_a_removed_device_is_stored_as_it_was_read(
    plant: PlantModel, message: Message, undeclared: Literal["store", "park", "refuse"]
) -> None:
    known = with_plant({}, plant)
    smaller = replace(plant, undeclared=undeclared, devices={k: v for k, v in plant.devices.items() if k != "D-0"})
    found = Decoder(smaller, known=known).decode(TOPIC, message(seq=7), NOW_MS)
    assert isinstance(found, Accepted)
    assert found.identity == Identity("edge-1.aa", 7)
    assert found.line.startswith(b"acme-mill,line=line1,device=D-0")
    # Anybody else on its topic is a stranger, as for any device that the plant model does not have.
    stranger = Decoder(smaller, known=known).decode(TOPIC, message(stream="edge-9.aa", seq=7), NOW_MS)
    assert isinstance(stranger, {"store": Accepted, "park": Rejected, "refuse": Ignored}[undeclared])
    assert getattr(stranger, "identity", None) is None


def test_a_device_that_moved_to_another_gateway_is_believed_from_both(plant: PlantModel, message: Message) -> None:
    moved = replace(plant, devices={**plant.devices, "D-0": plant.devices["D-0"].model_copy(update={"gateway": "edge-2"})})
    decoder = Decoder(moved, known=with_plant({}, plant))
    for stream in ("edge-1.aa", "edge-2.bb"):
        found = decoder.decode(TOPIC, message(stream=stream, seq=7), NOW_MS)
        assert isinstance(found, Accepted)
        assert found.identity == Identity(stream, 7)


def test_what_was_known_survives_a_restart_and_a_broken_file(config_dir: Path, tmp_path: Path, message: Message) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert PlantWatch(config_dir, data).decoder
    text = (config_dir / "plant.yaml").read_text()
    (config_dir / "plant.yaml").write_text(re.sub(r"\bD-0:", "D-NEW:", text))
    assert "D-0" not in load_plant(config_dir).devices
    found = PlantWatch(config_dir, data).decoder.decode(TOPIC, message(seq=7), NOW_MS)
    assert isinstance(found, Accepted)
    assert found.identity == Identity("edge-1.aa", 7)
    (data / KNOWN_DEVICES).write_text("{")
    assert set(remember_devices(data, load_plant(config_dir))) == set(load_plant(config_dir).devices)
