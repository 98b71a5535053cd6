"""Messages to alerts: routing, freshness, gateways, and the same story after a restart."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_alerts.alert import Alert
from millrace_alerts.records import DeviceRecord, Latest, Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import Configuration, load_configuration
from millrace_alerts.watch import RETURN_GRACE_MS, Watch
from millrace_contract.language.messages import Comms, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Evaluation, Quality

from .plantfiles import START_MS, comms, telemetry, write_plant


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    return load_configuration(write_plant(tmp_path_factory.mktemp("plant")))


class Driver:
    """A watch with times in seconds, and a record of what happened."""

    def __init__(self, configuration: Configuration) -> None:
        self.plant = configuration.plant
        self.watched = watched_rules(configuration.plant, configuration.rules)
        self.watch = Watch(self.plant, self.watched, Saved())
        self.story: list[tuple[str, str, float]] = []

    def data(
        self, at_s: float, device: str = "CNC-01", *, bad: tuple[str, ...] = (), backfill: bool = False, **readings: float
    ) -> None:
        payload = telemetry(self.ms(at_s), device, bad=bad, backfill=backfill, readings=readings)
        self.note(self.watch.telemetry(device, decode_telemetry(payload, self.ms(at_s) + 86_400_000, device)))

    def comms(self, at_s: float, state: str, device: str = "CNC-01") -> None:
        self.note(self.watch.comms(device, decode(Comms, comms(state, self.ms(at_s), device)), self.ms(at_s)))

    def gateway(self, at_s: float, instance: str, *, alive: bool) -> None:
        self.note(self.watch.gateway(instance, alive, self.ms(at_s)))

    def tick(self, at_s: float) -> None:
        self.note(self.watch.tick(self.ms(at_s)))

    def restart(self) -> None:
        """What was saved is all that is left."""
        saved = Saved(
            alerts={n: msgspec.json.decode(msgspec.json.encode(a), type=Alert) for n, a in self.watch.alerts.items()},
            devices={n: msgspec.json.decode(msgspec.json.encode(d), type=DeviceRecord) for n, d in self.watch.devices.items()},
            gateways=dict(self.watch.gateways),
        )
        self.watch = Watch(self.plant, self.watched, saved)

    def note(self, transitions: Sequence[object]) -> None:
        for each in transitions:
            self.story.append((each.alert.id, each.alert.state, (each.source_ms - START_MS) / 1000))  # type: ignore[attr-defined]

    @staticmethod
    def ms(at_s: float) -> int:
        return START_MS + round(at_s * 1000)


@pytest.fixture
def driver(configuration: Configuration) -> Driver:
    return Driver(configuration)


def test_reading_reaches_the_rules_of_its_device_only(driver: Driver) -> None:
    driver.data(0, "CNC-02", temperature=90.0, pressure=5.0)
    assert driver.story == [("hot.CNC-02", "UNACK", 0.0)]


def test_device_without_a_rule_is_remembered(driver: Driver) -> None:
    driver.data(0, "PACK-01", temperature=200.0)
    assert driver.story == []
    assert driver.watch.devices["PACK-01"].readings["temperature"].value == 200.0


def test_backfill_is_shown_when_it_is_newest_and_never_evaluated(driver: Driver) -> None:
    driver.data(0, backfill=True, temperature=200.0)
    assert driver.story == []
    assert driver.watch.devices["CNC-01"].readings["temperature"].value == 200.0
    driver.data(1, temperature=90.0)
    assert driver.story == [("hot.CNC-01", "UNACK", 1.0)]


def test_readings_out_of_order_are_counted_and_ignored(driver: Driver) -> None:
    driver.data(10, temperature=20.0)
    driver.data(5, temperature=200.0)
    driver.data(10, temperature=200.0)
    assert driver.story == []
    assert driver.watch.late_readings == 2
    assert driver.watch.devices["CNC-01"].readings["temperature"].value == 20.0


def test_all_signals_bad_is_not_data(driver: Driver) -> None:
    driver.data(0, temperature=20.0)
    driver.tick(0)
    driver.data(30, bad=("temperature", "pressure"))
    driver.tick(60)
    assert driver.story == [("silent.CNC-01", "UNACK", 60.0)]


def test_gateway_that_is_gone_takes_its_devices_offline(driver: Driver) -> None:
    driver.gateway(0, "edge-2", alive=True)
    driver.gateway(100, "edge-2", alive=False)
    driver.tick(110)
    assert driver.story == [("millrace-gateway-edge-2._platform", "UNACK", 110.0)]
    assert driver.watch.is_offline("CNC-02")
    assert not driver.watch.is_offline("CNC-01")
    driver.gateway(200, "edge-2", alive=True)
    driver.tick(205)
    assert driver.story[-1] == ("millrace-gateway-edge-2._platform", "NORM", 205.0)
    assert not driver.watch.is_offline("CNC-02")


def test_gateway_alive_does_not_make_an_offline_device_online(driver: Driver) -> None:
    driver.comms(0, "offline", "CNC-02")
    driver.gateway(5, "edge-2", alive=True)
    driver.tick(10)
    assert driver.story == [("offline.CNC-02", "UNACK", 10.0)]


def test_degraded_device_is_not_offline(driver: Driver) -> None:
    driver.comms(0, "degraded")
    driver.tick(3_600)
    assert "offline.CNC-01" not in [alert for alert, _, _ in driver.story]


def test_offline_device_has_one_alert_and_not_one_for_its_missing_data_too(driver: Driver) -> None:
    driver.data(0, temperature=20.0)
    driver.comms(5, "offline")
    for second in range(5, 600):
        driver.tick(second)
    assert driver.story == [("offline.CNC-01", "UNACK", 15.0)]


def test_ten_minute_delay_survives_a_restart_each_minute(driver: Driver) -> None:
    for second in range(700):
        driver.data(second, temperature=82.0)
        driver.tick(second)
        if second % 60 == 30:
            driver.restart()
    assert driver.story == [("hot-for-long.CNC-01", "UNACK", 600.0)]


def test_gap_in_the_data_is_not_counted_over_a_restart_either(driver: Driver) -> None:
    for second in range(300):
        driver.data(second, temperature=82.0)
    driver.restart()
    for second in range(1_000, 1_400):
        driver.data(second, temperature=82.0)
    # 299 s and 5 s of freshness were held before the gap, so 296 s remain of 600.
    assert [each for each in driver.story if each[0].startswith("hot")] == [("hot-for-long.CNC-01", "UNACK", 1_296.0)]


def test_stop_of_ours_raises_no_missing_data(driver: Driver) -> None:
    driver.data(0, temperature=20.0)
    driver.tick(1)
    driver.restart()
    driver.note(driver.watch.resume(3_600_000, driver.ms(3_601)))
    driver.tick(3_602)
    assert driver.story == []
    driver.tick(3_601 + RETURN_GRACE_MS / 1000 + 60)
    assert [alert for alert, _, _ in driver.story] == ["silent.CNC-01"]


MESSAGES = st.lists(
    st.tuples(st.integers(0, 120), st.sampled_from([20.0, 81.0, 84.0, 90.0, None]), st.booleans()), min_size=1, max_size=25
)


@given(MESSAGES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_restarts_in_between_change_no_story(configuration: Configuration, messages: list[tuple[int, float | None, bool]]) -> None:
    steady, restarted = Driver(configuration), Driver(configuration)
    now_s = 0
    for gap_s, value, restart in messages:
        now_s += gap_s
        for driver in (steady, restarted):
            if value is None:
                driver.data(now_s, bad=("temperature",))
            else:
                driver.data(now_s, temperature=value)
            driver.tick(now_s)
        if restart:
            restarted.restart()
    assert steady.story == restarted.story
    assert steady.watch.alerts.keys() == restarted.watch.alerts.keys()


def test_a_promise_survives_a_restart(driver: Driver) -> None:
    payload = b'{"timestamp": "%s", "readings": {"temperature": 81.0}, "hold_s": 600}' % format_timestamp(START_MS).encode()
    driver.note(driver.watch.telemetry("CNC-01", decode_telemetry(payload, START_MS, "CNC-01")))
    driver.restart()
    driver.tick(599)
    assert driver.watch.alerts["hot-for-long.CNC-01"].evaluation is Evaluation.GOOD
    driver.tick(601)
    assert driver.story[-1] == ("hot-for-long.CNC-01", "UNACK", 600.0)


def test_what_was_stored_before_promises_were_heeded_is_read() -> None:
    record = msgspec.json.decode(b'{"readings":{"temperature":[1760000000000,81.0,"good"]},"heard_ms":1}', type=DeviceRecord)
    assert record.readings == {"temperature": Latest(1760000000000, 81.0, Quality.GOOD, None)}


def test_rules_of_the_plant_know_how_long_a_value_counts(configuration: Configuration, tmp_path: Path) -> None:
    watched = watched_rules(configuration.plant, configuration.rules)
    assert set(watched) >= {"hot.CNC-01", "hot.CNC-02", "silent.CNC-01", "latched-low.CNC-02"}
    assert watched["hot.CNC-01"].terms.delays.fresh_ms == 5_000
    assert watched["hot.CNC-01"].description.unit == "Cel"
