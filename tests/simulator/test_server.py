"""The simulated devices on the wire, read by a Modbus client that is not ours, and by hand where frames are broken."""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from millrace_contract.plant import Device, PlantModel, Profile, load_plant
from millrace_contract.testing import wait_until
from millrace_simulator.control import NotControlled, send
from millrace_simulator.faults import EXCEPTION_CODES, Fault, FaultKind, deliver
from millrace_simulator.frames import Framing, ModbusRequest, checksum
from millrace_simulator.testing import RunningSimulator
from millrace_simulator.truth import Read, read_truth

from .device_reader import DeviceReader

pytestmark = pytest.mark.process

SAMPLE = Path(__file__).parents[2] / "config"
DEVICES = sorted(load_plant(SAMPLE, {}).devices)


@pytest.mark.parametrize("name", DEVICES)
def test_every_signal_of_every_demo_device_reads_back_as_served(shared_simulator: RunningSimulator, name: str) -> None:
    simulator = shared_simulator
    device, profile = simulator.plant.devices[name], simulator.plant.profile_of(name)
    with DeviceReader(device) as reader:
        read_back = {signal.name: reader.read(signal) for signal in profile.register_signals.values()}
    served: dict[str, int | float | str] = {}
    for record in read_truth(simulator.settings.data / "truth"):
        if isinstance(record, Read) and record.device == name:
            served |= record.raw
    assert read_back == served
    assert_plausible(profile, read_back)


def assert_plausible(profile: Profile, values: dict[str, float | str]) -> None:
    for name, raw in values.items():
        signal = profile.register_signals[name]
        if isinstance(raw, str):
            assert raw
            continue
        value = raw * signal.scale + signal.offset
        assert math.isfinite(value)
        assert signal.minimum is None or value >= signal.minimum, name
        assert signal.maximum is None or value <= signal.maximum, name
        assert not signal.values or raw in signal.values


def test_signals_in_one_request_agree_with_the_whole_map(shared_simulator: RunningSimulator) -> None:
    """One request over several signals and the gaps between them, as a gateway merges them."""
    simulator = shared_simulator
    device = simulator.plant.devices["CNC-01"]
    with DeviceReader(device) as reader:
        answer = reader.client.read_holding_registers(0, count=21, device_id=1)
    assert not answer.isError()
    record = [record for record in read_truth(simulator.settings.data / "truth") if isinstance(record, Read)][-1]
    assert record.counted
    assert set(record.raw) == {
        "reads_served", "run_status", "cycle_count", "defect_count", "spindle_speed", "spindle_load", "overload", "coolant_low",
        "vibration_trip",
    }  # fmt: skip
    assert answer.registers[2:10] == [0] * 8
    assert answer.registers[12] == record.raw["cycle_count"]
    assert (
        answer.registers[20]
        == int(record.raw["overload"]) * 8 + int(record.raw["coolant_low"]) * 32 + int(record.raw["vibration_trip"]) * 128
    )


def test_addresses_outside_the_map_are_refused(shared_simulator: RunningSimulator) -> None:
    simulator = shared_simulator
    device = simulator.plant.devices["LATHE-01"]
    with DeviceReader(device) as reader:
        cases = {
            2: reader.client.read_input_registers(999, count=2, device_id=1),
            3: reader.client.read_input_registers(1000, count=33, device_id=1),
            1: reader.client.write_register(1000, 1, device_id=1),
            11: reader.client.read_input_registers(1000, count=2, device_id=77),
        }
    assert {code: answer.exception_code for code, answer in cases.items()} == {code: code for code in cases}


def test_counter_steps_only_with_reads_that_cover_it(shared_simulator: RunningSimulator) -> None:
    simulator = shared_simulator
    device, profile = simulator.plant.devices["METER-02"], simulator.plant.profile_of("METER-02")
    served = profile.register_signals["reads_served"]
    with DeviceReader(device) as reader:
        first = reader.number(served)
        reader.read(profile.register_signals["voltage_l1"])
        assert reader.number(served) == first + 1


def test_counter_values_are_never_used_again_after_a_restart(start_simulator: Callable[[], RunningSimulator]) -> None:
    seen: list[float] = []
    for _ in range(2):
        simulator = start_simulator()
        device, signal = simulator.plant.devices["COMP-01"], simulator.plant.profile_of("COMP-01").register_signals["reads_served"]
        with DeviceReader(device) as reader:
            seen += [reader.number(signal) for _ in range(3)]
        simulator.stop()
    assert len(set(seen)) == 6
    assert seen == sorted(seen)


def test_units_on_one_port_are_devices_of_their_own(shared_simulator: RunningSimulator) -> None:
    simulator = shared_simulator
    plant: PlantModel = simulator.plant
    meter, other = plant.devices["METER-01"], plant.devices["METER-02"]
    assert meter.connection.port == other.connection.port
    serial = plant.profile_of("METER-01").register_signals["serial_number"]
    with DeviceReader(meter) as one, DeviceReader(other) as two:
        assert one.read(serial) != two.read(serial)


