"""What a running service says of itself at this moment: its /metrics. Its status on the broker is up to ten seconds old."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

ANSWERS_WITHIN_S = 1.0


def figure(port: int, name: str) -> float | None:
    """One figure of the process that listens there; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ANSWERS_WITHIN_S) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError):
        return None
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else None
