"""Each transport against servers that are not ours: libmodbus (Debian) and modbus-serial (npm), TLS by stunnel and by Node."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from millrace_contract.testing.servers import free_port, wait_until
from millrace_gateway.__main__ import main
from millrace_gateway.endpoint import Endpoint
from millrace_gateway.faults import NotConnected, ReadFault, RequestRefused
from millrace_gateway.modbus import ModbusConnection

pytestmark = pytest.mark.process

HERE = Path(__file__).parent / "foreign"
SCRIPTS = Path(__file__).parents[2] / "scripts"
UNIT = 17
TIMEOUT_S = 5.0


def _missing(message: str, *, is_cheap: bool) -> None:
    """What is cheap to install is there when CI=true, or the test fails."""
    if is_cheap and os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    binary = tmp_path_factory.mktemp("libmodbus") / "server"
    build = ["gcc", "-o", str(binary), str(HERE / "libmodbus_server.c"), "-lmodbus"]
    if shutil.which("gcc") is None or subprocess.run(build, check=False, capture_output=True).returncode:
        _missing("no gcc, or no libmodbus-dev: install them from the system's packages", is_cheap=True)
    return [str(binary)]


@pytest.fixture(scope="session")
def node() -> Sequence[str]:
    found = subprocess.run([str(SCRIPTS / "foreign-servers"), "--find"], check=False, capture_output=True, text=True)
    if shutil.which("node") is None or found.returncode:
        _missing("npm's modbus-serial is not here: scripts/foreign-servers gets it", is_cheap=False)
    return ["env", f"NODE_PATH={found.stdout.strip()}/node_modules", "node", str(HERE / "node_server.js")]


@pytest.fixture(params=["libmodbus", "node"])
def maker(request: pytest.FixtureRequest) -> Sequence[str]:
    """The command of a server that is not ours."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@dataclass
