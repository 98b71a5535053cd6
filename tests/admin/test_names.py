"""An account is called like the client id of its one instance: nobody takes another's name, and an upgrade loses no session."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.access.grants import add_instance, add_publisher
from millrace_admin.bootstrap import bootstrap, load_accounts, render_broker_files, save_accounts
from millrace_admin.broker_accounts import Account, Role, hash_password, password_matches
from millrace_admin.command_account import command_account
from millrace_admin.own_accounts import COMMAND_ACCOUNTS, INSTANCED, own_accounts
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import ConfigurationProblems, Unavailable
from millrace_contract.testing import Mosquitto, wait_until

from .running_broker import REPOSITORY, Client, RunningBroker

TELEMETRY = "factory/+/+/telemetry"
GAUGE = "factory/line1/GAUGE-01/telemetry"
SINCE = "2026-01-01T00:00:00Z"


def as_before(files: SecretFiles) -> None:
    """The accounts as earlier versions made them: one a service, the first gateway's included."""
    own = [Account(role, role, hash_password(files.ensure(role, "mqtt_password")), SINCE) for role in (*INSTANCED, Role.ADMIN)]
    healthcheck = load_accounts(files)["healthcheck"]
    by_hand = Account("gateway-edge-2", Role.GATEWAY, hash_password("of the box"), SINCE, instance="edge-2")
    save_accounts(files, [*own, Account("healthcheck", Role.HEALTHCHECK, healthcheck.password_hash, SINCE), by_hand])
    text = [
        {key: value for key, value in account.items() if key != "password_file"}
        for account in json.loads(files.path("admin", "accounts.json").read_text())
    ]
    files.write("admin", "accounts.json", json.dumps(text))
    render_broker_files(files, "factory", load_accounts(files).values())


def test_accounts_of_services_become_accounts_of_their_instances_and_no_password_changes(
    ready_files: SecretFiles, sample_config: Path, now: datetime
) -> None:
    as_before(ready_files)
    passwords = {role: ready_files.path(role, "mqtt_password").read_text().strip() for role in INSTANCED}
    of_the_box = load_accounts(ready_files)["gateway-edge-2"]
    report = bootstrap(ready_files, sample_config, "localhost", now)
    accounts = load_accounts(ready_files)
    assert accounts.keys() == {account.name for account in own_accounts()} | {"gateway-edge-2"}
    for role, password in passwords.items():
        name = "gateway-edge-1" if role is Role.GATEWAY else f"{role}-1"
        assert password_matches(password, accounts[name].password_hash)
        assert ready_files.path(role, "mqtt_password").read_text().strip() == password
    assert accounts["gateway-edge-2"] == of_the_box
    assert "broker account ingest taken away: each instance of ingest has one of its own" in report.done
    assert bootstrap(ready_files, sample_config, "localhost", now).done == []


def test_the_gateway_of_this_server_may_get_another_name(ready_files: SecretFiles, sample_config: Path, now: datetime) -> None:
    before = ready_files.path("gateway", "mqtt_password").read_text()
    report = bootstrap(ready_files, sample_config, "localhost", now, own_accounts("press-hall"))
    accounts = load_accounts(ready_files)
    assert "gateway-edge-1" not in accounts
    assert accounts["gateway-press-hall"].instance == "press-hall"
    assert "broker account gateway-edge-1 taken away: gateway-press-hall is in its place" in report.done
    assert ready_files.path("gateway", "mqtt_password").read_text() == before


def test_the_account_of_a_gateway_elsewhere_is_left_to_it(ready_files: SecretFiles, sample_config: Path, now: datetime) -> None:
    accounts = load_accounts(ready_files)
    accounts["gateway-edge-1"] = Account("gateway-edge-1", Role.GATEWAY, hash_password("x"), SINCE, instance="edge-1")
    save_accounts(ready_files, accounts.values())
    report = bootstrap(ready_files, sample_config, "localhost", now)
    assert load_accounts(ready_files)["gateway-edge-1"] == accounts["gateway-edge-1"]
    assert "millrace access revoke gateway-edge-1" in report.warnings[0]


def test_further_instances_have_an_account_and_a_password_of_their_own(
    ready_files: SecretFiles, sample_config: Path, now: datetime
) -> None:
    bootstrap(ready_files, sample_config, "localhost", now, own_accounts(further=" ingest-2, oee-night,ingest-1"))
    accounts = load_accounts(ready_files)
    for name, place in {"ingest-2": ("ingest", "mqtt_password.2"), "oee-night": ("oee", "mqtt_password.night")}.items():
        assert password_matches(ready_files.path(*place).read_text().strip(), accounts[name].password_hash)
    assert accounts["ingest-2-status"].role is Role.ADMIN
    bootstrap(ready_files, sample_config, "localhost", now)
    assert {"ingest-2", "oee-night"} <= load_accounts(ready_files).keys(), "they stay until they are revoked"


@pytest.mark.parametrize("wrong", ["ingest", "grafana-2", "ingest-a b", "sensor-1"])
def test_what_is_no_instance_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ConfigurationProblems, match="MILLRACE_INSTANCES"):
        own_accounts(further=wrong)


