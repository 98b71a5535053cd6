"""replay and tune: recorded event files through the evaluation of the live service."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from millrace_alerts.__main__ import main
from millrace_alerts.builtin import is_built_in
from millrace_contract.language import measurements, points
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until

from .conftest import Running
from .plantfiles import RULES, START_MS, comms, status, telemetry, write_plant

SVG = "{http://www.w3.org/2000/svg}"
TELEMETRY = "factory/line1/CNC-01/telemetry"


def at(seconds: float) -> int:
    return START_MS + round(seconds * 1000)


def write_events(path: Path, messages: list[tuple[str, bytes]]) -> Path:
    path.write_text("".join(f'{{"topic": "{topic}", "payload": {payload.decode()}}}\n' for topic, payload in messages))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_plant(tmp_path / "config")


def replay(capsys: pytest.CaptureFixture[str], config: Path, messages: list[tuple[str, bytes]]) -> list[dict[str, object]]:
    assert main(["replay", "--config", str(config), "--json", str(write_events(config / "events.jsonl", messages))]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_replay_prints_events_by_event_time(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        (TELEMETRY, telemetry(at(0), temperature=90.0)),
        ("factory/line1/CNC-01/comms", comms("offline", at(5))),
        (TELEMETRY.replace("CNC-01", "CNC-02"), telemetry(at(30), "CNC-02", temperature=20.0)),
        ("factory/_platform/gateway/edge-2/status", status(False, at(40), "edge-2")),
        ("factory/_platform/gateway/edge-2/status", status(True, at(60), "edge-2")),
        ("factory/line1/CNC-01/comms", comms("online", at(90))),
        (TELEMETRY, telemetry(at(91), temperature=20.0)),
        ("unrelated/topic", b"{}"),
        (TELEMETRY, b'{"no": "telemetry"}'),
    ]
    events = replay(capsys, config, messages)
    told = [(event["alert_id"], event["cause"], event["source_timestamp"]) for event in events]
    assert told == [
        ("hot.CNC-01", "condition", format_timestamp(at(0))),
        ("offline.CNC-01", "condition", format_timestamp(at(15))),
        ("millrace-gateway-edge-2._platform", "condition", format_timestamp(at(50))),
        ("millrace-gateway-edge-2._platform", "clear", format_timestamp(at(65))),
        ("offline.CNC-01", "clear", format_timestamp(at(90))),
        ("hot.CNC-01", "clear", format_timestamp(at(91))),
    ]
    assert [event["event_seq"] for event in events] == [1, 2, 3, 4, 5, 6]


def test_replay_says_what_the_live_service_stored(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    messages = []
    for second in range(120):
        value = 90.0 if second % 40 < 20 else 20.0
        messages.append((TELEMETRY, telemetry(at(second + 1), temperature=value)))
    for topic, payload in messages:
        running.clock.advance(1)
        running.receive(topic, payload)

    def of_the_plant() -> list[dict[str, object]]:
        items = running.get("/v1/alert-events").json()["items"]
        return [event for event in items if not is_built_in(event["rule"])]

    wait_until(lambda: len(of_the_plant()) == 6, "six transitions")
    stored = of_the_plant()
    replayed = replay(capsys, running.settings.config, messages)
    keys = ("alert_id", "occurrence", "from_state", "to_state", "cause", "value", "source_timestamp")
    assert [[event[key] for key in keys] for event in replayed] == [[event[key] for key in keys] for event in stored]


def test_replay_of_backfill_raises_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(capsys, config, [(TELEMETRY, telemetry(at(n), temperature=90.0, backfill=True)) for n in range(10)]) == []


def test_missing_event_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--config", str(config), str(config / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def chattering(config: Path) -> Path:
    """A temperature that crosses 85 every two seconds by one degree, and once for ten seconds by much."""
    values = [84.0, 86.0] * 60 + [95.0] * 10 + [20.0] * 10
    return write_events(
        config / "noise.jsonl", [(TELEMETRY, telemetry(at(n), temperature=value)) for n, value in enumerate(values)]
    )


def tune(capsys: pytest.CaptureFixture[str], config: Path, *more: str) -> list[dict[str, float]]:
    path = chattering(config)
    assert main(["tune", "--config", str(config), "--json", "--rule", "hot", *more, str(path)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_tune_counts_alerts_of_each_candidate(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tune(capsys, config, "--deadband", "0", "--deadband", "3", "--on-delay", "0", "--on-delay", "5", "--off-delay", "0")
    counts = {(row["deadband"], row["on_delay_s"]): (row["alerts"], row["chattering"]) for row in found}
    assert counts[(0, 0)] == (60, 58)  # The last crossing is the long one.
    assert counts[(3, 0)] == (1, 0)
    assert counts[(0, 5)] == (1, 0)
    assert counts[(3, 5)] == (1, 0)


def test_tune_proposes_candidates_around_the_rule(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tune(capsys, config)
    assert {row["deadband"] for row in found} == {0.0, 0.85, 1.7, 3.0, 4.25}
    assert main(["tune", "--config", str(config), "--rule", "hot", str(chattering(config))]) == 0
    assert "deadband" in capsys.readouterr().out


@pytest.mark.parametrize("more", [["--rule", "nope"], ["--rule", "silent"], ["--rule", "hot", "--device", "PACK-01"]])
def test_tune_of_what_has_no_threshold_names_those_that_have(
    config: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(["tune", "--config", str(config), *more, str(chattering(config))]) == 2
    assert "hot" in capsys.readouterr().err


def test_replay_sums_up_by_alert_and_draws_when_they_stood(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = config / "alerts.svg"
    assert (
        main(["replay", "--config", str(config), "--table", "--svg", str(picture), "--rule", "hot", str(chattering(config))]) == 0
    )
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told[2:]] == [["hot.CNC-01", "1"]], "the deadband of the rule holds it together"
    drawn = ElementTree.fromstring(picture.read_text())
    assert len(drawn.findall(f"{SVG}rect[@fill='#e0752d']")) == 1
    assert "hot.CNC-01" in {each.text for each in drawn.findall(f"{SVG}text")}


def test_tune_draws_a_row_a_candidate(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = config / "tune.svg"
    found = tune(capsys, config, "--deadband", "0", "--deadband", "3", "--on-delay", "0", "--off-delay", "0", "--svg", str(picture))
    drawn = ElementTree.fromstring(picture.read_text())
    names = [each.text for each in drawn.findall(f"{SVG}text[@text-anchor='end']")]
    assert names == ["deadband 0, 0 s, 0 s", "60 alerts, 0.0 h", "deadband 3, 0 s, 0 s", "1 alert, 0.0 h"]
    assert len(drawn.findall(f"{SVG}rect[@fill='#e0752d']")) == sum(row["alerts"] for row in found)


def test_tune_heeds_while(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    condition = "    condition: {kind: threshold, signal: temperature, above: 85"
    gated = RULES.replace(condition, f"    while: {{signal: run_status, equals: [1]}}\n{condition}", 1)
    (config / "alerts.yaml").write_text(gated)
    hot = [(TELEMETRY, telemetry(at(n), temperature=90.0 if n % 20 < 10 else 20.0, run_status=float(n < 40))) for n in range(80)]
    path = write_events(config / "gated.jsonl", hot)
    assert main(["tune", "--config", str(config), "--json", "--rule", "hot", "--on-delay", "0", "--off-delay", "0", str(path)]) == 0
    assert {json.loads(line)["alerts"] for line in capsys.readouterr().out.splitlines()} == {2}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "name an event file, or --from and --to"),
        (["--from", "2025-10-15T06:00:00Z"], "both are needed"),
        (["--from", "2025-10-15T06:00:00Z", "--to", "2025-10-15T05:00:00Z"], "must be before --to"),
        (["--rule", "nope", "events.jsonl"], "nope: is no rule that watches a device"),
    ],
)
def test_a_past_that_is_none_is_refused_in_words(
    config: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert main(["replay", "--config", str(config), *more]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.influx
def test_a_period_of_the_database_tells_what_a_recording_of_it_tells(
    config: Path, capsys: pytest.CaptureFixture[str], shared_influxd: Influxd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backfill, too: it is replayed as if it had come in time."""
    settings = shared_influxd.settings()
    monkeypatch.setenv("MILLRACE_INFLUX_URL", settings.influx_url)
    monkeypatch.setenv("MILLRACE_INFLUX_ORG", settings.influx_org)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", shared_influxd.TOKEN)
    messages = [
        (device, telemetry(at(n), device, temperature=90.0 if n % 40 < 20 else 20.0, program=f"P{n // 100}"))
        for n in range(0, 600, 5)
        for device in ("CNC-01", "CNC-02")
    ]
    lines = [
        points.telemetry_line("test-cnc", "line1", device, decode_telemetry(body, at(600), device)) for device, body in messages
    ]
    with Influx(settings) as influx:
        influx.write(measurements.TELEMETRY_BUCKET, b"\n".join(lines))
    period = ["--from", format_timestamp(at(0)), "--to", format_timestamp(at(600))]
    assert main(["replay", "--config", str(config), "--json", "--rule", "hot", *period]) == 0
    stored = capsys.readouterr().out
    recorded = write_events(config / "same.jsonl", [(TELEMETRY.replace("CNC-01", device), body) for device, body in messages])
    assert main(["replay", "--config", str(config), "--json", "--rule", "hot", str(recorded)]) == 0
    keys = ("alert_id", "occurrence", "to_state", "cause", "value", "source_timestamp")
    found, expected = (
        [[json.loads(line)[key] for key in keys] for line in told.splitlines()] for told in (stored, capsys.readouterr().out)
    )
    assert len(found) == 60
    assert found == expected
    assert main(["tune", "--config", str(config), "--json", "--rule", "hot", "--off-delay", "0", "--on-delay", "0", *period]) == 0
    assert {json.loads(line)["alerts"] for line in capsys.readouterr().out.splitlines()} == {30}
