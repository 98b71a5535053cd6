"""One hop at a time: is the name known, does something listen, is its certificate trusted; and what a health address answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Status, decode
from millrace_contract.language.times import from_datetime
from millrace_contract.runtime.health import STATUS_PATH

from .evidence import PartFacts, TlsFacts

LIMIT_S = 4.0
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for: dates are judged apart, so that they can be told."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_addresses(text: str) -> dict[str, Address]:
    """`NAME=HOST:PORT,NAME=HOST:PORT`. Raises ValueError."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, place = part.partition("=")
        host, _, port = place.rpartition(":")
        if not (name and host and port.isdigit()):
            raise ValueError(f"{part!r} is not NAME=HOST:PORT")
        found[name] = Address(host, int(port))
    return found


def reach_problem(address: Address) -> str | None:
    """Why nothing can be said there; None when something listens."""
    try:
        with _connected(address):
            return None
    except OSError as error:
        return in_words(error, address)


def tls_facts(address: Address, authority: str) -> TlsFacts:
    """A handshake as a gateway does it. `authority`: PEM."""
    try:
        trust = ssl.create_default_context(cadata=authority)
    except (OSError, ValueError) as error:
        return TlsFacts(str(address), problem=f"the authority's own certificate cannot be read: {error}")
    trust.verify_flags |= NO_CHECK_TIME
    ends = [_ms(each.get("notAfter")) for each in trust.get_ca_certs()]
    authority_until_ms = min((end for end in ends if end is not None), default=None)
    try:
        with _connected(address) as plain, trust.wrap_socket(plain, server_hostname=address.host) as wrapped:
            held = wrapped.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return TlsFacts(str(address), problem=error.verify_message, authority_until_ms=authority_until_ms)
    except OSError as error:
        return TlsFacts(str(address), reach=in_words(error, address), authority_until_ms=authority_until_ms)
    alternative: Any = held.get("subjectAltName", ())
    return TlsFacts(
        str(address),
        from_ms=_ms(held.get("notBefore")),
        until_ms=_ms(held.get("notAfter")),
        authority_until_ms=authority_until_ms,
        names=tuple(str(name) for _, name in alternative),
    )


def asked(address: Address, path: str) -> tuple[int, Any, int | None]:
    """The status, the decoded JSON (None where it is none), the Date header in ms. Raises OSError and http.client.HTTPException."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=LIMIT_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        date = response.getheader("Date")
        try:
            body = json.loads(response.read())
        except ValueError:
            body = None
    return response.status, body, None if date is None else from_datetime(parsedate_to_datetime(date))


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    return Address(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def part_facts(name: str, address: Address) -> PartFacts:
    """What one of our services answers."""
    try:
        _, live, _ = asked(address, "/health/live")
        _, ready, _ = asked(address, "/health/ready")
        code, said, _ = asked(address, STATUS_PATH)
    except (OSError, http.client.HTTPException) as error:
        return PartFacts(name, problem=in_words(error, address))
    if not isinstance(live, dict) or not isinstance(ready, dict):
        return PartFacts(name, problem=f"what answers at {address} is no service of Millrace")
    return PartFacts(
        name,
        live=bool(live.get("live")),
        failing=dict(live.get("failing") or {}),
        silent=tuple(live.get("silent") or ()),
        needs=dict(ready.get("needs") or {}),
        status=_status(said) if code == 200 else None,
    )


def in_words(error: BaseException, address: Address) -> str:
    """What went wrong on the way, for a person."""
    match error:
        case socket.gaierror():
            return f"nobody here knows the name {address.host}"
        case ConnectionRefusedError():
            return f"nothing listens at {address} (connection refused)"
        case TimeoutError():
            return f"no answer from {address} within {LIMIT_S:.0f} s"
        case http.client.HTTPException():
            return f"what answers at {address} speaks no HTTP"
        case ssl.SSLError():
            return f"{address} and we do not agree on TLS: {error.reason or error}"
        case OSError():
            return f"{address} cannot be reached: {error.strerror or error}"
        case _:
            return str(error)


@contextlib.contextmanager
def _connected(address: Address) -> Iterator[socket.socket]:
    with socket.create_connection((address.host, address.port), LIMIT_S) as plain:
        yield plain


def _status(said: Any) -> Status | None:
    try:
        return decode(Status, msgspec.json.encode(said))
    except Malformed:  # of another version
        return None


def _ms(text: Any) -> int | None:
    return None if not isinstance(text, str) else int(ssl.cert_time_to_seconds(text) * 1000)
