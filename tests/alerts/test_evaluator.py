"""What observations do to an alert: thresholds, silence, the link, and all of them over a restart."""

from dataclasses import dataclass, field

import msgspec
import pytest

from millrace_alerts.alert import Alert, Description, Transition
from millrace_alerts.changes import Terms, act
from millrace_alerts.conditions import Condition, Limit, Silence, Unreachable
from millrace_alerts.evaluator import evaluate
from millrace_alerts.lifecycle import Acknowledge, Shelf, Shelve
from millrace_alerts.observations import Inhibit, Link, Observation, Reading, Resume, Seen, Tick
from millrace_alerts.rules import Watched
from millrace_alerts.timer import Delays
from millrace_contract.language.words import AlertClass, Evaluation, IsaState, Priority

T0 = 1_760_000_000_000


@dataclass
class Run:
    """An alert fed with observations; times in seconds after T0."""

    condition: Condition
    delays: Delays = field(default_factory=Delays)
    latching: bool = False
    alert: Alert = field(default_factory=lambda: Alert(id="r.D", rule="r", line="line1", device_id="D"))
    transitions: list[Transition] = field(default_factory=list)

    def feed(self, *observations: Observation) -> "Run":
        watched = Watched(
            "r.D",
            "r",
            "line1",
            "D",
            self.condition,
            Terms(self.delays, self.latching),
            Description("t", AlertClass.ALARM, Priority.HIGH),
        )
        for observation in observations:
            self.alert, made = evaluate(self.alert, watched, observation)
            self.transitions += made
            # What survives a restart is what was encoded: every step is also a restart.
            self.alert = msgspec.json.decode(msgspec.json.encode(self.alert), type=Alert)
        return self

    @property
    def story(self) -> list[tuple[str, str, float]]:
        return [(t.cause, t.alert.state, (t.source_ms - T0) / 1000) for t in self.transitions]


def at(seconds: float) -> int:
    return T0 + round(seconds * 1000)


def read(seconds: float, value: float | str | None, *, uncertain: bool = False, holds_s: float | None = None) -> Reading:
    return Reading(at(seconds), value, uncertain, None if holds_s is None else round(holds_s * 1000))


HIGH = Limit("temperature", 85.0, 3.0, high=True)


def test_threshold_records_since_activation_value_and_occurrence() -> None:
    run = Run(HIGH, Delays(on_ms=2_000, fresh_ms=5_000)).feed(read(0, 86.0), read(1, 88.0), read(2, 90.0))
    alert = run.alert
    assert (alert.state, alert.condition_since_ms, alert.activated_ms, alert.value) == (IsaState.UNACK, at(0), at(2), 90.0)
    assert alert.occurrence == f"r.D.{at(2)}"


def test_alarm_by_timer_has_the_value_that_stood_at_its_time() -> None:
    run = Run(HIGH, Delays(on_ms=2_000, fresh_ms=5_000)).feed(read(0, 86.0), read(4, 70.0))
    assert run.story == [("condition", IsaState.UNACK, 2.0), ("clear", IsaState.RTNUN, 4.0)]
    assert [t.alert.value for t in run.transitions] == [86.0, 70.0]


def test_delay_goes_on_while_a_reading_holds_that_its_sender_promised() -> None:
    run = Run(HIGH, Delays(on_ms=90_000, fresh_ms=5_000)).feed(read(0, 86.0, holds_s=120), read(60, 87.0, holds_s=120))
    assert run.feed(Tick(at(89))).story == []
    assert run.feed(Tick(at(91))).story == [("condition", IsaState.UNACK, 90.0)]
    assert run.feed(Tick(at(180))).alert.evaluation is Evaluation.GOOD
    assert run.feed(Tick(at(181))).alert.evaluation is Evaluation.STALE


def test_delay_stands_still_where_a_promise_was_not_kept() -> None:
    run = Run(HIGH, Delays(on_ms=30_000, fresh_ms=60_000)).feed(read(0, 86.0, holds_s=10), Tick(at(50)), read(50, 86.0))
    assert run.feed(Tick(at(69))).story == []
    assert run.feed(Tick(at(71))).story == [("condition", IsaState.UNACK, 70.0)]


