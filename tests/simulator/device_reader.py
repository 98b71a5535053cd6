"""A Modbus client that is not ours: pymodbus, with its own decoding, for one simulated device."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal

from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient

from millrace_contract.plant import Device, RegisterSignal


class DeviceReader:
    """Reads one device. Raises ModbusException where nothing valid comes back."""

    def __init__(self, device: Device) -> None:
        connection = device.connection
        self.unit = connection.unit
        framer = FramerType.RTU if connection.transport == "rtu_over_tcp" else FramerType.SOCKET
        # pymodbus leaves its connect and close without types.
        self.client: Any = ModbusTcpClient("127.0.0.1", port=connection.port, framer=framer, timeout=2, retries=0)

    def __enter__(self) -> DeviceReader:
        assert self.client.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()

    def read(self, signal: RegisterSignal) -> float | str:
        """The signal's raw value, before scale and offset."""
        reads = {
            "holding": self.client.read_holding_registers,
            "input": self.client.read_input_registers,
            "coil": self.client.read_coils,
            "discrete": self.client.read_discrete_inputs,
        }
        answer = reads[signal.table](signal.address, count=signal.registers, device_id=self.unit)
        assert not answer.isError(), f"{signal.name}: {answer}"
        return int(answer.bits[0]) if signal.type == "bit" else decode(signal, answer.registers)

    def number(self, signal: RegisterSignal) -> float:
        value = self.read(signal)
        assert not isinstance(value, str)
        return value


def decode(signal: RegisterSignal, registers: list[int]) -> float | str:
    """pymodbus decodes; it knows word orders only, so swapped bytes are put right first, as its documentation says."""
    if signal.order in ("BADC", "DCBA"):
        registers = [(register & 0xFF) << 8 | register >> 8 for register in registers]
    kinds = ModbusTcpClient.DATATYPE
    if signal.bit is not None:
        return registers[0] >> signal.bit & 1
    if signal.type == "string":
        text = ModbusTcpClient.convert_from_registers(registers, kinds.STRING)
        assert isinstance(text, str)
        return text
    words: Literal["big", "little"] = "little" if signal.order in ("CDAB", "DCBA") else "big"
    value = ModbusTcpClient.convert_from_registers(registers, kinds[signal.type.upper()], word_order=words)
    assert isinstance(value, int | float)
    return value
