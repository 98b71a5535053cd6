"""Say in plain words what is wrong with the gateway of this computer. Standard library only: it works without our packages.

usage: examine.py [--root DIR] [--await-live SECONDS | --unsent]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

UNIT = "millrace-gateway.service"
DEVICES = "millrace_gateway_devices"
DEFAULTS = {"MILLRACE_HTTP_PORT": "9101", "MILLRACE_MQTT_PORT": "8883", "MILLRACE_OUTBOX_MAX_MB": "4096"}
STEADY_S = 3.0
"""A gateway that answers for so long has its outbox open and its pollers started."""
OLD_S = 60.0
"""A message that waits for longer is not just on its way."""
HOPELESS = 2
"""A version that ended so often before it answered will not start."""
PATIENCE_S = 10.0
"""How long a gateway that has just started may take to reach broker and devices."""


class Report:
    """Prints findings as they are made."""

    is_well = True

    def well(self, text: str) -> None:
        print(f"  ok     {text}")

    def note(self, text: str) -> None:
        print(f"  note   {text}")

    def ill(self, text: str, way_out: str) -> None:
        self.is_well = False
        print(f"  WRONG  {text}\n         {way_out}")


class Box:
    """What this computer tells. `root` is empty, or the folder of a system tree that is not running."""

    def __init__(self, root: str) -> None:
        self.settings_file = Path(f"{root}/etc/millrace/edge.env")
        self.authority = Path(f"{root}/etc/millrace/ca.crt")
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
    parser = argparse.ArgumentParser(description="Say what is wrong with the gateway of this computer.")
    parser.add_argument("--root", default="", help="a system tree that is not running")
    parser.add_argument("--await-live", type=float, metavar="SECONDS", help="only wait until it has started; else status 1")
    parser.add_argument("--unsent", action="store_true", help="only print in words what waits in the outbox, if anything")
    options = parser.parse_args()
    box = Box(options.root)
    if options.await_live is not None:
        return 0 if _await_live(box, options.await_live) else 1
    if options.unsent:
        print(_unsent(box), end="")
        return 0
    return examine(box)


def examine(box: Box) -> int:
    """Print all findings; return the exit status."""
    report = Report()
    if not box.settings_file.exists():
        report.ill("nothing is installed here", "run install of a bundle")
        return 1
    if _examine_service(box, report):
        _await(lambda: _needs(box).get("broker", False) and not _figures(box, DEVICES).get("unknown"), PATIENCE_S)
    _examine_broker(box, report)
    _examine_devices(box, report)
    _examine_outbox(box, report)
    _examine_disk(box, report)
    _examine_clock(report)
    _examine_memory_limit(report)
    print("nothing is wrong" if report.is_well else "")
    return 0 if report.is_well else 1


def _examine_service(box: Box, report: Report) -> bool:
    active = _property("ActiveState") or "unknown to systemd"
    if active != "active" or not box.is_live():
        words = _said("journalctl", "--namespace=+millrace", f"--unit={UNIT}", "--lines=3", "--output=cat", "--no-pager")
        last_words = "its last words: " + " / ".join(words.split("\n"))
        report.ill(f"the gateway does not run ({active})", last_words)
        return False
    restarts = int(_property("NRestarts") or 0)
    again = f", started again by itself {restarts} times: millrace-edge logs says why" if restarts else ""
    report.well(f"the gateway {box.settings.get('MILLRACE_INSTANCE')} runs{again}")
    if _property("UnitFileState") != "enabled":
        report.ill("it will not start with the computer", f"systemctl enable {UNIT}")
    return True


def _examine_broker(box: Box, report: Report) -> None:
    host, port = box.settings.get("MILLRACE_MQTT_HOST", ""), int(box.settings["MILLRACE_MQTT_PORT"])
    server = f"the broker at {host}:{port}"
    try:
        trust = ssl.create_default_context(cafile=str(box.authority))
        with socket.create_connection((host, port), 5) as plain, trust.wrap_socket(plain, server_hostname=host):
            pass
    except socket.gaierror:
        report.ill(f"nobody here knows the name {host}", "name server, or a line in /etc/hosts; or a kit made with --host ADDRESS")
    except ssl.SSLCertVerificationError as error:
        way_out = "a new kit from the server this gateway is to talk to (its certificate authority or its names changed)"
        if error.verify_code in (9, 10):  # not yet valid, expired
            way_out = "look at the clock of this computer first, then at the server's certificate"
        report.ill(f"{server} is not trusted: {error.verify_message}", way_out)
    except (OSError, ValueError) as error:
        report.ill(f"{server} cannot be reached: {error}", "network, firewall (port 8883 of the server), or the server is down")
    else:
        needs = _needs(box)
        if needs.get("broker", False):
            report.well(f"{server} is reached over TLS and takes this gateway's messages")
        elif needs:
            way_out = "millrace-edge logs says why; a wrong password: a new kit (access revoke, then add-gateway)"
            report.ill(f"{server} answers, but does not let the gateway in", way_out)
        else:
            report.well(f"{server} answers with a certificate that is trusted")


def _examine_devices(box: Box, report: Report) -> None:
    states = {name: int(count) for name, count in _figures(box, DEVICES).items()}
    if not states:
        return
    shown = ", ".join(f"{count} {name}" for name, count in states.items() if count)
    if not shown:
        way_out = f"give devices of plant.yaml `gateway: {box.settings.get('MILLRACE_INSTANCE')}`, then millrace-edge config DIR"
        report.ill("it has no device to read", way_out)
    elif states.get("offline"):
        report.ill(f"devices: {shown}", "millrace-edge gateway read DEVICE says why; millrace-edge logs which")
    else:
        report.well(f"devices: {shown}")


def _examine_outbox(box: Box, report: Report) -> None:
    try:
        waiting = _waiting(box)
    except sqlite3.DatabaseError as error:
        report.ill(f"the outbox cannot be read: {error}", "restart the gateway: it sets a damaged file aside and saves what it can")
        return
    dropped = sum(_figures(box, "millrace_gateway_outbox_dropped").values())
    if dropped:
        report.ill(f"the outbox dropped {dropped:.0f} messages since the start", "millrace-edge logs says why, the ledger which")
    if _needs(box).get("outbox") is False:
        report.ill("the disk refuses the outbox", "free room on it, or see whether it is read-only; readings wait in memory")
    elif waiting:
        report.note(f"the outbox holds {waiting}, which are sent by themselves once the server takes them")
    else:
        report.well("the outbox is sent but for what is on its way")


def _examine_disk(box: Box, report: Report) -> None:
    if not box.data.exists():
        return
    free_mb = shutil.disk_usage(box.data).free / 1e6
    taken_mb = sum(path.stat().st_size for path in box.data.glob("outbox.sqlite*")) / 1e6
    wanted_mb = float(box.settings["MILLRACE_OUTBOX_MAX_MB"]) - taken_mb
    if free_mb < wanted_mb:
        report.ill(
            f"{free_mb:,.0f} MB of disk are free, and the outbox may still grow by {wanted_mb:,.0f} MB",
            f"free some, or set MILLRACE_OUTBOX_MAX_MB in {box.settings_file} and restart the gateway",
        )
    else:
        report.well(f"{free_mb:,.0f} MB of disk are free")


def _examine_clock(report: Report) -> None:
    if _said("timedatectl", "show", "--property=NTPSynchronized", "--value").strip() == "yes":
        report.well("the clock is synchronised")
    else:
        way_out = "readings carry this clock's time: name the plant's time server, NTP= in /etc/systemd/timesyncd.conf"
        report.ill(f"the clock is not synchronised; it shows {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}", way_out)


def _examine_memory_limit(report: Report) -> None:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and "memory" not in controllers.read_text().split():
        report.note("the kernel limits no memory: on a Raspberry Pi add cgroup_enable=memory to /boot/firmware/cmdline.txt")


def _settings(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    return dict(re.findall(r"^(MILLRACE_\w+)=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE))


def _needs(box: Box) -> Mapping[str, bool]:
    """What the running gateway needs from others, and whether it is there; empty where it does not answer."""
    answer = box.asked("/health/ready")
    needs: Mapping[str, bool] = json.loads(answer)["needs"] if answer else {}
    return needs


def _figures(box: Box, name: str) -> dict[str, float]:
    """A metric's values by its one label (empty where it has none)."""
    exposition = box.asked("/metrics") or ""
    return {label: float(value) for label, value in re.findall(rf'^{name}(?:{{\w+="(\w+)"}})? (\S+)$', exposition, re.MULTILINE)}


def _outbox(box: Box) -> tuple[int, float]:
    """Messages that are not stored yet, and the age of the oldest in seconds."""
    path = box.data / "outbox.sqlite"
    if not path.exists():
        return 0, 0.0
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        count, oldest_ms = connection.execute("SELECT count(*), min(created_ms) FROM outbox_message").fetchone()
    finally:
        connection.close()
    return count, max(0.0, time.time() - oldest_ms / 1000) if count else 0.0


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
