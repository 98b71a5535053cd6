"""What the gateway has learned of its devices and keeps over restarts, in the data folder: costs, and gaps that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from millrace_contract.plant import Device
from millrace_contract.runtime.files import replace_file
from millrace_contract.runtime.logs import get_logger

from .blocks import RegisterGap
from .endpoint import Endpoint
from .request_cost import RequestCost

FILE_NAME: Final = "learned.json"

_log = get_logger(__name__)


class LearnedDevice(msgspec.Struct, frozen=True):
    """`place` is where the device was reached: another place is another device, and nothing learned holds there."""

    place: str
    cost: RequestCost | None = None
    gaps: tuple[RegisterGap, ...] = ()


def place_of(device: Device) -> str:
    return f"{device.connection.transport} {Endpoint.of(device.connection)} unit {device.connection.unit}"


def load_learned(data: Path) -> dict[str, LearnedDevice]:
    """What is known, by device. A damaged file is as good as none: everything in it will be learned again."""
    path = data / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, LearnedDevice])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("learned_not_read", path=str(path), reason=str(error))
        return {}


def known_of(learned: Mapping[str, LearnedDevice], device: Device) -> LearnedDevice:
    """What holds for this device where it stands now."""
    place = place_of(device)
    known = learned.get(device.id)
    return known if known is not None and known.place == place else LearnedDevice(place)


def save_learned(data: Path, learned: Mapping[str, LearnedDevice]) -> None:
    """Raises OSError."""
    replace_file(data / FILE_NAME, msgspec.json.format(msgspec.json.encode(dict(sorted(learned.items())))))
