"""`millrace access remove-gateway`: what a scrapped gateway left goes: account, rights, session, and its last words at the broker.

Nobody else may write its topics, so they are cleared with its own account, under a password of this moment that nobody is told.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from datetime import datetime

from pydantic import SecretStr

from millrace_contract.errors import Malformed, Unavailable
from millrace_contract.language.messages import Comms, Status, decode
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings

from ..bootstrap import forget_gateway, load_accounts, render_broker_files, save_accounts
from ..broker_accounts import Account, Role, hash_password
from ..secret_files import SecretFiles, new_password
from .grants import GrantRefused
from .renewal import HEAR_S

LET_IN_S = 30.0
"""The broker reads new passwords within seconds; a session that was refused tries again after as many."""
CLEARED_S = 10.0
SHOWN = 5


def remove_gateway(files: SecretFiles, broker: BrokerSettings, root: str, instance: str, now: datetime) -> list[str]:
    """The topics that were cleared. Raises Unavailable where the broker does not answer."""
    name = _account_of(instance)
    account = load_accounts(files).get(name)
    if account is None:
        account = Account(name, Role.GATEWAY, "", f"{now:%Y-%m-%dT%H:%M:%SZ}", instance=instance)
    password = new_password()
    _change(files, root, name, Account(name, Role.GATEWAY, hash_password(password), account.created, instance=instance))
    try:
        settings = broker.model_copy(update={"mqtt_username": name, "mqtt_password": SecretStr(password)})
        return _clear(settings, Topics(root), instance)
    finally:
        forget_gateway(files, instance)
        _change(files, root, name, None)


def check_scrapped(files: SecretFiles, instance: str, plant: PlantModel, heard: Iterable[Status]) -> None:
    """Raises GrantRefused where the gateway runs, or shall."""
    account = load_accounts(files).get(_account_of(instance))
    if account is not None and account.password_file is not None:
        raise GrantRefused(f"gateway {instance} is one of this server's own; `docker compose up -d` makes its account")
    reads = sorted(device.id for device in plant.devices.values() if device.gateway == instance)
    if reads:
        more = f" and {len(reads) - SHOWN} more" if len(reads) > SHOWN else ""
        raise GrantRefused(
            f"plant.yaml gives gateway {instance} {', '.join(reads[:SHOWN])}{more}: take them away first, or give them to another"
        )
    status = next((one for one in heard if (one.service, one.instance) == (Role.GATEWAY, instance)), None)
    if status is not None and status.alive:
        raise GrantRefused(f"gateway {instance} runs, and its outbox may hold readings that are not stored yet: stop it first")


def _account_of(instance: str) -> str:
    return f"{Role.GATEWAY}-{instance}"


def _change(files: SecretFiles, root: str, name: str, account: Account | None) -> None:
    with files.locked():
        accounts = load_accounts(files)
        accounts.pop(name, None)
        if account is not None:
            accounts[name] = account
        save_accounts(files, accounts.values())
        render_broker_files(files, root, accounts.values())


def _clear(settings: BrokerSettings, topics: Topics, instance: str) -> list[str]:
    """With the session of its name, which ends with this connection."""
    left: list[str] = []
    answered = threading.Semaphore(0)

    def take(message: Received) -> None:
        if message.retained and message.payload and _is_of(topics, message, instance):
            left.append(message.topic)

    session = LeanSession(
        settings,
        settings.mqtt_username,
        Callbacks(message=take, published=lambda _token, _is_taken: answered.release()),
        filters=[topics.status(Role.GATEWAY, instance), *topics.filters(Kind.COMMS)],
    )
    session.start()
    try:
        if not session.wait_connected(LET_IN_S):
            raise Unavailable(
                f"{session.problem or 'no answer from the broker'}; the account of gateway {instance} is gone, what it left at the "
                "broker is not: run this again once the broker answers"
            )
        threading.Event().wait(HEAR_S)
        cleared = sorted(left)
        sent = [topic for topic in cleared if session.publish(topic, b"", retain=True) is not None]
        if len(sent) < len(cleared) or not all(answered.acquire(timeout=CLEARED_S) for _ in sent):
            raise Unavailable("the broker did not take everything; run this again")
    finally:
        session.stop()
    return cleared


def _is_of(topics: Topics, message: Received, instance: str) -> bool:
    """Whether this gateway said it: a device that it read once may be another's by now."""
    topic = topics.parse(message.topic)
    if topic is None or topic.kind is not Kind.COMMS:
        return topic is not None and topic.kind is Kind.STATUS
    with contextlib.suppress(Malformed):
        return decode(Comms, message.payload).gateway == instance
    return False
