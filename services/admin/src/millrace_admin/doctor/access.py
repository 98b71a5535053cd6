"""May each account do at the broker what its service does? The rules of the broker, beside what accounts and plant ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from millrace_contract.language.topics import Topics
from millrace_contract.plant import Device

from ..broker_accounts import Role, render_access_rules
from .evidence import AccessFacts, Evidence
from .finding import Finding, act, fine

SUBJECT = "accounts"
SHOWN = 3
DENY, BOTH = "deny", "readwrite"


class AccountRules:
    """What one account may do. `said`: (what is done, topic filter). A plant has thousands of topics, so those are looked up."""

    def __init__(self, said: Iterable[tuple[str, str]]) -> None:
        self.said = frozenset(said)
        self._exact: dict[str, set[str]] = defaultdict(set)
        self._filters: list[tuple[str, str]] = []
        for done, topic in self.said:
            if "+" in topic or "#" in topic:
                self._filters.append((done, topic))
            else:
                self._exact[topic].add(done)

    def may(self, action: str, topic: str) -> bool:
        """What the broker decides: a deny wins, and what nothing allows is refused."""
        done = {*self._exact.get(topic, ()), *(done for done, filter_ in self._filters if _matches(filter_, topic))}
        return DENY not in done and not done.isdisjoint({action, BOTH})


Rules = Mapping[str, AccountRules]
"""By account."""


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.access is None or facts.plant is None:
        return
    told = list(_causes(facts, facts.access, facts.plant.root))
    yield from told
    if not told:
        yield fine(SUBJECT, f"{len(facts.access.accounts)} accounts may do at the broker what they need")


def is_told(facts: Evidence, account: str) -> bool:
    """Whether it is told here that the broker's rules for this account are not what they should be."""
    access = facts.access
    if access is None or facts.plant is None or access.rules is None:
        return False
    wanted = read_rules(render_access_rules(facts.plant.root, access.accounts.values(), access.rights))
    return any(_differences(account, wanted.get(account), read_rules(access.rules).get(account)))


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
    # What gateways lack is told device by device, where it is.
    told = {name for name, account in access.accounts.items() if unheard and account.role is Role.GATEWAY}
    if other := [
        text for name in sorted({*wanted, *there} - told) for text in _differences(name, wanted.get(name), there.get(name))
    ]:
        more = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
        cause = f"the broker's rules are not those of the accounts: {'; '.join(other[:SHOWN])}{more}"
        yield act(SUBJECT, cause, f"{up} renders them anew from plant.yaml")


def _differences(name: str, wanted: AccountRules | None, there: AccountRules | None) -> Iterator[str]:
    ours, broker = wanted.said if wanted else frozenset(), there.said if there else frozenset()
    for done, topic in sorted(ours - broker):
        yield f"{name} is not kept from {topic}" if done == DENY else f"{name} may not {done} {topic}"
    for done, topic in sorted(broker - ours):
        yield f"{name} is kept from {topic}" if done == DENY else f"{name} may {done} {topic}, too"


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
    rules = there.get(account)
    return rules is not None and all(
        rules.may("write", topic) for topic in (topics.telemetry(device.line, device.id), topics.comms(device.line, device.id))
    )


def read_rules(text: str) -> Rules:
    """The rules of an access file as mosquitto reads them; what stands before any account is nobody's."""
    said: dict[str, list[tuple[str, str]]] = defaultdict(list)
    account = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "user":
            account = rest
            said[account] = said[account]
        elif kind == "topic":
            done, _, topic = rest.partition(" ")
            # Without a word both are allowed.
            said[account].append((done, topic) if done in (DENY, "read", "write", BOTH) else (BOTH, rest))
    said.pop("", None)
    return {name: AccountRules(rules) for name, rules in said.items()}


def _matches(filter_: str, topic: str) -> bool:
    wanted, parts = filter_.split("/"), topic.split("/")
    for place, part in enumerate(wanted):
        if part == "#":
            return True
        if place >= len(parts) or part not in ("+", parts[place]):
            return False
    return len(wanted) == len(parts)
