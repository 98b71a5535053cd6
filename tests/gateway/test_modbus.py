"""The Modbus client against a real server over real sockets, misbehaving byte by byte."""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_gateway.endpoint import Endpoint
from millrace_gateway.faults import AnswerOwed, ConnectionDropped, NoAnswer, NotConnected, ReadFault, RequestRefused, WrongAnswer
from millrace_gateway.modbus import ModbusConnection

pytestmark = pytest.mark.process

# conftest.py has the class; a test module cannot import from there.
StartServer = Callable[..., Any]
TIMEOUT_S = 0.2
PATIENT_S = 10.0
"""For what is answered, on however busy a machine."""


def words(payload: bytes) -> list[int]:
    return list(struct.unpack(f">{len(payload) // 2}H", payload))


def endpoint(server: Any, transport: str = "tcp", **more: str) -> Endpoint:
    return Endpoint(transport, "127.0.0.1", server.port, **more)  # type: ignore[arg-type]


def read(
    server: Any, *reads: tuple[int, int, int, int], transport: str = "tcp", timeout_s: float = TIMEOUT_S
) -> list[bytes | ReadFault]:
    """Each read's data or fault, over one connection that is opened again when a fault closed it."""

    async def run() -> list[bytes | ReadFault]:
        connection = ModbusConnection(endpoint(server, transport))
        results: list[bytes | ReadFault] = []
        for unit, function, address, count in reads:
            if not connection.is_connected:
                await connection.connect(PATIENT_S)
            try:
                results.append(await connection.read(unit, function, address, count, timeout_s))
            except ReadFault as fault:
                results.append(fault)
        connection.close()
        return results

    return asyncio.run(run())


def fault_of(server: Any, transport: str = "tcp") -> ReadFault:
    (fault,) = read(server, (1, 3, 10, 5), transport=transport)
    assert isinstance(fault, ReadFault)
    return fault


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_reads_all_four_tables(device_server: StartServer, framing: str, transport: str) -> None:
    server = device_server(framing)
    coils, discretes, holdings, inputs = read(
        server, (1, 1, 3, 10), (1, 2, 4, 3), (7, 3, 500, 125), (255, 4, 9, 2), transport=transport, timeout_s=PATIENT_S
    )
    assert coils == bytes([0b0101_0101, 0b01])
    assert discretes == bytes([0b010])
    assert isinstance(holdings, bytes)
    assert words(holdings) == list(range(500, 625))
    assert isinstance(inputs, bytes)
    assert words(inputs) == [1009, 1010]


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_an_answer_that_is_there_when_its_time_ends_is_an_answer(device_server: StartServer, framing: str, transport: str) -> None:
    """A busy machine finds both in one turn of its loop."""
    server = device_server(framing)
    faults: list[dict[str, Any]] = []

    async def run() -> list[bytes]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        connection = ModbusConnection(endpoint(server, transport))
        await connection.connect(PATIENT_S)
        reading = asyncio.create_task(connection.read(1, 3, 10, 5, TIMEOUT_S))
        await asyncio.sleep(0)  # The request goes out.
        time.sleep(2 * TIMEOUT_S)  # noqa: ASYNC251 - the loop is to stand still
        found = [await reading, await connection.read(1, 3, 20, 5, PATIENT_S)]
        connection.close()
        return found

    assert asyncio.run(run()) == [struct.pack(">5H", *range(first, first + 5)) for first in (10, 20)]
    assert faults == []


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_an_answer_in_single_bytes_is_put_together(device_server: StartServer, framing: str, transport: str) -> None:
    server = device_server(framing)
    server.faults[None] = "dribbled"
    (payload,) = read(server, (1, 3, 10, 5), transport=transport, timeout_s=PATIENT_S)
    assert payload == struct.pack(">5H", 10, 11, 12, 13, 14)