def test_late_data_never_raise_an_alarm() -> None:
    run = Run(HIGH).feed(read(10, 20.0), read(5, 200.0), read(10, 200.0))
    assert run.story == []
    assert run.alert.seen_ms == at(10)


@pytest.mark.parametrize(
    ("value", "evaluation"), [(None, Evaluation.BAD), ("E17", Evaluation.NOT_A_NUMBER), (20.0, Evaluation.GOOD)]
)
def test_rule_that_cannot_be_evaluated_says_why(value: float | str | None, evaluation: Evaluation) -> None:
    assert Run(HIGH).alert.evaluation is Evaluation.NEVER_SEEN
    assert Run(HIGH).feed(read(0, value)).alert.evaluation is evaluation


def test_uncertain_data_are_evaluated_and_marked() -> None:
    run = Run(HIGH).feed(read(0, 90.0, uncertain=True))
    assert (run.alert.state, run.alert.evaluation) == (IsaState.UNACK, Evaluation.UNCERTAIN)


def test_data_grow_stale_by_the_clock_and_the_alert_stays() -> None:
    run = Run(HIGH, Delays(fresh_ms=5_000)).feed(read(0, 90.0), Tick(at(5)))
    assert run.alert.evaluation is Evaluation.GOOD
    run.feed(Tick(at(5.001)), Tick(at(3_600)))
    assert (run.alert.evaluation, run.alert.state) == (Evaluation.STALE, IsaState.UNACK)


def test_blind_tick_lets_no_delay_run_out() -> None:
    run = Run(HIGH, Delays(on_ms=2_000, fresh_ms=5_000)).feed(read(0, 90.0), Tick(at(3), blind=True))
    assert run.story == []
    assert run.feed(Tick(at(3))).story == [("condition", IsaState.UNACK, 2.0)]


def test_shelf_expires_by_the_clock_even_when_blind() -> None:
    run = Run(HIGH).feed(read(0, 90.0))
    run.alert, _ = act(run.alert, Shelve(Shelf("anna", "test", at(1), at(60))), at(1), actor="anna")
    run.feed(Tick(at(59.999), blind=True))
    assert run.alert.state is IsaState.SHLVD
    run.feed(Tick(at(70), blind=True))
    assert run.story[-1] == ("shelf_expired", IsaState.UNACK, 60.0)


def test_evaluation_goes_on_while_shelved() -> None:
    run = Run(HIGH)
    run.alert, _ = act(run.alert, Shelve(Shelf("anna", "test", at(0), at(60))), at(0), actor="anna")
    run.feed(read(1, 90.0), read(2, 20.0))
    assert run.story == [("condition", IsaState.SHLVD, 1.0), ("clear", IsaState.SHLVD, 2.0)]


def test_acknowledgement_is_kept_with_its_name_and_lost_when_it_comes_back() -> None:
    run = Run(HIGH).feed(read(0, 90.0))
    run.alert, made = act(run.alert, Acknowledge(), at(1), actor="anna", comment="seen", via="mes")
    assert (run.alert.acked_by, run.alert.acked_ms, made[0].via) == ("anna", at(1), "mes")
    run.feed(read(2, 20.0), read(3, 90.0))
    assert (run.alert.acked_by, run.alert.state, run.alert.facts.occurrence) == (None, IsaState.UNACK, 2)


def test_latching_alert_waits_for_its_reset() -> None:
    run = Run(HIGH, latching=True).feed(read(0, 90.0), read(1, 20.0))
    assert run.alert.state is IsaState.LATCH_UNACK


SILENCE = Silence(None, 60_000)


def test_silence_is_an_alert_at_the_moment_it_became_too_long() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Tick(at(59.999)))
    assert run.story == []
    run.feed(Tick(at(61)), Seen(at(70)))
    assert run.story == [("condition", IsaState.UNACK, 60.0), ("clear", IsaState.RTNUN, 70.0)]


