"""MQTT topics: the one place that spells them (contracts.md 2.1). The topic is the identity of what it carries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

PLATFORM = "_platform"
_REMEMBERED = 16_384
"""The same topics come again and again; bounded, because a stranger may invent them."""


class Kind(StrEnum):
    """What a topic carries."""

    TELEMETRY = "telemetry"
    COMMS = "comms"
    OEE = "oee"
    OEE_WINDOW = "oee/window"
    OEE_INTERVAL = "oee/interval"
    ALERT = "alert"
    ALERT_EVENT = "alert/event"
    CONTEXT = "context"
    CONTEXT_EVENT = "context/event"
    STATUS = "status"
    LEDGER = "ledger"
    STORED = "stored"
    ASK = "ask"
    ANSWER = "answer"


ASKING = frozenset({Kind.ASK, Kind.ANSWER})
"""Between two services, which read no more of them than their own; nobody else hears them."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart. `line` and `device` are set for what belongs to an asset; `service` and `instance` for the platform."""

    kind: Kind
    line: str | None = None
    device: str | None = None
    rule: str | None = None
    service: str | None = None
    instance: str | None = None
    sender: str | None = None
    verb: str | None = None


class Topics:
    """Builds and parses the topics below one root. Pure; safe to share between threads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._prefix = f"{root}/"
        self.parse = lru_cache(maxsize=_REMEMBERED)(self._parse)
        """The topic taken apart, or None for one that is not ours. Names are not checked against the plant."""

    def telemetry(self, line: str, device: str) -> str:
        return f"{self.root}/{line}/{device}/telemetry"

    def comms(self, line: str, device: str) -> str:
        return f"{self.root}/{line}/{device}/comms"

    def oee(self, line: str, device: str | None) -> str:
        return f"{self._asset(line, device)}/oee"

    def oee_window(self, line: str, device: str | None) -> str:
        return f"{self._asset(line, device)}/oee/window"

    def oee_interval(self, line: str, device: str | None) -> str:
        return f"{self._asset(line, device)}/oee/interval"

    def alert(self, line: str | None, device: str | None, rule: str) -> str:
        """The retained state of one alert; without a line it is the platform's own."""
        return f"{self._asset(line, device) if line else f'{self.root}/{PLATFORM}'}/alert/{rule}"

    def alert_event(self, line: str | None, device: str | None, rule: str) -> str:
        return f"{self.alert(line, device, rule)}/event"

    def context(self, line: str, device: str | None) -> str:
        return f"{self._asset(line, device)}/context"

    def context_event(self, line: str, device: str | None) -> str:
        return f"{self._asset(line, device)}/context/event"

    def status(self, service: str, instance: str) -> str:
        return f"{self.root}/{PLATFORM}/{service}/{instance}/status"

    def ledger(self, service: str, instance: str) -> str:
        return f"{self.root}/{PLATFORM}/{service}/{instance}/ledger"

    def stored(self, sender: str) -> str:
        return f"{self.root}/{PLATFORM}/stored/{sender}"

    def ask(self, service: str, verb: str) -> str:
        """A question to a service (requests.py)."""
        return f"{self.root}/{PLATFORM}/ask/{service}/{verb}"

    def answer(self, service: str, sender: str) -> str:
        """A service's replies to whoever asked, by client id."""
        return f"{self.root}/{PLATFORM}/answer/{service}/{sender}"

    def doctor(self, run: str) -> str:
        """Where one run of `millrace doctor` reads back what it published. Nobody else listens, nothing is kept."""
        return f"{self.root}/{PLATFORM}/doctor/{run}"

    def filters(self, kind: Kind) -> tuple[str, ...]:
        """Topic filters that match every topic of this kind: of devices, of lines, and of the platform."""
        match kind:
            case Kind.TELEMETRY | Kind.COMMS:
                return (f"{self.root}/+/+/{kind}",)
            case Kind.OEE | Kind.OEE_WINDOW | Kind.OEE_INTERVAL | Kind.CONTEXT | Kind.CONTEXT_EVENT:
                return (f"{self.root}/+/+/{kind}", f"{self.root}/+/{kind}")
            case Kind.ALERT:
                return (f"{self.root}/+/+/alert/+", f"{self.root}/+/alert/+")
            case Kind.ALERT_EVENT:
                return (f"{self.root}/+/+/alert/+/event", f"{self.root}/+/alert/+/event")
            case Kind.STATUS | Kind.LEDGER:
                return (f"{self.root}/{PLATFORM}/+/+/{kind}",)
            case Kind.STORED:
                return (f"{self.root}/{PLATFORM}/stored/+",)
            case Kind.ASK | Kind.ANSWER:
                return (f"{self.root}/{PLATFORM}/{kind}/+/+",)

    def _parse(self, topic: str) -> Topic | None:
        if not topic.startswith(self._prefix):
            return None
        parts = topic[len(self._prefix) :].split("/")
        if parts[0] == PLATFORM:
            return _parse_platform(parts[1:])
        return _parse_asset(parts)

    def _asset(self, line: str, device: str | None) -> str:
        return f"{self.root}/{line}/{device}" if device else f"{self.root}/{line}"


def _parse_platform(parts: list[str]) -> Topic | None:
    match parts:
        case ["stored", sender]:
            return Topic(Kind.STORED, sender=sender)
        case ["ask", service, verb]:
            return Topic(Kind.ASK, service=service, verb=verb)
        case ["answer", service, sender]:
            return Topic(Kind.ANSWER, service=service, sender=sender)
        case [service, instance, "status"]:
            return Topic(Kind.STATUS, service=service, instance=instance)
        case [service, instance, "ledger"]:
            return Topic(Kind.LEDGER, service=service, instance=instance)
        case ["alert", rule]:
            return Topic(Kind.ALERT, rule=rule)
        case ["alert", rule, "event"]:
            return Topic(Kind.ALERT_EVENT, rule=rule)
        case _:
            return None


_TAILS: dict[tuple[str, ...], Kind] = {
    ("telemetry",): Kind.TELEMETRY,
    ("comms",): Kind.COMMS,
    ("oee",): Kind.OEE,
    ("oee", "window"): Kind.OEE_WINDOW,
    ("oee", "interval"): Kind.OEE_INTERVAL,
    ("context",): Kind.CONTEXT,
    ("context", "event"): Kind.CONTEXT_EVENT,
}
_OF_LINES = frozenset({Kind.OEE, Kind.OEE_WINDOW, Kind.OEE_INTERVAL, Kind.CONTEXT, Kind.CONTEXT_EVENT})


def _parse_asset(parts: list[str]) -> Topic | None:
    # Reserved names keep this unambiguous: no device is called `oee`, so {line}/oee is always the line's.
    match parts:
        case [line, "alert", rule]:
            return Topic(Kind.ALERT, line=line, rule=rule)
        case [line, "alert", rule, "event"]:
            return Topic(Kind.ALERT_EVENT, line=line, rule=rule)
        case [line, device, "alert", rule]:
            return Topic(Kind.ALERT, line=line, device=device, rule=rule)
        case [line, device, "alert", rule, "event"]:
            return Topic(Kind.ALERT_EVENT, line=line, device=device, rule=rule)
        case _:
            pass
    if (kind := _TAILS.get(tuple(parts[1:]))) in _OF_LINES:
        return Topic(kind, line=parts[0])
    if len(parts) > 2 and (kind := _TAILS.get(tuple(parts[2:]))):
        return Topic(kind, line=parts[0], device=parts[1])
    return None
