"""Reading one device once, for a person at a terminal: `read` and `probe`. The I/O of these commands; no MQTT, no outbox."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import Device, Profile
from millrace_contract.plant.profile_files import load_profiles
from millrace_contract.runtime.clock import SystemClock

from .answers import Answer
from .asker import Asker
from .blocks import FUNCTION_CODES, Place
from .decoder import BIT_TABLES
from .endpoint import Endpoint
from .faults import ReadFault, RequestRefused
from .modbus import ModbusConnection
from .poll_plan import full_plan
from .read_result import ReadResult
from .reader import read_plan
from .registers import Value, decode_bits, register_words
from .request_cost import assumed_cost
from .wire import Wire


@dataclass(frozen=True, slots=True)
class SignalReading:
    """One signal beside the registers (or the bit) that it came from; `raw` is empty where nothing was read."""

    signal: str
    value: Value | None
    unit: str
    quality: str
    reason: str | None
    table: str
    address: int
    type: str
    order: str
    raw: tuple[int, ...]


class _RecordingWire(Wire):
    """Remembers the bytes of each place on their way to the decoder."""

    def __init__(self, device: Device, profile: Profile) -> None:
        tolerates = {device.connection.unit: frozenset(profile.tolerate)}
        connection = ModbusConnection(Endpoint.of(device.connection), tolerates)
        super().__init__(connection, SystemClock(), profile.limits.pause_after_connect_ms / 1000)
        self.payloads: list[tuple[Place, bytes]] = []

    async def ask(self, unit: int, places: Sequence[Place], timeout_s: float) -> tuple[list[Answer], ReadFault | None]:
        answers, fault = await super().ask(unit, places, timeout_s)
        self.payloads += [(place, answer.data) for place, answer in zip(places, answers, strict=False)]
        return answers, fault


def read_device(device: Device, profile: Profile) -> tuple[list[SignalReading], ReadFault | None]:
    """Every signal of the device, read once, in the order of the profile; and the fault that was met, if any."""
    wire = _RecordingWire(device, profile)

    async def run() -> ReadResult:
        try:
            plan = full_plan(profile, assumed_cost(Endpoint.of(device.connection)))
            return await read_plan([wire], device.connection.unit, device.connection.timeout_s, plan, SystemClock())
        finally:
            wire.close()
            await asyncio.sleep(0)  # Lets the closed socket leave the loop.

    result = asyncio.run(run())
    raw = _raw_registers(wire.payloads)
    snapshot = result.snapshot
    readings = [
        SignalReading(
            signal=signal.name,
            value=snapshot.readings.get(signal.name),
            unit=signal.unit,
            quality=snapshot.quality.get(signal.name, "good"),
            reason=snapshot.reasons.get(signal.name),
            table=signal.table,
            address=signal.address,
            type=signal.type,
            order=signal.order,
            raw=tuple(
                raw[signal.table, address]
                for address in range(signal.address, signal.address + signal.registers)
                if (signal.table, address) in raw
            ),
        )
        for signal in profile.register_signals.values()
    ]
    return readings, result.fault


def read_around(  # noqa: PLR0917 - what a person may give
    endpoint: Endpoint,
    unit: int,
    table: str,
    address: int,
    timeout_s: float,
    pause_after_connect_s: float = 0.0,
    tolerates: frozenset[str] = frozenset(),
) -> dict[int, bytes]:
    """The bytes from the address, and from its two neighbours, on: as many of four registers as exist, or one bit.

    Raises ReadFault when the address itself cannot be read.
    """

    async def run() -> dict[int, bytes]:
        asker = Asker(endpoint, timeout_s, pause_after_connect_s, tolerates)
        try:
            found: dict[int, bytes] = {}
            for start in (address, address - 1, address + 1):
                if not 0 <= start <= 0xFFFF:
                    continue
                try:
                    found[start] = await _widest(asker, unit, table, start)
                except RequestRefused:
                    if start == address:
                        raise
            return found
        finally:
            asker.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def _widest(asker: Asker, unit: int, table: str, start: int) -> bytes:
    widths = [1] if table in BIT_TABLES else [count for count in (4, 2, 1) if start + count <= 0x10000]
    for count in widths[:-1]:
        try:
            return await asker.read(unit, table, start, count)
        except RequestRefused as fault:
            if not fault.is_about_addresses:
                raise
    return await asker.read(unit, table, start, widths[-1])


def check_profile(text: str, name: str) -> None:
    """Raises ConfigurationProblems for what `millrace check` would say of this profile."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        _, documents = load_profiles(Path(folder))
    problems = [problem for document in documents for problem in document.problems]
    if problems:
        raise ConfigurationProblems(problems)


def _raw_registers(payloads: list[tuple[Place, bytes]]) -> dict[tuple[str, int], int]:
    tables = {code: table for table, code in FUNCTION_CODES.items()}
    raw: dict[tuple[str, int], int] = {}
    for place, payload in payloads:
        code, start, count = place[:3]
        table = tables[code]
        values: Sequence[int] = decode_bits(payload, count) if table in BIT_TABLES else register_words(payload)
        if len(place) > 3:  # registers of 32 bits
            values = [high << 16 | low for high, low in zip(values[::2], values[1::2], strict=True)]
        raw.update({(table, start + index): value for index, value in enumerate(values)})
    return raw
