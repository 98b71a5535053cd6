"""How a device is reached: over TCP, TLS, a serial line, or by messages of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from .document import Strict
from .message_signal import TopicName, ZoneName

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Connection(Strict):
    """How to reach a device. Devices with the same host and port (or serial port) share a connection, or `connections` of them.

    A device with `transport: mqtt` is not reached: it sends messages to the plant's broker, on `topic`. `time_zone`: that of its
    times where it differs from what its profile says. `availability`: the topic of its
    last will, on which it is said offline or online.
    """

    transport: Literal["tcp", "tls", "rtu_over_tcp", "serial", "mqtt"] = "tcp"
    host: str = ""
    port: int = Field(default=502, ge=1, le=65_535)
    unit: int = Field(default=1, ge=0, le=255)
    timeout_s: float = Field(default=1.0, gt=0, le=60)
    connections: int = Field(default=1, ge=1, le=8)
    late_s: float | None = Field(default=None, gt=0, le=600)
    serial_port: str = ""
    baud_rate: int = Field(default=19_200, ge=300, le=1_000_000)
    parity: Literal["N", "E", "O"] = "E"
    stop_bits: Literal[1, 2] = 1
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    topic: TopicName | None = None
    availability: TopicName | None = None
    time_zone: ZoneName | None = None

    @field_validator("host", "port", mode="before")
    @classmethod
    def _expand(cls, value: Any, info: ValidationInfo) -> Any:
        """`${NAME:-default}` from the environment; allowed for host and port only."""
        if not isinstance(value, str) or "$" not in value:
            return value
        environ: Mapping[str, str] = (info.context or {}).get("environ", {})

        def replace(match: re.Match[str]) -> str:
            found = environ.get(match[1]) or match[2]
            if found is None:
                raise ValueError(f"variable {match[1]} is not set; set it, or write ${{{match[1]}:-default}}")
            return found

        expanded = _VARIABLE.sub(replace, value)
        if "$" in expanded:
            raise ValueError(f"{value!r} must be plain text or of the form ${{NAME:-default}}")
        return expanded

    @model_validator(mode="after")
    def _complete(self) -> Connection:
        if self.transport == "mqtt":
            self._check_message_keys()
            return self
        for key in ("topic", "availability", "time_zone"):
            if getattr(self, key) is not None:
                raise ValueError(f"the key {key} is for transport mqtt, not {self.transport}")
        if self.transport == "serial":
            if not self.serial_port or self.host:
                raise ValueError("transport serial needs the key serial_port, and no host")
            if self.connections != 1:
                raise ValueError("a serial line is one connection; leave out the key connections")
        elif not self.host or self.serial_port:
            raise ValueError(f"transport {self.transport} needs the key host, and no serial_port")
        elif self.transport == "rtu_over_tcp" and self.connections != 1:
            raise ValueError("behind rtu_over_tcp is one line, whose answers have no numbers; leave out the key connections")
        if self.late_s is not None and self.transport in ("tcp", "tls"):
            raise ValueError("late_s is for RTU lines; Modbus/TCP tells a late answer by its number")
        return self

    def _check_message_keys(self) -> None:
        if self.topic is None:
            raise ValueError("transport mqtt needs the key topic: where the device sends its messages")
        if foreign := self.model_fields_set - {"transport", "topic", "availability", "time_zone"}:
            raise ValueError(
                f"transport mqtt has the keys topic, availability and time_zone; leave out {', '.join(sorted(foreign))}"
            )

    @property
    def sends_messages(self) -> bool:
        return self.transport == "mqtt"

    @property
    def endpoint(self) -> str:
        """What is connected to: equal endpoints share a connection."""
        if self.topic is not None:
            return self.topic
        return self.serial_port if self.transport == "serial" else f"{self.transport}://{self.host}:{self.port}"
