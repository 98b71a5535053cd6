from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.streams import sender_of
from millrace_ingest.confirmations import MAX_RANGES, Identity, confirmations

streams = st.sampled_from(["edge-1.8f3c", "edge-1.0001", "edge-2.aa", "oee-1.x"])
identities = st.lists(st.builds(Identity, streams, st.integers(0, 300)), max_size=400)


def numbers(seqs: list[tuple[int, int]]) -> list[int]:
    return [seq for first, last in seqs for seq in range(first, last + 1)]


@given(identities)
def test_confirmations_name_each_safe_message_once_and_no_other(safe: list[Identity]) -> None:
    found = [Identity(one.stream, seq) for one in confirmations(safe) for seq in numbers(one.seqs)]
    assert sorted(found) == sorted(set(safe))


@given(identities)
def test_ranges_rise_and_never_touch(safe: list[Identity]) -> None:
    for one in confirmations(safe):
        for (_, last), (first, _) in zip(one.seqs, one.seqs[1:], strict=False):
            assert last + 1 < first


def test_sender_is_the_stream_up_to_its_last_dot() -> None:
    assert sender_of("edge-1.8f3c") == "edge-1"
    assert sender_of("edge-1") is None
    assert sender_of("a.b.c") is None  # a dot is no part of a name
    assert sender_of("a/b.c") is None
    assert sender_of("+.c") is None
    assert sender_of(".c") is None


def test_a_stream_that_cannot_stand_in_a_topic_is_not_confirmed() -> None:
    assert list(confirmations([Identity("#.x", 1), Identity("nodot", 2)])) == []


def test_many_ranges_are_split_over_messages() -> None:
    safe = [Identity("edge-1.a", seq) for seq in range(0, 4 * MAX_RANGES, 2)]
    found = list(confirmations(safe))
    assert [len(one.seqs) for one in found] == [MAX_RANGES, MAX_RANGES]
    assert [seq for one in found for seq in numbers(one.seqs)] == [one.seq for one in safe]
