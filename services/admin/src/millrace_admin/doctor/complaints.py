"""What services write into the problems of their status, judged: the cause in plain words, and what mends it.

A text that no rule knows needs somebody, in the service's own words: better said twice than not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from millrace_contract.language.messages import Status

from . import access, broker, database
from .clocks import TIME_SERVER
from .evidence import Evidence
from .finding import Finding, act, mends, note


@dataclass(frozen=True, slots=True)
class Complaint:
    """name: what the service is called here. is_local: whether it runs where doctor does."""

    name: str
    status: Status | None
    text: str
    is_local: bool

    @property
    def part(self) -> str:
        """As the commands call it."""
        return self.status.service if self.status is not None else self.name


Judge = Callable[[Evidence, Complaint, "re.Match[str]"], Finding | None]
"""None: the cause is told elsewhere."""


@dataclass(frozen=True, slots=True)
class _Rule:
    need: str
    pattern: re.Pattern[str]
    judge: Judge


def judged(facts: Evidence, complaint: Complaint) -> Finding | None:
    """The finding; None where its cause is told by another."""
    for rule in _RULES:
        if found := rule.pattern.search(complaint.text):
            return rule.judge(facts, complaint, found)
    return act(complaint.name, complaint.text, _logs(facts, complaint))


def is_known(text: str) -> bool:
    """Whether a rule judges this text; else it is told as it is."""
    return any(rule.pattern.search(text) for rule in _RULES)


def speaks_of(text: str, need: str) -> bool:
    """Whether the text says why the service lacks what it needs."""
    rule = next((rule for rule in _RULES if rule.pattern.search(text)), None)
    return rule is not None and rule.need == need


def _wrong_account(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    account = found[1]
    cause = f"the broker refuses its account {account}: wrong user name or password; it will not mend by itself"
    if facts.access is not None and facts.access.passwords_fit.get(account) is False:
        return None  # told with the accounts
    if facts.access is not None and complaint.is_local and account not in facts.access.accounts:
        mend = f"list {account} in MILLRACE_INSTANCES of .env, then {facts.commands.up}"
        return act(complaint.name, f"the broker has no account {account}: an instance beside the first one must be named", mend)
    if facts.commands.place == "edge" or not complaint.is_local:
        instance = complaint.status.instance if complaint.status else "NAME"
        kit = facts.commands.admin(f"access revoke {account}")
        return act(complaint.name, cause, f"a new kit: {kit}, then access add-gateway {instance} --kit")
    return act(complaint.name, cause, f"{facts.commands.up} makes account and password fit; it gets in by itself then")


def _cannot_reach_broker(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    if broker.is_unwell(facts):
        return None
    if _just_began(facts, complaint):
        return mends(complaint.name, "has just begun and is not at the broker yet")
    mend = f"look at MILLRACE_MQTT_HOST of {complaint.name}, at names and firewall; {_logs(facts, complaint)}"
    return act(complaint.name, f"is not at the broker, which doctor does reach: {found[0]}", mend)


def _not_connected_yet(facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding | None:
    return None if broker.is_unwell(facts) else mends(complaint.name, "has just begun and is not at the broker yet")


def _tls(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    if broker.is_unwell(facts):
        return None
    mend = "a new kit from the server, or the right MILLRACE_MQTT_CA; and look at the clock there"
    return act(complaint.name, f"does not trust the broker: {found[1]}", mend)


def _database(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    if database.is_unwell(facts) or database.refuses(facts, complaint.part):
        return None
    reason, up = found[1], facts.commands.up
    if database.SHARD_CLOSED in reason or database.NO_SPACE in reason:
        return act(complaint.name, "the database takes nothing of it: its disk is full, or was", database.FULL_DISK)
    if re.search(r"answers 40[134]", reason):
        cause = f"the database refuses it, and will go on to: {_short(reason)}"
        return act(complaint.name, cause, f"{up} makes buckets and tokens; it reads its own again by itself")
    if reason.startswith("nothing written yet"):
        return mends(complaint.name, "has written nothing yet: it has just begun")
    return mends(complaint.name, f"waits for the database, which answers doctor: {_short(reason)}", _logs(facts, complaint))


def _disk(_facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    cause = f"its disk takes nothing: {found[1]}; what it cannot keep it holds in memory, or sends back"
    return act(complaint.name, cause, f"free room on the volume of {complaint.name}; it goes on by itself then")


def _nearly_full(_facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    cause, _, mend = complaint.text.partition("; ")
    return act(complaint.name, cause, mend or found[0])


def _refused_topic(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    account = re.search(r" for account (\S+)", complaint.text)
    if account is not None and access.is_told(facts, account[1]):
        return None
    mend = f"give it line, device and gateway of these topics in plant.yaml; if they are right there, {facts.commands.up}"
    return act(complaint.name, f"the broker does not let it speak: it refuses {_short(found[1])}; nothing is lost meanwhile", mend)


def _rival(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    mend = "stop one, or give it a MILLRACE_INSTANCE of its own"
    return act(complaint.name, "two of this name take the connection from each other", mend)


def _said_with_way_out(_facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    return act(complaint.name, found[1], found[2])


def _archive(_facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    return act(complaint.name, complaint.text, f"room on {found[1]}, and the right to write there; the database has what it missed")


def _tokens(facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return act(
        complaint.name, f"{complaint.text}; those that were good before still are", f"{facts.commands.up} makes what is missing"
    )


def _unreadable(facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    device, _, _ = complaint.text.partition(": ")
    mend = f"mend the sensor or its profile; {facts.commands.inside('gateway', f'read {device} --message -')} tries a message"
    return note(complaint.name, complaint.text, mend)


def _unmapped(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    cause, _, mend = complaint.text.partition(": give it")
    return note(complaint.name, cause, f"give it{mend}")


def _late(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return note(complaint.name, complaint.text, "a longer interval in the profile, or more `connections` to the device")


def _set_aside(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return note(complaint.name, complaint.text, "the ledger says what was lost with it; the file may be deleted then")


def _plant_file(_facts: Evidence, _complaint: Complaint, _found: re.Match[str]) -> Finding | None:
    return None  # `plant_model` says it once for all


def _fuse(facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return act(complaint.name, complaint.text, facts.commands.inside("ingest", "dead-letters list"))


def _clock(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return act(complaint.name, complaint.text, TIME_SERVER)


def _unhealthy(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding | None:
    inner = judged(facts, Complaint(complaint.name, complaint.status, found[2], is_local=complaint.is_local))
    if database.is_unwell(facts) and "InfluxDB" in found[2]:
        return None
    mend = inner.mend if inner is not None else _logs(facts, complaint)
    return act(complaint.name, f"its step {found[1]} {found[2]}", mend)


def _foreign(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    letters = facts.commands.inside("ingest", "dead-letters list --reason foreign")
    mend = f"{letters}; whose it is, {facts.commands.admin('access list')} may say, and access revoke ends it"
    return act(complaint.name, found[0], mend)


def _other_database(facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    return mends(complaint.name, complaint.text, f"{facts.commands.inside('ingest', 'status')} shows the ledger")


def _refused_reading(facts: Evidence, complaint: Complaint, found: re.Match[str]) -> Finding:
    mend = f"{facts.commands.up} renders the access rules anew"
    return act(complaint.name, f"the broker does not let its account {found[1]}", mend)


def _no_devices(_facts: Evidence, complaint: Complaint, _found: re.Match[str]) -> Finding:
    instance = complaint.status.instance if complaint.status is not None else "NAME"
    cause, _, _ = complaint.text.partition(": set MILLRACE_INSTANCE")
    mend = f"give devices `gateway: {instance}` in plant.yaml, or it the right MILLRACE_INSTANCE"
    return act(complaint.name, f"has nothing to read: {cause}", mend)


def _rule(need: str, pattern: str, judge: Judge) -> _Rule:
    return _Rule(need, re.compile(pattern), judge)


_RULES = (
    _rule("", r"^unhealthy: (\w+) (.*)", _unhealthy),
    _rule("broker", r"the broker refuses the account (.+?): wrong user name", _wrong_account),
    _rule("broker", r"^not connected yet", _not_connected_yet),
    _rule("broker", r"and we do not agree on TLS: (.*)", _tls),
    _rule("broker", r"^(?:no answer from|connection lost).*", _cannot_reach_broker),
    _rule("", r"^\S+: \S+ says .*, which profile \S+ does not name", _unmapped),
    _rule("", r"^(two of the name .*? take the connection from each other): (.*)", _said_with_way_out),
    _rule("broker", r"(?:gives our connection to|ends our connection again and again)", _rival),
    _rule("broker", r"^the broker refuses (topic .*?)(?:: an account may write .*)?$", _refused_topic),
    _rule("broker", r"^the broker does not let account (.*)", _refused_reading),
    _rule("database", r"^(?:the database takes no data|nothing is rolled up): (.*)", _database),
    _rule("outbox", r"^the disk (?:refuses the outbox|of dead letters and spool refuses): (.*)", _disk),
    _rule("", r"^the disk of \S+ (?:is nearly full|cannot be looked at)", _nearly_full),
    _rule("", r"^(the disk of influxdb is nearly full, and .*?); (make room.*)", _said_with_way_out),
    _rule("", r"^(InfluxDB did not give up .*?); (make room.*)", _said_with_way_out),
    _rule("", r"^the archive in (\S+) refuses: ", _archive),
    _rule("", r"^the API tokens cannot be read", _tokens),
    _rule("", r"could not be read, the last: ", _unreadable),
    _rule("", r"reads begin late", _late),
    _rule("", r"(?:outbox|store) was damaged or empty", _set_aside),
    _rule("", r"^[\w./-]+\.yaml(?::\d+)?: ", _plant_file),
    _rule("", r"of the gateways' messages are not storable", _fuse),
    _rule("", r"dates its readings", _clock),
    _rule("", r"^something publishes as .*", _foreign),
    _rule("", r"^the (?:database|store of this ingest) (?:is (?:another one|empty|new)|was put back|lacks what)", _other_database),
    _rule("", r"^the platform was restored from a backup", _other_database),
    _rule("", r"^no device of plant.yaml names gateway", _no_devices),
)


def _just_began(facts: Evidence, complaint: Complaint) -> bool:
    process = facts.process(complaint.part)
    return complaint.is_local and process is not None and process.starts


def _logs(facts: Evidence, complaint: Complaint) -> str:
    if complaint.is_local:
        return facts.commands.logs(complaint.part)
    return f"on the computer of {complaint.name}: millrace-edge check"


def _short(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
