"""Query parameters that an operation does not have: a filter that is misspelt and ignored would list what nobody asked for."""

from difflib import get_close_matches

from fastapi import Depends, Request

from .problems import ApiProblem


def _all_known(request: Request) -> None:
    if not request.query_params:
        return
    path = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""))
    if path is None:  # The description leaves out the page: browsers put there what they like.
        return
    described = path[request.method.lower()].get("parameters", [])
    known = {each["name"] for each in described if each["in"] == "query"}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        errors = [{"place": f"query.{name[:60]}", "message": _message(name, known)} for name in unknown]
        detail = "; ".join(f"{each['place']}: {each['message']}" for each in errors)
        raise ApiProblem("invalid", detail, errors=errors)


def _message(name: str, known: set[str]) -> str:
    close = get_close_matches(name, known, 1)
    if close:
        return f"is no parameter here; did you mean {close[0]}?"
    return f"is no parameter here; there are {', '.join(sorted(known))}" if known else "is no parameter here; there are none"


AllKnown = Depends(_all_known)
