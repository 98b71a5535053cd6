"""The shell of a service: what each `run` command does, whatever it runs.

Logs, a data folder that can be used, the signals; then construct, start, run until told to stop, and stop what was started.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, TypeVar

from ..errors import CannotStart
from ..plant.accepted import AcceptedConfiguration, load_accepted
from .clock import Clock, SystemClock
from .lifecycle import EXIT_FAILED, EXIT_NOT_WELL, EXIT_WELL, stop_event
from .logs import configure_logs, get_logger
from .settings import ServiceSettings, variable

T = TypeVar("T")

_log = get_logger(__name__)


class Service(Protocol):
    """What `serve` runs. Constructing it may open files, and starts nothing."""

    def start(self) -> None:
        """Raises CannotStart; `stop` takes back what was started until then."""

    def run(self, stop: threading.Event) -> None:
        """Work, or wait, until `stop` is set."""

    def stop(self) -> bool:
        """Bounded in time; whether everything was finished."""


class LoopService(Protocol):
    """What `serve_on_loop` runs: the same, on an event loop."""

    async def start(self) -> None: ...

    async def run(self, stop: asyncio.Event) -> None: ...

    async def stop(self) -> bool: ...


class Part(Protocol):
    """What a service is made of: threads, servers, sessions."""

    def start(self) -> object: ...

    def stop(self) -> object: ...


class ServiceParts:
    """The parts of a service that run: started one after the other, stopped in reverse, also where a start failed midway."""

    def __init__(self) -> None:
        self._started = ExitStack()

    def start(self, part: Part) -> None:
        part.start()
        self._started.callback(part.stop)

    def at_stop(self, close: Callable[[], object]) -> None:
        """Called when its turn comes, like the stop of a part that was started now."""
        self._started.callback(close)

    def stop(self) -> None:
        """Safe to call again."""
        self._started.close()


def serve(settings: ServiceSettings, name: str, construct: Callable[[], Service]) -> int:
    """Run a service until SIGTERM or SIGINT; return the exit status. Raises ConfigurationProblems and CannotStart."""
    _prepare(settings, name)
    stop = stop_event()
    service = construct()
    is_complete = False
    try:
        service.start()
        service.run(stop)
    finally:
        is_complete = service.stop()
    _log.info("stopped", complete=is_complete)
    return EXIT_WELL if is_complete else EXIT_NOT_WELL


def serve_on_loop(settings: ServiceSettings, name: str, construct: Callable[[], LoopService]) -> int:
    """`serve` for a service on an event loop; it is constructed there, too."""

    async def on_loop() -> bool:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stop_event(lambda: loop.call_soon_threadsafe(stop.set))
        service = construct()
        is_complete = False
        try:
            await service.start()
            await service.run(stop)
        finally:
            is_complete = await service.stop()
        return is_complete

    _prepare(settings, name)
    is_complete = asyncio.run(on_loop())
    _log.info("stopped", complete=is_complete)
    return EXIT_WELL if is_complete else EXIT_NOT_WELL


def accept(config: Path, data: Path, load: Callable[[Path], T], clock: Clock | None = None) -> AcceptedConfiguration[T]:
    """The configuration to run on; what was refused, or could not be kept for later, is said in the log.

    Raises ConfigurationProblems, as `load_accepted`.
    """
    accepted = load_accepted(config, data, load, (clock or SystemClock()).now_ms())
    if accepted.not_kept:
        _log.error("configuration_not_kept", problem=accepted.not_kept, path=str(data))
    if accepted.problems:
        problems = [str(problem) for problem in accepted.problems]
        _log.error("configuration_refused", problems=problems, running_on="the last accepted copy")
    return accepted


def _prepare(settings: ServiceSettings, name: str) -> None:
    configure_logs(settings, name)
    threading.excepthook = _end_process
    _make_usable(settings.data)


def _make_usable(folder: Path) -> None:
    """A full disk is no reason not to start, a folder that this user may never write is."""
    way_out = "name a folder that the service may write"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise CannotStart(variable("data"), f"{error.filename} is a file, no folder; {way_out}") from error
    except OSError as error:
        raise CannotStart(variable("data"), f"{folder} cannot be made: {error.strerror}; {way_out}") from error
    if os.access(folder, os.W_OK | os.X_OK):
        return
    is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    reason = "is on a read-only file system" if is_read_only else f"may not be written by user {os.geteuid()}"
    raise CannotStart(variable("data"), f"{folder} {reason}; {way_out}")


def _end_process(failure: threading.ExceptHookArgs) -> None:
    # A loop that died of a mistake of ours must not leave a process that looks alive; the restart policy acts.
    _log.critical("thread_failed", thread=failure.thread.name if failure.thread else None, exc_info=failure.exc_value)
    os._exit(EXIT_FAILED)
