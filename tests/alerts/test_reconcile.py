"""What is remembered over a changed plant model: of what is gone nothing stands any more, and who comes back begins anew."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import msgspec
import pytest

from millrace_alerts.alert import Alert
from millrace_alerts.reconcile import UNDECLARED_KEPT_MS, begins_anew, forgetful, reconciled
from millrace_alerts.records import DeviceRecord, Latest, Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import Configuration, load_configuration
from millrace_alerts.timer import Timer
from millrace_alerts.watch import Watch
from millrace_contract.language.messages import Comms, decode
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.words import CommsState, Evaluation, Quality

from .plantfiles import PLANT, PROFILE, RULES, START_MS, comms, write_plant

ONLINE = decode(Comms, comms("online", START_MS))


def plant(folder: Path, *changes: tuple[str, str]) -> Configuration:
    """The small plant with changes in any of its files."""
    write_plant(folder)
    for name, text in (("plant.yaml", PLANT), ("profiles/test-cnc.yaml", PROFILE), ("alerts.yaml", RULES)):
        (folder / name).write_text(reduce(lambda changed, change: changed.replace(*change), changes, text))
    return load_configuration(folder)


@pytest.fixture
def records(tmp_path: Path) -> dict[str, DeviceRecord]:
    """Of the plant as it was: everybody said something."""
    said = {"temperature": Latest(START_MS, 90.0, Quality.GOOD)}
    before = {name: DeviceRecord(readings=dict(said), comms=ONLINE, heard_ms=START_MS) for name in ("CNC-01", "CNC-02", "PACK-01")}
    return {**before, **reconciled(plant(tmp_path).plant, before, START_MS)}


WITHOUT = ("      CNC-01: {title: Mill, profile: test-cnc, connection: {host: 127.0.0.1, port: 5020}}\n", "")
NO_RULES = (RULES, "rules: {}")
RENAMED = ("temperature", "spindle_temperature")


def test_an_unchanged_plant_changes_nothing(tmp_path: Path, records: dict[str, DeviceRecord]) -> None:
    same = plant(tmp_path, ("Test CNC", "Test CNC  # with a comment")).plant
    assert reconciled(same, records, START_MS + 1) == {}
    assert not begins_anew(same, "CNC-01", records["CNC-01"])


def test_a_device_that_is_gone_is_remembered_as_gone_and_comes_back_without_its_past(
    tmp_path: Path, records: dict[str, DeviceRecord]
) -> None:
    without = plant(tmp_path, WITHOUT, NO_RULES).plant
    changed = reconciled(without, records, START_MS + 1)
    assert list(changed) == ["CNC-01"]
    gone = changed["CNC-01"]
    assert (gone.readings, gone.comms, gone.gone_ms, gone.line, gone.title) == ({}, None, START_MS + 1, "line1", "Mill")
    assert reconciled(without, changed, START_MS + 2) == {n: r for n, r in reconciled(without, {}, 0).items() if n != "CNC-01"}
    again = plant(tmp_path).plant
    assert begins_anew(again, "CNC-01", gone)
    back = reconciled(again, changed, START_MS + 3)["CNC-01"]
    assert (back.readings, back.comms, back.gone_ms, back.heard_ms) == ({}, None, None, 0)


def test_what_another_profile_read_is_no_reading_of_this_one(tmp_path: Path, records: dict[str, DeviceRecord]) -> None:
    renamed = plant(tmp_path, RENAMED).plant
    changed = reconciled(renamed, records, START_MS + 1)
    assert {name: record.readings for name, record in changed.items()} == {"CNC-01": {}, "CNC-02": {}, "PACK-01": {}}
    assert changed["CNC-01"].comms == ONLINE  # the link is the same
    assert begins_anew(renamed, "CNC-01", records["CNC-01"])


def test_a_record_of_before_versions_were_kept_loses_only_names_that_nobody_declares(tmp_path: Path) -> None:
    old = DeviceRecord(readings={name: Latest(START_MS, 1.0, Quality.GOOD) for name in ("temperature", "temp")}, comms=ONLINE)
    now = plant(tmp_path).plant
    assert list(reconciled(now, {"CNC-01": old}, START_MS)["CNC-01"].readings) == ["temperature"]
    assert not begins_anew(now, "CNC-01", old)


def test_an_alert_that_begins_anew_keeps_what_people_did_and_forgets_what_was_observed() -> None:
    alert = Alert(
        id="hot.CNC-01", rule="hot", line="line1", device_id="CNC-01", version=7, evaluation=Evaluation.GOOD, seen_ms=START_MS,
        seen_value=90.0, timer=Timer(active=True, since_ms=START_MS, held_ms=5), acked_by="anna",
    )  # fmt: skip
    after = forgetful(alert)
    assert (after.timer, after.evaluation, after.seen_value) == (Timer(active=True), Evaluation.NEVER_SEEN, None)
    assert (after.version, after.acked_by, after.seen_ms) == (7, "anna", START_MS)


def test_a_name_that_no_profile_declares_is_forgotten_when_it_comes_no_more(tmp_path: Path) -> None:
    configuration = plant(tmp_path)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())

    def say(at_ms: int, **readings: float | str) -> list[str]:
        message = Telemetry(timestamp_ms=at_ms, readings=dict(readings), quality={}, tags={}, stream=None, seq=None, prev=None)
        watch.telemetry("CNC-01", message)
        return list(watch.devices["CNC-01"].readings)

    assert say(START_MS, temp=1.0, pressure=1.0) == ["temp", "pressure"]  # from a gateway that has not taken over the edit
    assert say(START_MS + UNDECLARED_KEPT_MS, temperature=1.0) == ["temp", "pressure", "temperature"]
    assert say(START_MS + UNDECLARED_KEPT_MS + 1, temperature=1.0) == ["pressure", "temperature"]


def test_a_rule_that_is_gone_hides_no_missing_data_any_more(tmp_path: Path) -> None:
    first, second = (
        plant(tmp_path / "a"),
        plant(tmp_path / "b", ("  offline:", "  nothing:"), ("lines: [line1]}", "lines: [line2]}")),
    )
    watch = Watch(first.plant, watched_rules(first.plant, first.rules), Saved())
    watch.comms("CNC-01", msgspec.structs.replace(ONLINE, state=CommsState.OFFLINE), START_MS)
    assert watch.alerts["silent.CNC-01"].inhibited
    saved = Saved(dict(watch.alerts), dict(watch.devices), dict(watch.gateways))
    watch = Watch(second.plant, watched_rules(second.plant, second.rules), saved)
    watch.resume(0, START_MS + 1_000)
    assert not watch.alerts["silent.CNC-01"].inhibited


def test_a_link_of_which_nothing_is_said_after_a_reconnect_was_cleared_meanwhile(tmp_path: Path) -> None:
    configuration = plant(tmp_path)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    for device in ("CNC-01", "PACK-01"):
        watch.comms(device, msgspec.structs.replace(ONLINE, device_id=device, state=CommsState.OFFLINE), START_MS)
    watch.gateway("edge-2", False, START_MS)
    assert (watch.is_offline("CNC-01"), watch.is_offline("CNC-02"), watch.is_offline("PACK-01")) == (True, True, True)
    watch.heard.clear()
    watch.comms("PACK-01", watch.devices["PACK-01"].comms, START_MS)
    watch.forget_hearsay(START_MS + 60_000)
    assert (watch.is_offline("CNC-01"), watch.is_offline("CNC-02"), watch.is_offline("PACK-01")) == (False, False, True)
