"""What a refusal of the API looks like."""

from __future__ import annotations

from typing import Any

import httpx


def problem(response: httpx.Response, status_code: int, slug: str) -> dict[str, Any]:
    """The problem document, which it must be."""
    assert response.status_code == status_code, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:millrace:problem:{slug}"
    assert body["status"] == status_code
    assert body["title"]
    assert body["detail"]
    return body
