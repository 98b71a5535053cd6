"""Whom we trust at the broker: the authority in the plant's file, and those that a broker which we trust has announced.

While an authority is replaced, the broker's certificate comes with the next one behind it (decision 0020). The handshake vouches
for all of that, so who gets in by the old authority keeps the new one, and nobody carries it to a gateway by hand.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any, Final

from ...errors import CannotStart
from ..files import replace_file
from ..logs import get_logger
from ..settings import variable

LEARNED: Final = "learned-ca.crt"
"""In a service's data folder."""
_MOST_LEARNED: Final = 4
_FINGERPRINT_DIGITS: Final = 16
_DER: Final = 2
"""`_ssl.ENCODING_DER`."""

_log = get_logger(__name__)


class Trust:
    """`authority`: the file of MILLRACE_MQTT_CA; without it there is no TLS. `learned`: where announced ones are kept."""

    def __init__(self, authority: Path | None, learned: Path | None = None) -> None:
        self._authority = authority
        self._learned_file = learned
        self._context: ssl.SSLContext | None = None
        self._learned = _certificates(_text(learned))

    def context(self) -> ssl.SSLContext | None:
        """As the files say now; None: without TLS. Raises CannotStart."""
        if self._authority is None:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self._authority))
        except OSError as error:  # an SSLError is one
            reason = f"{self._authority} cannot be read as certificates: {error.strerror or error}"
            raise CannotStart(variable("mqtt_ca"), reason) from error
        if self._learned:
            context.load_verify_locations(cadata=b"".join(self._learned))
        self._context = context
        return context

    def context_now(self) -> ssl.SSLContext | None:
        """The same while we run: a file that cannot be read now changes nothing."""
        try:
            return self.context()
        except CannotStart:
            return self._context

    @property
    def fingerprints(self) -> list[str]:
        """Of the authorities that are trusted, as `fingerprint` has them."""
        held = self._context.get_ca_certs(binary_form=True) if self._context is not None else []
        return sorted({fingerprint(each) for each in held})

    def hear(self, channel: ssl.SSLSocket) -> None:
        """Keep the authorities that the broker announces on a connection that is trusted, also where the disk refuses them."""
        announced = _authorities(_chain(channel)[1:])
        if self._learned_file is None or set(announced) <= set(self._learned):
            return
        fresh = [each for each in announced if each not in self._learned]
        self._learned = [*self._learned, *fresh][-_MOST_LEARNED:]
        _log.info("authority_learned", fingerprints=[fingerprint(each) for each in fresh])
        self.context_now()
        try:
            replace_file(self._learned_file, "".join(map(ssl.DER_cert_to_PEM_cert, self._learned)).encode())
        except OSError as error:
            _log.warning("authority_not_kept", path=str(self._learned_file), problem=str(error))


def fingerprint(certificate: bytes) -> str:
    """What a person compares: the first digits of the SHA-256 of a certificate (DER)."""
    return hashlib.sha256(certificate).hexdigest()[:_FINGERPRINT_DIGITS]


def _text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="ascii") if path is not None else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _certificates(text: str) -> list[bytes]:
    """The authorities of a file of ours; none of one that is damaged."""
    try:
        return _authorities([ssl.PEM_cert_to_DER_cert(f"{part}{_END}\n") for part in text.split(_END) if part.strip()])
    except ValueError:
        return []


_END: Final = "-----END CERTIFICATE-----"


def _authorities(certificates: list[bytes]) -> list[bytes]:
    """Those that sign others and themselves: no certificate of a server, and none in between."""
    found = []
    for certificate in certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=certificate)
        except ssl.SSLError:
            continue
        found += [certificate for held in context.get_ca_certs() if held["subject"] == held["issuer"]]
    return found


def _chain(channel: Any) -> list[bytes]:
    """What the other side sent, its own certificate first."""
    if hasattr(channel, "get_unverified_chain"):  # from Python 3.13 on
        return list(channel.get_unverified_chain())
    return [each.public_bytes(_DER) for each in channel._sslobj.get_unverified_chain() or ()]