# Faults, frame by frame.

REQUEST = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 10, 4)
GOOD_BYTES = 9 + 8


def ask(device: Device, timeout_s: float = 1.0) -> tuple[bytes, str]:
    """What comes back for one request, and how it ended: whole, quiet (nothing more came) or closed."""
    received = b""
    with socket.create_connection(("127.0.0.1", device.connection.port), timeout=5) as connection:
        connection.sendall(REQUEST)
        connection.settimeout(timeout_s)
        while len(received) < GOOD_BYTES:
            try:
                chunk = connection.recv(GOOD_BYTES - len(received))
            except TimeoutError:
                return received, "quiet"
            except ConnectionError:
                return received, "closed"
            if not chunk:
                return received, "closed"
            received += chunk
    return received, "whole"


def begin(simulator: RunningSimulator, kind: FaultKind, **figures: float) -> Device:
    send(simulator.url, "POST", Fault(device="CNC-01", kind=kind, **figures))  # type: ignore[arg-type]
    return simulator.plant.devices["CNC-01"]


def test_a_fault_is_over_when_it_is_cleared(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.SILENT)
    assert ask(device, 0.2) == (b"", "quiet")
    assert [fault["kind"] for fault in send(simulator.url, "GET")["active"]] == ["silent"]
    send(simulator.url, "DELETE")
    frame, how = ask(device)
    assert how == "whole"
    assert frame[:9] == struct.pack(">HHHBBB", 7, 0, 11, 1, 3, 8)


