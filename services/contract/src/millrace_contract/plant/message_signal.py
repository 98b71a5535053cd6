"""A signal that comes in messages of a sensor that speaks MQTT itself: where it stands in the payload, and what its words mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .document import Strict
from .signal import Signal, SignalKind

Step = str | int
WHOLE_PAYLOAD = "."
PLANT_ZONE = "plant"


def _steps(value: Any) -> Any:
    """`ENERGY.Power` or `[rxInfo, 0, rssi]`: the keys from the outside in; `.` is the payload itself."""
    if not isinstance(value, str):
        return value
    if value == WHOLE_PAYLOAD:
        return ()
    steps = value.split(".")
    if not all(steps):
        raise ValueError(
            f"{value!r} is no path: keys and places in lists with dots between, as ENERGY.Power or rxInfo.0.rssi; . is the payload "
            "itself, and keys that hold a dot stand in a list, as [a.b, c]"
        )
    return [int(step) if step.isdecimal() else step for step in steps]


def zone_name(name: str) -> str:
    if name != PLANT_ZONE:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is not a time zone; write one like Europe/Berlin, or plant") from error
    return name


def topic_problem(topic: str) -> str | None:
    """Why this is no topic that a message comes on; None where it is one."""
    if not topic or topic[0] in "/$" or topic[-1] == "/" or len(topic.encode()) > 1024 or not topic.isprintable():
        return "is no topic: levels with a slash between, as tele/press-7/SENSOR"
    if "+" in topic or "#" in topic:
        return "has + or # in it; a device has one topic, written out"
    return None


def _topic(topic: str) -> str:
    if problem := topic_problem(topic):
        raise ValueError(f"{topic!r} {problem}")
    return topic


Path = Annotated[tuple[Step, ...], BeforeValidator(_steps)]
ZoneName = Annotated[str, AfterValidator(zone_name)]
TopicName = Annotated[str, AfterValidator(_topic)]


def path_text(path: tuple[Step, ...]) -> str:
    return ".".join(map(str, path)) or WHOLE_PAYLOAD


class MessageForm(Strict):
    """What stands beside the values in each message.

    `time`: when they were measured; without it a message is stamped when it arrives, and says so. `time_zone`: of times that
    have none. `names`: the name of the one signal that a message brings. `quality`: good, uncertain or bad.
    """

    time: Path | None = None
    time_zone: ZoneName | None = None
    names: Path | None = None
    quality: Path | None = None

    @model_validator(mode="after")
    def _zone_of_times(self) -> MessageForm:
        if self.time_zone is not None and self.time is None:
            raise ValueError("time_zone is that of the times in the messages; the key time says where they stand")
        return self


class MessageSignal(Signal):
    """A signal of a device that sends messages. `path` leads to its value; `topic` is below the device's own, where it has one.

    `called`: its name in messages that name their signal; None: as here. `words`: the numbers that texts stand for.
    """

    path: Path
    type: Literal["number", "bool", "text"] = "number"
    topic: TopicName | None = None
    called: str | None = Field(default=None, min_length=1)
    words: dict[str, int | float] = {}

    @property
    def is_text(self) -> bool:
        return self.type == "text"

    @property
    def kind(self) -> SignalKind:
        return "bit" if self.type == "bool" else super().kind

    @property
    def markers(self) -> frozenset[float]:
        """The numbers of `invalid`, as they stand in messages."""
        return frozenset(self.invalid)

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, data: Any) -> Any:
        if isinstance(data, dict) and "path" in data and "address" in data:
            raise ValueError("has address and path: a signal stands in a register or in a message")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> MessageSignal:
        if self.is_text and self.words:
            raise ValueError("a text has no words; they make a number (or a bool) of a text")
        if self.type == "bool" and (self.is_scaled or self.counter or self.values or self.invalid):
            raise ValueError("a bool has no scale, divisor, offset, counter, values or invalid")
        if self.type == "bool" and not set(self.words.values()) <= {0, 1}:
            raise ValueError("the words of a bool stand for 0 and 1")
        return self