class Children:
    """Child processes and ends of serial lines of a test, ended with it."""

    processes: list[subprocess.Popen[str]]
    handles: list[int]

    def start(self, *command: str) -> str:
        """Start a server; return the line with which it says that it is there."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, f"{command[0]} ended with {process.wait(5)}"
        return line

    def pseudo_terminal(self) -> tuple[int, str]:
        """Our end of a serial line, and the name of the other."""
        ours, theirs = os.openpty()
        tty.setraw(ours)
        self.handles += [theirs, ours]
        return ours, os.ttyname(theirs)


@pytest.fixture
def children() -> Iterator[Children]:
    started = Children([], [])
    yield started
    for process in started.processes:
        process.terminate()
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()
    for handle in started.handles:
        os.close(handle)


def tcp_server(children: Children, maker: Sequence[str]) -> int:
    return int(children.start(*maker, "tcp", *([] if len(maker) == 1 else [str(free_port())])))


def read(endpoint: Endpoint, *asked: tuple[int, int, int], unit: int = UNIT) -> list[Any]:
    """(function, address, count) one after the other on one connection: the data, or the fault."""

    async def run() -> list[Any]:
        connection = ModbusConnection(endpoint)
        answers: list[Any] = []
        try:
            await connection.connect(TIMEOUT_S)
            for function, address, count in asked:
                try:
                    answers.append(await connection.read(unit, function, address, count, TIMEOUT_S))
                except ReadFault as fault:
                    answers.append(fault)
        finally:
            connection.close()
            await asyncio.sleep(0)
        return answers

    return asyncio.run(run())


def check(endpoint: Endpoint) -> None:
    """All four tables, the longest requests, a refusal and what comes after it."""
    coils, discretes, holdings, inputs, most, refused, after = read(
        endpoint, (1, 8, 16), (2, 9, 8), (3, 10, 5), (4, 0, 125), (3, 0, 125), (3, 299, 2), (3, 42, 1)
    )
    assert coils == b"\xaa\xaa"
    assert discretes == b"\x55"
    assert struct.unpack(">5H", holdings) == (10, 11, 12, 13, 14)
    assert struct.unpack(">125H", inputs) == tuple(range(1000, 1125))
    assert struct.unpack("<f", most[200:202][::-1] + most[202:204][::-1])[0] == pytest.approx(68.7)
    assert isinstance(refused, RequestRefused)
    assert refused.code == 2
    assert struct.unpack(">H", after) == (42,)


def test_tcp(children: Children, maker: Sequence[str]) -> None:
    check(Endpoint("tcp", "127.0.0.1", tcp_server(children, maker)))


def test_probe_names_the_order_of_swapped_words(
    children: Children, maker: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    port = tcp_server(children, maker)
    assert main(["probe", f"127.0.0.1:{port}", "--unit", str(UNIT), "--address", "100", "--expect", "68.7"]) == 0
    assert "my_signal: {table: holding, address: 100, type: float32, order: CDAB}" in capsys.readouterr().out


def relay(source: Callable[[], bytes], sink: Callable[[bytes], object]) -> None:
    """Carry bytes until one side ends: the framing stays the server's and the client's own."""

    def carry() -> None:
        try:
            while data := source():
                sink(data)
        except OSError:
            pass

    threading.Thread(target=carry, daemon=True).start()


def test_serial(children: Children, maker: Sequence[str]) -> None:
    """Two pseudo terminals, each a serial port to its side, and a wire between them."""
    (server_end, server_port), (client_end, client_port) = children.pseudo_terminal(), children.pseudo_terminal()
    relay(lambda: os.read(server_end, 512), lambda data: os.write(client_end, data))
    relay(lambda: os.read(client_end, 512), lambda data: os.write(server_end, data))
    assert children.start(*maker, "rtu", server_port, str(UNIT)) == "ready"
    check(Endpoint("serial", client_port, parity="N"))


def test_rtu_over_tcp(children: Children, maker: Sequence[str]) -> None:
    """A serial device server: what comes over TCP goes to the line as it is, and back."""
    server_end, server_port = children.pseudo_terminal()
    assert children.start(*maker, "rtu", server_port, str(UNIT)) == "ready"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client: list[socket.socket] = []

        def accept() -> None:
            connection, _ = listener.accept()
            client.append(connection)
            relay(lambda: connection.recv(512), lambda data: os.write(server_end, data))
            relay(lambda: os.read(server_end, 512), connection.sendall)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            check(Endpoint("rtu_over_tcp", "127.0.0.1", listener.getsockname()[1]))
        finally:  # or the socket of a failure here is a warning in another test
            thread.join(5)
            for connection in client:
                connection.close()


@dataclass(frozen=True)
class Papers:
    """PEM files of a private authority: its own, and the certificates and keys of the device and of the gateway."""

    authority: str
    device: tuple[str, str]
    gateway: tuple[str, str]


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    now = datetime.datetime.now(datetime.UTC)

    def write(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> tuple[str, str]:
        encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
        (folder / f"{name}.key").write_bytes(key.private_bytes(encoding, private, serialization.NoEncryption()))
        return str(folder / f"{name}.pem"), str(folder / f"{name}.key")

    def issue(
        name: str, issuer: str, signer: ec.EllipticCurvePrivateKey | None
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        )
        return key, builder.sign(signer or key, hashes.SHA256())

    authority_key, authority = issue("plant authority", "plant authority", None)
    return Papers(
        write("authority", authority_key, authority)[0],
        write("device", *issue("device", "plant authority", authority_key)),
        write("gateway", *issue("gateway", "plant authority", authority_key)),
    )


def stunnel(children: Children, maker: Sequence[str], papers: Papers, folder: Path) -> int:
    """libmodbus behind stunnel, which asks for a certificate of the client."""
    if shutil.which("stunnel4") is None:
        _missing("no stunnel4: install it from the system's packages", is_cheap=True)
    port = free_port()
    (folder / "stunnel.conf").write_text(
        f"foreground = yes\npid =\n[modbus]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{tcp_server(children, maker)}\n"
        f"cert = {papers.device[0]}\nkey = {papers.device[1]}\nCAfile = {papers.authority}\nverifyChain = yes\n"
    )
    log = (folder / "stunnel.log").open("w")
    children.processes.append(subprocess.Popen(["stunnel4", str(folder / "stunnel.conf")], stderr=log, text=True))
    log.close()
    wait_until(lambda: "Configuration successful" in (folder / "stunnel.log").read_text(), "stunnel")
    return port


def test_tls_with_client_certificates(children: Children, maker: Sequence[str], papers: Papers, tmp_path: Path) -> None:
    if len(maker) == 1:
        port = stunnel(children, maker, papers, tmp_path)
    else:
        port = int(children.start(*maker, "tls", str(free_port()), papers.device[1], papers.device[0], papers.authority))
    certificate, key = papers.gateway
    check(Endpoint("tls", "127.0.0.1", port, ca_file=papers.authority, certificate_file=certificate, key_file=key))
    with pytest.raises(NotConnected, match="do not agree on TLS"):
        read(Endpoint("tls", "127.0.0.1", port, ca_file=certificate), (3, 0, 1))
    try:  # Since TLS 1.3 the refusal of a missing certificate may come after the client's side of the handshake.
        answer = read(Endpoint("tls", "127.0.0.1", port, ca_file=papers.authority), (3, 0, 1))[0]
    except NotConnected as fault:
        answer = fault
    assert isinstance(answer, ReadFault)
