"""Devices behind serial frames in TCP, and behind TLS."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace_contract.errors import CannotStart
from millrace_simulator.control import send
from millrace_simulator.faults import Fault, FaultKind
from millrace_simulator.frames import checksum
from millrace_simulator.settings import SimulatorSettings
from millrace_simulator.testing import RunningSimulator
from millrace_simulator.truth import Read, read_truth

from .conftest import quiet_port, write_config
from .device_reader import DeviceReader

pytestmark = pytest.mark.process

SERIAL, SECURE = "CNC-02", "LATHE-01"


def write_certificate(path: Path) -> Path:
    """Certificate and key of a device at 127.0.0.1 in one file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
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
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def settings_of(folder: Path, certificate: Path | None) -> SimulatorSettings:
    """The sample plant with one device in serial frames and one with TLS."""
    config = write_config(folder / "config")
    plant = yaml.safe_load((config / "plant.yaml").read_text())
    devices = plant["lines"]["line1"]["devices"]
    devices[SERIAL]["connection"]["transport"] = "rtu_over_tcp"
    devices[SECURE]["connection"] |= {"transport": "tls", "ca_file": "ca.pem"}
    (config / "plant.yaml").write_text(yaml.safe_dump(plant))
    return SimulatorSettings(config=config, data=folder / "data", http_port=quiet_port(), sim_certificate=certificate)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    folder = tmp_path_factory.mktemp("transports")
    running = RunningSimulator(settings_of(folder, write_certificate(folder / "device.pem")))
    running.start()
    yield running
    running.stop()


def test_every_signal_behind_serial_frames_reads_back_as_served(simulator: RunningSimulator) -> None:
    profile = simulator.plant.profile_of(SERIAL)
    with DeviceReader(simulator.plant.devices[SERIAL]) as reader:
        read_back = {signal.name: reader.read(signal) for signal in profile.register_signals.values()}
    served: dict[str, int | float | str] = {}
    for record in read_truth(simulator.settings.data / "truth"):
        if isinstance(record, Read) and record.device == SERIAL:
            served |= record.raw
    assert read_back == served


def test_nobody_answers_in_serial_frames_for_a_unit_that_is_not_there(simulator: RunningSimulator) -> None:
    assert ask_serial(simulator, unit=77) == b""


def test_a_wrong_transaction_is_a_wrong_checksum_in_serial_frames(simulator: RunningSimulator) -> None:
    good = ask_serial(simulator)
    assert good[:3] == bytes((1, 3, 8))
    assert checksum(good[:-2]) == int.from_bytes(good[-2:], "little")
    send(simulator.url, "POST", Fault(device=SERIAL, kind=FaultKind.WRONG_TRANSACTION))
    bad = ask_serial(simulator)
    send(simulator.url, "DELETE")
    assert bad[:3] == good[:3]
    assert checksum(bad[:-2]) != int.from_bytes(bad[-2:], "little")


def ask_serial(simulator: RunningSimulator, unit: int = 1) -> bytes:
    body = struct.pack(">BBHH", unit, 3, 10, 4)
    with socket.create_connection(("127.0.0.1", simulator.plant.devices[SERIAL].connection.port), timeout=0.5) as connection:
        connection.sendall(body + struct.pack("<H", checksum(body)))
        try:
            return connection.recv(100)
        except TimeoutError:
            return b""


def test_a_device_behind_tls_answers_who_trusts_its_certificate(simulator: RunningSimulator) -> None:
    port = simulator.plant.devices[SECURE].connection.port
    context = ssl.create_default_context(cafile=simulator.settings.sim_certificate)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 1000, 2))
        assert connection.recv(100)[:9] == struct.pack(">HHHBBB", 7, 0, 7, 1, 4, 4)


def test_without_a_certificate_devices_behind_tls_are_not_served(tmp_path: Path) -> None:
    running = RunningSimulator(settings_of(tmp_path, None))
    running.start()
    try:
        served = send(running.url, "GET")["devices"]
    finally:
        running.stop()
    assert SERIAL in served
    assert SECURE not in served


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(CannotStart, match=r"MILLRACE_SIM_CERTIFICATE: .*wrong\.pem can't be used"):
        RunningSimulator(settings_of(tmp_path, wrong)).start()
