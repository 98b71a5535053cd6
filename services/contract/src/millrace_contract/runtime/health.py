"""Health: loops that turn, steps that work, a watchdog that ends the process when a loop hangs, and the HTTP answers about it.

Healthy means that a service does its own work; a broker, database or device that is away belongs in `status` and in readiness.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from ..language.times import format_timestamp
from .clock import Clock, SystemClock
from .lifecycle import EXIT_FAILED
from .listening import cannot_listen
from .logs import get_logger
from .metrics import CONTENT_TYPE, exposition
from .supervisor import tell_supervisor

SILENT_LIMIT_S = 60.0
"""A loop silent for longer ends its process, so that the restart policy acts (contracts.md 4)."""

FAILING_LIMIT_S = 60.0
"""A step of its own that fails for longer makes a service unhealthy. Nothing ends it: what it holds in memory would be lost."""

UNTRIED_LIMIT_S = 600.0
"""What was not tried for so long (there was nothing to do) is not known to fail any more."""

Readiness = Callable[[], dict[str, bool]]
"""What the service needs from others, by name, and whether it is there."""

Action = Callable[[str, bytes], tuple[int, Any]]
"""Answers a further path: called with method (GET, POST or DELETE) and body, on a thread of the server's; returns code and JSON."""

MAX_BODY_BYTES = 64 * 1024

STATUS_PATH = "/health/status"
"""Where a service answers with its status, as on its topic: for who looks for the reason why it cannot reach the broker."""

_log = get_logger(__name__)


class _Failure(NamedTuple):
    since_s: float
    since_ms: int
    last_s: float
    reason: str


class OwnStep:
    """Whether a thing that the process has to do again and again works. Told by the loop that does it, read by any thread.

    Only what is the process's own counts: `done` when it worked, `failed` when it did not although what it needs answers,
    `away` when it could not be tried because that does not answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failure: _Failure | None = None  # replaced as a whole

    def done(self) -> None:
        self._failure = None

    def away(self) -> None:
        """Not to be judged: that a broker or a database is away is said by `status` and readiness."""
        self._failure = None

    def failed(self, reason: str) -> None:
        now_s, known = self._clock.monotonic_s(), self._failure
        if known is None:
            self._failure = _Failure(now_s, self._clock.now_ms(), now_s, reason)
        else:
            self._failure = _Failure(known.since_s, known.since_ms, now_s, reason)

    def take(self, problem: str | None) -> None:
        """`failed` with a problem, `done` without one."""
        self.done() if problem is None else self.failed(problem)

    def failing(self, limit_s: float = FAILING_LIMIT_S) -> str | None:
        """Since when and why, in words, where it has failed for longer than that and is still tried."""
        failure, now_s = self._failure, self._clock.monotonic_s()
        if failure is None or now_s - failure.since_s <= limit_s or now_s - failure.last_s > UNTRIED_LIMIT_S:
            return None
        return f"fails since {format_timestamp(failure.since_ms)}: {failure.reason}"


class Heartbeats:
    """When each loop of the process last turned, and which of its steps fail. Safe to use from any thread."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._last_s: dict[str, float] = {}
        self._steps: dict[str, OwnStep] = {}

    def step(self, name: str) -> OwnStep:
        """The step of this name, for the loop that does it."""
        return self._steps.setdefault(name, OwnStep(self._clock))

    def failing(self) -> dict[str, str]:
        """The steps that have failed for too long: since when, and why."""
        found = ((name, step.failing()) for name, step in list(self._steps.items()))
        return {name: problem for name, problem in found if problem is not None}

    def beat(self, loop: str) -> None:
        """Called by a loop on each turn, at least every few seconds; the first call registers it."""
        self._last_s[loop] = self._clock.monotonic_s()

    def retire(self, loop: str) -> None:
        """The loop ended on purpose."""
        self._last_s.pop(loop, None)

    def ages_s(self) -> dict[str, float]:
        now_s = self._clock.monotonic_s()
        return {loop: now_s - last_s for loop, last_s in list(self._last_s.items())}

    def silent(self, limit_s: float = SILENT_LIMIT_S) -> list[str]:
        return [loop for loop, age_s in self.ages_s().items() if age_s > limit_s]


