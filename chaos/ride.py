"""Carries a storm out on a plant and takes notes: what was done when, what nobody had planned, how large the backlog grew."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .plant import Plant
from .schedule import DeviceFault, Storm, Trouble, TroubleKind

TURN_S = 0.1
DRAINED_S = 5.0
"""The backlog is drained when the gateway's outbox holds nothing older than this."""
WAY_TO_THE_DATABASE = frozenset({"gateway", "mosquitto", "ingest", "influxd"})
HEALING_LIMIT_S = 600.0
FAULT_PATIENCE_S = 10.0
"""How long a fault of a device waits for a simulator that is starting."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A trouble as it came about; times in ms since the epoch."""

    start_ms: int
    end_ms: int
    trouble: Trouble


@dataclass(slots=True)
class Notes:
    troubles: list[Happened] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """Faults of devices by kind."""
    surprises: list[str] = field(default_factory=list)
    """What nobody had planned."""
    biggest_backlog: int = 0
    longest_drain_s: float = 0.0
    """From the moment when everything between gateway and database was started again until the backlog was drained."""
    drained_after_s: float | None = None
    """Since the last trouble ended."""
    healed_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Weather:
    """What the screen shows of an instant."""

    elapsed_s: float
    storm: Storm
    now: list[str]
    backlog: int | None
    last: str


class Ride:
    """One storm. `tell` is called for each line of the timeline, `show` once a second."""

    def __init__(self, plant: Plant, storm: Storm, tell: Callable[[str], None], show: Callable[[Weather], None]) -> None:
        self.notes = Notes()
        self._plant = plant
        self._storm = storm
        self._tell = tell
        self._show = show
        self._begun: list[tuple[int, Trouble]] = []
        self._troubles = deque(storm.troubles)
        self._faults = deque(storm.faults)
        self._backlog: int | None = None
        self._oldest_s: float | None = None
        self._last = ""
        self._looked_s = float("-inf")
        self._free_since_s: float | None = None

    def run(self, stop: threading.Event) -> bool:
        """Until everything is healed, at most HEALING_LIMIT_S longer than the storm; False when it was stopped before its end."""
        started_s = time.monotonic()
        while not stop.wait(TURN_S):
            elapsed_s = time.monotonic() - started_s
            self._act(elapsed_s)
            for name, status in self._plant.tend():
                self._surprise(name, status)
            if elapsed_s - self._looked_s >= 1:
                self._looked_s = elapsed_s
                self._look(elapsed_s)
            if elapsed_s >= self._storm.seconds and self.notes.healed_after_s is not None:
                return True
            if elapsed_s >= self._storm.seconds + HEALING_LIMIT_S:
                self._note(f"not healed after {HEALING_LIMIT_S:.0f} s: {', '.join(self._ailments())}", is_surprise=True)
                return True
        return False

    def _act(self, elapsed_s: float) -> None:
        for begun in [each for each in self._begun if each[1].end_s <= elapsed_s]:
            self._begun.remove(begun)
            self._end(*begun)
        while self._troubles and self._troubles[0].at_s <= elapsed_s:
            trouble = self._troubles.popleft()
            self._begin(trouble)
            self._begun.append((_now_ms(), trouble))
        while self._faults and self._faults[0].at_s <= elapsed_s:
            self._misbehave(self._faults[0], elapsed_s)

    def _begin(self, trouble: Trouble) -> None:
        for process in trouble.processes:
            match trouble.kind:
                case TroubleKind.KILL | TroubleKind.OUTAGE:
                    self._plant.kill(process, trouble.seconds)
                case TroubleKind.HANG:
                    self._plant.hang(process)
                case TroubleKind.FULL_DISK:
                    self._plant.fill_disk(process)
                case TroubleKind.CLOCK:
                    self._plant.set_clock(trouble.by_s)
        self._note(str(trouble))

    def _end(self, start_ms: int, trouble: Trouble) -> None:
        for process in trouble.processes:
            if trouble.kind is TroubleKind.HANG:
                self._plant.wake(process)
            elif trouble.kind is TroubleKind.FULL_DISK:
                self._plant.free_disk(process)
            elif trouble.kind is TroubleKind.CLOCK:
                self._plant.set_clock(0)
        self.notes.troubles.append(Happened(start_ms, _now_ms(), trouble))
        if trouble.kind is not TroubleKind.KILL:
            self._note(f"{' and '.join(trouble.processes)}: {trouble.kind} is over")

    def _misbehave(self, step: DeviceFault, elapsed_s: float) -> None:
        if self._plant.fault(step.fault):
            self.notes.faults[step.fault.kind.value] += 1
            self._note(str(step))
        elif elapsed_s < step.at_s + FAULT_PATIENCE_S:
            return  # The simulator is starting: again at the next turn.
        else:
            self._note(f"{step}: left out, the simulator does not listen")
        self._faults.popleft()

    def _surprise(self, name: str, status: int) -> None:
        # A loop that stood still for a minute ends its process: so a long hang does, when it is over.
        hung_s = max((each.trouble.seconds for each in self.notes.troubles if _is_hang_of(each.trouble, name)), default=0.0)
        planned = status == WATCHDOG_STATUS and hung_s > WATCHDOG_S
        self._note(f"{name} ended by itself with status {status}", is_surprise=not planned)

    def _look(self, elapsed_s: float) -> None:
        ports = self._plant.ports
        backlog = self._plant.figure(ports.gateway, "millrace_gateway_outbox_messages")
        self._oldest_s = self._plant.figure(ports.gateway, "millrace_gateway_outbox_oldest_seconds")
        self._backlog = None if backlog is None else int(backlog)
        self.notes.biggest_backlog = max(self.notes.biggest_backlog, self._backlog or 0)
        self._time_the_drain(elapsed_s)
        calm_s = elapsed_s - self._storm.calm_from_s
        if calm_s >= 0 and not self._begun:
            if self.notes.drained_after_s is None and self._oldest_s is not None and self._oldest_s < DRAINED_S:
                self.notes.drained_after_s = calm_s
                self._note(f"the backlog is drained, {calm_s:.0f} s after the last trouble")
            if self.notes.healed_after_s is None and not self._ailments():
                self.notes.healed_after_s = calm_s
                self._note(f"everything is well, {calm_s:.0f} s after the last trouble")
        self._show(Weather(elapsed_s, self._storm, [str(trouble) for _, trouble in self._begun], self._backlog, self._last))

    def _time_the_drain(self, elapsed_s: float) -> None:
        if any(WAY_TO_THE_DATABASE & set(trouble.processes) for _, trouble in self._begun):
            self._free_since_s = elapsed_s
        elif self._free_since_s is not None and self._oldest_s is not None and self._oldest_s < DRAINED_S:
            self.notes.longest_drain_s = max(self.notes.longest_drain_s, elapsed_s - self._free_since_s)
            self._free_since_s = None

    def _ailments(self) -> list[str]:
        gaps = self._plant.figure(self._plant.ports.oee, "millrace_oee_gaps_open")
        found = self._plant.unwell()
        if self.notes.drained_after_s is None:
            found.append("the gateway has a backlog")
        if gaps != 0:
            found.append(f"oee has {'unknown' if gaps is None else int(gaps)} open gaps")
        return found

    def _note(self, text: str, *, is_surprise: bool = False) -> None:
        if is_surprise:
            self.notes.surprises.append(text)
        self._last = text
        self._tell(text)


WATCHDOG_S = 55.0
WATCHDOG_STATUS = 70


def _is_hang_of(trouble: Trouble, name: str) -> bool:
    return trouble.kind is TroubleKind.HANG and name in trouble.processes


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
