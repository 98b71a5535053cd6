# ruff: noqa: E501 - the table of mistakes reads as one line a mistake
"""The plant model: the sample loads, and each mistake that people make is answered with file, line, key and the way out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import load_alert_rules, load_calendar, load_plant, load_reasons
from millrace_contract.plant.accepted import load_accepted

SAMPLE = Path(__file__).parents[2] / "config"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small valid plant to make mistakes in."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "acme-p3.yaml").write_text(
        """title: Press
asset_class: press
source: maker's manual, table 4
verified: simulator
groups: {fast: {interval_s: 1}}
signals:
  state: {address: 0, type: uint16, values: {0: stopped, 1: execute}}
  strokes: {address: 2, type: uint32, counter: {modulus: 65536, max_rate_per_s: 5}}
  force: {address: 10, type: float32, unit: kN}
  name: {address: 20, type: string, registers: 4}
atomic: [[strokes]]
oee: {state: state, total: strokes}
"""
    )
    (tmp_path / "plant.yaml").write_text(
        """root: factory
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      P-01:
        profile: acme-p3
        connection: {host: "${PLC_HOST:-10.0.0.5}"}
  line2:
    devices:
      P-02:
        profile: acme-p3
        connection: {host: 10.0.0.6}
"""
    )
    (tmp_path / "calendar.yaml").write_text(
        """shifts:
  early: {start: 06:00, end: 14:00, breaks: [{start: 09:00, end: 09:15}]}
  night: {start: 22:00, end: 06:00}
"""
    )
    (tmp_path / "alerts.yaml").write_text(
        """rules:
  heavy:
    title: Force too high
    class: maintenance
    condition: {kind: threshold, signal: force, above: 90}