@pytest.mark.parametrize(
    ("fault", "kind", "words_of_reason"),
    [
        ("silent", "timeout", "no answer within 0.2 s"),
        ("exception:2", "exception_2", "the device has no such address"),
        ("exception:11", "exception_11", "got no answer from this unit"),
        ("exception:77", "exception_77", "does not define"),
        ("wrong_function:4", "mismatched", "answered function 4, function 3 was asked"),
        ("wrong_function:99", "garbled", "answered function 99, which is no read"),
        ("wrong_unit", "mismatched", "unit 2 answered, unit 1 was asked"),
        ("wrong_transaction", "mismatched", "answered transaction 8, transaction 1 was asked"),
        ("fewer", "short", "answered 8 bytes of data where 10 were asked for"),
        ("lying", "short", "answered 10 bytes of data where 10 were asked for"),
        ("long_header", "short", "its header says 14, 13 came; this device counts wrongly"),
        ("short_header", "short", "its header says 12, 13 are in such an answer; this device counts wrongly"),
        ("truncated", "short", "only 16 bytes of an answer came"),
        ("garbage", "garbled", "no Modbus/TCP"),
        ("close", "closed", "closed the connection before it answered"),
    ],
)
def test_each_misbehaviour_is_a_fault_in_words(device_server: StartServer, fault: str, kind: str, words_of_reason: str) -> None:
    server = device_server()
    server.faults[None] = fault
    found = fault_of(server)
    assert found.kind == kind
    assert words_of_reason in found.reason


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("silent", "timeout"),
        ("exception:2", "exception_2"),
        ("wrong_function:4", "mismatched"),
        ("fewer", "short"),
        ("truncated", "garbled"),
        ("garbage", "garbled"),
        ("close", "closed"),
    ],
)
def test_rtu_frames_misbehave_too(device_server: StartServer, fault: str, kind: str) -> None:
    server = device_server("rtu")
    server.faults[None] = fault
    assert fault_of(server, "rtu_over_tcp").kind == kind


def test_sorts_faults_by_what_to_do(device_server: StartServer) -> None:
    server = device_server()
    for fault, kind in [
        ("silent", NoAnswer),
        ("exception:10", NoAnswer),
        ("exception:6", RequestRefused),
        ("fewer", WrongAnswer),
        ("close", ConnectionDropped),
    ]:
        server.faults[None] = fault
        assert type(fault_of(server)) is kind


def test_a_closed_connection_costs_no_timeout(device_server: StartServer) -> None:
    server = device_server()
    server.faults[None] = "close"

    async def run() -> float:
        connection = ModbusConnection(endpoint(server))
        await connection.connect(5)
        started = time.monotonic()
        with pytest.raises(ConnectionDropped):
            await connection.read(1, 3, 0, 1, 5)
        return time.monotonic() - started

    assert asyncio.run(run()) < 1


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_a_late_answer_is_never_taken_for_the_next_one(device_server: StartServer, framing: str, transport: str) -> None:
    server = device_server(framing)
    server.faults[1] = "late:0.3"
    late, after, next_one = read(server, (1, 3, 10, 1), (2, 3, 20, 1), (2, 3, 30, 1), transport=transport)
    assert isinstance(late, NoAnswer)
    # Unit 2 waits behind the late answer of unit 1 in this server, so its own may come late as well, but never wrong.
    assert [a for a in (after, next_one) if isinstance(a, bytes)] == [
        struct.pack(">H", address) for address, a in ((20, after), (30, next_one)) if isinstance(a, bytes)
    ]
    assert isinstance(next_one, bytes)


def test_a_device_without_transaction_numbers_is_read_and_its_late_answer_is_not_taken(device_server: StartServer) -> None:
    server = device_server("unnumbered")

    async def run() -> list[bytes | ReadFault]:
        connection = ModbusConnection(endpoint(server))
        await connection.connect(TIMEOUT_S)
        answers: list[bytes | ReadFault] = [await connection.read(1, 3, 10, 1, TIMEOUT_S)]
        server.faults[1] = "late:0.3"
        for address in (20, 30):
            try:
                answers.append(await connection.read(1, 3, address, 1, TIMEOUT_S))
            except ReadFault as fault:
                answers.append(fault)
            server.faults.clear()
        connection.close()
        return answers

    first, late, after = asyncio.run(run())
    assert first == struct.pack(">H", 10)
    assert isinstance(late, NoAnswer)
    assert isinstance(after, WrongAnswer)  # what came may be the late one: the connection was closed


