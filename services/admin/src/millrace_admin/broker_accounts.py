"""Who may log in to the broker, and what each may do there: from the topic table (contracts.md 2.1). Pure but for salts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from millrace_contract.language.topics import ASKING, PLATFORM, Kind, Topics
from millrace_contract.plant import PlantModel

from .gateway_rights import gateway_topics

# Passwords here are random, 140 bits: more rounds would only slow down the broker when every client comes back at once.
HASH_ROUNDS = 1000
SALT_BYTES = 12
"""As mosquitto_passwd of 2.0 makes them; 2.1 reads them as well."""


class Role(StrEnum):
    """What an account is for; decides its rights."""

    GATEWAY = "gateway"
    INGEST = "ingest"
    ROLLUP = "rollup"
    OEE = "oee"
    ALERTS = "alerts"
    SIMULATOR = "simulator"
    ADMIN = "admin"
    HEALTHCHECK = "healthcheck"
    DOCTOR = "doctor"
    PUBLISHER = "publisher"
    READER = "reader"


FROM_OUTSIDE = frozenset({Role.PUBLISHER, Role.READER})
"""Roles of accounts that a person added for something that is no part of the platform."""
SERVICE_ROLES = (
    Role.GATEWAY, Role.INGEST, Role.ROLLUP, Role.OEE, Role.ALERTS, Role.SIMULATOR, Role.ADMIN, Role.HEALTHCHECK,
    Role.DOCTOR,
)  # fmt: skip
"""Roles of the platform's own accounts (`own_accounts`); no account from outside is called like one, or begins with its name."""


class Account(msgspec.Struct, frozen=True):
    """A broker account. Only the hash of its password is kept."""

    name: str
    role: Role
    password_hash: str
    created: str
    device: str | None = None
    instance: str | None = None
    """The one instance of a service that uses it."""
    line: str | None = None
    """A publisher's line, where it was named; else it is one of the plant model."""
    topic: str | None = None
    """In place of a device: the filter of the topics that a bridge of sensors writes, none of ours."""
    password_file: str | None = None
    """Where its password stands below the secrets folder; None: it was added by hand, for somebody elsewhere."""

    @property
    def without_password(self) -> Account:
        """What its rights depend on."""
        return msgspec.structs.replace(self, password_hash="")


class Rights(msgspec.Struct, frozen=True):
    """What of the plant model decides who may write what."""

    lines: tuple[str, ...] = ()
    gateways: dict[str, tuple[str, ...]] = {}
    """The gateways of each device of the plant model, past ones included: what their outboxes still hold is theirs to send."""
    devices: frozenset[str] = frozenset()
    """Devices that a gateway reads now: no publisher may speak for them, or it could take part in that gateway's stream."""
    places: dict[str, tuple[str, ...]] = {}
    """The lines of each device, past ones included: what an outbox holds goes out below the line of its time."""
    sensors: dict[str, tuple[str, ...]] = {}
    """The topics that a device with `transport: mqtt` sends on, and its last will: its account may write, its gateway read them."""

    def with_plant(self, plant: PlantModel) -> Rights:
        """What is known once this plant model is accepted."""
        gateways, places = dict(self.gateways), dict(self.places)
        for device in plant.devices.values():
            for known, now in ((gateways, device.gateway), (places, device.line)):
                before = known.get(device.id, ())
                known[device.id] = before if now in before else (*before, now)
        sensors = {device: topics for device in plant.devices if (topics := plant.heard_topics_of(device))}
        return Rights(tuple(plant.lines), gateways, frozenset(plant.devices), places, sensors)

    def without_gateway(self, instance: str) -> Rights:
        """What is known once this gateway is scrapped."""
        left = {device: tuple(one for one in known if one != instance) for device, known in self.gateways.items()}
        return msgspec.structs.replace(self, gateways=left)


def hash_password(password: str) -> str:
    """A line's second half in a mosquitto password file: $7$rounds$salt$hash, PBKDF2 with SHA-512."""
    salt = os.urandom(SALT_BYTES)
    return _hashed(password, salt, HASH_ROUNDS)