class Watchdog:
    """Ends the process when a loop is silent: a hung service must not look alive. For the case that the process hangs as a
    whole, systemd is told at each turn that it does not (WatchdogSec= of a unit).
    """

    def __init__(self, heartbeats: Heartbeats, limit_s: float = SILENT_LIMIT_S) -> None:
        self._heartbeats = heartbeats
        self._limit_s = limit_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        known: set[str] = set()
        while not self._stopped.wait(min(5.0, self._limit_s / 4)):
            # Twice in a row: where the clock, or the whole machine, leapt, the loops get a turn before they are judged.
            silent = set(self._heartbeats.silent(self._limit_s))
            if silent & known:
                _log.critical("loop_silent", loops=sorted(silent & known), limit_s=self._limit_s)
                os._exit(EXIT_FAILED)
            known = silent
            tell_supervisor("WATCHDOG=1")


def live_answer(heartbeats: Heartbeats) -> tuple[int, dict[str, Any]]:
    """Status code and body of /health/live."""
    silent, failing = heartbeats.silent(), heartbeats.failing()
    ages = {loop: round(age_s, 1) for loop, age_s in heartbeats.ages_s().items()}
    is_live = not silent and not failing
    return (200 if is_live else 503), {"live": is_live, "silent": silent, "failing": failing, "last_turn_s": ages}


def ready_answer(readiness: Readiness) -> tuple[int, dict[str, Any]]:
    """Status code and body of /health/ready."""
    needs = readiness()
    ready = all(needs.values())
    return (200 if ready else 503), {"ready": ready, "needs": needs}


class HealthServer:
    """/health/live, /health/ready, /metrics and a service's own `actions` by path, on a thread of its own. Port 0 means none."""

    def __init__(
        self,
        host: str,
        port: int,
        heartbeats: Heartbeats,
        readiness: Readiness,
        actions: Mapping[str, Action] | None = None,
        *,
        has_metrics: bool = True,
    ) -> None:
        self._has_metrics = has_metrics
        self._address = (host, port)
        self._actions = dict(actions or {})
        self._heartbeats = heartbeats
        self._readiness = readiness
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Raises CannotStart when the port cannot be used."""
        if not self._address[1]:
            return
        try:
            self._server = ThreadingHTTPServer(self._address, self._handler())
        except OSError as error:
            raise cannot_listen(*self._address, "health and metrics", error) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        heartbeats, readiness, actions, has_metrics = self._heartbeats, self._readiness, self._actions, self._has_metrics

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics" and has_metrics:
                    self._answer(200, CONTENT_TYPE, exposition())
                elif path in ("/health/live", "/health/ready"):
                    code, body = live_answer(heartbeats) if path.endswith("live") else ready_answer(readiness)
                    self._answer(code, "application/json", json.dumps(body).encode())
                else:
                    self._act()

            def do_POST(self) -> None:
                self._act()

            def do_DELETE(self) -> None:
                self._act()

            def _act(self) -> None:
                action = actions.get(self.path.partition("?")[0])
                length = self.headers.get("Content-Length") or "0"
                body: Any
                if action is None:
                    code, body = 404, {"paths": ["/health/live", "/health/ready", *(["/metrics"] if has_metrics else []), *actions]}
                elif not length.isdigit() or int(length) > MAX_BODY_BYTES:
                    code, body = 413, {"error": f"the body may have at most {MAX_BODY_BYTES} bytes"}
                else:
                    code, body = action(self.command, self.rfile.read(int(length)))
                self._answer(code, "application/json", json.dumps(body).encode())

            def _answer(self, code: int, content_type: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):  # who asked has gone: its own business
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """A health check every few seconds is no news."""

        return Handler
