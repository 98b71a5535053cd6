"""Does somebody read each device, does it answer, and do its readings reach the database?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from millrace_contract.language.looks import COMMS_LOOKS
from millrace_contract.language.messages import Comms
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import CommsState
from millrace_contract.plant import Device, PlantModel
from millrace_contract.plant.holds import FOREVER_MS, hold_ms

from ..broker_accounts import Role
from . import broker, database
from .evidence import Evidence
from .finding import Finding, act, fine, mends, note

SHOWN = 4
QUIET = (
    "no answer within", "did not accept a connection", "nothing listens", "closed the connection", "no connection to",
    "cannot be reached",
)  # fmt: skip
"""What an offline device's reason says when it is switched off or unplugged: it comes back by itself."""
LAG_INTERVAL_MS = 90_000
"""Ingest notes each half minute which devices sent, so that a device which sends often was noted so long ago at most."""


STARTED_MS = 150_000


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.plant is None or facts.statuses is None:
        yield from _counted(facts)
        return
    by_gateway: dict[str, list[Device]] = defaultdict(list)
    for device in facts.plant.devices.values():
        by_gateway[device.gateway].append(device)
    for gateway, devices in sorted(by_gateway.items()):
        yield from _of_gateway(facts, gateway, devices)
    yield from _scrapped(facts, by_gateway.keys())
    yield from _unstored(facts, facts.plant)


def _scrapped(facts: Evidence, named: Collection[str]) -> Iterator[Finding]:
    """Gateways of which plant.yaml knows nothing any more, and that have left something."""
    accounts = facts.access.accounts.values() if facts.access is not None else ()
    elsewhere = {one.instance for one in accounts if one.role is Role.GATEWAY and one.password_file is None and one.instance}
    dead = {one.instance for one in facts.all_statuses() if one.service == Role.GATEWAY and not one.alive}
    alive = {one.instance for one in facts.all_statuses() if one.service == Role.GATEWAY and one.alive}
    for instance in sorted((elsewhere | dead) - alive - set(named)):
        left = [*(["its last words"] if instance in dead else []), *(["its account"] if instance in elsewhere else [])]
        is_there = "are" if instance in dead else "is"
        yield note(
            f"gateway {instance}",
            f"reads nothing by plant.yaml and does not run; {' and '.join(left)} {is_there} still there",
            f"if it is scrapped: {facts.commands.admin(f'access remove-gateway {instance}')}",
        )


def _of_gateway(facts: Evidence, gateway: str, devices: Sequence[Device]) -> Iterator[Finding]:
    status, names = facts.status_of("gateway", gateway), [device.id for device in devices]
    subject = f"gateway {gateway}"
    if status is None:
        known = sorted(one.instance for one in facts.all_statuses() if one.service == "gateway")
        there = f"; there are: {', '.join(known)}" if known else ""
        yield act(
            subject,
            f"has never said anything, and plant.yaml names it for {_listed(names)}, which nobody reads{there}",
            f"put `gateway:` right in plant.yaml; or install it: {facts.commands.admin(f'access add-gateway {gateway} --kit')}",
        )
        return
    if not status.alive:
        here = facts.process("gateway")
        if here is not None and not here.runs and facts.commands.place != "edge" and not _elsewhere(facts, gateway):
            return  # told with the processes
        since = f" since {status.timestamp}" if status.timestamp else ""
        yield act(subject, f"does not run{since}, and nobody reads {_listed(names)}", "on its computer: millrace-edge check")
        return
    yield from _reached(facts, subject, gateway, devices)


def _elsewhere(facts: Evidence, gateway: str) -> bool:
    """Whether another gateway is the one that runs here."""
    local = [one.instance for one in facts.all_statuses() if one.service == "gateway" and facts.is_local(one)]
    return bool(local) and gateway not in local