def password_matches(password: str, password_hash: str) -> bool:
    """Whether `password_hash` was made from this password."""
    _, kind, rounds, salt, _ = password_hash.split("$")
    return kind == "7" and hmac.compare_digest(_hashed(password, base64.b64decode(salt), int(rounds)), password_hash)


def render_passwords(accounts: Iterable[Account]) -> str:
    """The password file."""
    return "".join(f"{account.name}:{account.password_hash}\n" for account in sorted(accounts, key=lambda each: each.name))


def render_access_rules(root: str, accounts: Iterable[Account], rights: Rights) -> str:
    """The access rule file: what no line allows is refused."""
    topics, accounts = Topics(root), list(accounts)
    publishers = [place for account in accounts if account.role is Role.PUBLISHER for place in _places(account, rights)]
    blocks = ["# Rendered at each start from the plant model and the accounts; edits here are overwritten."]
    for account in sorted(accounts, key=lambda each: each.name):
        lines = [f"user {account.name}"]
        allowed, refused = _writing(topics, account, rights, publishers)
        lines += [f"topic deny {topic}" for topic in refused]
        lines += [f"topic write {topic}" for topic in allowed]
        lines += [f"topic read {topic}" for topic in _may_read(topics, account, rights)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def topic_filter_problem(topic_filter: str, root: str) -> str | None:
    """Why a bridge may not write these topics: they are none, or some of them are ours."""
    levels = topic_filter.split("/")
    is_filter = all(level in ("+", "#") or not set(level) & set("+#") for level in levels) and "#" not in levels[:-1]
    if not is_filter or not topic_filter.isprintable() or topic_filter[:1] in ("", "/", "$") or len(topic_filter) > 1024:
        return "is no topic filter: levels with a slash between, + for any one level, # at the end for all below, as zigbee2mqtt/#"
    ours = root.split("/")
    for at, level in enumerate(levels):
        if level in ("+", "#") or at == len(ours):
            break
        if level != ours[at]:
            return None
    return f"takes in topics below {root}, where services publish; name the bridge's own, as zigbee2mqtt/#"


def name_problem(name: str) -> str | None:
    """Why an account from outside may not be called this: its name is its client id there, and must not be a service's."""
    if any(name == role or name.startswith(f"{role}-") for role in SERVICE_ROLES):
        return f"is kept for services; a name must not begin with {', '.join(SERVICE_ROLES)}"
    return None


_PUBLISHES: dict[Role, tuple[Kind, ...]] = {
    Role.GATEWAY: (Kind.TELEMETRY, Kind.COMMS),
    Role.INGEST: (Kind.STORED,),
    Role.ROLLUP: (),  # it works in the database; here it only says how it is
    Role.OEE: (Kind.OEE, Kind.OEE_WINDOW, Kind.OEE_INTERVAL),
    Role.ALERTS: (Kind.ALERT, Kind.ALERT_EVENT, Kind.CONTEXT, Kind.CONTEXT_EVENT),
    Role.SIMULATOR: (Kind.TELEMETRY,),  # a past for the boards, sent as backfill
    Role.ADMIN: (),
    Role.HEALTHCHECK: (),
    Role.DOCTOR: (),
    Role.PUBLISHER: (),
    Role.READER: (),
}

# Besides what is listed here, whoever publishes something retained reads it too, to clear what the plant no longer has.
_READS: dict[Role, tuple[Kind, ...]] = {
    Role.GATEWAY: (Kind.COMMS, Kind.STORED, Kind.STATUS),
    Role.INGEST: tuple(kind for kind in Kind if kind not in {Kind.STORED, *ASKING}),
    Role.ROLLUP: (),
    Role.OEE: (Kind.TELEMETRY, Kind.COMMS, Kind.OEE, Kind.CONTEXT, Kind.CONTEXT_EVENT, Kind.STATUS, Kind.LEDGER, Kind.STORED),
    Role.ALERTS: tuple(kind for kind in Kind if kind not in ASKING),
    Role.SIMULATOR: (Kind.STORED, Kind.STATUS),
    Role.ADMIN: tuple(kind for kind in Kind if kind not in ASKING),
    Role.HEALTHCHECK: (),
    Role.DOCTOR: (Kind.STATUS, Kind.COMMS),
    Role.PUBLISHER: (),
    Role.READER: tuple(kind for kind in Kind if kind not in {Kind.STATUS, Kind.LEDGER, Kind.STORED, *ASKING}),
}

_BROKER_FIGURES = "$SYS/broker/#"
_READ_BROKER_FIGURES = frozenset({Role.INGEST, Role.ALERTS, Role.ADMIN})
_HAVE_STATUS = frozenset({Role.GATEWAY, Role.INGEST, Role.ROLLUP, Role.OEE, Role.ALERTS, Role.SIMULATOR})


def _writing(topics: Topics, account: Account, rights: Rights, publishers: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """What the account may write, and what of it not after all: a wildcard also matches what is another's, and the platform's."""
    allowed: list[str] = []
    refused: list[str] = []
    kinds = _PUBLISHES[account.role]
    if account.role is Role.PUBLISHER:
        allowed = [topics.telemetry(line, device) for line, device in _places(account, rights)]
        allowed += [account.topic] if account.topic else rights.sensors.get(account.device or "", ())
    elif account.role is Role.GATEWAY and account.instance:
        own = gateway_topics(account.instance, rights.gateways, rights.places, publishers)
        # Telemetry first: the broker stops at the first rule that allows.
        allowed = [f"{topics.root}/{line}/{device}/{kind}" for kind in kinds for line, device in own.allowed]
        refused = [f"{topics.root}/{line}/{device}/{kind}" for line, device in own.refused for kind in kinds]
    elif account.role is Role.SIMULATOR:
        allowed = [topics.telemetry(line, "+") for line in rights.lines]
    else:
        allowed = [topic for kind in kinds for topic in topics.filters(kind)]
        refused = [f"{topics.root}/{PLATFORM}/+/{kind}" for kind in kinds if kind in (Kind.TELEMETRY, Kind.COMMS)]
    if account.role is Role.DOCTOR:
        allowed.append(topics.doctor("+"))
    if account.role in _HAVE_STATUS:
        instance = account.instance or "+"
        allowed += [topics.status(account.role, instance), topics.ledger(account.role, instance)]
    return allowed + _asking(topics, account)[0], refused


def _places(account: Account, rights: Rights) -> list[tuple[str, str]]:
    """Where a publisher may speak: (line, device). Nowhere, once a gateway reads its device."""
    if account.device is None or account.device in rights.devices:
        return []
    return [(line, account.device) for line in ((account.line,) if account.line else rights.lines)]


def _may_read(topics: Topics, account: Account, rights: Rights) -> list[str]:
    allowed = [topic for kind in _READS[account.role] for topic in topics.filters(kind)]
    if account.role is Role.GATEWAY:
        mine = [device for device in rights.sensors if account.instance in (None, *rights.gateways.get(device, ()))]
        allowed += sorted({topic for device in mine for topic in rights.sensors[device]})
    if account.role is Role.DOCTOR:  # what it publishes comes back
        allowed.append(topics.doctor("+"))
    allowed += _asking(topics, account)[1]
    return [*allowed, _BROKER_FIGURES] if account.role in _READ_BROKER_FIGURES else allowed


def _asking(topics: Topics, account: Account) -> tuple[list[str], list[str]]:
    """What the account may write and read of questions and replies.

    alerts asks, for people and MES, and reads what is answered to it; oee reads what is asked of it, and answers.
    """
    match account.role:
        case Role.ALERTS:
            return [topics.ask("+", "+")], [topics.answer("+", f"alerts-{account.instance}" if account.instance else "+")]
        case Role.OEE:
            return [topics.answer("oee", "+")], [topics.ask("oee", "+")]
        case _:
            return [], []


def _hashed(password: str, salt: bytes, rounds: int) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