def test_each_fault_spoils_the_answer_in_its_own_way(simulator: RunningSimulator) -> None:
    device = simulator.plant.devices["CNC-01"]
    begin(simulator, FaultKind.EXCEPTION, code=6)
    assert ask(device, 0.2)[0] == struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 6)
    begin(simulator, FaultKind.TRUNCATED)
    frame, how = ask(device, 0.2)
    assert (len(frame), how) == (GOOD_BYTES // 2, "quiet")
    begin(simulator, FaultKind.DROP)
    frame, how = ask(device)
    assert len(frame) < GOOD_BYTES
    assert how == "closed"
    begin(simulator, FaultKind.SHORT)
    assert ask(device, 0.2)[0][4:9] == struct.pack(">HBBB", 7, 1, 3, 4)
    begin(simulator, FaultKind.WRONG_UNIT)
    assert ask(device)[0][6] == 1 ^ 0x55
    begin(simulator, FaultKind.WRONG_TRANSACTION)
    assert ask(device)[0][:2] != b"\x00\x07"
    begin(simulator, FaultKind.WRONG_FUNCTION)
    assert ask(device)[0][7] == 4
    begin(simulator, FaultKind.SMALL, count=3)
    assert ask(device, 0.2)[0][7:] == bytes((0x83, 3))
    begin(simulator, FaultKind.DRIBBLE)
    assert ask(device)[1] == "whole"
    faults = {record.fault for record in read_truth(simulator.settings.data / "truth") if isinstance(record, Read)}
    assert faults == {"truncated", "drop", "short", "wrong_unit", "wrong_transaction", "wrong_function", "dribble"}


def test_a_device_may_be_mute_for_long_requests_sleepy_after_connecting_or_hasty(simulator: RunningSimulator) -> None:
    assert ask(begin(simulator, FaultKind.MUTE, count=3), 0.2) == (b"", "quiet")
    assert ask(begin(simulator, FaultKind.MUTE, count=4))[1] == "whole"
    assert ask(begin(simulator, FaultKind.SLEEPY, ms=60_000), 0.2) == (b"", "quiet")
    assert ask(begin(simulator, FaultKind.SLEEPY, ms=0))[1] == "whole"
    device = begin(simulator, FaultKind.HASTY)
    with socket.create_connection(("127.0.0.1", device.connection.port), timeout=5) as connection:
        connection.sendall(REQUEST)
        received = b""
        while chunk := connection.recv(GOOD_BYTES):
            received += chunk
    assert len(received) == GOOD_BYTES


@pytest.mark.parametrize("kind", [FaultKind.ECHO, FaultKind.NOISE, FaultKind.OTHER_MASTER])
def test_what_else_is_heard_on_a_serial_line_comes_before_the_answer_and_only_there(kind: FaultKind) -> None:
    pdu = bytes((3, 4, 0, 1, 0, 2))
    on_tcp = ModbusRequest(7, 1, 3, 16, 2)
    on_line = ModbusRequest(0, 1, 3, 16, 2, Framing.RTU)
    fault = Fault(device="METER-01", kind=kind)
    assert deliver(fault, on_tcp, pdu) == deliver(None, on_tcp, pdu)
    ((_, chunk),) = deliver(fault, on_line, pdu).chunks
    answer = on_line.answer(pdu)
    assert chunk.endswith(answer)
    assert len(chunk) > len(answer)


def test_a_flipped_bit_is_found_by_the_checksum_of_a_serial_line() -> None:
    pdu = bytes((3, 4, 0, 1, 0, 2))
    request = ModbusRequest(0, 1, 3, 16, 2, Framing.RTU)
    ((_, chunk),) = deliver(Fault(device="METER-01", kind=FaultKind.FLIPPED_BIT), request, pdu).chunks
    assert sum((a ^ b).bit_count() for a, b in zip(chunk, request.answer(pdu), strict=True)) == 1
    assert checksum(chunk[:-2]) != int.from_bytes(chunk[-2:], "little")


@pytest.mark.parametrize(("framing", "bytes_told"), [(Framing.MBAP, 9), (Framing.RTU, 6)])
def test_a_device_that_counts_wrongly_tells_two_bytes_more_than_come(framing: Framing, bytes_told: int) -> None:
    pdu = bytes((3, 4, 0, 1, 0, 2))
    request = ModbusRequest(7, 1, 3, 16, 2, framing)
    ((_, chunk),) = deliver(Fault(device="METER-01", kind=FaultKind.WRONG_LENGTH), request, pdu).chunks
    assert len(chunk) == len(request.answer(pdu))
    assert (chunk[5] if framing is Framing.MBAP else chunk[2]) == bytes_told


def test_bits_are_filled_up_to_whole_registers_and_registers_are_left_alone() -> None:
    fault = Fault(device="METER-01", kind=FaultKind.PADDED)
    bits = ModbusRequest(7, 1, 1, 0, 3)
    assert deliver(fault, bits, bytes((1, 1, 5))).chunks == ((0.0, bits.answer(bytes((1, 2, 5, 0)))),)
    assert deliver(fault, bits, bytes((1, 2, 5, 1))).chunks == ((0.0, bits.answer(bytes((1, 2, 5, 1)))),)
    registers = ModbusRequest(7, 1, 3, 0, 1)
    assert deliver(fault, registers, bytes((3, 2, 0, 5))).chunks == ((0.0, registers.answer(bytes((3, 2, 0, 5)))),)


def test_a_converter_takes_the_next_request_when_it_has_given_up_on_the_last(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.QUEUE, ms=700)
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", device.connection.port), timeout=30) as connection:
        connection.sendall(REQUEST)
        wait_until(lambda: b'kind="queue"' in urlopen(f"{simulator.url}/metrics").read(), "the request to be taken")
        send(simulator.url, "DELETE")
        connection.sendall(REQUEST)
        assert len(connection.recv(GOOD_BYTES)) == GOOD_BYTES
    assert time.monotonic() - began_s >= 0.7


def test_exceptions_of_gateways_and_busy_devices_have_names(simulator: RunningSimulator) -> None:
    for kind, code in EXCEPTION_CODES.items():
        assert ask(begin(simulator, kind), 0.2)[0] == struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, code)


def test_bytes_that_nobody_asked_for_are_no_answer(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.GARBAGE)
    frame, _ = ask(device)
    assert struct.unpack_from(">HH", frame) != (7, 0)
    begin(simulator, FaultKind.UNSOLICITED)
    frame, how = ask(device)
    assert how == "whole"
    assert frame[:2] != b"\x00\x07"
    with DeviceReader(device) as reader:
        reader.number(simulator.plant.profile_of("CNC-01").register_signals["cycle_count"])  # pymodbus passes over the first frame


def test_a_half_open_connection_is_dead_for_good_and_a_new_one_works(simulator: RunningSimulator) -> None:
    device = simulator.plant.devices["CNC-01"]
    with socket.create_connection(("127.0.0.1", device.connection.port), timeout=5) as old:
        old.sendall(REQUEST)
        assert len(old.recv(GOOD_BYTES)) == GOOD_BYTES
        begin(simulator, FaultKind.HALF_OPEN)
        old.settimeout(0.3)
        for _ in range(2):
            old.sendall(REQUEST)
            with pytest.raises(TimeoutError):
                old.recv(1)
            assert ask(device)[1] == "whole"
            send(simulator.url, "DELETE")


def test_a_crowded_device_closes_the_connection_beyond_its_limit(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.CROWDED, count=1)
    with socket.create_connection(("127.0.0.1", device.connection.port), timeout=5) as first:
        first.sendall(REQUEST)
        assert len(first.recv(GOOD_BYTES)) == GOOD_BYTES
        assert ask(device) == (b"", "closed")
    wait_until(lambda: ask(device)[1] == "whole", "room after the first has gone")


