"""Structured logs: a constant event and key=value fields. JSON in containers, readable on a terminal and in systemd's journal.

The only use of structlog.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from .settings import ServiceSettings

Logger = structlog.stdlib.BoundLogger

# Before configure_logs, and in commands that never call it: warnings only, on standard error, where they spoil no output.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


def configure_logs(settings: ServiceSettings, service: str) -> None:
    """Send everything, libraries too, to standard error in one form. Call once, before the first log line."""
    form = settings.log_format
    if form == "auto":
        form = "terminal" if sys.stderr.isatty() else "json"
    identity = {"service": service, "instance": settings.instance}

    def add_identity(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(identity)
        return event

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    shared.insert(0, structlog.stdlib.add_logger_name) if settings.log_level == "debug" else None
    if form == "json":
        shared.append(add_identity)
    renderers: dict[str, Any] = {
        "json": structlog.processors.JSONRenderer(),
        "terminal": structlog.dev.ConsoleRenderer(timestamp_key="time"),
        "journal": _JournalLine(),
    }
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderers[form]],
    )
    handler = _StandardError()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("pymodbus", "urllib3", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING if noisy != "pymodbus" else logging.CRITICAL)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _JournalLine:
    """The journal adds time and service; a leading <n> is its priority, so that `journalctl -p warning` finds warnings."""

    _PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

    def __init__(self) -> None:
        self._fields = structlog.processors.LogfmtRenderer(bool_as_flag=False)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        event.pop("time", None)
        priority = self._PRIORITIES.get(event.pop("level", "info"), 6)
        name, trace = event.pop("event"), event.pop("exception", None)
        line = f"<{priority}>{name} {self._fields(logger, method, event)}".rstrip()
        return f"{line}\n{trace}" if trace else line


class _StandardError(logging.StreamHandler[TextIO]):
    """Asks for standard error at each line: whoever replaced it meanwhile may have closed the one of before."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _value: TextIO) -> None:
        """The base class sets it on construction."""


def get_logger(name: str) -> Logger:
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger
