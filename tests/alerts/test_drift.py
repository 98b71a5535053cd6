"""A bearing is seen days before it fails, on a real run to failure; and what is harmless is not."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from millrace_alerts.alert import Alert
from millrace_alerts.lifecycle import NothingLearnt
from millrace_alerts.relearning import learnt_anew
from millrace_contract.language.words import Evaluation, EventCause, IsaState

from .bearing_runs import END_MS, HOUR_MS, RUN, SPAN_MS, WEEK_MS, Rule, hours_before_the_end, sound
from .plantfiles import START_MS


class TestRunToFailure:
    def test_the_failing_bearing_is_seen_three_days_before_and_stays_raised(self) -> None:
        rule = Rule().tell(RUN[1])
        assert hours_before_the_end(rule) >= 72
        assert rule.cleared_ms == []

    @pytest.mark.parametrize("bearing", [2, 3, 4])
    def test_the_others_are_silent_until_they_feel_what_the_first_does(self, bearing: int) -> None:
        first, other = Rule().tell(RUN[1]), Rule().tell(RUN[bearing])
        assert other.activated_ms[0] > first.activated_ms[0]

    def test_a_kill_after_any_reading_changes_nothing(self) -> None:
        assert Rule().tell(RUN[1], restart_every=1).activated_ms == Rule().tell(RUN[1]).activated_ms

    def test_what_is_told_twice_or_too_late_changes_nothing(self) -> None:
        twice = [each for reading in RUN[1] for each in (reading, reading, (reading[0] - SPAN_MS, 99.0))]
        rule = Rule().tell(twice)
        assert rule.activated_ms == Rule().tell(RUN[1]).activated_ms
        assert rule.memory == Rule().tell(RUN[1]).memory

    @pytest.mark.parametrize("at_share", [0.1, 0.3, 0.5])
    def test_a_week_without_readings_neither_raises_nor_costs_the_lead(self, at_share: float) -> None:
        cut = round(len(RUN[1]) * at_share)
        later = [(at_ms + WEEK_MS, value) for at_ms, value in RUN[1][cut:]]
        rule = Rule().tell([*RUN[1][:cut], *later])
        assert rule.activated_ms[0] in {at_ms + WEEK_MS for at_ms in Rule().tell(RUN[1]).activated_ms}

    @pytest.mark.parametrize("off_days", [1, 4])
    def test_days_with_the_machine_off_are_no_days(self, off_days: int) -> None:
        """They neither clear an alert nor raise one, and are not learnt as normal."""
        with_stops: list[tuple[int, float]] = []
        shift_ms = 0
        for index, (at_ms, value) in enumerate(RUN[1]):
            if index and index % 150 == 0:
                spans = off_days * 24 * 6
                with_stops += [(at_ms + shift_ms + each * SPAN_MS, 0.002) for each in range(spans)]
                shift_ms += spans * SPAN_MS
            with_stops.append((at_ms + shift_ms, value))
        rule, plain = Rule().tell(with_stops), Rule().tell(RUN[1])
        assert len(rule.activated_ms) == 1
        assert rule.cleared_ms == []
        assert rule.memory.baseline is not None
        assert plain.memory.baseline is not None
        assert rule.memory.baseline.mean == pytest.approx(plain.memory.baseline.mean, rel=1e-2)

    def test_what_the_machine_does_after_it_was_switched_off_is_not_evaluated(self) -> None:
        rule = Rule().tell([*RUN[1], *((END_MS + (1 + each) * SPAN_MS, 0.0) for each in range(200))])
        assert rule.cleared_ms == []
        assert rule.alert.evaluation is Evaluation.PAUSED


class TestHarmless:
    @pytest.mark.long
    @pytest.mark.parametrize("step", [0.0, 0.03, 0.1, 0.2, 0.35])
    def test_a_level_that_steps_and_stays_raises_nothing(self, step: float) -> None:
        raised = [seed for seed in range(30) if Rule().tell(sound(1000, seed, step=step, at=500)).activated_ms]
        assert len(raised) <= 1, raised

    def test_a_step_beyond_what_is_severe_does(self) -> None:
        assert Rule().tell(sound(600, 1, step=0.6, at=500)).activated_ms

    def test_growth_after_a_harmless_step_is_seen(self) -> None:
        stepped = sound(700, 3, step=0.1, at=400)
        growing = [(at_ms, value * (1 + max(0, number - 550) * 0.001)) for number, (at_ms, value) in enumerate(stepped)]
        rule = Rule().tell(growing)
        assert rule.activated_ms
        assert rule.activated_ms[0] > stepped[550][0]

    def test_falling_is_seen_where_falling_is_bad(self) -> None:
        falling = [(at_ms, value * (1 - max(0, number - 300) * 0.001)) for number, (at_ms, value) in enumerate(sound(500, 4))]
        assert Rule(direction="down").tell(falling).activated_ms
        assert not Rule().tell(falling).activated_ms

    def test_an_alert_ends_once_the_level_is_normal_again(self) -> None:
        grown = [(at_ms, value * (1 + max(0, number - 300) * 0.002)) for number, (at_ms, value) in enumerate(sound(450, 5))]
        mended = [(at_ms + 450 * SPAN_MS, value) for at_ms, value in sound(200, 6)]
        rule = Rule().tell([*grown, *mended])
        assert len(rule.activated_ms) == len(rule.cleared_ms) == 1

    @pytest.mark.parametrize("level", [1.0, 0.1, -5.0])
    def test_a_register_that_never_moves_is_no_reason(self, level: float) -> None:
        constant = [(START_MS + number * SPAN_MS, level) for number in range(600)]
        assert not Rule(off_below=-100).tell(constant).activated_ms


class TestLearningAnew:
    def test_after_a_repair_the_new_normal_is_learnt_under_the_next_version_and_the_alert_ends(self) -> None:
        rule = Rule().tell(sound(400, 1, step=0.6, at=300))
        assert rule.alert.state is IsaState.UNACK
        before = rule.alert
        rule.alert, (made,) = learnt_anew(rule.alert, START_MS + WEEK_MS, actor="maria", comment="new bearing")
        assert (made.cause, made.from_state, rule.alert.state) == (EventCause.LEARN, IsaState.UNACK, IsaState.RTNUN)
        assert (rule.memory.version, rule.memory.baseline, rule.alert.version) == (2, None, before.version + 1)
        rule.tell([(at_ms + WEEK_MS, value * 1.6) for at_ms, value in sound(400, 7)])
        assert rule.memory.baseline is not None
        assert rule.memory.baseline.mean == pytest.approx(0.07 * 1.6, rel=0.02)
        assert not rule.alert.facts.in_alarm

    def test_a_kind_that_learns_nothing_says_so(self) -> None:
        with pytest.raises(NothingLearnt, match="learns nothing, or has not begun to"):
            learnt_anew(Alert(id="hot.M", rule="hot", line="line1", device_id="M"), END_MS)


class TestLearning:
    def test_until_it_has_learnt_it_says_so_and_raises_nothing(self) -> None:
        rule = Rule().tell(sound(150, 1, step=1.0, at=100))
        assert rule.alert.evaluation is Evaluation.LEARNING
        assert not rule.activated_ms

    def test_a_few_outliers_are_no_part_of_what_is_normal(self) -> None:
        spoiled = [(at_ms, value * (3 if number % 40 == 7 else 1)) for number, (at_ms, value) in enumerate(sound(260, 2))]
        baseline = Rule().tell(spoiled).memory.baseline
        assert baseline is not None
        assert baseline.mean == pytest.approx(0.07, rel=0.02)
        assert baseline.deviation < 0.002

    def test_what_is_remembered_does_not_grow(self) -> None:
        rule = Rule()
        sizes = [
            len(msgspec.json.encode(rule.tell(part).alert)) for part in (sound(300, 1), sound(900, 1)[300:], sound(2000, 1)[900:])
        ]
        assert max(sizes) < 1200

    def test_readings_of_one_span_count_as_their_mean(self) -> None:
        many = [(at_ms + each * 1000, value) for at_ms, value in sound(260, 2) for each in range(5)]
        few = Rule().tell(sound(260, 2)).memory.baseline
        dense = Rule().tell(many).memory.baseline
        assert few is not None
        assert dense is not None
        assert dense.mean == pytest.approx(few.mean, rel=1e-9)

    def test_times_of_the_run_are_those_of_the_file(self) -> None:
        steps = [later[0] - earlier[0] for earlier, later in pairwise(RUN[1])]
        assert max(steps) < 2 * HOUR_MS