def test_a_read_that_waited_behind_a_late_answer_names_that_and_no_other_fault(simulator: RunningSimulator) -> None:
    """Three units on one connection: the first is slow, the second spoils its answer, the third is well."""
    meters = [simulator.plant.devices[name].connection for name in ("METER-01", "METER-02", "COMP-01")]
    send(simulator.url, "POST", Fault(device="METER-01", kind=FaultKind.SLOW, ms=500))
    send(simulator.url, "POST", Fault(device="METER-02", kind=FaultKind.SHORT))
    served = [simulator.plant.profile_of(name).register_signals["reads_served"] for name in ("METER-01", "METER-02", "COMP-01")]
    functions = {"holding": 3, "input": 4}
    with socket.create_connection(("127.0.0.1", meters[0].port), timeout=5) as connection:
        connection.sendall(  # at once: what is sent later need not have waited
            b"".join(
                struct.pack(">HHHBBHH", 7, 0, 6, meter.unit, functions[signal.table], signal.address, signal.registers)
                for meter, signal in zip(meters, served, strict=True)
            )
        )
        wait_until(lambda: len(reads_of(simulator)) == 3, "three reads")
    assert reads_of(simulator) == {"METER-01": "slow", "METER-02": "short", "COMP-01": "slow"}


def reads_of(simulator: RunningSimulator) -> dict[str, str | None]:
    return {record.device: record.fault for record in read_truth(simulator.settings.data / "truth") if isinstance(record, Read)}


def test_slow_answers_come_late_and_whole(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.SLOW, ms=2000)
    assert ask(device, 0.1) == (b"", "quiet")
    assert ask(device, 60.0)[1] == "whole"


def test_refused_connections_come_back_after_the_fault(simulator: RunningSimulator) -> None:
    device = begin(simulator, FaultKind.REFUSE, seconds=1.5)

    def is_open() -> bool:
        try:
            return ask(device)[1] == "whole"
        except ConnectionRefusedError:
            return False

    wait_until(lambda: not is_open(), "the port to close")
    other = simulator.plant.devices["CNC-02"]
    assert ask(other)[1] == "whole"
    wait_until(is_open, "the port to open again")


def test_a_machine_fault_shows_in_the_registers(simulator: RunningSimulator) -> None:
    device, profile = simulator.plant.devices["CNC-01"], simulator.plant.profile_of("CNC-01")
    begin(simulator, FaultKind.JAM, seconds=60)
    counter = profile.register_signals["cycle_count"]
    with DeviceReader(device) as reader:
        assert reader.read(profile.register_signals["run_status"]) == 2
        before = reader.number(counter)
        begin(simulator, FaultKind.COUNTER_JUMP, count=500)
        assert (reader.number(counter) - before) % 65536 == 500
        begin(simulator, FaultKind.COUNTER_RESET)
        assert reader.number(counter) == 0
        begin(simulator, FaultKind.COUNTER_WRAP, count=3)
        assert reader.number(counter) == 65536 - 3
        begin(simulator, FaultKind.COUNTER_JUMP, count=5)
        assert reader.number(counter) == 2
        begin(simulator, FaultKind.COUNTER_JUMP, count=-1)
        assert reader.number(counter) == 1


def test_faults_in_force_are_those_of_machines_too_and_outlive_a_restart(start_simulator: Callable[[], RunningSimulator]) -> None:
    simulator = start_simulator()
    begin(simulator, FaultKind.JAM, seconds=60)
    begin(simulator, FaultKind.SILENT, seconds=60)
    begin(simulator, FaultKind.COUNTER_RESET)
    assert in_force(simulator) == ["silent", "jam"]
    simulator.stop()
    assert in_force(start_simulator()) == ["jam"]


def in_force(simulator: RunningSimulator) -> list[str]:
    return [fault["kind"] for fault in send(simulator.url, "GET")["active"]]


def test_a_wrong_fault_is_answered_in_words(shared_simulator: RunningSimulator) -> None:
    simulator = shared_simulator
    with pytest.raises(NotControlled, match=r"no device 'CNC-99' is simulated; there are: CNC-01"):
        send(simulator.url, "POST", Fault(device="CNC-99", kind=FaultKind.SILENT))
    with pytest.raises(NotControlled, match=r"seconds is 0\.0; allowed: above 0"):
        send(simulator.url, "POST", Fault(device="CNC-01", kind=FaultKind.SILENT, seconds=0.0))


def test_a_port_in_use_is_named_with_its_devices(start_simulator: Callable[[], RunningSimulator], config: Path) -> None:
    device = load_plant(config).devices["PRESS-01"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", device.connection.port))
        taken.listen()
        with pytest.raises(Exception, match=rf"127\.0\.0\.1:{device.connection.port} cannot be used for PRESS-01"):
            start_simulator()
