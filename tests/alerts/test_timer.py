"""Limits, deadbands and delays in event time: the edges that other engines get wrong."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_alerts.timer import Delays, Flip, Timer, Wish, advance, due_at, interrupt, observe, threshold_wish

LIMIT, DEADBAND = 85.0, 3.0


@pytest.mark.parametrize(
    ("value", "high", "wish"),
    [
        (85.0, True, Wish.SET),  # at the limit counts
        (84.999, True, Wish.KEEP),  # the deadband never delays activation, and keeps what is active
        (82.0, True, Wish.KEEP),  # clears strictly below limit - deadband
        (81.999, True, Wish.CLEAR),
        (85.0, False, Wish.SET),
        (85.001, False, Wish.KEEP),
        (88.0, False, Wish.KEEP),
        (88.001, False, Wish.CLEAR),
    ],
)
def test_limit_and_deadband(value: float, high: bool, wish: Wish) -> None:
    assert threshold_wish(value, LIMIT, DEADBAND, high=high) is wish


def test_without_deadband_just_below_the_limit_clears() -> None:
    assert threshold_wish(84.999, LIMIT, 0.0, high=True) is Wish.CLEAR


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_low_limit_is_the_mirror_image_of_the_high_one(value: float, limit: float, deadband: float) -> None:
    assert threshold_wish(value, limit, deadband, high=True) is threshold_wish(-value, -limit, deadband, high=False)


@dataclass
class Run:
    """A condition fed step by step, and what it did."""

    delays: Delays
    timer: Timer = field(default_factory=Timer)
    flips: list[tuple[bool, int, int]] = field(default_factory=list)

    def see(self, at_s: float, wish: str) -> "Run":
        return self._keep(observe(self.timer, Wish(wish), round(at_s * 1000), self.delays))

    def bad(self, at_s: float) -> "Run":
        return self._keep(interrupt(self.timer, round(at_s * 1000), self.delays))

    def tick(self, at_s: float) -> "Run":
        return self._keep(advance(self.timer, round(at_s * 1000), self.delays))

    def _keep(self, outcome: tuple[Timer, tuple[Flip, ...]]) -> "Run":
        self.timer, flips = outcome
        self.flips += [(flip.active, flip.at_ms, flip.since_ms) for flip in flips]
        return self


FIVE_ON = Delays(on_ms=5_000, fresh_ms=3_000)


def test_no_delay_flips_at_the_reading_itself() -> None:
    assert Run(Delays()).see(1, "set").see(2, "clear").flips == [(True, 1000, 1000), (False, 2000, 2000)]


def test_on_delay_counts_event_time_from_the_first_reading_beyond_the_limit() -> None:
    run = Run(FIVE_ON)
    for second in range(6):
        run.see(second, "set")
    assert run.flips == [(True, 5000, 0)]


def test_activation_time_is_when_the_delay_ran_out_not_when_a_reading_came() -> None:
    run = Run(Delays(on_ms=5_000, fresh_ms=30_000)).see(0, "set").see(12, "set")
    assert run.flips == [(True, 5000, 0)]


def test_two_second_rule_does_not_fire_on_one_second() -> None:
    run = Run(Delays(on_ms=2_000, fresh_ms=3_000)).see(0, "set").see(1, "clear").tick(60)
    assert run.flips == []


def test_contrary_reading_at_the_very_end_of_the_delay_breaks_it() -> None:
    assert Run(Delays(on_ms=2_000, fresh_ms=3_000)).see(0, "set").see(2, "clear").flips == []


def test_timer_fires_without_a_new_reading_while_the_data_are_fresh() -> None:
    run = Run(Delays(on_ms=2_000, fresh_ms=3_000)).see(0, "set")
    assert run.tick(1.999).flips == []
    assert run.tick(2).flips == [(True, 2000, 0)]


def test_timer_stands_still_in_a_gap_of_the_data() -> None:
    run = Run(FIVE_ON).see(0, "set").tick(3_600)
    assert run.flips == []
    assert due_at(run.timer, FIVE_ON) is None


def test_after_a_gap_the_timer_goes_on_and_does_not_count_the_gap() -> None:
    run = Run(FIVE_ON).see(0, "set").see(100, "set")  # 3 s were held before the gap
    assert run.flips == []
    assert run.tick(101.999).flips == []
    assert run.tick(102).flips == [(True, 102_000, 0)]


def test_value_back_to_normal_after_a_gap_raises_nothing() -> None:
    assert Run(FIVE_ON).see(0, "set").see(100, "clear").tick(200).flips == []


def test_bad_quality_stops_the_timer_until_the_next_good_reading() -> None:
    run = Run(FIVE_ON).see(0, "set").bad(1).tick(50).see(60, "set").tick(63.999)
    assert run.flips == []
    assert run.see(63, "set").tick(64).flips == [(True, 64_000, 0)]


def test_bad_quality_never_clears_an_active_alert() -> None:
    run = Run(Delays(off_ms=1_000, fresh_ms=3_000)).see(0, "set").bad(1).tick(3_600)
    assert run.timer.active


def test_off_delay_needs_an_unbroken_clear() -> None:
    run = Run(Delays(off_ms=10_000, fresh_ms=20_000)).see(0, "set").see(1, "clear").see(6, "keep").see(8, "clear")
    run.tick(17.999)
    assert run.flips == [(True, 0, 0)]
    assert run.tick(18).flips[1:] == [(False, 18_000, 8_000)]


def test_deadband_breaks_a_pending_activation_too() -> None:
    run = Run(Delays(on_ms=5_000, fresh_ms=20_000)).see(0, "set").see(4, "keep").see(5, "set").tick(9.999)
    assert run.flips == []


def test_one_reading_can_show_an_overdue_flip_and_make_another() -> None:
    run = Run(Delays(on_ms=2_000, fresh_ms=30_000)).see(0, "set").see(10, "clear")
    assert run.flips == [(True, 2000, 0), (False, 10_000, 10_000)]


def test_shortening_a_delay_fires_what_is_already_due() -> None:
    long = Run(Delays(on_ms=60_000, fresh_ms=3_000))
    for second in range(20):
        long.see(second, "set")
    assert Run(Delays(on_ms=5_000, fresh_ms=3_000), long.timer).tick(19).flips == [(True, 19_000, 0)]


STEPS = st.lists(st.tuples(st.integers(1, 8_000), st.sampled_from(["set", "clear", "keep", "bad"])), max_size=40)


@given(STEPS, st.integers(0, 12_000), st.integers(0, 12_000), st.integers(1_000, 6_000))
def test_ticks_in_between_change_nothing(steps: list[tuple[int, str]], on_ms: int, off_ms: int, fresh_ms: int) -> None:
    """A timer that is asked often and one that is asked never tell the same story: replay equals live."""
    delays = Delays(on_ms, off_ms, fresh_ms)
    silent, ticked = Run(delays), Run(delays)
    now_ms = 0
    for gap_ms, what in steps:
        for passed in range(0, gap_ms, 500):
            ticked.tick((now_ms + passed) / 1000)
        now_ms += gap_ms
        for run in (silent, ticked):
            run.bad(now_ms / 1000) if what == "bad" else run.see(now_ms / 1000, what)
    for run in (silent, ticked):
        run.tick(now_ms / 1000 + 100)
    assert silent.flips == ticked.flips


@given(STEPS, st.integers(0, 12_000), st.integers(0, 12_000), st.integers(1_000, 6_000))
def test_flips_alternate_and_respect_their_delay(steps: list[tuple[int, str]], on_ms: int, off_ms: int, fresh_ms: int) -> None:
    run = Run(Delays(on_ms, off_ms, fresh_ms))
    now_ms = 0
    for gap_ms, what in steps:
        now_ms += gap_ms
        run.bad(now_ms / 1000) if what == "bad" else run.see(now_ms / 1000, what)
    active, last_ms = False, 0
    for became, at_ms, since_ms in run.flips:
        assert became is not active
        assert at_ms >= last_ms
        assert at_ms - since_ms >= (on_ms if became else off_ms)
        active, last_ms = became, at_ms
