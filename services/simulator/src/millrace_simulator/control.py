"""Faults on command, over HTTP: `/faults` on the port of health and metrics.

GET says what is wrong at present, on the wire and in machines, and what kinds of fault there are; POST of {"device": "CNC-01",
"kind": "silent", "seconds": 30} begins one; DELETE ends all faults of connections.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from millrace_contract.runtime.logs import get_logger

from .devices import SimulatedPlant
from .faults import MEANINGS, Fault
from .script import check_fault

PATH = "/faults"
LIMIT_S = 10.0

T = TypeVar("T")
_log = get_logger(__name__)


class FaultControl:
    """Takes requests on any thread and carries them out on the plant's loop, after `wake` has been called there."""

    def __init__(
        self, plant: SimulatedPlant, loop: asyncio.AbstractEventLoop, now_ms: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        self._plant = plant
        self._loop = loop
        self._now_ms = now_ms
        self._wake = wake

    def answer(self, method: str, body: bytes) -> tuple[int, Any]:
        """Status code and JSON of a request; called by the HTTP server's threads."""
        try:
            if method == "GET":
                return 200, self._on_loop(self._list)
            if method == "DELETE":
                return 200, self._on_loop(self._clear)
            fault = msgspec.json.decode(body, type=Fault)
        except msgspec.MsgspecError as error:
            return 400, {"error": str(error), "kinds": _kinds()}
        except TimeoutError:
            return 503, {"error": "the simulator is busy"}
        if problem := check_fault(fault, self._plant.devices):
            return 400, {"error": problem}
        try:
            self._on_loop(lambda: self.begin(fault))
        except TimeoutError:
            return 503, {"error": "the simulator is busy"}
        return 200, msgspec.to_builtins(fault)

    def begin(self, fault: Fault) -> None:
        """On the loop: begin a fault that has been checked."""
        self._plant.command(fault, self._now_ms())
        _log.info("fault_begun", device=fault.device, kind=fault.kind.value, seconds=fault.seconds)
        self._wake()

    def _list(self) -> dict[str, Any]:
        active = [{**msgspec.to_builtins(fault), "until_ms": until} for fault, until in self._plant.faults.active(self._now_ms())]
        return {"active": active, "kinds": _kinds(), "devices": sorted(self._plant.devices)}

    def _clear(self) -> dict[str, Any]:
        self._plant.faults.end()
        _log.info("faults_ended")
        self._wake()
        return {"active": []}

    def _on_loop(self, action: Callable[[], T]) -> T:
        async def carry_out() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(carry_out(), self._loop).result(LIMIT_S)


def _kinds() -> dict[str, str]:
    return {kind.value: meaning for kind, meaning in MEANINGS.items()}


class NotControlled(Exception):
    """The running simulator did not take the command; the text says why."""


def send(url: str, method: str, fault: Fault | None = None) -> dict[str, Any]:
    """Ask a running simulator. Raises NotControlled."""
    body = msgspec.json.encode(fault) if fault is not None else None
    request = urllib.request.Request(f"{url}{PATH}", body, method=method)  # noqa: S310 - the address is made of host and port
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            raise NotControlled(str(json.load(error).get("error", f"answered {error.code}"))) from error
    except OSError as error:
        raise NotControlled(f"no simulator at {url}: {error}; is it running, and is MILLRACE_HTTP_PORT the same?") from error