"""
    )
    (tmp_path / "reasons.yaml").write_text("reasons: {jam: {title: Jam}}\n")
    return tmp_path


def _problems(load: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationProblems) as refused:
        load()
    return "\n".join(str(problem) for problem in refused.value.problems)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_sample_loads() -> None:
    plant = load_plant(SAMPLE)
    assert len(plant.devices) >= 12
    assert len({plant.profile_of(device).asset_class for device in plant.devices}) >= 6
    load_calendar(SAMPLE, plant)
    assert all(rule.is_of_platform or rule.devices(plant) for rule in load_alert_rules(SAMPLE, plant).values())
    load_reasons(SAMPLE)


def test_host_comes_from_the_environment(folder: Path) -> None:
    assert load_plant(folder, {}).devices["P-01"].connection.host == "10.0.0.5"
    assert load_plant(folder, {"PLC_HOST": "plc"}).devices["P-01"].connection.host == "plc"


PROFILE, PLANT, CALENDAR, ALERTS, REASONS = "profiles/acme-p3.yaml", "plant.yaml", "calendar.yaml", "alerts.yaml", "reasons.yaml"
LONG = "\n  long: {start: 04:00, end: 12:00, days: []}"
DAYTIME = "{{valid_from: {}, shifts: {{day: {{start: 08:00, end: 16:00}}}}}}"
NOON = "\n  noon: {start: 11:00, end: 15:00, days: []}"
"""Shifts of no ordinary day."""
MISTAKES = [
    (PLANT, "profile: acme-p3", "profile: acme-p4", "plant.yaml:7: lines.line1.devices.P-01.profile: no profile 'acme-p4' (did you mean acme-p3?); there are: acme-p3"),
    (PLANT, "P-02:", "P-01:", "plant.yaml:11: lines.line2.devices.P-01: device P-01 is also in line line1; an id is unique in the plant"),
    (PLANT, "P-02:", "telemetry:", "is a word that topics use"),
    (PLANT, "Europe/Berlin", "Berlin", "plant.yaml:2: time_zone: 'Berlin' is not a time zone; write one like Europe/Berlin"),
    (PLANT, "  line1:\n", "  line1:\n    oee: {machines: [[P-01, P-09]]}\n", "lines.line1.oee.machines: 'P-09' is not a device of this line"),
    (PLANT, "  line1:\n", "  line1:\n    oee: {machines: [[P-01], P-01]}\n", "lines.line1.oee.machines: P-01 stands twice"),
    (PLANT, "  line1:\n", "  line1:\n    oee: {machines: [P-01, []]}\n", "lines.line1.oee.machines: holds an empty list"),
    (PLANT, "root: factory", "root: fac tory", "plant.yaml:1: root: 'fac tory': segment 'fac tory' must be 1 to 63 letters"),
    (PLANT, "{host: 10.0.0.6}", "{hots: 10.0.0.6}", "hots: is not a key here (did you mean host?); allowed: transport, host, port"),
    (PLANT, "{host: 10.0.0.6}", "{host: 10.0.0.6, port: 70000}", "plant.yaml:13: lines.line2.devices.P-02.connection.port: 70000 is not allowed"),
    (PLANT, "{host: 10.0.0.6}", "{host: 10.0.0.6, connections: 9}", "plant.yaml:13: lines.line2.devices.P-02.connection.connections: 9 is not allowed"),
    (PLANT, "{host: 10.0.0.6}", "{transport: serial, serial_port: COM1, connections: 2}", "a serial line is one connection; leave out the key connections"),
    (PLANT, "${PLC_HOST:-10.0.0.5}", "${PLC_HOST}", "variable PLC_HOST is not set; set it, or write ${PLC_HOST:-default}"),
    (PLANT, "  line2:", "  line1:", "plant.yaml:9: lines.line1: stands twice, first in line 4; give one another name"),
    (PLANT, "lines:", "lines: [", "plant.yaml:"),
    (PROFILE, "address: 10, type: float32", "address: 10, type: int24", "profiles/acme-p3.yaml:9: signals.force.type: 'int24' is not one of 'bit', 'int16'"),
    (PROFILE, "type: float32, unit: kN", "type: string, regsters: 4", "signals.force.regsters: is not a key here (did you mean registers?)"),
    (ALERTS, "    class: maint", "    clas: maint", "heavy.clas: is not a key here (did you mean class?)"),
    (PROFILE, "address: 10", "address: 40011", "signals.force.address: address 40011 looks like a reference number; use 10"),
    (PROFILE, "address: 10", "address: 3", "profiles/acme-p3.yaml:9: signals.force.address: overlaps strokes at holding address 3 (strokes takes 2 to 3)"),
    (PROFILE, "address: 10", "address: 65535", "ends at 65536, beyond the last address 65535"),
    (PROFILE, "type: float32, unit: kN", "type: uint16, bits: {16: jam}", "signals.force: bit 16 is none of uint16: uint16 has the bits 0 to 15"),
    (PROFILE, "type: float32, unit: kN", "type: uint16, bits: {0: strokes}", "signals.force.bits: bit 0 is called 'strokes', which is another signal's name"),
    (PROFILE, "type: float32, unit: kN", "type: uint16, bits: {0: Door}", "signals.Door: must be lower-case letters"),
    (PROFILE, "type: float32, unit: kN", "type: uint16, bit: 16", "bit 16 is none of uint16"),
    (PROFILE, "type: float32, unit: kN", "type: float32, invalid: [1.0e39]", "invalid holds a number that no float32 can be"),
    (PROFILE, "registers: 4", "registers: 4, invalid: [0]", "a string has no scale, divisor, offset, counter, values or invalid"),
    (PROFILE, "atomic:", "must_not_cross: [{first: 9, last: 10}]\natomic:", "must_not_cross[0]: signal force stands there, at holding 10 to 11"),
    (PROFILE, "atomic:", "must_not_cross: [{at: 11}]\natomic:", "must_not_cross[0]: signal force stands there, at holding 10 to 11"),
    (PROFILE, "atomic:", "must_not_cross: [{first: 9}]\natomic:", "must_not_cross[0]: needs first and last, or at"),
    (PROFILE, "atomic:", "read_as_one: [{first: 100, last: 300}]\natomic:", "read_as_one[0]: spans 201, more than the 125 of one request"),
    (PROFILE, "kN}", "kN, on_change: {}, counter: {max_rate_per_s: 1}}", "signals.force: a counter or a state has no on_change: OEE needs every reading of it"),
    (PROFILE, "type: float32, unit: kN", "type: float32, scale_register: 20", "scale_register gives the power of ten of a whole number"),
    (PROFILE, "type: float32, unit: kN", "type: int32, scale_register: 11", "scale_register 11 is a register of the value itself"),
    (PROFILE, "type: float32, unit: kN", "type: int32, scale_register: 140", "signals.force.scale_register: is 131 registers from one end to the other"),
    (PROFILE, "type: float32, unit: kN", "type: int32, scale_register: 40021", "signals.force.scale_register: scale_register 40021 looks like a reference number; use 20"),
    (PROFILE, "force:", "Force:", "signals.Force: must be lower-case letters"),
    (PROFILE, "force:", "force_quality:", "must not end in _text or _quality"),
    (PROFILE, "type: string, registers: 4", "type: string", "a string needs the key registers"),
    (PROFILE, "1: execute", "1: running", "signals.state.values[1]: 'running' is not a machine state"),
    (PROFILE, "total: strokes", "total: stroke", "oee.total: 'stroke' is not a signal of this profile (did you mean strokes?)"),
    (PROFILE, "total: strokes", "total: strokes, leaves: {idel: setup}", "profiles/acme-p3.yaml:12: oee.leaves.idel: 'idel' is not one of 'stopped', "),
    (PROFILE, "total: strokes", "total: strokes, leaves: {idel: setup}", "(did you mean idle?)"),
    (PROFILE, "total: strokes", "total: strokes, leaves: {idle: pause}", "oee.leaves.idle: 'pause' is not one of 'run', 'minor_stop', 'unplanned_stop', "),
    (PROFILE, "total: strokes", "total: strokes, leaves: {idle: not_scheduled}", "oee.leaves.idle: 'not_scheduled' is not one of 'run', "),
    (PLANT, "profile: acme-p3", "profile: acme-p3\n        ideal_cycle_s: 0.01", "lines.line1.devices.P-01.ideal_cycle_s: a part every 0.01 s is faster than strokes may count"),
    (ALERTS, "class: maintenance", "class: maintenence", "heavy.class: 'maintenence' is not one of 'alarm', 'maintenance' or 'system' (did you mean maintenance?)"),
    (REASONS, "{title: Jam}", "{title: Jam, leaf: not_scheduled}", "reasons.jam.leaf: 'not_scheduled' is not one of 'planned_stop', 'setup', "),
    (PROFILE, "total: strokes", "total: force", "signal force needs the key counter"),
    (PROFILE, "[[strokes]]", "[[strokes, froce]]", "atomic[0]: 'froce' is not a signal of this profile (did you mean force?)"),
    (PROFILE, "{interval_s: 1}", "{once: true}", "profiles/acme-p3.yaml:5: groups: needs a group with interval_s"),
    (PROFILE, "{interval_s: 1}", "{once: true, interval_s: 1}", "groups.fast: needs interval_s, or once: true"),
    (PROFILE, "{interval_s: 1}", "{}", "groups.fast: needs interval_s, or once: true"),
    (CALENDAR, "09:15", "15:15", "shifts.early.breaks[0]: 09:00 to 15:15 is not inside the shift"),
    (CALENDAR, "start: 22:00", "start: 13:00", "shifts.night: overlaps shift early on line line1"),
    (CALENDAR, "09:15}", "09:15}, {start: 09:10, end: 09:20}", "shifts.early.breaks[1]: overlaps the break from 09:00 to 09:15"),
    (CALENDAR, "09:15}", "09:15:30}", "shifts.early.breaks[0].end: 09:15:30 must be of the form HH:MM"),
    (CALENDAR, "shifts:", "exceptions: [{date: 2025-12-24}, {date: 2025-12-24, lines: [line2], shifts: [early]}]\nshifts:", "exceptions[1]: 2025-12-24 has an exception before this one on line line2"),
    (CALENDAR, "shifts:", "exceptions: [{date: 2025-12-24, shifts: [early, noon]}]\nshifts:" + NOON, "exceptions[0]: on 2025-12-24 shift noon overlaps shift early on line line1"),
    (CALENDAR, "shifts:", "exceptions: [{date: 2025-12-24, shifts: [long]}]\nshifts:" + LONG, "exceptions[0]: on 2025-12-24 shift long overlaps shift night on line line1"),
    (CALENDAR, "shifts:", "changes: [{valid_from: 2025-12-24, shifts: {late: {start: 22:00, end: 25:00}}}]\nshifts:", "changes[0].shifts.late.end: '25:00' is not allowed"),
    (CALENDAR, "shifts:", "changes: [{valid_from: 2025-12-24, shifts: {dawn: {start: 05:00, end: 12:00}}}]\nshifts:", "changes[0]: from 2025-12-24 on shift dawn overlaps shift night of before on line line1"),
    (CALENDAR, "shifts:", "changes: [" + DAYTIME.format("2025-12-24") + ", " + DAYTIME.format("2025-12-24") + "]\nshifts:", "changes[1]: valid_from 2025-12-24 stands twice"),
    (CALENDAR, "shifts:", "changes: [" + DAYTIME.format("2025-12-24") + ", " + DAYTIME.format("2025-12-01") + "]\nshifts:", "changes[1]: valid_from 2025-12-01 is before that of the entry above, 2025-12-24; put them in the order of time"),
    (PLANT, "profile: acme-p3", "profile: acme-p3\n        changes: [{valid_from: 2025-12-24, micro_stop_s: 9}, {valid_from: 2025-12-24 00:00, micro_stop_s: 8}]", "lines.line1.devices.P-01.changes[1]: valid_from 2025-12-24 stands twice; put both into one entry"),
    (PLANT, "profile: acme-p3", "profile: acme-p3\n        changes: [{valid_from: 2025-12-24}]", "changes[0]: changes nothing; name what is other from then on: ideal_cycle_s, micro_stop_s"),
    (PLANT, "profile: acme-p3", "profile: acme-p3\n        changes: [{valid_from: 24.12.2025, micro_stop_s: 9}]", "changes[0].valid_from: '24.12.2025' is no time; write the plant's local time, 2026-03-12 06:00, or"),
    (PLANT, "profile: acme-p3", "profile: acme-p3\n        changes: [{valid_from: 2025-12-24, ideal_cycle_s: 0.01}]", "P-01.changes[0].ideal_cycle_s: a part every 0.01 s is faster than strokes may count"),
    (PLANT, "devices:", "oee: {changes: [{valid_from: 2025-12-24, machines: [P-99]}]}\n    devices:", "lines.line1.oee.changes[0].machines: 'P-99' is not a device of this line"),
    (PROFILE, "total: strokes", "total: strokes, changes: [{valid_from: 2025-12-24, leaves: {idel: setup}}]", "oee.changes[0].leaves.idel: 'idel' is not one of"),
    (CALENDAR, "start: 22:00", "start: 25:00", "calendar.yaml:3: shifts.night.start: '25:00' is not allowed"),
    (ALERTS, "signal: force", "signal: froce", "profile acme-p3 has no signal 'froce' (did you mean force?)"),
    (ALERTS, "signal: force", "signal: name", "is a text; this condition needs a number"),
    (ALERTS, "    class: maint", "    where: {asset_classes: [pres]}\n    class: maint", "heavy.where.asset_classes: no asset class 'pres' (did you mean press?)"),
    (ALERTS, "kind: threshold", "kind: treshold", "alerts.yaml:5: rules.heavy.condition: 'treshold' is not one of"),
    (ALERTS, "class: maintenance", "class: alarm", "an alarm is for an operator who must act: add consequence, cause, action, response_s"),
    (ALERTS, ", above: 90", "", "needs one of the keys above and below"),
    (REASONS, "{title: Jam}", "{}", "reasons.yaml:1: reasons.jam.title: is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "expected"), MISTAKES)
def test_each_mistake_is_named_with_its_place_and_way_out(folder: Path, file: str, old: str, new: str, expected: str) -> None:
    good = load_plant(folder)
    _edit(folder / file, old, new)
    loads: dict[str, Callable[[], object]] = {
        CALENDAR: lambda: load_calendar(folder, good),
        ALERTS: lambda: load_alert_rules(folder, good),
        REASONS: lambda: load_reasons(folder),
    }
    assert expected in _problems(loads.get(file, lambda: load_plant(folder, {})))


def test_all_problems_come_in_one_report(folder: Path) -> None:
    _edit(folder / PLANT, "Europe/Berlin", "Berlin")
    _edit(folder / PLANT, "{host: 10.0.0.6}", "{}")
    _edit(folder / PROFILE, "type: float32", "type: int24")
    _edit(folder / PROFILE, "address: 0, type: uint16", "address: -1, type: uint16")
    assert len(_problems(lambda: load_plant(folder)).splitlines()) == 4


def test_a_broken_edit_runs_on_the_last_accepted_copy(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(ConfigurationProblems):  # nothing was ever accepted: a wrong file refuses the first start
        load_accepted(tmp_path / "nowhere", data, load_plant)
    assert load_accepted(folder, data, load_plant).configuration == "current"
    _edit(folder / PLANT, "Europe/Berlin", "Berlin")
    kept = load_accepted(folder, data, load_plant)
    assert kept.configuration == "last_accepted"
    assert kept.model.time_zone == "Europe/Berlin"
    assert "not a time zone" in str(kept.problems[0])
    _edit(folder / PLANT, "Berlin", "America/Chicago")
    assert load_accepted(folder, data, load_plant).model.time_zone == "America/Chicago"


def test_an_unchanged_configuration_is_not_written_again(folder: Path, tmp_path: Path) -> None:
    """So that a service starts again on a full disk."""
    data = tmp_path / "data"
    load_accepted(folder, data, lambda each: load_plant(each, {}))
    first = (data / "accepted-config").stat().st_ino
    load_accepted(folder, data, lambda each: load_plant(each, {}))
    assert (data / "accepted-config").stat().st_ino == first
    plant = folder / "plant.yaml"
    plant.write_text(plant.read_text().replace("P-02", "P-03"))
    load_accepted(folder, data, lambda each: load_plant(each, {}))
    assert "P-03" in (data / "accepted-config" / "plant.yaml").read_text()


def test_a_profile_may_say_that_its_high_addresses_are_meant(folder: Path) -> None:
    _edit(folder / PROFILE, "address: 10", "address: 40071")
    _edit(folder / PROFILE, "groups:", "addresses: as_written\ngroups:")
    assert load_plant(folder).profiles["acme-p3"].register_signals["force"].address == 40_071


def test_two_bytes_of_one_register_are_two_signals(folder: Path) -> None:
    _edit(folder / PROFILE, "address: 10, type: float32", "address: 10, type: int8_high")
    _edit(folder / PROFILE, "  name:", "  trim: {address: 10, type: uint8_low}\n  name:")
    assert load_plant(folder).profiles["acme-p3"].register_signals["trim"].address == 10
    _edit(folder / PROFILE, "uint8_low", "uint8_high")
    assert "signals.trim.address: overlaps force at holding address 10" in _problems(lambda: load_plant(folder))


def test_windows_line_ends_and_a_missing_file_are_no_tracebacks(folder: Path) -> None:
    (folder / PLANT).write_bytes((folder / PLANT).read_bytes().replace(b"\n", b"\r\n"))
    assert load_plant(folder)
    shutil.move(folder / PLANT, folder / "plant.yml")
    assert "plant.yaml: is missing; expected in" in _problems(lambda: load_plant(folder))


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root: " + "[" * 20_000, "nested too deeply"),
        ("root: " + "[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ("\n".join(" " * depth + "a:" for depth in range(200)), "nested too deeply"),
        ("root: &a [*a]\n", "contains itself"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True))
            + "root: *g\n",
            "more than 1000000 values",
        ),
        ("root: " + "9" * 5_000, "root: '999"),
    ],
    ids=["deep", "deep and closed", "deep in a block", "a cycle", "aliases of aliases", "a number of 5000 digits"],
)
def test_yaml_that_would_eat_stack_or_memory_is_a_problem_like_any_other(folder: Path, text: str, expected: str) -> None:
    (folder / "plant.yaml").write_text(text)
    with pytest.raises(ConfigurationProblems) as raised:
        load_plant(folder, {})
    assert expected in str(raised.value)


def test_a_disk_that_takes_no_copy_is_no_reason_not_to_start(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("a file where the folder should be, as unwritable as a full disk and for root too")
    accepted = load_accepted(folder, data, load_plant)
    assert accepted.configuration == "current"
    assert accepted.not_kept
