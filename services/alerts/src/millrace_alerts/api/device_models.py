"""The shapes of devices and their readings. Times are RFC 3339 in UTC with milliseconds."""

from typing import Literal

from pydantic import BaseModel, Field

from millrace_contract.language.words import CommsState, MachineState, Quality

from .examples import LATER, NOW


class LatestReading(BaseModel):
    value: float | str | None = Field(description="null where the quality is bad", examples=[68.7])
    quality: Quality = Field(examples=["good"])
    timestamp: str = Field(examples=[NOW])
    good_until: str | None = Field(
        description="it counts until then if nothing follows: three polls, or what its sender promised; null: no next one is due",
        examples=[LATER],
    )
    stale: bool = Field(
        description="the next reading is overdue (good_until has passed), or the timestamp lies in the future", examples=[False]
    )
    unit: str | None = Field(examples=["Cel"])


class CommsResource(BaseModel):
    state: CommsState | Literal["unknown"] = Field(description="unknown: nothing was heard of it yet", examples=["online"])
    since: str | None = Field(examples=[NOW])
    reason: str | None = Field(examples=[None])
    round_trip_ms: float | None = Field(examples=[3.2])
    gateway: str = Field(examples=["edge-1"])


class DeviceResource(BaseModel):
    """A device of the plant, and what was last heard of it."""

    device_id: str = Field(examples=["CNC-01"])
    line: str = Field(examples=["line1"])
    title: str = Field(examples=["5-axis mill"])
    profile: str = Field(examples=["demo-cnc"])
    comms: CommsResource
    machine_state: MachineState | None = Field(description="null where nothing says it", examples=["execute"])
    open_alerts: int = Field(examples=[0])
    heard_at: str | None = Field(description="event time of the newest reading", examples=[NOW])
    readings: dict[str, LatestReading]


class GoneDevice(BaseModel):
    """A device that is no longer in the plant. Its readings and OEE windows stay where they are."""

    device_id: str = Field(examples=["CNC-07"])
    line: str = Field(examples=["line1"])
    title: str = Field(examples=["5-axis mill"])
    profile: str = Field(examples=["demo-cnc"])
    gone_since: str = Field(description="when this service took over the plant model without it", examples=[NOW])
    heard_at: str | None = Field(description="event time of the newest reading", examples=[NOW])


class DeviceList(BaseModel):
    items: list[DeviceResource]
    gone: list[GoneDevice] = Field(description="no longer in the plant; with the first page only")


class Point(BaseModel):
    """A raw reading, or a bucket of `every` that starts at `time`."""

    time: str = Field(examples=[NOW])
    value: float | str | None = Field(default=None, examples=[68.7])
    quality: Quality | None = Field(default=None, examples=["good"])
    mean: float | None = Field(default=None, examples=[68.7])
    min: float | None = Field(default=None, examples=[66.1])
    max: float | None = Field(default=None, examples=[70.2])
    last: float | None = Field(default=None, examples=[68.9])
    count: int | None = Field(default=None, examples=[60])


class Readings(BaseModel):
    """Readings of one signal in order of time."""

    device: str = Field(examples=["CNC-01"])
    signal: str = Field(examples=["spindle_temperature"])
    unit: str | None = Field(examples=["Cel"])
    every: str | None = Field(examples=["1m"])
    points: list[Point]
