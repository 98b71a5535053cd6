"""HiveMQ Community Edition as a child process: a broker of another maker, so that tests show what depends on mosquitto."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from .servers import Broker, cached

_STORE_PASSWORD = "test-only"
_LARGEST_PACKET = 268_435_460


class HiveMq(Broker):
    """Made by scripts/hivemq from tests/brokers/hivemq."""

    @staticmethod
    def binary() -> str | None:
        return cached("hivemq")

    def stop(self) -> None:
        """It takes 4 s to say good-bye, and clients are to bear worse."""
        self.kill()

    def command(self) -> Sequence[str]:
        setup = self.setup
        accounts = [f"{name} {password} {setup.filters.get(name, '#')}\n" for name, password in setup.passwords.items()]
        (self.folder / "accounts").write_text("".join(accounts))
        own_names = self.folder / "own-names"
        own_names.touch() if setup.own_names else own_names.unlink(missing_ok=True)
        (self.folder / "logback.xml").write_text('<configuration><root level="OFF"/></configuration>')
        (self.folder / "config.xml").write_text(
            f"""<hivemq>
              <listeners>{self._listener()}</listeners>
              <mqtt>
                <queued-messages><max-queue-size>1000000</max-queue-size></queued-messages>
                <packets><max-packet-size>{setup.packet_bytes or _LARGEST_PACKET}</max-packet-size></packets>
              </mqtt>
              <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>
            </hivemq>"""
        )
        return [self.binary() or "hivemq", str(self.folder)]

    def _listener(self) -> str:
        place = f"<port>{self.port}</port><bind-address>127.0.0.1</bind-address>"
        setup = self.setup
        if setup.certificate is None or setup.key is None:
            return f"<tcp-listener>{place}</tcp-listener>"
        store = self.folder / "server.p12"
        store.write_bytes(_key_store(setup.certificate, setup.key))
        return (
            f"<tls-tcp-listener>{place}<tls><keystore><path>{escape(str(store))}</path><password>{_STORE_PASSWORD}</password>"
            f"<private-key-password>{_STORE_PASSWORD}</private-key-password></keystore></tls></tls-tcp-listener>"
        )


def _key_store(certificate: Path, key: Path) -> bytes:
    """Certificate and key in the one form that it reads."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    return pkcs12.serialize_key_and_certificates(
        b"server",
        private,  # type: ignore[arg-type]
        x509.load_pem_x509_certificate(certificate.read_bytes()),
        None,
        serialization.BestAvailableEncryption(_STORE_PASSWORD.encode()),
    )
