"""Every row of the transition table of ISA-18.2, and every action that a state refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_alerts.lifecycle import (
    Acknowledge,
    Action,
    Activate,
    Clear,
    ExpireShelf,
    Facts,
    IllegalTransition,
    ReAlarm,
    Reset,
    ReturnToService,
    Shelf,
    Shelve,
    Suppress,
    TakeOutOfService,
    Unacknowledge,
    Unshelve,
    Unsuppress,
    apply,
    state_of,
    underlying_state_of,
)
from millrace_contract.language.words import SUPPRESSED, IsaState

SHELF = Shelf(by="anna", reason="sensor swapped", since_ms=0, until_ms=3_600_000)
ONE_SHOT = Shelf(by="anna", reason="sensor swapped", since_ms=0, until_ms=3_600_000, one_shot=True)

NORM = Facts()
UNACK = apply(NORM, Activate())
ACKED = apply(UNACK, Acknowledge())
RTNUN = apply(UNACK, Clear())
LATCHED = apply(NORM, Activate(latching=True))
LATCHED_ACKED = apply(LATCHED, Acknowledge())
LATCH_UNACK = apply(LATCHED, Clear())
LATCH_ACK = apply(LATCHED_ACKED, Clear())
VISIBLE = {
    "NORM": NORM,
    "UNACK": UNACK,
    "ACKED": ACKED,
    "RTNUN": RTNUN,
    "LATCH_UNACK": LATCH_UNACK,
    "LATCH_ACK": LATCH_ACK,
}


@pytest.mark.parametrize(("name", "facts"), VISIBLE.items())
def test_states_a_to_f_are_derived_from_the_facts(name: str, facts: Facts) -> None:
    assert state_of(facts) is IsaState(name)


ROWS: list[tuple[str, Facts, Action, IsaState]] = [
    ("A condition true", NORM, Activate(), IsaState.UNACK),
    ("B ack", UNACK, Acknowledge(), IsaState.ACKED),
    ("B clear, not latching", UNACK, Clear(), IsaState.RTNUN),
    ("B clear, acknowledged by itself", UNACK, Clear(auto_ack=True), IsaState.NORM),
    ("B clear, latching", LATCHED, Clear(), IsaState.LATCH_UNACK),
    ("C clear, not latching", ACKED, Clear(), IsaState.NORM),
    ("C clear, latching", LATCHED_ACKED, Clear(), IsaState.LATCH_ACK),
    ("C unack", ACKED, Unacknowledge(), IsaState.UNACK),
    ("C re-alarm timer", ACKED, ReAlarm(), IsaState.UNACK),
    ("D ack", RTNUN, Acknowledge(), IsaState.NORM),
    ("D condition true again", RTNUN, Activate(), IsaState.UNACK),
    ("E ack", LATCH_UNACK, Acknowledge(), IsaState.LATCH_ACK),
    ("E condition true", LATCH_UNACK, Activate(latching=True), IsaState.UNACK),
    ("E reset", LATCH_UNACK, Reset(), IsaState.RTNUN),
    ("F reset", LATCH_ACK, Reset(), IsaState.NORM),
    ("F condition true", LATCH_ACK, Activate(latching=True), IsaState.UNACK),
    *((f"{name} shelve", facts, Shelve(SHELF), IsaState.SHLVD) for name, facts in VISIBLE.items()),
    *((f"{name} design rule true", facts, Suppress("flood"), IsaState.DSUPR) for name, facts in VISIBLE.items()),
    *((f"{name} out of service", facts, TakeOutOfService("WO-17"), IsaState.OOSRV) for name, facts in VISIBLE.items()),
]


@pytest.mark.parametrize(("facts", "action", "to"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_transition_table(facts: Facts, action: Action, to: IsaState) -> None:
    assert state_of(apply(facts, action)) is to


HIDE_AND_SHOW: list[tuple[str, Action, Action]] = [
    ("unshelve", Shelve(SHELF), Unshelve()),
    ("expiry", Shelve(SHELF), ExpireShelf()),
    ("design rule false", Suppress("flood"), Unsuppress("flood")),
    ("return to service", TakeOutOfService("WO-17"), ReturnToService()),
]


@pytest.mark.parametrize(("hide", "show"), [row[1:] for row in HIDE_AND_SHOW], ids=[row[0] for row in HIDE_AND_SHOW])
@pytest.mark.parametrize(
    ("facts", "to"),
    [(NORM, IsaState.NORM), (RTNUN, IsaState.NORM), (UNACK, IsaState.UNACK), (ACKED, IsaState.UNACK)],
    ids=["A", "D", "B", "C"],
)
def test_end_of_a_suppression_shows_norm_when_all_is_well_else_annunciates(
    hide: Action, show: Action, facts: Facts, to: IsaState
) -> None:
    assert state_of(apply(apply(facts, hide), show)) is to


@pytest.mark.parametrize("hide_show", [row[1:] for row in HIDE_AND_SHOW], ids=[row[0] for row in HIDE_AND_SHOW])
@pytest.mark.parametrize("facts", [LATCH_UNACK, LATCH_ACK], ids=["E", "F"])
def test_a_latch_outlives_a_suppression_because_it_needs_its_reset(hide_show: tuple[Action, Action], facts: Facts) -> None:
    assert apply(apply(facts, hide_show[0]), hide_show[1]) == facts


def test_alert_that_became_active_while_shelved_annunciates_afterwards() -> None:
    shelved = apply(apply(NORM, Shelve(SHELF)), Activate())
    assert state_of(shelved) is IsaState.SHLVD
    assert underlying_state_of(shelved) is IsaState.UNACK
    assert shelved.occurrence == 1
    assert state_of(apply(shelved, ExpireShelf())) is IsaState.UNACK


def test_one_shot_shelf_ends_with_the_return_to_normal() -> None:
    assert state_of(apply(apply(UNACK, Shelve(ONE_SHOT)), Clear())) is IsaState.NORM


def test_timed_shelf_outlasts_the_return_to_normal() -> None:
    assert state_of(apply(apply(UNACK, Shelve(SHELF)), Clear())) is IsaState.SHLVD


def test_recurrence_after_norm_is_a_new_occurrence() -> None:
    again = apply(apply(apply(UNACK, Clear()), Acknowledge()), Activate())
    assert (again.occurrence, again.realarms) == (2, 0)


@pytest.mark.parametrize("facts", [RTNUN, LATCH_UNACK, LATCH_ACK], ids=["D", "E", "F"])
def test_return_before_norm_is_the_same_occurrence_alarmed_again(facts: Facts) -> None:
    again = apply(facts, Activate())
    assert (again.occurrence, again.realarms) == (1, 1)


ILLEGAL: list[tuple[str, Facts, Action]] = [
    *((f"ack in {name}", VISIBLE[name], Acknowledge()) for name in ("NORM", "ACKED", "LATCH_ACK")),
    *((f"unack in {name}", facts, Unacknowledge()) for name, facts in VISIBLE.items() if name != "ACKED"),
    *((f"reset in {n}", facts, Reset()) for n, facts in VISIBLE.items() if n not in {"LATCH_UNACK", "LATCH_ACK"}),
    ("reset while in alarm, though latched", LATCHED_ACKED, Reset()),
    *((f"unshelve in {name}", facts, Unshelve()) for name, facts in VISIBLE.items()),
    *((f"return to service in {name}", facts, ReturnToService()) for name, facts in VISIBLE.items()),
    *((f"end of a design rule in {name}", facts, Unsuppress("flood")) for name, facts in VISIBLE.items()),
    ("activate when in alarm", UNACK, Activate()),
    ("clear when not in alarm", RTNUN, Clear()),
    ("shelve when shelved", apply(UNACK, Shelve(SHELF)), Shelve(SHELF)),
    ("ack when shelved", apply(UNACK, Shelve(SHELF)), Acknowledge()),
    ("shelve when out of service", apply(UNACK, TakeOutOfService("WO-17")), Shelve(SHELF)),
    ("suppress twice by one rule", apply(UNACK, Suppress("flood")), Suppress("flood")),
]


@pytest.mark.parametrize(("facts", "action"), [row[1:] for row in ILLEGAL], ids=[row[0] for row in ILLEGAL])
def test_illegal_transition_names_the_current_state(facts: Facts, action: Action) -> None:
    with pytest.raises(IllegalTransition) as refused:
        apply(facts, action)
    assert refused.value.state is state_of(facts)
    assert f"it is {state_of(facts)}" in str(refused.value)


def test_design_rule_adds_to_a_shelf_and_each_hides_by_itself() -> None:
    both = apply(apply(UNACK, Shelve(SHELF)), Suppress("flood"))
    assert state_of(both) is IsaState.DSUPR
    assert state_of(apply(both, Unsuppress("flood"))) is IsaState.SHLVD
    assert state_of(apply(both, ExpireShelf())) is IsaState.DSUPR


ACTIONS = st.sampled_from(
    [
        Activate(),
        Activate(latching=True),
        Clear(),
        Clear(auto_ack=True),
        Acknowledge(),
        Unacknowledge(),
        ReAlarm(),
        Reset(),
        Shelve(SHELF),
        Shelve(ONE_SHOT),
        Unshelve(),
        ExpireShelf(),
        Suppress("flood"),
        Suppress("first_out"),
        Unsuppress("flood"),
        Unsuppress("first_out"),
        TakeOutOfService("WO-17"),
        ReturnToService(),
    ]
)


@given(st.lists(ACTIONS, max_size=40))
def test_no_sequence_hides_an_alarm_without_a_suppression_or_a_response(actions: list[Action]) -> None:
    facts = Facts()
    for action in actions:
        before = facts
        try:
            facts = apply(facts, action)
        except IllegalTransition:
            continue
        if facts.in_alarm:
            assert underlying_state_of(facts) in {IsaState.UNACK, IsaState.ACKED}
            assert state_of(facts) in SUPPRESSED | {IsaState.UNACK, IsaState.ACKED}
        if state_of(before) in SUPPRESSED and state_of(facts) not in SUPPRESSED and facts.in_alarm:
            assert state_of(facts) is IsaState.UNACK
        assert facts.occurrence - before.occurrence in {0, 1}
        if underlying_state_of(before) is IsaState.LATCH_UNACK and underlying_state_of(facts) is IsaState.NORM:
            raise AssertionError("a latched, unacknowledged alert vanished in one step")
