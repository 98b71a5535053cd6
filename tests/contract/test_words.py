"""The closed sets of words: schema and decoder agree on each, and nothing takes a word that its set does not have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import msgspec
import pytest

from millrace_contract.errors import Malformed
from millrace_contract.language import messages, schemas, words
from millrace_contract.language.counters import CounterEvent
from millrace_contract.language.entries import decode_entry
from millrace_contract.language.measurements import PACKML_CODES
from millrace_contract.language.messages import Comms, Message, decode, encode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.telemetry import decode_telemetry

CORPUS = [json.loads(line) for line in (Path(__file__).parent / "corpus" / "messages.jsonl").read_text().splitlines()]
SETS = [each for each in vars(words).values() if isinstance(each, type) and issubclass(each, StrEnum) and each is not StrEnum]
NEVER_A_WORD = "no such word"


def _kinds(name: str) -> tuple[type[Message], ...]:
    """The types of a kind of message: one, or those of a union."""
    kinds = get_args(schemas.PUBLISHED[name]) or (schemas.PUBLISHED[name],)
    assert all(issubclass(kind, Message) for kind in kinds)
    return kinds


def _decode(name: str, payload: bytes) -> Message:
    kinds = _kinds(name)
    return decode(kinds[0], payload) if len(kinds) == 1 else decode_entry(payload)


@pytest.mark.parametrize(("name", "wrong", "message"), CORPUS)
def test_schema_and_decoder_agree_on_each_message(name: str, wrong: str | None, message: Any) -> None:
    validator = jsonschema.Draft202012Validator(schemas.schema(name))
    payload = json.dumps(message).encode()
    if wrong is None:
        validator.validate(message)
        _decode(name, payload)
        return
    assert not validator.is_valid(message)
    with pytest.raises(Malformed, match=wrong.rsplit(".", maxsplit=1)[-1]):
        _decode(name, payload)


def test_corpus_has_good_and_bad_messages_of_every_kind_with_a_closed_set() -> None:
    for name in schemas.PUBLISHED:
        if name == "telemetry":
            continue
        wrong = {row[1].split(".")[0] for row in CORPUS if row[0] == name and row[1]}
        assert any(row[0] == name and row[1] is None for row in CORPUS), name
        assert {key for kind in _kinds(name) for key, _ in _closed_fields(kind)} <= wrong | {"window"}, name


def _closed_fields(kind: type[Any]) -> Iterator[tuple[str, type[StrEnum]]]:
    for key, hint in get_type_hints(kind).items():
        for each in (hint, *get_args(hint)):
            if each in SETS:
                yield key, each


@pytest.mark.parametrize("name", [name for name in schemas.PUBLISHED if name != "telemetry"])
def test_each_word_of_a_set_is_taken_by_schema_and_decoder_and_no_other(name: str) -> None:
    kind = _kinds(name)[0]
    validator = jsonschema.Draft202012Validator(schemas.schema(name))
    example = next(row[2] for row in CORPUS if row[0] == name and row[1] is None)
    for key, known in _closed_fields(kind):
        in_a_list = get_type_hints(kind)[key] == list[known]  # type: ignore[valid-type]
        for word in (*known, NEVER_A_WORD):
            message = {**example, key: [word] if in_a_list else word}
            assert validator.is_valid(message) == (word in list(known)), (key, word)
            if word in list(known):
                told = json.loads(encode(_decode(name, json.dumps(message).encode())))
                assert told.get(key, word) == message[key]  # a default is not told
            else:
                with pytest.raises(Malformed, match=key):
                    _decode(name, json.dumps(message).encode())


def test_every_set_that_travels_is_one_of_the_contract() -> None:
    open_texts = {"reason", "cause", "kind", "state", "leaf", "priority", "alert_class", "from_state", "to_state", "configuration"}
    for each in vars(messages).values():
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            hints = get_type_hints(each)
            plain = {key for key in open_texts & set(hints) if hints[key] in (str, str | None)}
            # A sentence for people: why a device cannot be reached, the path of a stop's reason, why an alert is hidden.
            allowed = {"reason"} if each.__name__ in ("Comms", "OeeInterval", "StopPiece", "AlertState") else set()
            assert plain <= allowed | ({"cause"} if each.__name__ == "Ledger" else set()), each


def test_a_word_of_a_newer_sender_is_refused_in_words_and_whole() -> None:
    payload = b'{"device_id":"A","state":"asleep","since":"","timestamp":"","gateway":"g"}'
    with pytest.raises(Malformed, match=r"asleep.*\$\.state") as refused:
        decode(Comms, payload)
    assert refused.value.code == "schema"


def test_an_unknown_leaf_is_named_with_what_is_allowed() -> None:
    message = next(row[2] for row in CORPUS if row[0] == "oee" and row[1] == "ms")
    with pytest.raises(Malformed, match=r"'running' is no leaf of the time model; allowed in `ms`: all, not_scheduled.*run"):
        decode(OeeDocument, json.dumps(message).encode())


def test_quality_words_of_telemetry_are_the_set() -> None:
    for word in (*words.Quality, NEVER_A_WORD):
        payload = json.dumps({"timestamp": "2025-10-15T13:45:02Z", "readings": {}, "quality": {"a": word}}).encode()
        if word in list(words.Quality):
            found = decode_telemetry(payload, 1_800_000_000_000).quality
            assert found == ({} if word == "good" else {"a": word})
        else:
            with pytest.raises(Malformed, match="not good, uncertain, bad"):
                decode_telemetry(payload, 1_800_000_000_000)


def test_numbers_of_machine_states_in_the_database_stay_what_they_are() -> None:
    assert set(PACKML_CODES) == set(words.MachineState)
    assert len(set(PACKML_CODES.values())) == len(PACKML_CODES)
    assert [PACKML_CODES[words.MachineState(name)] for name in ("stopped", "execute", "aborted", "suspended", "held")] == [
        0, 4, 8, 12, 15,
    ]  # fmt: skip


def test_what_a_counter_met_is_a_flag_except_an_everyday_wrap() -> None:
    flags = {flag.removeprefix("counter_") for flag in words.FigureFlag if flag.startswith("counter_")}
    assert flags == set(get_args(CounterEvent)) - {"wrap"}


def test_priorities_have_a_rank_from_the_least_to_the_most_urgent() -> None:
    assert sorted(words.Priority, key=lambda each: each.rank) == ["low", "medium", "high", "critical"]
