"""What is kept of earlier revisions, and what is made of two of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import msgspec
import pytest

from millrace_contract.language.oee_messages import OeeDocument, Parts, Window
from millrace_contract.language.words import Leaf, MachineState, RevisedBy, RevisionCause, UnknownPolicy, WindowKind
from millrace_contract.store_forward.sqlite import transaction
from millrace_oee.basis import RestsOn, Setting, TimePiece, member_key, member_name
from millrace_oee.results import Place, Results
from millrace_oee.revised import WHAT, revised
from millrace_oee.revised_words import in_words
from millrace_oee.revisions import KEPT, ToldRevision
from millrace_oee.store import connect_in_memory

HOUR_MS = 3_600_000
AT = "1970-01-01T00:00:00.000Z"
DOCUMENT = OeeDocument(
    line="line1",
    timestamp=AT,
    window=Window(kind=WindowKind.HOUR, id="h", start=AT, end=AT),
    ms=dict.fromkeys(["all", *Leaf], 0),
    parts=Parts(total=7),
    device_id="CNC-01",
)
PLACE = Place("CNC-01", WindowKind.HOUR, "h", 0, HOUR_MS, "t")
RUN, HELD = (Leaf.RUN, MachineState.EXECUTE), (Leaf.UNPLANNED_STOP, MachineState.HELD)


def told_with(total: int) -> OeeDocument:
    return msgspec.structs.replace(DOCUMENT, parts=Parts(total=total))


def offer(results: Results, total: int, entry: str) -> None:
    with transaction(results.connection):
        results.offer(PLACE, told_with(total), cause=RevisionCause.SCRAP, basis=lambda: RestsOn(entries={entry: 1}))


def test_revisions_are_kept_with_what_they_rested_on_and_no_more_than_that() -> None:
    results = Results(connect_in_memory(), lambda _topic, _message: None)
    for number in range(1, KEPT + 11):
        offer(results, number, f"e{number}")
        offer(results, number, "nobody asks where nothing is told")
    kept = results.revisions
    assert kept.kept(PLACE.key) == list(range(11, KEPT + 10)), "the last one stands in its own table"
    last, then = kept.last(PLACE.key), kept.earlier(PLACE.key, 11)
    assert last is not None
    assert then is not None
    assert (last.document.revision, last.document.parts.total, last.basis) == (KEPT + 10, KEPT + 10, RestsOn(entries={"e30": 1}))
    assert (then.document.revision, then.document.parts.total, then.basis) == (11, 11, RestsOn(entries={"e11": 1}))
    assert kept.earlier(PLACE.key, 10) is None
    results.rename("CNC-01", "CNC-01/line2")
    assert kept.kept(("CNC-01/line2", *PLACE.key[1:])) == list(range(11, KEPT + 10))
    results.prune(HOUR_MS + 1, days_before_ms=0)
    assert results.connection.execute("SELECT count(*) FROM revision").fetchone() == (0,)


def test_a_revision_that_waits_for_the_one_before_is_told_with_what_it_rests_on() -> None:
    results = Results(connect_in_memory(), lambda _topic, message: message.revision if isinstance(message, OeeDocument) else None)
    offer(results, 1, "a")
    offer(results, 2, "b")
    offer(results, 1, "a")  # it changed back before anybody saw it
    assert results.number(*PLACE.key) == 1
    assert results.connection.execute("SELECT revision FROM revision").fetchall() == [(1,)]
    offer(results, 3, "c")
    assert results.number(*PLACE.key) == 2, "it will be, as soon as the first is safe"
    assert results.revisions.kept(PLACE.key) == []
    with transaction(results.connection):
        results.confirmed([(1, 1)])
    last, then = results.revisions.last(PLACE.key), results.revisions.earlier(PLACE.key, 1)
    assert last is not None
    assert then is not None
    assert (then.document.parts.total, then.basis) == (1, RestsOn(entries={"a": 1}))
    assert (last.document.parts.total, last.basis) == (3, RestsOn(entries={"c": 1}))


def piece(start: int, end: int, what: tuple[Leaf, MachineState], total: int = 0, reason: str | None = None) -> TimePiece:
    return TimePiece(start * 60_000, end * 60_000, *what, reason, None, total)


def setting(start: int, ideal_ns: int = 10**9, micro_ms: int = 120_000) -> Setting:
    return Setting(start * 60_000, ideal_ns, micro_ms, 5_000, UnknownPolicy.EXCLUDE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (RestsOn(), RestsOn(), []),
        (
            RestsOn(pieces=(piece(0, 60, RUN, 60),)),
            RestsOn(pieces=(piece(0, 60, RUN, 48),)),
            ["00:00-01:00: parts 60 -> 48"],
        ),
        (  # a stop is found in the middle: what was made is compared where both are cut
            RestsOn(pieces=(piece(0, 60, RUN, 60),)),
            RestsOn(pieces=(piece(0, 20, RUN, 20), piece(20, 30, HELD), piece(30, 60, RUN, 30))),
            ["00:20-00:30, 10 min: running -> held (unplanned stops)", "00:00-01:00: parts 60 -> 50"],
        ),
        (  # two neighbours that changed alike are one
            RestsOn(pieces=(piece(0, 20, HELD), piece(20, 40, HELD, 0, "a"), piece(40, 60, RUN))),
            RestsOn(pieces=(piece(0, 40, RUN), piece(40, 60, RUN))),
            [
                "00:00-00:20, 20 min: held (unplanned stops) -> running",
                "00:20-00:40, 20 min: held (unplanned stops), reason a -> running",
            ],
        ),
        (
            RestsOn(settings=(setting(0),)),
            RestsOn(settings=(setting(0), setting(30, 9 * 10**8))),
            ["from 00:30 on: ideal cycle 1 s -> 0.9 s"],
        ),
        (
            RestsOn(entries={"a": 1, "b": 1}),
            RestsOn(entries={"a": 2, "c": 1}),
            [
                "what a says (version 2 in place of 1)",
                "entry b counts no more: it was taken back, or speaks of another time since",
                "entry c",
            ],
        ),
        (
            RestsOn(members={member_name("CNC-01", "shift", "2025-10-15/early"): 1, "CNC-02 shift x": 3}),
            RestsOn(members={member_name("CNC-01", "shift", "2025-10-15/early"): 2, "CNC-02 shift x": 3}),
            ["CNC-01 shift 2025-10-15/early: revision 1 -> 2"],
        ),
    ],
)
def test_what_changed_is_said_by_piece_entry_setting_and_member(old: RestsOn, new: RestsOn, said: list[str]) -> None:
    found = revised(ToldRevision(told_with(60), old), ToldRevision(msgspec.structs.replace(told_with(50), revision=2), new))
    first, *lines, figures = in_words(found, {"a": "what a says"}, UTC)
    assert (first, [line.strip() for line in lines]) == ("What changed from revision 1 to revision 2", said)
    assert figures == "  = parts 60 -> 50"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(new), type=RestsOn) == new


def test_what_an_older_version_told_is_known_by_its_figures_alone() -> None:
    found = revised(ToldRevision(told_with(60), None), ToldRevision(told_with(50), RestsOn(entries={"a": 1})))
    assert (found.changes, found.is_known) == ((), False)
    assert "  of one of them nothing but its figures was kept" in list(in_words(found, {}, UTC))
    assert replace(found, is_known=True).changes == ()
    assert set(WHAT.values()) == set(RevisedBy)
    assert member_key(member_name("line:line1", "day", "2025-10-15")) == ("line:line1", "day", "2025-10-15")
