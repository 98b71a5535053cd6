"""Every command as a process of its own, without paying for its imports each time: they are imported once, and each call is a fork.

A process between the tests and the commands: JSON lines on standard input ask, JSON lines on standard output answer.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

MODULES = {
    "millrace": "millrace_admin.__main__",
    "millrace-gateway": "millrace_gateway.__main__",
    "millrace-ingest": "millrace_ingest.__main__",
    "millrace-oee": "millrace_oee.__main__",
    "millrace-alerts": "millrace_alerts.__main__",
    "millrace-sim": "millrace_simulator.__main__",
}

LIMIT_S = 60.0


def main() -> None:
    for module in MODULES.values():
        importlib.import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _start(asked["start"]) if "start" in asked else _end(asked["end"], kill=asked["kill"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _start(asked: dict[str, Any]) -> int:
    process = os.fork()
    if process == 0:
        _command(asked)
    return process


def _end(process: int, *, kill: bool) -> int:
    if kill:
        os.kill(process, signal.SIGTERM)
    deadline_s = time.monotonic() + LIMIT_S
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > deadline_s:  # It serves although it should not.
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1])


def _command(asked: dict[str, Any]) -> None:
    out = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
        os.dup2(target, number)
    os.chdir(asked["folder"])
    if asked["user"]:
        os.setgroups([])
        os.setgid(asked["user"])
        os.setuid(asked["user"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = asked["command"]
    code: Any
    try:
        code = importlib.import_module(MODULES[sys.argv[0]]).main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()
