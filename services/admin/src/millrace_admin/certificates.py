"""The plant's own certificate authority and the broker's server certificate. The only module that imports cryptography."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Long-lived on purpose: a plant server may run for years without an `up`, and devices in the field are given the CA by hand.
CA_LIFE = timedelta(days=20 * 365)
SERVER_LIFE = timedelta(days=5 * 365)
RENEW_BEFORE = timedelta(days=365)
# A device in the field may have a clock that is a little behind.
BACKDATED = timedelta(days=1)
ALWAYS_NAMED = ("localhost", "mosquitto", "127.0.0.1")
"""What the broker is called on this server and in its containers; from another computer none of them leads to it."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate: str
    key: str


def server_names(hostnames: str) -> list[str]:
    """The names of the server certificate: those of MILLRACE_HOSTNAME (comma-separated) and those that always hold."""
    given = [name.strip() for name in hostnames.split(",") if name.strip()]
    return sorted({*given, *ALWAYS_NAMED})


def make_authority(now: datetime) -> KeyPair:
    """A new certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Two of one name would be taken for each other.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Millrace CA {now:%Y-%m-%d} {os.urandom(3).hex()}")])
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_pem(certificate), _key_pem(key))


def make_server(authority: KeyPair, names: Sequence[str], now: datetime) -> KeyPair:
    """A new server certificate for `names` (host names and IP addresses), signed by the authority."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    issuer_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key was not made here: it is no elliptic curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "millrace broker")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + SERVER_LIFE, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return KeyPair(_pem(certificate), _key_pem(key))


def renewal_reason(certificate: str, authority: str, names: Sequence[str], now: datetime) -> str | None:
    """Why a server certificate must be made anew, in a few words; None when it still serves."""
    present = x509.load_pem_x509_certificate(certificate.encode())
    if present.not_valid_after_utc - now < RENEW_BEFORE:
        return f"the last one ends on {present.not_valid_after_utc:%Y-%m-%d}"
    if not _is_issued_by(present, x509.load_pem_x509_certificate(authority.encode())):
        return "the last one is from another authority"
    if set(_names(present)) != set(names):
        return "its names changed"
    return None


def ends(certificate: str) -> datetime:
    """Until when a certificate holds."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def is_pair(certificate: str, key: str) -> bool:
    """Whether the private key is that of the certificate."""
    private = serialization.load_pem_private_key(key.encode(), password=None)
    return private.public_key() == x509.load_pem_x509_certificate(certificate.encode()).public_key()


def der_of(certificate: str) -> bytes:
    """The bytes of which a fingerprint is made."""
    return x509.load_pem_x509_certificate(certificate.encode()).public_bytes(serialization.Encoding.DER)


def names_of(certificate: str) -> list[str]:
    """The names and addresses that a certificate holds, in its order; none for an empty text."""
    return _names(x509.load_pem_x509_certificate(certificate.encode())) if certificate else []


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in alternative]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
