"""Look, ask and try, everything once; the answers are facts. What goes wrong on the way is a fact, too."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pydantic import SecretStr

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.measurements import BUCKETS
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.not_taken import read_plant_files
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.settings import BrokerSettings

from ..bootstrap import load_accounts, load_rights, passwords_fit
from ..check import examine
from ..own_accounts import DOCTOR_PASSWORD
from ..secret_files import SecretFiles
from .database_probe import DatabaseProbe
from .evidence import AccessFacts, BrokerFacts, Evidence
from .hops import Address, part_facts, reach_problem, tls_facts
from .listener import ACCOUNT, Listener
from .sites import Site, other_instances

COPY = "accepted-config"


def gather(site: Site, clock: Clock, patience_s: float) -> Evidence:
    """Takes about as long as it listens for statuses."""
    settings = site.settings
    files = SecretFiles(settings.secrets, give_away=False)
    plant, problems = plant_of(settings.config, settings.secrets / "admin" / COPY)
    broker, listener = _broker(site, files, plant, clock)
    probe = DatabaseProbe(settings.influx_url, settings.influx_org, files, frozenset(BUCKETS), clock)
    listening = None if listener is None else threading.Thread(target=listener.listen, args=(patience_s,), daemon=True)
    if listening is not None:
        listening.start()
    with ThreadPoolExecutor(max_workers=max(1, len(site.parts))) as pool:
        parts = tuple(pool.map(lambda item: part_facts(*item), site.parts.items()))
    database = probe.facts()
    last_stored_ms = None if database.reach or database.refused else probe.last_stored_ms()
    if listening is not None and listener is not None:
        listening.join()
        broker = replace(broker, account=listener.account_problem, echo=listener.echo_problem)
    heard = listener is not None and listener.account_problem is None
    return Evidence(
        now_ms=clock.now_ms(),
        version=version("millrace-admin"),
        commands=site.commands,
        plant=plant,
        plant_problems=problems,
        plant_files=read_plant_files(settings.config),
        hostnames=tuple(filter(None, (name.strip() for name in settings.hostname.split(",")))),
        broker=broker,
        database=database,
        parts=parts,
        processes=site.processes,
        statuses=tuple(listener.statuses.values()) if listener is not None and heard else None,
        comms=dict(listener.comms) if listener is not None and heard else {},
        last_stored_ms=last_stored_ms,
        disks=site.disks,
        access=_access(files),
        boards_time_zone=files.read("grafana", "time_zone"),
    )


def with_other_instances(facts: Evidence, site: Site) -> Evidence:
    """Asks those, too, of which only the containers tell."""
    others = other_instances(site.parts, facts.processes or ())
    return replace(facts, parts=(*facts.parts, *(part_facts(name, address) for name, address in others.items())))


def plant_of(config: Path, copy: Path) -> tuple[PlantModel | None, tuple[Problem, ...]]:
    """The plant model of today, or the last one that was good, with what is wrong in any of today's files."""
    problems = examine(config).problems
    for folder in (config, copy):
        with suppress(ConfigurationProblems):
            return load_plant(folder), problems
    return None, problems


def _broker(site: Site, files: SecretFiles, plant: PlantModel | None, clock: Clock) -> tuple[BrokerFacts, Listener | None]:
    settings = site.settings
    address = Address(settings.mqtt_host, settings.mqtt_port)
    authority = files.read("admin", "ca.crt")
    tls = None if site.tls is None or authority is None else tls_facts(site.tls, authority + "\n")
    facts = BrokerFacts(str(address), reach=reach_problem(address), tls=tls)
    if facts.reach or plant is None:
        return facts, None
    password = files.read("admin", DOCTOR_PASSWORD)
    if password is None:
        return replace(facts, account="it has no password yet"), None
    account = BrokerSettings(
        mqtt_host=address.host,
        mqtt_port=address.port,
        mqtt_username=ACCOUNT,
        mqtt_password=SecretStr(password),
        mqtt_ca=settings.mqtt_ca,
    )
    return facts, Listener(account, plant.root, clock)


def _access(files: SecretFiles) -> AccessFacts:
    accounts = load_accounts(files)
    passwords = files.read("mosquitto", "passwords")
    return AccessFacts(
        accounts,
        load_rights(files),
        rules=files.read("mosquitto", "access.acl"),
        known=None if passwords is None else frozenset(line.partition(":")[0] for line in passwords.splitlines()),
        passwords_fit=passwords_fit(files, accounts),
    )
