"""May each account do at the broker what its service does? The rules of the broker, beside what accounts and plant ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from millrace_contract.language.topics import Topics
from millrace_contract.plant import Device

from ..broker_accounts import Role, render_access_rules
from .evidence import AccessFacts, Evidence
from .finding import Finding, act, fine

SUBJECT = "accounts"
SHOWN = 3
Rules = Mapping[str, Sequence[tuple[str, str]]]
"""By account: (what is done, topic filter) in the order of the file; done is deny, read, write or readwrite."""


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.access is None or facts.plant is None:
        return
    told = list(_causes(facts, facts.access, facts.plant.root))
    yield from told
    if not told:
        yield fine(SUBJECT, f"{len(facts.access.accounts)} accounts may do at the broker what they need")


def _causes(facts: Evidence, access: AccessFacts, root: str) -> Iterator[Finding]:
    up = facts.commands.up
    if access.rules is None:
        yield act(SUBJECT, "the broker has no file of access rules, so nobody may do anything", up)
        return
    there = read_rules(access.rules)
    wanted = read_rules(render_access_rules(root, access.accounts.values(), access.rights))
    if access.known is not None and (unknown := sorted(set(access.accounts) - access.known)):
        yield act(SUBJECT, f"the broker does not know {', '.join(unknown)}: its password file is older than the accounts", up)
    for name, fits in sorted(access.passwords_fit.items()):
        if not fits:
            yield act(
                SUBJECT,
                f"the password that {name} has is not the one of its account: the broker refuses it",
                f"{up} makes them fit",
            )
    unheard = list(_unheard_devices(facts, access, there))
    yield from unheard
    lacking = [
        f"{name} may not {done} {topic}"
        for name, rules in sorted(wanted.items())
        for done, topic in rules
        if (done, topic) not in there.get(name, ())
        # Told device by device.
        and not (unheard and access.accounts[name].role is Role.GATEWAY)
    ]
    if lacking:
        more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
        cause = f"the broker's rules are not those of the accounts: {'; '.join(lacking[:SHOWN])}{more}"
        yield act(SUBJECT, cause, f"{up} renders them anew from plant.yaml")


def _unheard_devices(facts: Evidence, access: AccessFacts, there: Rules) -> Iterator[Finding]:
    """Each device against each account that may be its gateway's."""
    if facts.plant is None:
        return
    topics = Topics(facts.plant.root)
    unheard: dict[str, list[str]] = defaultdict(list)
    for device in facts.plant.devices.values():
        gateways = [
            account
            for account in access.accounts.values()
            if account.role is Role.GATEWAY and account.instance in (None, device.gateway)
        ]
        if not gateways and facts.statuses is not None and facts.status_of(Role.GATEWAY, device.gateway) is None:
            continue  # there is no such gateway: told with the devices
        if not any(_may_speak(there, account.name, topics, device) for account in gateways):
            unheard[device.gateway].append(device.id)
    for gateway, names in sorted(unheard.items()):
        cause = f"no account of gateway {gateway} may send the telemetry of {', '.join(names[:SHOWN])}"
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield act(SUBJECT, f"{cause}{more}", f"{facts.commands.up} renders the rules anew from plant.yaml")


def _may_speak(there: Rules, account: str, topics: Topics, device: Device) -> bool:
    return all(
        may(there.get(account, ()), "write", topic)
        for topic in (topics.telemetry(device.line, device.id), topics.comms(device.line, device.id))
    )


def read_rules(text: str) -> Rules:
    """The rules of an access file as mosquitto reads them; what stands before any account is nobody's."""
    rules: dict[str, list[tuple[str, str]]] = defaultdict(list)
    account = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "user":
            account = rest
            rules[account] = rules[account]
        elif kind == "topic":
            done, _, topic = rest.partition(" ")
            # Without a word both are allowed.
            rules[account].append((done, topic) if done in ("deny", "read", "write", "readwrite") else ("readwrite", rest))
    return rules


def may(rules: Sequence[tuple[str, str]], action: str, topic: str) -> bool:
    """What the broker decides: a deny wins, and what nothing allows is refused."""
    matching = [done for done, filter_ in rules if _matches(filter_, topic)]
    return "deny" not in matching and any(done in (action, "readwrite") for done in matching)


def _matches(filter_: str, topic: str) -> bool:
    wanted, parts = filter_.split("/"), topic.split("/")
    for place, part in enumerate(wanted):
        if part == "#":
            return True
        if place >= len(parts) or part not in ("+", parts[place]):
            return False
    return len(wanted) == len(parts)
