from __future__ import annotations

import pytest

from millrace_contract.errors import Malformed
from millrace_ingest.signal_limit import MOST_DEVICES, SignalLimit


def test_up_to_the_limit_and_again_is_well() -> None:
    limit = SignalLimit(3)
    for names in ({"a", "b"}, {"c"}, {"a", "b", "c"}):
        limit.check("D", names)
    limit.check("E", {"x", "y", "z"})


def test_what_exceeds_the_limit_is_refused_in_words_and_does_not_count() -> None:
    limit = SignalLimit(3)
    limit.check("D", {"a", "b"})
    with pytest.raises(
        Malformed, match=r"2 distinct signals.* 2 new ones \('c', 'd'\); the limit is 3 \(MILLRACE_INGEST_SIGNALS_MAX\)"
    ):
        limit.check("D", {"a", "c", "d"})
    limit.check("D", {"c"})


def test_invented_devices_fill_no_memory() -> None:
    limit = SignalLimit(3)
    for number in range(2 * MOST_DEVICES):
        limit.check(f"D-{number}", {"a"})
    assert len(limit._known) == MOST_DEVICES
