from hypothesis import given
from hypothesis import strategies as st

from millrace_ingest.sequences import MAX_STRETCHES, Sequences, SequenceStep


def follow(sequences: Sequences, seq: int, prev: int | None, content: int = 0, stream: str = "edge-1.a") -> SequenceStep:
    return sequences.follow("D", stream, seq, prev, content, now_s=0)


def test_a_chain_without_gaps() -> None:
    sequences = Sequences()
    assert [follow(sequences, seq, prev) for seq, prev in [(5, None), (9, 5), (12, 9)]] == [SequenceStep.NEXT] * 3
    assert sequences.open_gaps == 0


def test_a_sensors_late_message_stands_outside_the_chain() -> None:
    sequences = Sequences()
    chain = [(5, None), (9, None), (12, 5)]
    assert [follow(sequences, seq, prev) for seq, prev in chain] == [SequenceStep.NEXT] * 3
    assert follow(sequences, 9, None) is SequenceStep.REPEAT
    assert follow(sequences, 20, 15) is SequenceStep.GAP


def test_a_gap_is_open_until_its_message_comes() -> None:
    sequences = Sequences()
    follow(sequences, 5, None)
    assert follow(sequences, 12, 9) is SequenceStep.GAP
    assert sequences.open_gaps == 1
    assert follow(sequences, 9, 5) is SequenceStep.LATE
    assert sequences.open_gaps == 0


def test_repeats_are_told_from_conflicts() -> None:
    sequences = Sequences()
    follow(sequences, 5, None, content=1)
    follow(sequences, 9, 5, content=2)
    assert follow(sequences, 5, None, content=1) is SequenceStep.REPEAT
    assert follow(sequences, 9, 5, content=3) is SequenceStep.CONFLICT


def test_a_new_stream_starts_anew_and_the_old_one_goes_on() -> None:
    sequences = Sequences()
    follow(sequences, 900, 880)
    assert follow(sequences, 1, None, stream="edge-1.b") is SequenceStep.NEXT
    assert follow(sequences, 910, 900) is SequenceStep.NEXT
    assert sequences.open_gaps == 0


@given(st.permutations(range(12)), st.data())
def test_in_any_order_with_any_repeats_no_gap_stays_open(order: list[int], data: st.DataObject) -> None:
    chain = [(10 * place + 7, 10 * place - 3 if place else None) for place in range(12)]
    repeated = data.draw(st.lists(st.sampled_from(order), max_size=20))
    sequences = Sequences()
    seen: set[int] = set()
    for place in [*order[:6], *[one for one in repeated if one in order[:6]], *order[6:]]:
        step = follow(sequences, *chain[place], content=place)
        assert (step is SequenceStep.REPEAT) == (place in seen)
        seen.add(place)
    assert sequences.open_gaps == 0


def test_memory_is_bounded_when_every_message_leaves_a_gap() -> None:
    sequences = Sequences()
    for seq in range(0, 40 * MAX_STRETCHES, 10):
        follow(sequences, seq + 5, seq)
    assert sequences.open_gaps <= MAX_STRETCHES


def test_contents_are_remembered_for_ten_minutes_and_bounded() -> None:
    sequences = Sequences()
    for seq in range(1, 2_000):
        sequences.follow("D", "edge-1.a", seq, seq - 1, content=seq, now_s=float(seq))
    assert sequences.follow("D", "edge-1.a", 1_500, 1_499, content=0, now_s=2_000.0) is SequenceStep.CONFLICT
    # Long forgotten: a repeat, of whatever content.
    assert sequences.follow("D", "edge-1.a", 100, 99, content=0, now_s=2_000.0) is SequenceStep.REPEAT
    for seq in range(2_000, 10_000):
        sequences.follow("D", "edge-1.a", seq, seq - 1, content=seq, now_s=2_000.0)
    assert sequences.follow("D", "edge-1.a", 3_000, 2_999, content=0, now_s=2_000.0) is SequenceStep.REPEAT
    assert sequences.follow("D", "edge-1.a", 9_000, 8_999, content=0, now_s=2_000.0) is SequenceStep.CONFLICT


def test_one_of_several_ingests_sees_repeats_but_no_gaps() -> None:
    sequences = Sequences(whole=False)
    steps = [follow(sequences, seq, seq - 1, content) for seq, content in [(10, 1), (400, 2), (90, 3), (400, 2), (10, 9)]]
    assert steps == [SequenceStep.NEXT, SequenceStep.NEXT, SequenceStep.NEXT, SequenceStep.REPEAT, SequenceStep.CONFLICT]
    assert sequences.open_gaps == 0


def test_messages_without_a_stream_are_known_by_device_time_and_signals() -> None:
    sequences = Sequences()
    seen = [("D", 5, 1, 7), ("D", 5, 2, 7), ("D", 5, 1, 7), ("D", 5, 1, 8), ("E", 5, 1, 8)]
    assert [sequences.recognise(*one, now_s=0) for one in seen] == [
        SequenceStep.NEXT,
        SequenceStep.NEXT,
        SequenceStep.REPEAT,
        SequenceStep.CONFLICT,
        SequenceStep.NEXT,
    ]
    assert sequences.recognise("D", 5, 1, 9, now_s=700) is SequenceStep.NEXT
