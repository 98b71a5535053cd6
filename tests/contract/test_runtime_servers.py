"""The runtime against a real database, and how that fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from millrace_contract.errors import Unavailable
from millrace_contract.runtime.influx import BadLines, Influx, PartialWrite, Refused
from millrace_contract.runtime.settings import DatabaseSettings, load_settings
from millrace_contract.testing import Influxd


@pytest.mark.influx
def test_database_answers_are_sorted_by_what_to_do(shared_influxd: Influxd) -> None:
    now_ns = time.time_ns() // 1_000_000 * 1_000_000
    with Influx(shared_influxd.settings()) as influx:
        influx.write("telemetry", b'sorted,line=l,device=d a=1,b_text="x" %d' % now_ns)
        with pytest.raises(BadLines):
            influx.write("telemetry", b"sorted,line=l,device=d a=1 %d\nno line at all" % now_ns)
        with pytest.raises(PartialWrite):
            influx.write("telemetry", b'sorted,line=l,device=d a="text" %d' % (now_ns + 1))
        with pytest.raises(Refused):
            influx.write("no_such_bucket", b"sorted a=1")
        series = influx.query("telemetry", 'SELECT a, b_text FROM "sorted" WHERE device = $device', device="d")
    assert series[0].columns == ("time", "a", "b_text")
    assert series[0].rows == [[now_ns // 1_000_000, 1.0, "x"]]
    with Influx(shared_influxd.settings("wrong")) as influx, pytest.raises(Refused):
        influx.write("telemetry", b"sorted a=1")


@pytest.mark.influx
def test_a_token_that_is_put_right_in_its_file_mends_without_a_restart(shared_influxd: Influxd, tmp_path: Path) -> None:
    token = tmp_path / "influx_token"
    token.write_text("of another installation\n")
    environ = {"MILLRACE_INFLUX_URL": shared_influxd.url, "MILLRACE_INFLUX_TOKEN_FILE": str(token)}
    settings = load_settings(DatabaseSettings, environ)
    with Influx(settings) as writer, Influx(settings) as reader:
        with pytest.raises(Refused, match=f"401.*{token}, which is read again at each try, must be a token for bucket telemetry"):
            writer.write("telemetry", b"renewed a=1")
        with pytest.raises(Refused, match="401"):
            reader.query("telemetry", 'SELECT a FROM "renewed"')
        token.write_text(f"{shared_influxd.TOKEN}\n")
        writer.write("telemetry", b"renewed a=1")
        assert reader.query("telemetry", 'SELECT a FROM "renewed"')[0].rows[-1][1] == 1.0


@pytest.mark.influx
def test_an_absent_database_is_unavailable_and_comes_back(influxd: Influxd) -> None:
    with Influx(influxd.settings(), timeout_s=3) as influx:
        influxd.kill()
        with pytest.raises(Unavailable):
            influx.write("telemetry", b"m a=1")
        with pytest.raises(Unavailable):
            influx.query("telemetry", "SHOW MEASUREMENTS")
        influxd.start()
        influx.write("telemetry", b"m a=1")


@pytest.mark.influx
def test_a_database_that_hangs_is_told_in_the_same_words_each_time(influxd: Influxd) -> None:
    """Whoever logs transitions compares the words: a figure that differs at each attempt would be news for ever."""
    with Influx(influxd.settings(), timeout_s=0.5) as influx:
        influxd.pause()
        told = set()
        for _ in range(2):
            with pytest.raises(Unavailable) as raised:
                influx.write("telemetry", b"m a=1")
            told.add(str(raised.value))
            with pytest.raises(Unavailable) as raised:
                influx.query("telemetry", "SHOW MEASUREMENTS")
            told.add(str(raised.value))
        influxd.resume()
    assert told == {f"InfluxDB at {influxd.url} does not answer: no answer in time"}
