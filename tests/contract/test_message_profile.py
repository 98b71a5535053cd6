# ruff: noqa: E501 - the table of mistakes reads as one line a mistake
"""Devices that send messages: a profile whose signals have a path, and `transport: mqtt` with a topic. Each mistake in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import MessageSignal, PlantModel, hold_ms, load_plant

PLANT, PROFILE = "plant.yaml", "profiles/plug.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / PROFILE).write_text(
        """title: Plug
source: test
verified: test
groups: {telemetry: {interval_s: 60}}
message: {time: Time, time_zone: plant}
signals:
  power: {path: ENERGY.Power, unit: W}
  relay: {path: [relays, 0], type: bool, words: {"ON": 1, "OFF": 0}}
  total: {topic: energy, path: ., counter: {max_rate_per_s: 1}}
"""
    )
    (tmp_path / "profiles" / "press.yaml").write_text(
        "title: P\nsource: t\nverified: t\ngroups: {fast: {interval_s: 1}}\nsignals: {force: {address: 1, type: uint16}}\n"
    )
    (tmp_path / PLANT).write_text(
        """root: factory
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      PLUG-1: {profile: plug, connection: {transport: mqtt, topic: tele/plug-1/SENSOR}}
      PRESS-1: {profile: press, connection: {host: 10.0.0.5}}
"""
    )
    return tmp_path


def _problems(folder: Path) -> str:
    with pytest.raises(ConfigurationProblems) as error:
        load_plant(folder, {})
    return str(error.value)


def _load(folder: Path) -> PlantModel:
    return load_plant(folder, {})


def test_a_signal_says_where_in_the_message_its_value_stands(folder: Path) -> None:
    signals = _load(folder).profiles["plug"].signals
    paths = {name: signal.path for name, signal in signals.items() if isinstance(signal, MessageSignal)}
    assert paths == {"power": ("ENERGY", "Power"), "relay": ("relays", 0), "total": ()}
    assert [signals[name].kind for name in signals] == ["gauge", "bit", "counter"]


def test_a_device_is_heard_on_its_topic_and_on_those_of_its_signals_below_it(folder: Path) -> None:
    plant = _load(folder)
    assert plant.topics_of("PLUG-1") == ("tele/plug-1/SENSOR", "tele/plug-1/SENSOR/energy")
    assert plant.topics_of("PRESS-1") == ()


def test_its_last_will_is_heard_beside_what_it_sends(folder: Path) -> None:
    text = (folder / PLANT).read_text()
    (folder / PLANT).write_text(text.replace("plug-1/SENSOR}", "plug-1/SENSOR, availability: tele/plug-1/LWT}"))
    plant = _load(folder)
    assert plant.heard_topics_of("PLUG-1") == (*plant.topics_of("PLUG-1"), "tele/plug-1/LWT")
    assert plant.heard_topics_of("PRESS-1") == ()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("plug-1/SENSOR}", "plug-1/SENSOR, availability: factory/plug-1}", "factory/plug-1 lies below the plant's own root"),
        ("plug-1/SENSOR}", "plug-1/SENSOR, availability: tele/+/LWT}", "has + or # in it"),
        ("host: 10.0.0.5", "host: 10.0.0.5, availability: press/LWT", "the key availability is for transport mqtt, not tcp"),
    ],
)
def test_a_last_will_that_cannot_be_heard_is_refused(folder: Path, before: str, after: str, words: str) -> None:
    (folder / PLANT).write_text((folder / PLANT).read_text().replace(before, after))
    assert words in _problems(folder)


def test_a_reading_holds_for_three_of_the_intervals_that_the_profile_expects(folder: Path) -> None:
    assert hold_ms(_load(folder).profiles["plug"], "power") == 180_000


def test_a_profile_of_messages_without_a_time_may_leave_the_key_empty(folder: Path) -> None:
    text = (folder / PROFILE).read_text()
    (folder / PROFILE).write_text(text.replace("message: {time: Time, time_zone: plant}", "message:"))
    assert _load(folder).profiles["plug"].sends_messages


MISTAKES = [
    (PLANT, ", topic: tele/plug-1/SENSOR", "", "plant.yaml:6: lines.line1.devices.PLUG-1.connection: transport mqtt needs the key topic"),
    (PLANT, "tele/plug-1/SENSOR", "tele/+/SENSOR", "connection.topic: 'tele/+/SENSOR' has + or # in it; a device has one topic, written out"),
    (PLANT, "tele/plug-1/SENSOR", "factory/line1/PLUG-1/telemetry", "lies below the plant's own root, factory; a sensor needs a topic beside it"),
    (PLANT, "topic: tele/plug-1/SENSOR", "topic: tele/p, host: 10.0.0.7", "transport mqtt has the keys topic, availability and time_zone; leave out host"),
    (PLANT, "{host: 10.0.0.5}", "{host: 10.0.0.5, topic: a/b}", "the key topic is for transport mqtt, not tcp"),
    (PLANT, "profile: plug", "profile: press", "connection: transport mqtt needs a profile of messages; press is one of registers"),
    (PLANT, "{transport: mqtt, topic: tele/plug-1/SENSOR}", "{host: 10.0.0.7}", "profile plug is one of messages; write {transport: mqtt, topic: ...}"),
    (PROFILE, "path: ENERGY.Power", "address: 3, path: ENERGY.Power", "profiles/plug.yaml:7: signals.power: has address and path: a signal stands in a register or in a message"),
    (PROFILE, "path: ENERGY.Power", "path: ENERGY..Power", "signals.power.path: 'ENERGY..Power' is no path: keys and places in lists with dots between"),
    (PROFILE, "path: ENERGY.Power", "pth: ENERGY.Power", "signals.power.path: is missing"),
    (PROFILE, "path: ENERGY.Power, unit", "path: ENERGY.Power, unti", "signals.power.unti: is not a key here (did you mean unit?); allowed: title, scale"),
    (PROFILE, "path: ENERGY.Power, unit: W", "path: ENERGY.Power, type: uint16", "signals.power.type: 'uint16' is not one of 'number', 'bool' or 'text'"),
    (PROFILE, "time_zone: plant", "time_zone: Berlin", "message.time_zone: 'Berlin' is not a time zone; write one like Europe/Berlin, or plant"),
    (PROFILE, "time: Time, ", "", "message: time_zone is that of the times in the messages; the key time says where they stand"),
    (PROFILE, "{interval_s: 60}", "{once: true}", "groups.telemetry: needs interval_s: a device that sends messages is never asked, not even once"),
    (PROFILE, "message: {time: Time, time_zone: plant}\n", "", "a profile of messages has the key message, and a path in each signal"),
    (PROFILE, "groups:", "limits: {max_gap: 3}\ngroups:", "limits is about registers; a profile of messages has none"),
    (PROFILE, "type: bool", "type: text", "signals.relay: a text has no words; they make a number (or a bool) of a text"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "expected"), MISTAKES)
def test_each_mistake_is_named_with_its_place_and_way_out(folder: Path, file: str, old: str, new: str, expected: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    assert expected in _problems(folder)
