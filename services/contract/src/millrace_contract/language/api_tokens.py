"""The file of API tokens: `millrace access` writes it, the alerts service reads it. It holds hashes, never a token."""

from __future__ import annotations

import hashlib

import msgspec

SCOPES = ("read", "ack", "shelve", "write", "configure")
"""What a token may do: read; acknowledge; shelve; post orders, scrap and reasons; change what is configured over the interface."""


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """One holder. Scopes that a reader does not know are no fault: an older service then grants nothing for them."""

    name: str
    sha256: str
    scopes: tuple[str, ...]
    created: str = ""


class ApiTokens(msgspec.Struct, frozen=True):
    tokens: list[ApiToken] = []


def token_hash(token: str) -> str:
    """What the file holds of a token: random, so that a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def decode_tokens(text: bytes) -> list[ApiToken]:
    """Raises msgspec.MsgspecError when the file is not what it should be."""
    return msgspec.json.decode(text, type=ApiTokens).tokens


def encode_tokens(tokens: list[ApiToken]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(ApiTokens(tokens))) + b"\n"
