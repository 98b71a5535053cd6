"""The gateway's settings: environment variables, see the README."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace_contract.language.assets import SEGMENT_PATTERN
from millrace_contract.plant.model import DEFAULT_GATEWAY
from millrace_contract.runtime.settings import BrokerSettings, OutboxSettings, ServiceSettings


class GatewaySettings(ServiceSettings, BrokerSettings, OutboxSettings):
    """Everything that `millrace-gateway run` takes from its environment."""

    instance: str = Field(
        default=DEFAULT_GATEWAY,
        pattern=f"^{SEGMENT_PATTERN}$",
        description="this gateway's name: it reads the devices that name it",
    )
    outbox_max_mb: int = Field(
        default=4096, ge=1, description="size at which the outbox drops its oldest messages, MB of 1,000,000 bytes"
    )
    confirm: Literal["stored", "broker"] = Field(
        default="stored",
        description="when a message is safe: the database has it (stored), or a broker without our ingest (broker)",
    )