def test_commands_at_the_same_time_have_different_accounts(ready_files: SecretFiles) -> None:
    with ExitStack() as commands:
        names = [commands.enter_context(command_account(ready_files))[0] for _ in COMMAND_ACCOUNTS]
        assert names == list(COMMAND_ACCOUNTS)
        with pytest.raises(Unavailable, match="end one of them"):
            commands.enter_context(command_account(ready_files))
    with command_account(ready_files) as (name, _):
        assert name == COMMAND_ACCOUNTS[0]


@pytest.mark.broker
def test_a_stolen_name_costs_no_reading(broker: RunningBroker, ready_files: SecretFiles, now: datetime) -> None:
    scale, gauge = (add_publisher(ready_files, name, f"{name.upper()}-01", now) for name in ("scale", "gauge"))
    wait_until(lambda: broker.can_log_in("gauge", gauge), "the broker reading its accounts again")
    ingest = Client(broker, "ingest-1", broker.password("ingest-1"), keeps_session=True)
    ingest.subscribe(TELEMETRY)
    ingest.close()
    sensor = Client(broker, "gauge", gauge, tls=True)
    for number in range(10):
        assert sensor.publish(GAUGE, b"%d" % number) < 128
    for thief, tls in itertools.product(("ingest-1", "gauge"), (False, True)):
        Client(broker, "scale", scale, tls=tls, client_id=thief).close()
    # Another service's account is no way to it either.
    Client(broker, "oee-1", broker.password("oee-1"), client_id="ingest-1").close()
    assert sensor.closed.empty()
    again = Client(broker, "ingest-1", broker.password("ingest-1"), keeps_session=True)
    assert again.session_present
    assert [again.messages.get(timeout=10) for _ in range(10)] == [(GAUGE, b"%d" % number) for number in range(10)]
    for client in (again, sensor):
        client.close()


@pytest.mark.broker
def test_reconnects_under_another_name_leave_its_owner_connected(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    password = add_publisher(ready_files, "scale", "SCALE-01", now)
    wait_until(lambda: broker.can_log_in("scale", password), "the broker reading its accounts again")
    ingest = Client(broker, "ingest-1", broker.password("ingest-1"), keeps_session=True)
    ingest.subscribe(TELEMETRY)

    def reconnect(tls: bool) -> None:
        for _ in range(20):
            Client(broker, "scale", password, tls=tls, client_id="ingest-1").close()

    thieves = [threading.Thread(target=reconnect, args=(tls,)) for tls in (False, True)]
    for thief in thieves:
        thief.start()
    gateway = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    for number in range(10):
        assert gateway.publish("factory/line1/CNC-01/telemetry", b"%d" % number) < 128
    for thief in thieves:
        thief.join(60)
    assert [ingest.messages.get(timeout=10)[1] for _ in range(10)] == [b"%d" % number for number in range(10)]
    assert ingest.closed.empty()
    for client in (ingest, gateway):
        client.close()


@pytest.mark.broker
def test_two_ingests_share_the_messages_each_under_its_own_name(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime
) -> None:
    _, password = add_instance(ready_files, "ingest", "2", now)
    wait_until(lambda: broker.can_log_in("ingest-2", password), "the broker reading its accounts again")
    both = [Client(broker, "ingest-1", broker.password("ingest-1")), Client(broker, "ingest-2", password)]
    for ingest in both:
        ingest.subscribe(f"$share/plant/{TELEMETRY}")
    gateway = Client(broker, "gateway-edge-1", broker.password("gateway-edge-1"))
    sent = {b"%d" % number for number in range(20)}
    for payload in sent:
        assert gateway.publish("factory/line1/CNC-01/telemetry", payload) < 128
    wait_until(lambda: sum(ingest.messages.qsize() for ingest in both) == len(sent), "every message once")
    assert {ingest.messages.get()[1] for ingest in both for _ in range(ingest.messages.qsize())} == sent
    assert all(ingest.closed.empty() for ingest in both)
    for client in (*both, gateway):
        client.close()


@pytest.mark.broker
def test_an_upgrade_loses_neither_a_session_nor_what_waits_in_it(
    ready_files: SecretFiles, sample_config: Path, tmp_path: Path, now: datetime
) -> None:
    if Mosquitto.binary() is None:
        pytest.skip("no mosquitto")
    as_before(ready_files)
    conf = (REPOSITORY / "mosquitto/mosquitto.conf").read_text()
    broker = RunningBroker(ready_files, tmp_path / "broker")
    broker.start(conf.replace("listener 1883\nuse_username_as_clientid true\n", "listener 1883\n"))
    ingest = Client(broker, "ingest", broker.password("ingest"), client_id="ingest-1", keeps_session=True)
    ingest.subscribe(TELEMETRY)
    sender = Client(broker, "gateway", broker.password("gateway"), client_id="gateway-edge-1")
    # `up`: bootstrap first, while everything still runs; the running broker puts the old accounts out.
    ingest.close()
    for number in range(10):
        assert sender.publish(GAUGE, b"%d" % number) < 128
    bootstrap(ready_files, sample_config, "localhost", now)
    sender.closed.get(timeout=15)
    sender.close()
    broker.stop()
    broker.start()
    try:
        assert not broker.can_log_in("ingest", broker.password("ingest"))
        again = Client(broker, "ingest-1", broker.password("ingest-1"), keeps_session=True)
        assert again.session_present
        assert [again.messages.get(timeout=10) for _ in range(10)] == [(GAUGE, b"%d" % number) for number in range(10)]
        again.close()
    finally:
        broker.stop()
