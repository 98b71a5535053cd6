"""Pages and query parameters: opaque cursors, the Link header, times."""

import base64
import binascii
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Request

from millrace_contract.language.times import parse_timestamp

from .problems import ApiProblem, invalid

TIME: dict[str, Any] = {"format": "date-time", "pattern": r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"}
"""How a time is described in OpenAPI: RFC 3339 without leap seconds."""
Position = TypeVar("Position")
CursorMs = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""A time in a cursor: what a store can compare."""


def encode_cursor(position: Any) -> str:
    """Opaque to clients: the position after which the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[Position]) -> Position:
    """Raises ApiProblem 400 for anything that `encode_cursor` did not make."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (binascii.Error, ValueError) as error:
        raise ApiProblem("bad-request", "cursor: take it from the header Link of an answer") from error


def next_link(request: Request, **changed: str | int) -> dict[str, str]:
    """The header that names the next page: this request with other parameters. Relative, so it works behind any proxy."""
    url = request.url.include_query_params(**changed)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}


def time_parameter(place: str, text: str) -> int:
    """Milliseconds; raises ApiProblem 422 in the words of the contract."""
    try:
        return parse_timestamp(text.replace(" ", "+") if "T" in text else text)  # A bare + in a query string is a space.
    except ValueError as error:
        raise invalid(place, str(error)) from error
