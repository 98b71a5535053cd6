"""What was served and never committed is put down to what was done just then."""

from __future__ import annotations

import pytest

from chaos.figures import Figures
from chaos.report import UNPLANNED, Burst, make_report
from chaos.ride import Happened, Notes
from chaos.schedule import Storm, Trouble, TroubleKind

STORM = Storm(1, 1800, 1740, (), ())
SCORE = {
    "clean": True, "lost": 0, "duplicated": 0, "wrong": 0, "served": 100, "stored": 90, "values_compared": 500, "examples": [],
    "never_committed": {"drop": 3, "unexplained": 7},
    "streams": {"edge-1.a": {"in_ledger": 2, "in_ledger_and_stored": 0}},
}  # fmt: skip
HANG = Happened(10_000, 70_000, Trouble(10, 60, TroubleKind.HANG, ("simulator",)))
FULL = Happened(65_000, 90_000, Trouble(65, 25, TroubleKind.FULL_DISK, ("gateway",)))
PAIR = Happened(200_000, 202_000, Trouble(200, 2, TroubleKind.KILL, ("oee", "gateway")))
NOTES = Notes(troubles=[HANG, FULL, PAIR], healed_after_s=3.0)


@pytest.mark.parametrize(
    ("at_ms", "cause"),
    [
        (10_100, "simulator: hang"),
        (70_001, "simulator: hang"),
        (64_900, "gateway: disk full"),
        (199_500, "gateway: kill -9"),
        (204_000, UNPLANNED),
    ],
)
def test_a_burst_is_put_down_to_what_began_or_ended_nearest(at_ms: int, cause: str) -> None:
    report = make_report(STORM, NOTES, SCORE, [Burst(at_ms, at_ms + 5, 7)], Figures())
    assert report.never_committed == {"drop": 3, cause: 7}
    assert report.clean
    assert (report.kills, report.pairs, report.hangs, report.full_disks) == ({"oee": 1, "gateway": 1}, 1, 1, 1)


@pytest.mark.parametrize(
    ("score", "notes", "figures"),
    [
        (SCORE | {"clean": False}, NOTES, Figures()),
        (SCORE | {"streams": {"a": {"in_ledger": 2, "in_ledger_and_stored": 1}}}, NOTES, Figures()),
        (SCORE, Notes(healed_after_s=1.0, surprises=["oee ended by itself with status 70"]), Figures()),
        (SCORE, Notes(), Figures()),
        (SCORE, NOTES, Figures(wrong=["a window"])),
    ],
)
def test_any_one_of_these_is_not_clean(score: dict[str, object], notes: Notes, figures: Figures) -> None:
    assert not make_report(STORM, notes, score, [], figures).clean
