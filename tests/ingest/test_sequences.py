from hypothesis import given
from hypothesis import strategies as st

from millrace_ingest.sequences import MAX_STRETCHES, Sequences, Step


def follow(sequences: Sequences, seq: int, prev: int | None, content: int = 0, stream: str = "edge-1.a") -> Step:
    return sequences.follow("D", stream, seq, prev, content)


def test_a_chain_without_gaps() -> None:
    sequences = Sequences()
    assert [follow(sequences, seq, prev) for seq, prev in [(5, None), (9, 5), (12, 9)]] == [Step.NEXT] * 3
    assert sequences.open_gaps == 0


def test_a_gap_is_open_until_its_message_comes() -> None:
    sequences = Sequences()
    follow(sequences, 5, None)
    assert follow(sequences, 12, 9) is Step.GAP
    assert sequences.open_gaps == 1
    assert follow(sequences, 9, 5) is Step.LATE
    assert sequences.open_gaps == 0


def test_repeats_are_told_from_conflicts() -> None:
    sequences = Sequences()
    follow(sequences, 5, None, content=1)
    follow(sequences, 9, 5, content=2)
    assert follow(sequences, 5, None, content=1) is Step.REPEAT
    assert follow(sequences, 9, 5, content=3) is Step.CONFLICT


def test_a_new_stream_starts_anew_and_the_old_one_goes_on() -> None:
    sequences = Sequences()
    follow(sequences, 900, 880)
    assert follow(sequences, 1, None, stream="edge-1.b") is Step.NEXT
    assert follow(sequences, 910, 900) is Step.NEXT
    assert sequences.open_gaps == 0


@given(st.permutations(range(12)), st.data())
def test_in_any_order_with_any_repeats_no_gap_stays_open(order: list[int], data: st.DataObject) -> None:
    chain = [(10 * place + 7, 10 * place - 3 if place else None) for place in range(12)]
    repeated = data.draw(st.lists(st.sampled_from(order), max_size=20))
    sequences = Sequences()
    seen: set[int] = set()
    for place in [*order[:6], *[one for one in repeated if one in order[:6]], *order[6:]]:
        step = follow(sequences, *chain[place], content=place)
        assert (step is Step.REPEAT) == (place in seen)
        seen.add(place)
    assert sequences.open_gaps == 0


def test_memory_is_bounded_when_every_message_leaves_a_gap() -> None:
    sequences = Sequences()
    for seq in range(0, 40 * MAX_STRETCHES, 10):
        follow(sequences, seq + 5, seq)
    assert sequences.open_gaps <= MAX_STRETCHES