def test_silence_of_a_device_never_heard_counts_from_the_first_look() -> None:
    run = Run(SILENCE).feed(Tick(at(0)), Tick(at(59)))
    assert run.story == []
    assert run.feed(Tick(at(60))).story == [("condition", IsaState.UNACK, 60.0)]


def test_silence_is_found_without_ticks_when_the_next_reading_comes_late() -> None:
    assert Run(SILENCE).feed(Seen(at(0)), Seen(at(100))).story == [
        ("condition", IsaState.UNACK, 60.0),
        ("clear", IsaState.RTNUN, 100.0),
    ]


def test_reading_at_the_last_moment_prevents_the_alert() -> None:
    assert Run(SILENCE).feed(Seen(at(0)), Seen(at(60)), Tick(at(60))).story == []


def test_silence_on_and_off_delays_add_to_it() -> None:
    run = Run(SILENCE, Delays(on_ms=5_000, off_ms=10_000)).feed(Seen(at(0)), Tick(at(64.999)))
    assert run.story == []
    run.feed(Tick(at(65)), Seen(at(70)), Seen(at(75)), Tick(at(80)))
    assert run.story == [("condition", IsaState.UNACK, 65.0), ("clear", IsaState.RTNUN, 80.0)]
    assert run.transitions[0].alert.condition_since_ms == at(60)


def test_offline_device_raises_no_missing_data() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Inhibit(at(10), on=True), Tick(at(3_600)))
    assert run.story == []
    assert run.alert.evaluation is Evaluation.INHIBITED


def test_device_that_came_back_gets_its_time_to_send() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Inhibit(at(10), on=True), Inhibit(at(1_000), on=False), Tick(at(1_059)))
    assert run.story == []
    assert run.feed(Tick(at(1_060))).story == [("condition", IsaState.UNACK, 1_060.0)]


def test_offline_hides_an_open_missing_data_alert_and_its_end_is_quiet() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Tick(at(60)), Inhibit(at(62), on=True))
    states = [run.alert.state]
    run.feed(Inhibit(at(100), on=False), Tick(at(101)))
    states.append(run.alert.state)
    run.feed(Seen(at(102)))
    assert [*states, run.alert.state] == [IsaState.DSUPR, IsaState.DSUPR, IsaState.NORM]


def test_hidden_missing_data_shows_when_the_device_is_back_and_still_silent() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Tick(at(60)), Inhibit(at(62), on=True), Inhibit(at(100), on=False), Tick(at(160)))
    assert run.alert.state is IsaState.UNACK


def test_our_own_absence_is_not_the_devices_silence() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Resume(gap_ms=600_000, earliest_ms=at(0)), Tick(at(659)))
    assert run.story == []
    assert run.feed(Tick(at(660))).story == [("condition", IsaState.UNACK, 660.0)]


def test_after_our_absence_every_device_gets_a_grace() -> None:
    run = Run(SILENCE).feed(Seen(at(0)), Resume(gap_ms=1_000, earliest_ms=at(104)), Tick(at(103)))
    assert run.story == []
    assert run.feed(Tick(at(104))).story == [("condition", IsaState.UNACK, 104.0)]


def test_link_waits_for_its_delay_and_clears_when_back() -> None:
    run = Run(Unreachable(), Delays(on_ms=10_000)).feed(Link(at(0), offline=True), Tick(at(9)), Link(at(9.5), offline=False))
    assert run.story == []
    run.feed(Link(at(20), offline=True), Tick(at(30)), Link(at(90), offline=False))
    assert run.story == [("condition", IsaState.UNACK, 30.0), ("clear", IsaState.RTNUN, 90.0)]


def test_link_that_was_down_before_we_looked_is_dated_by_its_gateway() -> None:
    run = Run(Unreachable(), Delays(on_ms=10_000)).feed(Link(at(-3_600), offline=True), Tick(at(0)))
    assert run.story == [("condition", IsaState.UNACK, -3_590.0)]