def test_a_duplicated_rtu_answer_is_not_taken_for_the_next_one(device_server: StartServer) -> None:
    server = device_server("rtu")

    async def run() -> list[int]:
        connection = ModbusConnection(endpoint(server, "rtu_over_tcp"))
        await connection.connect(TIMEOUT_S)
        server.faults[None] = "duplicated"
        values = words(await connection.read(1, 3, 10, 1, TIMEOUT_S))
        server.faults.clear()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and len(values) < 2:
            if not connection.is_connected:
                await connection.connect(TIMEOUT_S)
            try:
                values += words(await connection.read(1, 3, 20, 1, TIMEOUT_S))
            except ReadFault:
                continue
        connection.close()
        return values

    assert asyncio.run(run()) == [10, 20]


def read_all(server: Any, *addresses: int, fault: str = "") -> tuple[list[int], ReadFault | None]:
    """One register of each address, all asked in one go."""

    async def run() -> tuple[list[int], ReadFault | None]:
        connection = ModbusConnection(endpoint(server))
        await connection.connect(TIMEOUT_S)
        server.faults[None] = fault
        answers, ended_by = await connection.read_all(1, [(3, address, 1) for address in addresses], TIMEOUT_S)
        connection.close()
        return [word for answer in answers for word in words(answer.data)], ended_by

    return asyncio.run(run())


@pytest.mark.parametrize("fault", ["", "dribbled", "duplicated"])
def test_requests_in_one_go_get_their_own_answers(device_server: StartServer, fault: str) -> None:
    assert read_all(device_server(), 10, 20, 30, 40, fault=fault) == ([10, 20, 30, 40], None)


def test_requests_in_one_go_end_with_the_first_that_brings_no_data(device_server: StartServer) -> None:
    server = device_server()
    server.undefined = {("holding", 30)}
    values, fault = read_all(server, 10, 20, 30, 40)
    assert values == [10, 20]
    assert isinstance(fault, RequestRefused)


def test_each_request_of_one_go_has_the_time_limit_for_itself(device_server: StartServer) -> None:
    assert read_all(device_server(), 10, 20, 30, fault=f"late:{0.6 * TIMEOUT_S}") == ([10, 20, 30], None)


def test_a_half_open_connection_is_given_up_after_two_silences(device_server: StartServer) -> None:
    server = device_server()

    async def run() -> list[bool]:
        connection = ModbusConnection(endpoint(server))
        await connection.connect(TIMEOUT_S)
        await connection.read(1, 3, 0, 1, TIMEOUT_S)
        server.faults[None] = "silent"
        connected = []
        for _ in range(2):
            with pytest.raises(NoAnswer):
                await connection.read(1, 3, 0, 1, 0.05)
            connected.append(connection.is_connected)
        return connected

    assert asyncio.run(run()) == [True, False]


def test_after_a_timeout_an_rtu_line_asks_the_same_again_and_nothing_that_looks_like_it(device_server: StartServer) -> None:
    server = device_server("rtu")

    async def run() -> tuple[list[ReadFault | None], list[list[int]]]:
        connection = ModbusConnection(endpoint(server, "rtu_over_tcp"))
        await connection.connect(TIMEOUT_S)
        faults, values = [], []
        for place, limit_s, fault in (((3, 10, 1), 0.1, "late:3"), ((3, 20, 1), 0.1, ""), ((3, 10, 1), 20.0, "")):
            server.faults[None] = fault
            answers, ended_by = await connection.read_all(1, [place], limit_s)
            faults.append(ended_by)
            values.append([word for answer in answers for word in words(answer.data)])
        connection.close()
        return faults, values

    faults, values = asyncio.run(run())
    assert [type(fault) for fault in faults] == [NoAnswer, AnswerOwed, type(None)]
    assert values == [[], [], [10]]


