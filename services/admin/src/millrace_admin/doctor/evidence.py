"""What doctor has seen, heard and tried: values only. `None` stands for what could not be looked at, never for what is well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace_contract.errors import Problem
from millrace_contract.language.messages import Comms, Status
from millrace_contract.plant import PlantModel
from millrace_contract.plant.not_taken import PlantFiles

from ..broker_accounts import Account, Rights
from .commands import COMPOSE, Commands


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """A handshake with the broker as a gateway elsewhere does it.

    problem: why it is not trusted, dates apart. Dates in ms since the epoch: of the broker's certificate, and the first one on
    which a certificate of the authorities ends. names: that the certificate holds.
    """

    address: str
    reach: str | None = None
    problem: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    authority_until_ms: int | None = None
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """reach: why nothing answers there. account: why it does not let doctor in. echo: why what doctor published is not back."""

    address: str
    reach: str | None = None
    account: str | None = None
    echo: str | None = None
    tls: TlsFacts | None = None


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A consumer's token at the database. problem: it is missing or refused; lacks: `read telemetry`, `write production`."""

    consumer: str
    problem: str | None = None
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """reach: why nothing answers. refused: why it refuses the administrator's token. buckets: those that are there.

    echo: why a point that doctor wrote could not be read back. date_ms: its own clock, and ours when it answered.
    """

    url: str
    reach: str | None = None
    refused: str | None = None
    buckets: frozenset[str] | None = None
    wanted_buckets: frozenset[str] = frozenset()
    echo: str | None = None
    tokens: tuple[TokenFacts, ...] = ()
    date_ms: int | None = None
    asked_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What one of our services answers at its own health address; `problem`: why it answers nothing."""

    name: str
    problem: str | None = None
    live: bool | None = None
    failing: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    needs: Mapping[str, bool] = field(default_factory=dict)
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A container, a process of the demo, or a unit of systemd.

    age_s: since it was started. is_wanted: it should run. is_enabled: it starts with the computer.
    """

    name: str
    state: str
    health: str = ""
    age_s: float | None = None
    restarts: int = 0
    exit_code: int = 0
    out_of_memory: bool = False
    is_once: bool = False
    is_wanted: bool = True
    last_words: str = ""
    is_enabled: bool = True

    @property
    def runs(self) -> bool:
        return self.state == "running" and self.health != "unhealthy"

    @property
    def starts(self) -> bool:
        """It may still be too early to judge it."""
        return self.state in ("created", "running") and (self.health == "starting" or (self.age_s or STARTING_S) < STARTING_S)


STARTING_S = 45.0
"""A part that began no longer ago is given time."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """The file system on which a part keeps its data. may_grow_bytes: by so much, as it is set."""

    part: str
    total_bytes: int
    free_bytes: int
    inodes_free: int | None = None
    may_grow_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """The last status of one instance, and when it was heard. is_fresh: it was said while doctor listened."""

    status: Status
    heard_ms: int
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """The broker's files beside what the accounts say. passwords: those that the services have, checked: who fits its account."""

    accounts: Mapping[str, Account]
    rights: Rights
    rules: str | None
    known: frozenset[str] | None
    passwords_fit: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything, at one moment. `plant` is None on a box without one."""

    now_ms: int
    version: str
    commands: Commands = COMPOSE
    plant: PlantModel | None = None
    plant_problems: tuple[Problem, ...] = ()
    plant_files: PlantFiles | None = None
    hostnames: tuple[str, ...] = ()
    """By which the broker is to be reached from elsewhere."""
    broker: BrokerFacts | None = None
    database: DatabaseFacts | None = None
    parts: tuple[PartFacts, ...] = ()
    processes: tuple[ProcessFacts, ...] | None = None
    statuses: tuple[StatusFacts, ...] | None = None
    comms: Mapping[str, Comms] = field(default_factory=dict)
    last_stored_ms: Mapping[str, int] | None = None
    """When the newest reading that the database has of each device was taken; None where it could not be asked."""
    disks: tuple[DiskFacts, ...] = ()
    access: AccessFacts | None = None
    boards_time_zone: str | None = None
    clock_synchronised: bool | None = None
    memory_is_limited: bool | None = None

    def status_of(self, service: str, instance: str) -> Status | None:
        """Its own word at its health address, else the last one on its topic."""
        for part in self.parts:
            if part.status is not None and (part.status.service, part.status.instance) == (service, instance):
                return part.status
        heard = (one.status for one in self.statuses or () if (one.status.service, one.status.instance) == (service, instance))
        return next(heard, None)

    def all_statuses(self) -> list[Status]:
        """One an instance, in order; where the service itself answers, its own word."""
        keys = {(one.status.service, one.status.instance) for one in self.statuses or ()}
        keys |= {(part.status.service, part.status.instance) for part in self.parts if part.status is not None}
        return [found for key in sorted(keys) if (found := self.status_of(*key)) is not None]

    def process(self, name: str) -> ProcessFacts | None:
        return next((one for one in self.processes or () if one.name == name), None)

    def is_local(self, status: Status) -> bool:
        """Whether this instance runs where doctor does, so that the commands of this place are for it. Gateways may not."""
        return status.service != "gateway" or any(
            part.status is not None and (part.status.service, part.status.instance) == (status.service, status.instance)
            for part in self.parts
        )
