"""TLS: by the service itself, with a certificate that is renewed while it runs, and by nginx in front of it."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from millrace_admin.certificates import KeyPair, make_authority, make_server
from millrace_alerts.api import server
from millrace_alerts.api.tls import Certificate
from millrace_contract.errors import CannotStart
from millrace_contract.testing import free_port, wait_until

from .conftest import Running

NAMES = ["mes.plant.example.com", "127.0.0.1"]
NGINX_CONF = Path(__file__).parents[2] / "docs" / "examples" / "nginx.conf"

pytestmark = pytest.mark.process


class Certificates:
    """A plant's authority, and what it has issued, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.certificate, self.key = folder / "ca.crt", folder / "server.crt", folder / "server.key"
        self.issue()

    def issue(self) -> None:
        """Of a new authority: who trusts the former one sees the difference."""
        authority = make_authority(datetime.now(UTC))
        self.write(authority, make_server(authority, NAMES, datetime.now(UTC)))

    def write(self, authority: KeyPair, server_pair: KeyPair) -> None:
        self.ca.write_text(authority.certificate)
        self.certificate.write_text(server_pair.certificate)
        self.key.write_text(server_pair.key)

    def get(self, port: int, path: str = "/health/live", **headers: str) -> httpx.Response:
        """Over TLS, trusting the authority of now."""
        trust = ssl.create_default_context(cafile=str(self.ca))
        return httpx.get(f"https://127.0.0.1:{port}{path}", verify=trust, headers=headers, timeout=20)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def secured(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(server, "LOOK_EVERY_S", 0.1)
    service = Running(
        tmp_path, https_port=free_port(), https_certificate=certificates.certificate, https_key=certificates.key
    ).start()
    yield service
    service.stop()


def test_page_and_api_are_there_with_tls_and_without(secured: Running, certificates: Certificates) -> None:
    port = secured.settings.https_port
    assert certificates.get(port, "/").status_code == 200
    assert certificates.get(port, "/v1/alerts", Authorization="Bearer reader-token").status_code == 200
    assert secured.get("/v1/alerts").status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/", timeout=20)


def test_a_renewed_certificate_is_taken_and_an_unusable_one_is_said(secured: Running, certificates: Certificates) -> None:
    port = secured.settings.https_port
    certificates.issue()
    wait_until(lambda: _answers(certificates, port), "the renewed certificate")
    certificates.certificate.write_text("nonsense")
    problems = secured.service
    assert problems is not None
    wait_until(lambda: problems._secured is not None and problems._secured.certificate.problem is not None, "the problem")
    assert _answers(certificates, port)


def _answers(certificates: Certificates, port: int) -> bool:
    try:
        return certificates.get(port).status_code == 200
    except httpx.TransportError:
        return False


def test_a_stream_goes_over_tls(secured: Running, certificates: Certificates) -> None:
    trust = ssl.create_default_context(cafile=str(certificates.ca))
    headers = {"Authorization": "Bearer reader-token"}
    address = f"https://127.0.0.1:{secured.settings.https_port}/v1/alerts/stream"
    with httpx.Client(verify=trust, headers=headers, timeout=30) as client, client.stream("GET", address) as answer:
        assert answer.status_code == 200
        secured.raise_hot()
        assert any("hot.CNC-01" in line for line in answer.iter_lines())


@pytest.mark.parametrize("fault", ["no such file", "no certificate", "another's key"])
def test_files_that_cannot_be_used_stop_the_start_in_words(certificates: Certificates, fault: str) -> None:
    if fault == "no such file":
        certificates.key.unlink()
    elif fault == "no certificate":
        certificates.certificate.write_text("nonsense")
    else:
        certificates.key.write_text(make_server(make_authority(datetime.now(UTC)), NAMES, datetime.now(UTC)).key)
    with pytest.raises(CannotStart, match=r"MILLRACE_HTTPS_CERTIFICATE: .*server"):
        Certificate(certificates.certificate, certificates.key)


def test_a_port_without_files_says_which_is_missing(tmp_path: Path) -> None:
    service = Running(tmp_path, https_port=free_port())
    with pytest.raises(CannotStart, match="MILLRACE_HTTPS_CERTIFICATE: is not set, and MILLRACE_HTTPS_PORT is"):
        service.start()
    service.stop()


@pytest.fixture
def nginx(tmp_path: Path, certificates: Certificates) -> Iterator[Running]:
    """The documented configuration in a real nginx, with ports and files of this test; yields the service behind it."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("nginx is not here; install it from the system's packages")
    service = Running(tmp_path, http_names=NAMES[0]).start()
    port = free_port()
    text = NGINX_CONF.read_text()
    for documented, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/nginx/certificates", str(certificates.folder)),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{service.settings.http_port}"),
    ):
        assert documented in text
        text = text.replace(documented, ours)
    config = tmp_path / "nginx.conf"
    here = "daemon off; error_log stderr; pid nginx.pid;"
    http = "http { client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;"
    config.write_text(here + text.replace("http {", http, 1))
    process = subprocess.Popen([program, "-p", str(tmp_path), "-c", str(config), "-e", "stderr"])
    service.proxy_port = port  # type: ignore[attr-defined]
    yield service
    process.terminate()
    process.wait(20)
    service.stop()


def test_the_documented_proxy_passes_page_api_and_streams(nginx: Running, certificates: Certificates) -> None:
    port = nginx.proxy_port  # type: ignore[attr-defined]
    wait_until(lambda: _answers(certificates, port), "nginx")
    assert certificates.get(port, "/", Host=NAMES[0]).status_code == 200
    assert certificates.get(port, "/metrics", Host=NAMES[0]).status_code == 200, "this computer, through the proxy"
    assert certificates.get(port, "/v1/alerts", Host="evil.example").status_code == 421
    trust = ssl.create_default_context(cafile=str(certificates.ca))
    headers = {"Authorization": "Bearer reader-token", "Host": NAMES[0]}
    address = f"https://127.0.0.1:{port}/v1/alerts/stream"
    with httpx.Client(verify=trust, headers=headers, timeout=30) as client, client.stream("GET", address) as answer:
        nginx.raise_hot()
        assert any("hot.CNC-01" in line for line in answer.iter_lines())