def _reached(facts: Evidence, subject: str, gateway: str, devices: Sequence[Device]) -> Iterator[Finding]:
    said: dict[str, Comms | None] = {device.id: facts.comms.get(device.id) for device in devices}
    believed = {name: comms for name, comms in said.items() if comms is not None and comms.gateway == gateway}
    offline = {name: comms for name, comms in believed.items() if comms.state is CommsState.OFFLINE}
    unknown = [name for name in said if name not in believed]
    partly = {name: comms for name, comms in believed.items() if comms.state is CommsState.DEGRADED}
    if offline and len(offline) == len(devices) and len(devices) > 1:
        reason, _ = Counter(comms.reason or "no reason given" for comms in offline.values()).most_common(1)[0]
        yield act(
            subject,
            f"none of its {len(devices)} devices answers; most often: {reason}",
            f"look at the network between gateway and machines; {_try_it(facts, next(iter(offline)))}",
        )
    else:
        for name, comms in list(offline.items())[:SHOWN]:
            word = COMMS_LOOKS[CommsState.OFFLINE].word
            cause = f"is {word} since {comms.since}: {comms.reason or 'no reason given'}"
            is_quiet = any(sign in (comms.reason or "") for sign in QUIET) and "timeout_s" not in (comms.reason or "")
            yield (
                mends(name, f"{cause}; it is read again once it answers", _try_it(facts, name))
                if is_quiet
                else act(name, cause, _try_it(facts, name))
            )
        if len(offline) > SHOWN:
            yield mends("devices", f"{_listed(list(offline)[SHOWN:])} {COMMS_LOOKS[CommsState.OFFLINE].word}, too")
    for name, comms in list(partly.items())[:SHOWN]:
        yield note(name, f"{COMMS_LOOKS[CommsState.DEGRADED].word}: {comms.reason or 'no reason given'}", _try_it(facts, name))
    if unknown and not broker.is_unwell(facts):
        yield from _unheard(facts, subject, unknown)
    online = len(believed) - len(offline) - len(partly)
    if online:
        yield fine(subject, f"{online} of {len(devices)} devices {COMMS_LOOKS[CommsState.ONLINE].word}")


def _unheard(facts: Evidence, subject: str, unknown: Sequence[str]) -> Iterator[Finding]:
    process = facts.process("gateway")
    if process is not None and process.starts:
        yield mends(subject, f"has not tried {_listed(unknown)} yet")
        return
    yield act(
        subject,
        f"says nothing of {_listed(unknown)}, which plant.yaml gives to it: it runs on an older plant model",
        f"{facts.commands.restart('gateway')}; elsewhere: millrace-edge config DIR with the new one",
    )


def _unstored(facts: Evidence, plant: PlantModel) -> Iterator[Finding]:
    """Devices that are online by their gateway's word, and of which nothing reaches the database."""
    if facts.last_stored_ms is None or broker.is_unwell(facts) or database.is_unwell(facts) or _has_just_begun(facts):
        return
    online = [name for name, comms in facts.comms.items() if comms.state is CommsState.ONLINE and name in plant.devices]
    silent = [name for name in online if _is_silent(facts, plant, name)]
    if not silent:
        return
    what = f"all {len(silent)} devices that are" if len(silent) == len(online) else f"{_listed(silent)},"
    yield act(
        "devices",
        f"nothing new of {what} online reaches the database",
        f"look at the gateway's outbox and ingest's dead letters: {facts.commands.inside('ingest', 'status')}",
    )


def _has_just_begun(facts: Evidence) -> bool:
    """Ingest has noted nothing yet, or is not there at all."""
    started = [one.started for one in facts.all_statuses() if one.service == "ingest" and one.alive and one.started]
    return all(facts.now_ms - parse_timestamp(each) < STARTED_MS for each in started)


def _is_silent(facts: Evidence, plant: PlantModel, name: str) -> bool:
    profile = plant.profile_of(name)
    due_ms = min((hold_ms(profile, signal) for signal in profile.signals), default=FOREVER_MS)
    if due_ms >= FOREVER_MS or facts.last_stored_ms is None:
        return False
    return facts.now_ms - facts.last_stored_ms.get(name, 0) > due_ms + LAG_INTERVAL_MS


def _counted(facts: Evidence) -> Iterator[Finding]:
    """Without the broker's word, as on an edge box: what the gateway here counts."""
    status = next((one for one in facts.all_statuses() if one.service == "gateway"), None)
    if status is None:
        return
    subject, figures = f"gateway {status.instance}", status.figures
    count, offline = int(figures.get("devices", 0)), int(figures.get("devices_offline", 0))
    if not count:
        yield act(
            subject,
            "has no device to read",
            f"give devices of plant.yaml `gateway: {status.instance}`, then millrace-edge config DIR",
        )
    elif offline == count:
        yield act(
            subject,
            f"none of its {count} devices answers",
            "look at the network of the machines; millrace-edge gateway read DEVICE",
        )
    elif offline:
        yield mends(
            subject, f"{offline} of {count} devices {COMMS_LOOKS[CommsState.OFFLINE].word}", "millrace-edge gateway read DEVICE"
        )
    else:
        yield fine(subject, f"{count} of {count} devices {COMMS_LOOKS[CommsState.ONLINE].word}")


def _try_it(facts: Evidence, name: str) -> str:
    return facts.commands.inside("gateway", f"read {name}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
