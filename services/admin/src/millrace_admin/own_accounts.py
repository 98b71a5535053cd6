"""The platform's own broker accounts: one for each instance of a service, called like its client id. Pure.

The broker takes the account's name for the client id, so one account is one connection, and nobody takes another's session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.assets import segment_problem
from millrace_contract.plant.model import DEFAULT_GATEWAY

from .broker_accounts import Role

BROKER_PASSWORD = "mqtt_password"  # noqa: S105 - the name of a file
DOCTOR_PASSWORD = "doctor_mqtt_password"  # noqa: S105 - the name of a file
HEALTHCHECK_OPTIONS = "mosquitto_sub"
"""mosquitto_sub reads its options from a file of this name; the password then never stands on a command line."""

INSTANCED = (Role.GATEWAY, Role.INGEST, Role.ROLLUP, Role.OEE, Role.ALERTS, Role.SIMULATOR)
"""Services: every instance of theirs has an account."""

COMMAND_ACCOUNTS = (Role.ADMIN.value, "admin-2", "admin-3", "admin-4")
"""So many commands that listen to the broker (`millrace record`, the demo's screen) work at the same time."""

FIRST_INSTANCE = "1"
"""What MILLRACE_INSTANCE is where nothing is set; a gateway's is the name that plant.yaml gives it."""


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """An account whose password stands in a file of the secrets folder."""

    name: str
    role: Role
    instance: str | None
    folder: str
    file: str

    @property
    def password_file(self) -> str:
        """Below the secrets folder."""
        return f"{self.folder}/{self.file}"


def own_accounts(gateway: str = DEFAULT_GATEWAY, further: str = "") -> list[OwnAccount]:
    """The accounts that bootstrap makes. `gateway` (MILLRACE_GATEWAY_INSTANCE): this server's gateway; `further`
    (MILLRACE_INSTANCES): what runs here beside the first instance of each service, like `ingest-2, oee-night`.

    Raises ConfigurationProblems.
    """
    if problem := segment_problem(gateway):
        raise _refused("MILLRACE_GATEWAY_INSTANCE", f"{gateway!r} {problem}")
    firsts = [(role, gateway if role is Role.GATEWAY else FIRST_INSTANCE) for role in INSTANCED]
    made = [account for role, instance in firsts for account in instance_accounts(role, instance, BROKER_PASSWORD)]
    known = {account.name for account in made}
    for name in filter(None, map(str.strip, further.split(","))):
        if name not in known:
            role, instance = _parsed(name)
            made += instance_accounts(role, instance)
            known.add(name)
    made += [OwnAccount(name, Role.ADMIN, None, Role.ADMIN, BROKER_PASSWORD) for name in COMMAND_ACCOUNTS]
    made.append(OwnAccount(Role.DOCTOR, Role.DOCTOR, None, Role.ADMIN, DOCTOR_PASSWORD))
    return [*made, OwnAccount(Role.HEALTHCHECK, Role.HEALTHCHECK, None, "mosquitto", HEALTHCHECK_OPTIONS)]


def instance_accounts(role: Role, instance: str, file: str | None = None) -> list[OwnAccount]:
    """What one instance logs in with. `file`: where its password stands; default: a file of its own beside the first instance's."""
    file = file or f"{BROKER_PASSWORD}.{instance}"
    name = f"{role}-{instance}"
    made = [OwnAccount(name, role, instance, role, file)]
    if role is Role.INGEST:
        # `millrace-ingest status` beside it: with the account of the service it would take the service's session.
        made.append(OwnAccount(f"{name}-status", Role.ADMIN, None, role, file))
    return made


def outdated(names: Iterable[str]) -> list[str]:
    """Accounts that earlier versions made for a service as a whole: its instances have accounts of their own now."""
    return [role for role in INSTANCED if role in names]


def _parsed(name: str) -> tuple[Role, str]:
    service, _, instance = name.partition("-")
    if service not in INSTANCED:
        raise _refused("MILLRACE_INSTANCES", f"{name!r} is no instance of a service; write for example ingest-2, oee-night")
    if problem := segment_problem(instance):
        raise _refused("MILLRACE_INSTANCES", f"{name!r}: {instance!r} {problem}")
    return Role(service), instance


def _refused(variable: str, message: str) -> ConfigurationProblems:
    return ConfigurationProblems([Problem("environment", 0, variable, message)])
