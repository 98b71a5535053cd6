"""When ages can be believed."""

import pytest

from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.age_guard import HOLD_S, AgeGuard

DAY_MS = 86_400_000


def _known(*steps: tuple[float, int]) -> bool:
    """Whether ages are known at the end, after these steps of both clocks: (seconds that passed, what the set clock leapt by)."""
    guard, now = AgeGuard(), Now(50.0, 1_760_000_000_000)
    known = guard.are_ages_known(now)
    for passed_s, leapt_ms in steps:
        now = Now(now.monotonic_s + passed_s, now.epoch_ms + round(passed_s * 1000) + leapt_ms)
        known = guard.are_ages_known(now)
    return known


@pytest.mark.parametrize(
    ("steps", "known"),
    [
        ([], False),
        ([(HOLD_S - 1, 0)], False),
        ([(HOLD_S, 0)], True),
        ([(2 * HOLD_S, 0), (1, 59_000)], True),  # a clock that is put right
        ([(2 * HOLD_S, 0), (1, 31 * DAY_MS)], False),
        ([(2 * HOLD_S, 0), (86_400, 31 * DAY_MS)], False),  # seen late is seen all the same
        ([(2 * HOLD_S, 0), (1, 31 * DAY_MS), (1, -31 * DAY_MS)], False),
        ([(2 * HOLD_S, 0), (1, 31 * DAY_MS), (HOLD_S, 0)], True),
        ([(2 * HOLD_S, 0), (1, -31 * DAY_MS)], True),  # what lies in the future is not old
    ],
)
def test_nothing_is_old_in_the_hour_after_a_start_or_a_leap_ahead(steps: list[tuple[float, int]], *, known: bool) -> None:
    assert _known(*steps) is known
