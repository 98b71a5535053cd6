"""What install and remove must know of the gateway of this computer. Standard library only: it works without our packages.

usage: examine.py [--root DIR] --await-live SECONDS | --unsent
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

UNIT = "millrace-gateway.service"
DEFAULTS = {"MILLRACE_HTTP_PORT": "9101"}
STEADY_S = 3.0
"""A gateway that answers for so long has its outbox open and its pollers started."""
OLD_S = 60.0
"""A message that waits for longer is not just on its way."""
HOPELESS = 2
"""A version that ended so often before it answered will not start."""


class Box:
    """What this computer tells. `root` is empty, or the folder of a system tree that is not running."""

    def __init__(self, root: str) -> None:
        self.settings_file = Path(f"{root}/etc/millrace/edge.env")
        self.data = Path(f"{root}/var/lib/millrace-edge")
        self.settings = DEFAULTS | _settings(self.settings_file)

    @property
    def port(self) -> int:
        return int(self.settings["MILLRACE_HTTP_PORT"])

    def asked(self, path: str) -> str | None:
        """The gateway's own answer; None where it gives none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as refused:
            return refused.read().decode()
        except OSError:
            return None

    def is_live(self) -> bool:
        answer = self.asked("/health/live")
        return answer is not None and bool(json.loads(answer)["live"])


def main() -> int:
    parser = argparse.ArgumentParser(description="Look at the gateway of this computer; `millrace-edge check` says what is wrong.")
    parser.add_argument("--root", default="", help="a system tree that is not running")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--await-live", type=float, metavar="SECONDS", help="wait until it has started; else status 1")
    asked.add_argument("--unsent", action="store_true", help="print in words what waits in the outbox, if anything")
    options = parser.parse_args()
    box = Box(options.root)
    if options.await_live is not None:
        return 0 if _await_live(box, options.await_live) else 1
    print(_unsent(box), end="")
    return 0


def _settings(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    return dict(re.findall(r"^(MILLRACE_\w+)=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE))


def _needs(box: Box) -> Mapping[str, bool]:
    """What the running gateway needs from others, and whether it is there; empty where it does not answer."""
    answer = box.asked("/health/ready")
    needs: Mapping[str, bool] = json.loads(answer)["needs"] if answer else {}
    return needs


def _outbox(box: Box) -> tuple[int, float]:
    """Messages that are not stored yet, and the age of the oldest in seconds."""
    path = box.data / "outbox.sqlite"
    if not path.exists():
        return 0, 0.0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        (count,) = connection.execute("SELECT depth FROM outbox_state").fetchone() or (0,)
        oldest = connection.execute(
            "SELECT created_ms FROM outbox_message WHERE id >= ? ORDER BY id LIMIT 1", (_first_unsafe(connection),)
        ).fetchone()
    finally:
        connection.close()
    return count, max(0.0, time.time() - oldest[0] / 1000) if count and oldest else 0.0


def _first_unsafe(connection: sqlite3.Connection) -> int:
    """The first number that is not confirmed: what is, the outbox keeps for two days."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox_safe'").fetchone():
        return 0  # of a version that kept nothing of the kind
    until = 0
    for first, last in connection.execute("SELECT first_id, last_id FROM outbox_safe ORDER BY first_id"):
        if first > until + 1:
            break
        until = max(until, last)
    return until + 1


def _waiting(box: Box) -> str:
    """What the outbox holds, in words; empty where that is just on its way. Raises sqlite3.DatabaseError."""
    count, oldest_s = _outbox(box)
    if not count or (oldest_s <= OLD_S and _needs(box).get("broker")):
        return ""
    age = f"{oldest_s / 3600:,.1f} hours" if oldest_s > 3600 else f"{oldest_s:.0f} s"
    return f"{count:,} messages (the oldest {age} old)"


def _unsent(box: Box) -> str:
    try:
        return _waiting(box)
    except sqlite3.DatabaseError as error:
        return f"messages that cannot be counted ({error})"


def _await_live(box: Box, limit_s: float) -> bool:
    """Whether the gateway answers, and goes on answering for STEADY_S, within the limit and without ending twice before."""
    since: float | None = None

    def is_decided() -> bool:
        nonlocal since
        since = (since or time.monotonic()) if box.is_live() else None
        return time.monotonic() - since >= STEADY_S if since else int(_property("NRestarts") or 0) >= HOPELESS

    return _await(is_decided, limit_s) and since is not None


def _property(name: str) -> str:
    return _said("systemctl", "show", UNIT, f"--property={name}", "--value")


def _await(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
    return True


def _said(*command: str) -> str:
    """What a program of the system prints; empty where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    sys.exit(main())
