"""The description of the API for people, at /docs: Swagger UI from the package `fastapi-offline`, so it works without internet."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

_OURS = {"docs": ("docs.html", "text/html; charset=utf-8"), "docs/docs.js": ("docs.js", "text/javascript; charset=utf-8")}
_VIEWER = {
    "docs/swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "docs/swagger-ui.css": ("swagger-ui.css", "text/css; charset=utf-8"),
}
_HEADERS = {
    # The viewer writes styles into its elements, and has its pictures in its own text.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def _content(package: str, folder: str, name: str) -> bytes:
    return (files(package) / folder / name).read_bytes()


def _answer(path: str) -> Response:
    if path in _OURS:
        name, kind = _OURS[path]
        content = _content("millrace_alerts", "web", name)
    else:
        name, kind = _VIEWER[path]
        content = _content("fastapi_offline", "static", name)
    return Response(content, headers={**_HEADERS, "Content-Type": kind})


@router.get("/docs")
def docs() -> Response:
    return _answer("docs")


@router.get("/docs/docs.js")
def docs_script() -> Response:
    return _answer("docs/docs.js")


@router.get("/docs/swagger-ui-bundle.js")
def viewer_script() -> Response:
    return _answer("docs/swagger-ui-bundle.js")


@router.get("/docs/swagger-ui.css")
def viewer_style() -> Response:
    return _answer("docs/swagger-ui.css")
