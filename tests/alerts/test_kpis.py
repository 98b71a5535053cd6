"""The figures of alerts.md B5 against events of which each was reckoned by hand."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_alerts.kpis import Frequent, Kpis, Standing, TimedEvent, kpis
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EventCause, IsaState, Priority

T0 = 1_760_486_400_000
"""2025-10-15T00:00:00Z."""
HOUR = 3600


def told(second: float, alert: str, cause: str, to: str, was: str = "NORM", *, priority: str = "high") -> TimedEvent:
    at = format_timestamp(T0 + round(second * 1000))
    event = AlertEvent(
        event_seq=1,
        alert_id=alert,
        rule=alert.partition(".")[0],
        line="line1",
        from_state=IsaState(was),
        to_state=IsaState(to),
        cause=EventCause(cause),
        timestamp=at,
        source_timestamp=at,
        priority=Priority(priority),
    )
    return TimedEvent(event)


def raised(second: float, alert: str = "hot.A", **more: Any) -> TimedEvent:
    return told(second, alert, "condition", "UNACK", **more)


def cleared(second: float, alert: str = "hot.A") -> TimedEvent:
    return told(second, alert, "clear", "RTNUN", "UNACK")


def acked(second: float, alert: str = "hot.A", to: str = "ACKED") -> TimedEvent:
    return told(second, alert, "ack", to, "UNACK")


def of(
    *events: TimedEvent, hours: float = 1, earlier: dict[str, TimedEvent] | None = None, response_s: dict[str, float] | None = None
) -> Kpis:
    return kpis(earlier or {}, events, T0, T0 + round(hours * HOUR * 1000), response_s)


def test_only_what_was_announced_is_counted() -> None:
    found = of(
        raised(10),
        acked(20),
        told(30, "hot.A", "clear", "NORM", "ACKED"),
        told(40, "hot.B", "condition", "DSUPR", "DSUPR"),
        told(50, "hot.C", "condition", "SHLVD", "SHLVD"),
        told(60, "hot.D", "comment", "NORM"),
        raised(70, "hot.E", was="RTNUN"),
        hours=2,
    )
    assert (found.alerts, found.per_hour) == (2, 1.0)


def test_an_empty_period_has_no_shares_and_one_that_has_not_begun_no_rate() -> None:
    empty = of()
    assert (empty.alerts, empty.per_hour, empty.frequent_share, empty.peak_share) == (0, 0.0, None, 0.0)
    future = kpis({}, (), T0, T0)
    assert (future.per_hour, future.peak_share, future.flood_share) == (None, None, None)


def test_peak_and_flood_in_bins_of_ten_minutes() -> None:
    # 11 in the first bin, 6 in the second, 4 in the third, 10 in the fifth: a flood of two bins out of six.
    bins = {0: 11, 1: 6, 2: 4, 4: 10}
    events = [raised(number * 600 + index, f"hot.{number}-{index}") for number, count in bins.items() for index in range(count)]
    found = of(*events)
    assert (found.peak_10_min, found.peak_share, found.flood_share) == (11, 1 / 6, 2 / 6)


def test_bad_actors_come_by_count_with_their_share() -> None:
    events = [raised(index * 100, f"r{index % 3}.A") for index in range(10)] + [raised(2000, "r0.A"), raised(2100, "r0.A")]
    found = of(*events)
    assert found.frequent == [Frequent("r0.A", 6, 6 / 12), Frequent("r1.A", 3, 3 / 12), Frequent("r2.A", 3, 3 / 12)]
    assert found.frequent_share == 1.0
    many = of(*(raised(index, f"r{index:02}.A") for index in range(12)))
    assert len(many.frequent) == 10
    assert many.frequent_share == pytest.approx(10 / 12)


@pytest.mark.parametrize(
    ("seconds", "most"),
    [((0, 30, 60), 3), ((0, 30, 61), None), ((0, 100, 120, 140, 160), 4), ((0, 59), None)],
)
def test_three_activations_within_a_minute_are_chattering(seconds: tuple[int, ...], most: int | None) -> None:
    found = of(*(each for second in seconds for each in (raised(second, was="RTNUN"), cleared(second + 1))))
    assert found.chattering == ({} if most is None else {"hot.A": most})


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ((raised(0), cleared(9.9)), 1),
        ((raised(0), cleared(10)), 0),
        ((raised(0), cleared(5), raised(60, was="RTNUN"), cleared(65)), 0),
        ((raised(0), cleared(5), raised(66, was="RTNUN"), cleared(80)), 1),
        ((raised(0), cleared(5), raised(0, "hot.B"), cleared(5, "hot.B")), 2),
    ],
)
def test_fleeting_is_over_within_ten_seconds_and_does_not_come_again_within_a_minute(
    events: tuple[TimedEvent, ...], count: int
) -> None:
    assert of(*events).fleeting == count


def test_standing_is_longer_than_a_day_whenever_it_began() -> None:
    day = 24 * HOUR
    found = of(
        raised(HOUR, "ended.A"),
        told(2 * HOUR, "old.A", "clear", "NORM", "ACKED"),
        cleared(26 * HOUR, "ended.A"),
        raised(30 * HOUR, "young.A"),
        hours=48,
        earlier={
            "old.A": raised(-25 * HOUR, "old.A"),
            "still.A": raised(-HOUR, "still.A"),
            "fresh.A": raised(23 * HOUR + day, "fresh.A"),
        },
    )
    assert found.standing == [
        Standing("old.A", T0 - 25 * HOUR * 1000, T0 + 2 * HOUR * 1000),
        Standing("still.A", T0 - HOUR * 1000, None),
        Standing("ended.A", T0 + HOUR * 1000, T0 + 26 * HOUR * 1000),
    ]


def test_late_is_who_answers_after_the_response_time_of_the_rule_or_not_at_all() -> None:
    found = of(
        raised(0, "hot.A"), acked(300, "hot.A"),  # in time, to the second
        raised(0, "hot.B"), acked(301, "hot.B"),  # late
        raised(0, "hot.C"),  # never: late as well
        raised(3500, "hot.D"),  # still in time at the end
        raised(0, "free.A"), acked(3000, "free.A"),  # a rule without a response time
        raised(0, "hot.E"), told(10, "hot.E", "shelve", "SHLVD", "UNACK"),  # hidden: nobody owes an answer
        response_s={"hot": 300},
    )  # fmt: skip
    assert (found.acknowledged, found.acknowledged_late, found.not_acknowledged) == (3, 2, 2)
    assert found.shelved == 1


def test_what_comes_again_before_it_was_answered_is_one_question() -> None:
    found = of(raised(0), cleared(10), raised(200, was="RTNUN"), acked(301), response_s={"hot": 300})
    assert (found.alerts, found.acknowledged, found.acknowledged_late, found.not_acknowledged) == (2, 1, 1, 0)


def test_shares_by_priority_add_up_to_all() -> None:
    found = of(
        raised(0), raised(1, "b.A", priority="low"), raised(2, "c.A", priority="low"), told(9, "d.A", "out_of_service", "OOSRV")
    )
    assert found.by_priority == {Priority.HIGH: 1, Priority.LOW: 2}
    assert sum(found.by_priority.values()) == found.alerts
    assert found.taken_out_of_service == 1
