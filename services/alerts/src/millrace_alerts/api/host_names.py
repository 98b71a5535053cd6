"""By which names the service answers. A page of a stranger that makes its own name point here (DNS rebinding) is refused.

A stranger's name is a public one, and has a dot. Addresses, names without a dot, and those below the endings that nobody can
register (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`) are therefore taken; a public name is, once it is listed.
"""

from ipaddress import ip_address

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import ApiProblem, problem_response

NEVER_PUBLIC = (".local", ".localhost", ".internal", ".home.arpa", ".test", ".lan", ".intranet", ".corp", ".private")


class HostNames:
    """An ASGI middleware. names: further ones, in lower case; `*`: any."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if is_ours(host, self._names):
            await self._app(scope, receive, send)
            return
        detail = (
            f"this service is not known as {host[:100]!r}: list that name in MILLRACE_HTTP_NAMES, "
            "so that no stranger's name can stand for it"
        )
        await problem_response(Request(scope), ApiProblem("misdirected", detail))(scope, receive, send)


def is_ours(host: str, names: frozenset[str]) -> bool:
    """`host`: the header, with or without a port; empty where an old client sends none."""
    name = _without_port(host.strip().lower()).rstrip(".")
    return "*" in names or name in names or "." not in name or name.endswith(NEVER_PUBLIC) or _is_address(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