def test_reading_without_a_connection_says_so() -> None:
    async def run() -> None:
        await ModbusConnection(Endpoint("tcp", "127.0.0.1", 1)).read(1, 3, 0, 1, 0.1)

    with pytest.raises(NotConnected, match=r"no connection to 127\.0\.0\.1:1"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("where", "kind", "reason"),
    [
        (Endpoint("tcp", "127.0.0.1", 1), "refused", "nothing listens at 127.0.0.1:1"),
        (Endpoint("tcp", "no-such-host.invalid", 502), "unknown_host", "no-such-host.invalid"),
        (Endpoint("tcp", "plc..local", 502), "unknown_host", "plc..local"),
        (Endpoint("serial", "/dev/no-such-port"), "serial", "/dev/no-such-port cannot be opened: there is no such port"),
        (Endpoint("tls", "127.0.0.1", 1, ca_file="/no/such/ca.pem"), "tls", "/no/such/ca.pem"),
    ],
)
def test_why_there_is_no_connection(where: Endpoint, kind: str, reason: str) -> None:
    async def run() -> None:
        await ModbusConnection(where).connect(2)

    with pytest.raises(NotConnected, match=reason) as caught:
        asyncio.run(run())
    assert caught.value.kind == kind


def server_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A TLS server for 127.0.0.1 with a certificate of its own, and that certificate's file."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "device.pem", folder / "device.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file


def test_reads_over_tls_and_checks_the_certificate(device_server: StartServer, tmp_path: Path) -> None:
    context, ca_file = server_context(tmp_path)
    server = device_server("mbap", context)

    async def run(ca: str | None) -> bytes:
        connection = ModbusConnection(Endpoint("tls", "127.0.0.1", server.port, ca_file=ca))
        await connection.connect(2)
        server.faults[None] = "dribbled"
        payload = await connection.read(1, 3, 40, 3, 2)
        connection.close()
        return payload

    assert words(asyncio.run(run(str(ca_file)))) == [40, 41, 42]
    with pytest.raises(NotConnected, match="do not agree on TLS"):
        asyncio.run(run(None))


def test_a_port_without_parity_says_what_to_try() -> None:
    """A pseudo terminal is one."""
    import os

    ours, theirs = os.openpty()
    name = os.ttyname(theirs)

    async def run() -> None:
        await ModbusConnection(Endpoint("serial", name)).connect(2)

    with pytest.raises(NotConnected, match=f"{name} does not take 19200 baud, 8E1; try parity N") as caught:
        asyncio.run(run())
    assert caught.value.kind == "serial"
    os.close(ours)
    os.close(theirs)


def test_a_port_that_another_holds_is_said() -> None:
    import os

    ours, theirs = os.openpty()
    where = Endpoint("serial", os.ttyname(theirs), parity="N")

    async def run() -> None:
        holder = ModbusConnection(where)
        await holder.connect(0.1)
        with pytest.raises(NotConnected, match="is held by another program; a running gateway holds the ports of its devices"):
            await ModbusConnection(where).connect(0.1)
        holder.close()

    asyncio.run(run())
    os.close(ours)
    os.close(theirs)


def test_reads_a_serial_line() -> None:
    """Over a pair of pseudo terminals, which are serial ports to both sides."""
    import os
    import threading
    import tty

    ours, theirs = os.openpty()
    tty.setraw(ours)
    name = os.ttyname(theirs)

    def serve() -> None:
        from pymodbus.framer import FramerRTU

        request = b""
        while len(request) < 8:
            request += os.read(ours, 8 - len(request))
        unit, function, address, count = struct.unpack(">BBHH", request[:6])
        answer = struct.pack(f">BBB{count}H", unit, function, 2 * count, *range(address, address + count))
        os.write(ours, answer + FramerRTU.compute_CRC(answer).to_bytes(2, "big"))

    thread = threading.Thread(target=serve)
    thread.start()

    async def run() -> bytes:
        connection = ModbusConnection(Endpoint("serial", name, parity="N"))
        await connection.connect(2)
        payload = await connection.read(3, 3, 100, 4, 2)
        connection.close()
        return payload

    assert words(asyncio.run(run())) == [100, 101, 102, 103]
    thread.join(5)
    os.close(ours)
    os.close(theirs)
