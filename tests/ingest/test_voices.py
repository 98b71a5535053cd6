"""What somebody said as a device that is not his is told in the status, for a while."""

from __future__ import annotations

from millrace_ingest.voices import MOST, SAID_S, SHOWN, Voices


def test_who_speaks_as_another_is_said_for_ten_minutes_after_the_last_time() -> None:
    voices = Voices()
    assert voices.note("CNC-01", "its stream 'edge-2.a' is not of gateway edge-1, which reads CNC-01", 0.0)
    assert not voices.note("CNC-01", "its stream 'edge-3.a' is not of gateway edge-1, which reads CNC-01", 10.0)
    assert voices.problems(10.0 + SAID_S) == [
        "something publishes as CNC-01 that may not: its stream 'edge-3.a' is not of gateway edge-1, which reads CNC-01; "
        "2 messages are kept as dead letters (dead-letters list --reason foreign)"
    ]
    assert (voices.devices(10.0 + SAID_S), voices.messages) == (1, 2)
    assert (voices.devices(11.0 + SAID_S), voices.problems(11.0 + SAID_S)) == (0, [])
    assert voices.note("CNC-01", "again", 11.0 + SAID_S)


def test_many_devices_are_counted_and_a_few_are_named() -> None:
    voices = Voices()
    for number in range(MOST + 50):
        voices.note(f"D-{number}", "it names no stream", float(number) / MOST)
    assert voices.devices(1.0) == MOST
    assert len(voices.problems(1.0)) == SHOWN + 1
    assert voices.problems(1.0)[-1] == f"something publishes as {MOST - SHOWN} more devices that may not"
