"""Who is asking, and whether the token allows it."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from millrace_contract.errors import Unavailable

from ..metrics import REFUSED_LOGINS
from .context import Ctx
from .problems import ApiProblem, unavailable
from .tokens import Client

_bearer = HTTPBearer(auto_error=False, description="A token made with `millrace access`", scheme_name="token")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
Scope = Literal["read", "ack", "shelve", "write", "configure"]
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="millrace"'}


def allowed(scope: str) -> Callable[[Ctx, Credentials], Client]:
    """A dependency: the client, when its token has `scope`."""

    def check(context: Ctx, credentials: Credentials) -> Client:
        return authenticate(context, credentials, scope)

    return check


def authenticate(context: Ctx, credentials: HTTPAuthorizationCredentials | None, scope: str) -> Client:
    """Raises ApiProblem 401, 403, or 503 while the list of tokens has never been read."""
    if credentials is None:
        REFUSED_LOGINS.labels("no_token").inc()
        raise ApiProblem("unauthorized", "send the header Authorization: Bearer <token>", headers=_CHALLENGE)
    client = context.tokens.client(credentials.credentials)
    if not context.tokens.is_known:
        raise unavailable(Unavailable("the list of API tokens cannot be read yet, so nobody's token can be checked"))
    if client is None:
        REFUSED_LOGINS.labels("unknown_token").inc()
        detail = "the token is not known, or no longer; make one with millrace access"
        raise ApiProblem("unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="millrace", error="invalid_token"'})
    if scope not in client.scopes:
        REFUSED_LOGINS.labels("scope").inc()
        challenge = f'Bearer realm="millrace", error="insufficient_scope", scope="{scope}"'
        detail = f"the token {client.name} has not the scope {scope}"
        raise ApiProblem("forbidden", detail, headers={"WWW-Authenticate": challenge})
    return client


Reads = Annotated[Client, Depends(allowed("read"))]
Acknowledges = Annotated[Client, Depends(allowed("ack"))]
Writes = Annotated[Client, Depends(allowed("write"))]
Shelves = Annotated[Client, Depends(allowed("shelve"))]
Configures = Annotated[Client, Depends(allowed("configure"))]
