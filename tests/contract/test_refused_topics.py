"""What the broker refuses is told in the status with the way out, shortly, and only for as long as it does."""

from __future__ import annotations

from millrace_contract.runtime.mqtt.refused_topics import MOST, REST_S, SAID_S, SHOWN, RefusedTopics


def test_refused_topics_of_one_reason_are_one_sentence_with_the_way_out() -> None:
    refused = RefusedTopics()
    for device in ("B", "A", "D", "C", "E"):
        assert refused.note(f"factory/line1/{device}/telemetry", "not authorized", 0.0, is_rights=True)
    assert not refused.note("factory/line1/A/telemetry", "not authorized", 1.0, is_rights=True)
    refused.note("factory/line1/X/telemetry", "larger than the broker's limit for a packet", 1.0, is_rights=False)
    rights, size = refused.sentences("gateway-edge-1", 1.0)
    topics = ", ".join(f"factory/line1/{device}/telemetry" for device in "ABC")
    assert rights.startswith(f"the broker refuses topic {topics} and 2 more for account gateway-edge-1 (not authorized): ")
    assert "plant.yaml on the server" in rights
    assert "waits until then" in rights
    assert size == (
        "the broker refuses topic factory/line1/X/telemetry for account gateway-edge-1 "
        "(larger than the broker's limit for a packet)"
    )


def test_a_topic_that_is_taken_again_or_was_not_tried_for_long_is_no_longer_said() -> None:
    refused = RefusedTopics()
    assert not refused.taken("a")
    refused.note("a", "not authorized", 0.0, is_rights=True)
    refused.note("b", "not authorized", 5.0, is_rights=True)
    assert refused.taken("a")
    assert "topic b for" in refused.sentences("x", SAID_S)[0]
    assert refused.sentences("x", SAID_S + 6.0) == []


def test_topics_without_end_need_no_memory_without_end() -> None:
    refused = RefusedTopics()
    for number in range(MOST + 10):
        refused.note(f"t/{number}", "not authorized", 0.0, is_rights=True)
    assert f"and {MOST - SHOWN} more for" in refused.sentences("x", 0.0)[0]


def test_a_refused_topic_rests_for_who_keeps_nothing() -> None:
    refused = RefusedTopics()
    assert not refused.rests("a", 0.0)
    refused.note("a", "not authorized", 0.0, is_rights=True)
    assert refused.rests("a", REST_S - 1.0)
    assert not refused.rests("b", REST_S - 1.0)
    assert not refused.rests("a", REST_S)
