"""Where a device is reached: what identifies one connection, so that devices behind the same one share it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Connection


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a wire. `host` is a host name or address; for a serial line the name of its port, and `port` is 0.

    `connections`: how many at once it is asked through. `late_s`: after so long an answer on an RTU line never comes; None: five
    time limits.
    """

    transport: str
    host: str
    port: int = 0
    baud_rate: int = 19_200
    parity: str = "E"
    stop_bits: int = 1
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    connections: int = 1
    late_s: float | None = None

    @property
    def is_rtu(self) -> bool:
        """RTU framing: no transaction number, so that a late answer looks like the next one (rtu_line.py)."""
        return self.transport in ("rtu_over_tcp", "serial")

    def __str__(self) -> str:
        return self.host if self.transport == "serial" else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, connection: Connection) -> Endpoint:
        """The endpoint of a device's connection; its unit and time limit are the device's own."""
        if connection.transport == "serial":
            return cls(
                transport="serial",
                host=connection.serial_port,
                baud_rate=connection.baud_rate,
                parity=connection.parity,
                stop_bits=connection.stop_bits,
                late_s=connection.late_s,
            )
        return cls(
            transport=connection.transport,
            host=connection.host,
            port=connection.port,
            baud_rate=connection.baud_rate,
            ca_file=connection.ca_file or None,
            certificate_file=connection.certificate_file or None,
            key_file=connection.key_file or None,
            connections=connection.connections,
            late_s=connection.late_s,
        )
