"""One simulated machine: stretches of one state after another, with what it makes and how warm it gets. Pure.

A machine's life is a function of (seed, device, plant model, instant) and of the faults it was told to have: it does not
depend on how often or when anybody looks. Every life lasts one week, from Monday 00:00 UTC; at its end the maintenance team
restarts the controller and the part counters begin at 0. So any instant of the past can be told without a record of it. What
outlives that (`bearing`, `meters`) is a function of the instant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from millrace_contract.language.words import MachineState

from . import meters
from .bearing import REPAIR, Bearing
from .dice import Dice, seed_of
from .kinds import Habits, Interruption
from .schedule import Phase, Schedule

_MONDAY_MS = 345_600_000  # 1970-01-05T00:00:00Z
_WEEK_MS = 7 * 24 * 3_600_000
_HEAT_K = 60.0
"""What a lost coolant adds to the spindle, as far as its time constant lets it."""
CLEAN_EVERY_S = 4 * 3600.0
"""A machine that gets dirty is cleaned again so long after, unless its crew does it in the breaks."""
_HEAT_HASTE = 6.0
"""How much sooner a spindle without coolant warms up."""


class Spell(msgspec.Struct):
    """A stretch of one state, [start_ms, end_ms).

    `cycle_ms` is 0 where nothing is made; `then` is the index of the interruption that ends it.
    """

    state: MachineState
    reason: str
    start_ms: int
    end_ms: int
    cycle_ms: float = 0.0
    then: int | None = None


class Life(msgspec.Struct):
    """Everything that changes about a machine; saved and given back by snapshots.

    Figures are those at the stretch's start, except `parts`, `rejects` and `until_reject`, which are counted up to the
    latest instant that was asked for.
    """

    dice: int
    ends_ms: int
    stretch: Spell
    parts: int = 0
    rejects: int = 0
    until_reject: int = 1
    counted: int = 0
    credit: float = 0.0
    levels: dict[str, float] = {}
    product: int = 1
    tool: int = 1
    tool_since_ms: int = 0
    cleaned_ms: int = 0
    total_offset: int = 0
    reject_offset: int = 0
    clock_offset_ms: int = 0
    hot_until_ms: int = 0
    reached_ms: int = 0


@dataclass(frozen=True, slots=True)
class StateChange:
    """From `time_ms` on the machine is in `state`."""

    time_ms: int
    state: MachineState
    reason: str


class SimulatedMachine:
    """Not thread-safe. Time only goes forward: call `advance` before reading anything."""

    def __init__(
        self, device: str, kind: Habits, schedule: Schedule, seed: int, *, cycle_s: float | None, speed: float = 1.0
    ) -> None:
        self.device = device
        self.kind = kind
        self.seed = seed_of(seed, device)
        self._schedule = schedule
        self._cycle_s = cycle_s or kind.cycle_s
        self._speed = speed
        self._week_ms = max(1000, round(_WEEK_MS / speed))
        self._cleans_in_breaks = seed_of(self.seed, "crew") % 2 == 0
        self._mean_kw = 0.75 * max(kind.power_kw.values(), default=0.0)
        self._bearing = None if kind.bearing is None else Bearing(kind.bearing, self.seed, speed)
        self.life: Life

    def begin(self, time_ms: int) -> None:
        """Start with the life that contains `time_ms`, and bring it there."""
        self._be_born(_MONDAY_MS + (time_ms - _MONDAY_MS) // self._week_ms * self._week_ms)
        self.advance(time_ms)

    def resume(self, life: Life, time_ms: int) -> None:
        """Go on with a saved life; it catches up with what happened since."""
        self.life = life
        self.advance(time_ms)

    def advance(self, time_ms: int) -> list[StateChange]:
        """Live until `time_ms`; an instant that has passed changes nothing. Returns the changes of state on the way."""
        life = self.life
        transitions: list[StateChange] = []
        while (boundary := self._boundary()) <= time_ms:
            before = (life.stretch.state, life.stretch.reason)
            self._close(boundary)
            if boundary >= life.ends_ms:
                self._be_born(boundary)
                life = self.life
            elif boundary >= life.stretch.end_ms:
                life.stretch = self._next(boundary)
            else:
                life.hot_until_ms = 0
                life.stretch.start_ms = boundary
            if (life.stretch.state, life.stretch.reason) != before:
                transitions.append(StateChange(boundary, life.stretch.state, life.stretch.reason))
        if time_ms > life.reached_ms:
            self._count(time_ms)
            life.reached_ms = time_ms
        return transitions

    # What the machine is told to do.

    def interrupt(self, time_ms: int, state: MachineState, reason: str, seconds: float) -> list[StateChange]:
        """Stop work now, for `seconds` of real time."""
        transitions = self.advance(time_ms)
        self._close(time_ms)
        self.life.stretch = Spell(state, reason, time_ms, time_ms + max(1, round(seconds * 1000)))
        return [*transitions, StateChange(time_ms, state, reason)]

    def overheat(self, time_ms: int, seconds: float) -> None:
        """Lose the coolant for `seconds`: what follows the state slowly gets much too hot."""
        self.advance(time_ms)
        self._close(time_ms)
        self.life.stretch.start_ms = time_ms
        self.life.hot_until_ms = time_ms + max(1, round(seconds * 1000))

    def move_counters(self, time_ms: int, *, by: int | None) -> None:
        """The part counters jump by `by`, or with None begin at 0 again, as after a controller's restart."""
        self.advance(time_ms)
        life = self.life
        if by is None:
            life.total_offset, life.reject_offset = -life.parts, -life.rejects
        else:
            life.total_offset += by

    def move_clock(self, time_ms: int, *, by_ms: int) -> None:
        """The controller's own clock, which some profiles read, jumps."""
        self.advance(time_ms)
        self.life.clock_offset_ms += by_ms

    # What can be read from it, at the instant it has reached.

    @property
    def state(self) -> MachineState:
        return self.life.stretch.state

    @property
    def next_change_ms(self) -> int:
        """When the present stretch ends; until then the state stays as it is, unless a fault is commanded."""
        return self._boundary()

    @property
    def is_hot(self) -> bool:
        return self.life.hot_until_ms > 0

    @property
    def total(self) -> int:
        """Parts made, good or not, since the counter's start; never wraps."""
        return self.life.parts + self.life.total_offset

    @property
    def rejects(self) -> int:
        return self.life.rejects + self.life.reject_offset

    def clock_ms(self, time_ms: int) -> int:
        """What its own clock shows at this instant."""
        return time_ms + self.life.clock_offset_ms

    def level(self, name: str) -> float:
        """A quantity that follows the state slowly."""
        lag = self.kind.lags[name]
        life = self.life
        target = lag.targets.get(life.stretch.state, lag.rest)
        tau_ms = lag.tau_s * 1000 / self._speed
        if life.stretch.state is MachineState.EXECUTE:
            target += lag.wear * self.wear(life.stretch.start_ms)
        if life.hot_until_ms and name.endswith("temperature"):
            target, tau_ms = target + _HEAT_K, tau_ms / _HEAT_HASTE
        elapsed_ms = life.reached_ms - life.stretch.start_ms
        return target + (life.levels.get(name, lag.rest) - target) * math.exp(-elapsed_ms / tau_ms)

    def wear(self, time_ms: int) -> float:
        """How far the bearing is damaged, 0 sound to 1 when it trips the machine."""
        return 0.0 if self._bearing is None else self._bearing.damage(time_ms)

    @property
    def power_kw(self) -> float:
        return self.kind.power_kw.get(self.state, 0.3)

    def metered_kw(self, time_ms: int) -> float:
        """What a meter shows at this instant."""
        return meters.power_kw(self._mean_kw, self.seed, time_ms, self._speed)

    def energy_kwh(self, time_ms: int) -> float:
        """What its counter shows."""
        return meters.energy_kwh(self._mean_kw, self.seed, time_ms, self._speed)

    def power_on_h(self, time_ms: int) -> float:
        return meters.hours(time_ms, self._speed)

    @property
    def cycle_s(self) -> float:
        """The present time for one part; 0 while nothing is made."""
        return self.life.stretch.cycle_ms / 1000

    # How it lives.

    def _boundary(self) -> int:
        life = self.life
        boundary = min(life.stretch.end_ms, life.ends_ms)
        return min(boundary, life.hot_until_ms) if life.hot_until_ms else boundary

    def _be_born(self, time_ms: int) -> None:
        dice = Dice(seed_of(self.seed, time_ms))
        self.life = Life(
            dice=dice.state,
            ends_ms=time_ms + self._week_ms,
            stretch=Spell(MachineState.STOPPED, "maintenance", time_ms, time_ms),
            levels={name: lag.rest for name, lag in self.kind.lags.items()},
            tool_since_ms=time_ms,
            cleaned_ms=time_ms,
            reached_ms=time_ms,
        )
        self.life.until_reject = self._draw_reject(dice)
        self.life.dice = dice.state
        self.life.stretch = self._next(time_ms)

    def _draw_reject(self, dice: Dice) -> int:
        return dice.geometric(self.kind.scrap) if self.kind.scrap > 0 else 1 << 62

    def _count(self, time_ms: int) -> None:
        life = self.life
        stretch = life.stretch
        if not stretch.cycle_ms:
            return
        counted = int(life.credit + (time_ms - stretch.start_ms) / stretch.cycle_ms)
        made, life.counted = counted - life.counted, max(counted, life.counted)
        if made <= 0:
            return
        life.parts += made
        if life.until_reject > made:
            life.until_reject -= made
            return
        dice = Dice(life.dice)
        while life.until_reject <= made:
            made -= life.until_reject
            life.rejects += 1
            life.until_reject = self._draw_reject(dice)
        life.until_reject -= made
        life.dice = dice.state

    def _close(self, time_ms: int) -> None:
        """Count the stretch up to `time_ms`, so that a new one can begin there."""
        life = self.life
        self._count(time_ms)
        life.reached_ms = time_ms
        levels = {name: self.level(name) for name in self.kind.lags}
        if life.stretch.cycle_ms:
            life.credit = (life.credit + (time_ms - life.stretch.start_ms) / life.stretch.cycle_ms) % 1.0
            life.counted = 0
        life.levels = levels

    def _next(self, time_ms: int) -> Spell:
        """What comes after the stretch that ended."""
        life = self.life
        dice = Dice(life.dice)
        try:
            chosen = self._choose(time_ms, life.stretch, dice)
        finally:
            life.dice = dice.state
        if self._bearing is not None:
            chosen.end_ms = min(chosen.end_ms, self._bearing.next_trip_ms(time_ms))
        return chosen

    def _choose(self, time_ms: int, before: Spell, dice: Dice) -> Spell:
        phase, phase_end_ms = (Phase.WORK, self.life.ends_ms) if self.kind.never_stops else self._schedule.at(time_ms)
        if phase is Phase.CLOSED:
            return Spell(MachineState.STOPPED, "closed", time_ms, phase_end_ms)
        if self._bearing is not None and (stop := self._bearing.stop_at(time_ms)) is not None:
            state, reason, end_ms = stop
            return Spell(state, reason, time_ms, end_ms)
        if phase is Phase.BREAK and not self.kind.works_through_breaks:
            return Spell(MachineState.IDLE, "break", time_ms, phase_end_ms)
        if before.reason in ("closed", "maintenance", REPAIR) and self.kind.warm_up_s:
            return self._pause(time_ms, MachineState.SETUP, "warm-up", self.kind.warm_up_s * dice.between(0.9, 1.2))
        if before.reason == "break":
            return self._pause(time_ms, MachineState.STOPPED, "handover", dice.between(*self.kind.handover_s))
        if before.then is not None and before.end_ms == time_ms:
            return self._interruption(time_ms, self.kind.interruptions[before.then], dice)
        latest_ms = self.life.ends_ms if self.kind.works_through_breaks else phase_end_ms
        if self.kind.cleaning_s and not self._cleans_in_breaks:
            due_ms = self.life.cleaned_ms + round(CLEAN_EVERY_S * 1000 / self._speed)
            if time_ms >= due_ms:
                cleaning = self._pause(time_ms, MachineState.STOPPED, "cleaning", self.kind.cleaning_s * dice.between(0.9, 1.2))
                self.life.cleaned_ms = cleaning.end_ms
                return cleaning
            latest_ms = min(latest_ms, due_ms)
        return self._work(time_ms, latest_ms, dice)

    def _work(self, time_ms: int, latest_ms: int, dice: Dice) -> Spell:
        waits = [dice.exponential(interruption.every_s) for interruption in self.kind.interruptions]
        cycle_ms = self._cycle_s * 1000 * dice.between(1.0, self.kind.slowest) / self._speed
        then = min(range(len(waits)), key=waits.__getitem__)
        end_ms = time_ms + max(1, round(waits[then] * 1000 / self._speed))
        if end_ms < latest_ms:
            return Spell(MachineState.EXECUTE, "", time_ms, end_ms, cycle_ms, then)
        return Spell(MachineState.EXECUTE, "", time_ms, max(latest_ms, time_ms + 1), cycle_ms)

    def _interruption(self, time_ms: int, what: Interruption, dice: Dice) -> Spell:
        if what.state is MachineState.SETUP:
            self.life.tool = self.life.tool % 24 + 1
            self.life.tool_since_ms = time_ms
            self.life.product += 1
        # Most interruptions are short: the square of an even chance leans towards the least.
        return self._pause(time_ms, what.state, what.reason, what.least_s + (what.most_s - what.least_s) * dice.uniform() ** 2)

    def _pause(self, time_ms: int, state: MachineState, reason: str, seconds: float) -> Spell:
        return Spell(state, reason, time_ms, time_ms + max(1, round(seconds * 1000 / self._speed)))
