"""A gateway that is scrapped leaves nothing at the broker, and nobody finds an account or rights of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.access import scrapped
from millrace_admin.access.follow import PlantFollower
from millrace_admin.access.grants import GrantRefused, add_gateway
from millrace_admin.bootstrap import load_accounts, load_rights
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import Comms, Status, encode
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import CommsState
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.testing import free_port, wait_until

from .running_broker import Client, RunningBroker

TOPICS = Topics("factory")
STATUS = TOPICS.status("gateway", "edge-2")
SINCE = "2026-03-01T12:00:00.000Z"
WritePlant = Callable[..., PlantModel]


def comms(device: str, gateway: str) -> bytes:
    return encode(Comms(device_id=device, state=CommsState.ONLINE, since=SINCE, timestamp=SINCE, gateway=gateway))


@contextmanager
def client(broker: RunningBroker, name: str, password: str) -> Iterator[Client]:
    made = Client(broker, name, password)
    yield made
    made.close()


def retained(broker: RunningBroker) -> set[str]:
    """What somebody finds who comes now, of devices and gateways."""
    with client(broker, "doctor", broker.files.path("admin", "doctor_mqtt_password").read_text().strip()) as asks:
        for topic in (*TOPICS.filters("comms"), STATUS):  # type: ignore[arg-type]
            asks.subscribe(topic)
        asks.publish(TOPICS.doctor("end"), b"x")
        asks.subscribe(TOPICS.doctor("end"))
        found = set()
        while not asks.messages.empty():
            found.add(asks.messages.get()[0])
    return found


@pytest.mark.broker
def test_what_a_scrapped_gateway_left_is_cleared_and_what_another_took_over_is_not(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime, write_plant: WritePlant, tmp_path: Path
) -> None:
    follower = PlantFollower(ready_files, tmp_path / "config")
    write_plant({"line1": {"A-01": "edge-2", "B-01": "edge-2", "C-01": "edge-1"}})
    follower.look()
    name, password = add_gateway(ready_files, "edge-2", now)
    wait_until(lambda: broker.can_log_in(name, password), "the broker reading its accounts again")
    with client(broker, name, password) as gateway:
        assert gateway.publish(STATUS, encode(Status(service="gateway", instance="edge-2", alive=False)), retain=True) < 128
        assert gateway.publish(TOPICS.comms("line1", "A-01"), comms("A-01", "edge-2"), retain=True) < 128
    write_plant({"line1": {"B-01": "edge-1", "C-01": "edge-1"}})
    follower.look()
    own = broker.password("gateway-edge-1")
    wait_until(lambda: broker.can_log_in("gateway-edge-1", own), "the other gateway's account")

    def taken_over() -> bool:
        with client(broker, "gateway-edge-1", own) as other:
            return other.publish(TOPICS.comms("line1", "B-01"), comms("B-01", "edge-1"), retain=True) < 128

    wait_until(taken_over, "the rules that give B-01 to the other gateway")
    wait_until(lambda: len(retained(broker)) == 3, "everything that was retained")
    place = ["--secrets", str(ready_files.root), "--config", str(tmp_path / "config"), "--keep-owner"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_MQTT_HOST", "127.0.0.1")
        patch.setenv("MILLRACE_MQTT_PORT", str(broker.port))
        assert main(["access", "remove-gateway", "edge-2", *place]) == 0
    assert retained(broker) == {TOPICS.comms("line1", "B-01")}
    assert name not in load_accounts(ready_files)
    assert not any("edge-2" in readers for readers in load_rights(ready_files).gateways.values())
    wait_until(lambda: not broker.can_log_in(name, password), "the account to be gone")


REFUSED = {
    "reads": ("edge-2", False, r"plant.yaml gives gateway edge-2 A-01: take them away"),
    "runs": ("edge-3", True, r"gateway edge-3 runs, and its outbox may hold readings that are not stored yet: stop it first"),
    "own": ("edge-1", False, r"gateway edge-1 is one of this server's own"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_gateway_that_is_still_of_use_is_not_scrapped(
    ready_files: SecretFiles, now: datetime, write_plant: WritePlant, why: str
) -> None:
    instance, alive, reason = REFUSED[why]
    plant = write_plant({"line1": {"A-01": "edge-2"}})
    for other in ("edge-2", "edge-3"):
        add_gateway(ready_files, other, now)
    heard = [Status(service="gateway", instance=instance, alive=alive)]
    with pytest.raises(GrantRefused, match=reason):
        scrapped.check_scrapped(ready_files, instance, plant, heard)


def test_without_a_broker_the_account_goes_and_the_rest_is_said_to_be_left(
    ready_files: SecretFiles, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_gateway(ready_files, "edge-2", now)
    monkeypatch.setattr(scrapped, "LET_IN_S", 0.1)
    nobody = BrokerSettings(mqtt_host="127.0.0.1", mqtt_port=free_port())
    with pytest.raises(Unavailable, match="the account of gateway edge-2 is gone, what it left at the broker is not: run this"):
        scrapped.remove_gateway(ready_files, nobody, "factory", "edge-2", now)
    assert "gateway-edge-2" not in load_accounts(ready_files)
