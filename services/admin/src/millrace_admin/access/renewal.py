"""`millrace access new-ca`, `use-new-ca`: one authority takes the place of the other; no gateway is visited (decision 0020)."""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime

from pydantic import SecretStr

from millrace_contract.errors import Malformed, Unavailable
from millrace_contract.language.messages import Status
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import Platform

from ..authority import begin, coming, ensure_server, name_of, switch
from ..bootstrap import load_accounts
from ..broker_accounts import FROM_OUTSIDE, Role
from ..certificates import names_of
from ..command_account import command_account
from ..secret_files import SecretFiles
from .grants import GrantRefused

CONNECT_S = 6.0
HEAR_S = 2.0
"""What is retained comes at once."""


def make_next(files: SecretFiles, now: datetime) -> str:
    """The next authority, announced by the broker within seconds; its fingerprint."""
    names = _names(files)
    with files.locked():
        following = begin(files, now)
        ensure_server(files, names, now)
    return name_of(following)


def use_next(files: SecretFiles, now: datetime, heard: list[Status] | None) -> str:
    """The next authority signs from now on; its fingerprint. `heard`: what the services say; None: whatever they trust.

    Raises GrantRefused while a gateway would be left outside.
    """
    names = _names(files)
    with files.locked():
        following = coming(files)
        if following is None:
            raise GrantRefused("there is no next authority yet: `millrace access new-ca` makes one")
        fingerprint = name_of(following)
        if heard is not None and (lacking := left_outside(files, fingerprint, heard)):
            raise GrantRefused(
                f"the next authority {fingerprint} is not trusted yet by {', '.join(lacking)}. They learn it when they connect "
                "anew: docker compose restart mosquitto makes all of them. Whom you do not want to wait for needs a new kit "
                "afterwards: then --anyway"
            )
        switch(files)
        ensure_server(files, names, now)
    return fingerprint


def left_outside(files: SecretFiles, fingerprint: str, heard: list[Status]) -> list[str]:
    """Who reaches the broker over TLS and does not trust this authority; gateways elsewhere that say nothing, too."""
    alive = {f"{status.service}-{status.instance}": status for status in heard if status.alive}
    lacking = [name for name, status in sorted(alive.items()) if status.trusts and fingerprint not in status.trusts]
    elsewhere = [
        account.name
        for account in load_accounts(files).values()
        if account.role is Role.GATEWAY and account.password_file is None and account.name not in alive
    ]
    return [*lacking, *(f"{name} (which is away)" for name in sorted(elsewhere))]


def by_hand(files: SecretFiles) -> list[str]:
    """Accounts of sensors, and of programs that read: they trust what somebody has given them."""
    return sorted(account.name for account in load_accounts(files).values() if account.role in FROM_OUTSIDE)


def heard_statuses(files: SecretFiles, broker: BrokerSettings, root: str) -> list[Status]:
    """What each service said last. Raises Unavailable without a broker."""
    topics, platform = Topics(root), Platform()

    def take(message: Received) -> None:
        topic = topics.parse(message.topic)
        if topic is not None:
            with contextlib.suppress(Malformed):  # somebody else's mistake
                platform.apply(topic, message.payload)

    with command_account(files) as (name, password):
        account = broker.model_copy(update={"mqtt_username": name, "mqtt_password": SecretStr(password)})
        session = LeanSession(account, name, Callbacks(message=take), filters=topics.filters(Kind.STATUS))
        session.start()
        try:
            if not session.wait_connected(CONNECT_S):
                raise Unavailable(f"{session.problem or 'no answer from the broker'}; without it nobody can be asked (--anyway)")
            threading.Event().wait(HEAR_S)
        finally:
            session.stop()
    return platform.statuses()


def _names(files: SecretFiles) -> list[str]:
    present = files.read("mosquitto", "server.crt")
    if present is None:
        raise GrantRefused("nothing is set up yet; start the platform first")
    return names_of(present)
