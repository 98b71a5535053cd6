from millrace_ingest.lags import INTERVAL_S, MOST_STRANGERS, SHOWN, UNDECLARED, Lags


def interval(*noted: tuple[str, str, str, int]) -> Lags:
    """The lags of one closed interval of (line, device, sender, lag in ms)."""
    lags = Lags()
    assert not lags.close_if_due(0)
    for one in noted:
        lags.note(*one)
    assert lags.close_if_due(INTERVAL_S)
    return lags


def test_the_lags_of_an_interval_are_a_point_a_device_and_sender() -> None:
    lags = interval(("l", "D", "edge-1", 300), ("l", "D", "edge-1", 100), ("l", "D", "edge-1", 200), ("l", "S 1", UNDECLARED, -7))
    assert lags.lines(5) == [
        b"device_lag,line=l,device=D,sender=edge-1 lag_ms=200.0,lag_min_ms=100.0,lag_max_ms=300.0,messages=3.0 5000000",
        rb"device_lag,line=l,device=S\ 1,sender=undeclared lag_ms=-7.0,lag_min_ms=-7.0,lag_max_ms=-7.0,messages=1.0 5000000",
    ]
    assert lags.figures() == {"lag_p50_ms": 200, "lag_max_ms": 300, "lag_min_ms": -7}
    assert not lags.close_if_due(INTERVAL_S + 1)
    assert lags.close_if_due(2 * INTERVAL_S)
    assert lags.lines(6) == []


def test_a_clock_that_is_wrong_is_named_and_the_others_are_not() -> None:
    lags = interval(
        ("l", "A", "edge-1", 40), ("l", "B", "edge-1", 4_000), ("l", "C", "edge-2", -59_000), ("l", "D", UNDECLARED, 7_200_000),
        ("l", "E", UNDECLARED, 300),
    )  # fmt: skip
    ahead, behind = lags.problems()
    assert ahead == "gateway edge-2 dates its readings 59.0 s ahead of this server's clock: one of the two is wrong"
    assert behind.startswith("undeclared publisher l/D dates its readings 7,200.0 s ago: its clock is wrong")
    assert "gateway edge-1: 2 messages, 0.0 s to 4.0 s after their time (slowest of 2 devices: B)" in lags.notes()
    assert "undeclared publisher l/E: 1 messages, 0.3 s to 0.3 s after their time" in lags.notes()


def test_one_message_that_comes_late_is_no_wrong_clock() -> None:
    assert interval(("l", "A", "edge-1", 90_000), ("l", "A", "edge-1", 50)).problems() == []


def test_before_the_first_interval_ends_the_one_in_progress_is_shown() -> None:
    lags = Lags()
    lags.note("l", "A", "edge-1", 12)
    assert lags.figures()["lag_max_ms"] == 12


def test_invented_devices_fill_neither_memory_nor_status() -> None:
    lags = interval(*[("l", f"S-{number}", UNDECLARED, 1) for number in range(MOST_STRANGERS + 50)], ("l", "D", "edge-1", 1))
    assert len(lags.lines(0)) == MOST_STRANGERS + 1
    assert len(lags.notes()) == SHOWN + 1
    assert lags.notes()[-1] == f"and {MOST_STRANGERS + 1 - SHOWN} more senders"
